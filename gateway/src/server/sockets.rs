//! What the gateway listens on: sockets that it was given, and those that it binds where none were.
//!
//! It keeps a descriptor of each for as long as it may have to hand them on. It accepts nothing.

use std::collections::BTreeSet;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use parking_lot::Mutex;

use super::inherit::{ADMIN, Inherited};
use super::{Config, ServerError};
use crate::listener::Bound;

/// The sockets of all listeners, and of the admin listener.
#[derive(Debug)]
pub(super) struct Sockets {
    /// In the configuration's order; empty once the gateway has stopped listening.
    listening: Mutex<Vec<Listening>>,
    admin: Option<TcpListener>,
}

#[derive(Debug)]
struct Listening {
    name: String,
    bound: Bound,
    /// Whether a service manager holds the sockets too.
    kept_elsewhere: bool,
}

/// Sockets of one address for a next process.
#[derive(Debug)]
pub(super) struct Copies {
    pub(super) name: String,
    pub(super) sockets: Vec<OwnedFd>,
    pub(super) kept_elsewhere: bool,
}

impl Sockets {
    /// Binds what `config` names, unless it is among what was `inherited`.
    ///
    /// # Errors
    /// An address cannot be listened on, or an inherited socket has no listener.
    pub(super) fn bind(
        config: &Config,
        workers: usize,
        inherited: &mut Inherited,
    ) -> Result<Self, ServerError> {
        let admin = match &config.admin {
            Some(admin) => Some(bind_admin(admin.address, inherited)?),
            None => None,
        };
        let mut listening = Vec::new();
        for (index, listener) in config.listeners.iter().enumerate() {
            let key = format!("listeners[{index}].address");
            let address = listener.address;
            let claim = inherited.claim(&key, &listener.name, address)?;
            let (bound, kept_elsewhere) = match claim {
                Some(claim) => (claim.bound, claim.kept_elsewhere),
                None => {
                    let bound = Bound::bind(address, workers);
                    let wrong = |error| ServerError::Bind {
                        key,
                        address,
                        error,
                    };
                    (bound.map_err(wrong)?, false)
                }
            };
            listening.push(Listening {
                name: listener.name.clone(),
                bound,
                kept_elsewhere,
            });
        }
        if let Some((name, address)) = inherited.forgotten() {
            return Err(ServerError::Activation(format!(
                "the socket \"{name}\" on {address} belongs to no listener; give one of [[listeners]] this address"
            )));
        }
        Ok(Self {
            listening: Mutex::new(listening),
            admin,
        })
    }

    /// Names and addresses, in the configuration's order.
    pub(super) fn addresses(&self) -> Vec<(String, SocketAddr)> {
        let listening = self.listening.lock();
        let address = |one: &Listening| (one.name.clone(), one.bound.address());
        listening.iter().map(address).collect()
    }

    pub(super) fn admin(&self) -> Option<&TcpListener> {
        self.admin.as_ref()
    }

    /// What each of `workers` accepts from, with the listener's place in the configuration.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub(super) fn share(&self, workers: usize) -> io::Result<Vec<Vec<(usize, TcpListener)>>> {
        let mut shares: Vec<Vec<_>> = (0..workers).map(|_| Vec::new()).collect();
        for (index, listener) in self.listening.lock().iter().enumerate() {
            let sockets = listener.bound.share(workers)?;
            for (share, sockets) in shares.iter_mut().zip(sockets) {
                share.extend(sockets.into_iter().map(|socket| (index, socket)));
            }
        }
        Ok(shares)
    }

    /// Another descriptor of every socket.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub(super) fn copies(&self) -> io::Result<Vec<Copies>> {
        let listening = self.listening.lock();
        let of = |name: &str, sockets: &[TcpListener], kept_elsewhere| {
            let sockets = sockets.iter().map(|socket| Ok(socket.try_clone()?.into()));
            Ok(Copies {
                name: name.to_owned(),
                sockets: sockets.collect::<io::Result<_>>()?,
                kept_elsewhere,
            })
        };
        let admin = self.admin.as_ref();
        listening
            .iter()
            .map(|one| of(&one.name, one.bound.sockets(), one.kept_elsewhere))
            .chain(admin.map(|admin| of(ADMIN, std::slice::from_ref(admin), false)))
            .collect()
    }

    /// Lets go of the listeners' sockets. For each listener, whether somebody else goes on with them: whoever took those of
    /// the addresses `taken`, or a service manager.
    pub(super) fn release(&self, taken: &BTreeSet<SocketAddr>) -> Vec<bool> {
        let listening = std::mem::take(&mut *self.listening.lock());
        let lives_on = |one: Listening| one.kept_elsewhere || taken.contains(&one.bound.address());
        listening.into_iter().map(lives_on).collect()
    }
}

fn bind_admin(address: SocketAddr, inherited: &mut Inherited) -> Result<TcpListener, ServerError> {
    const KEY: &str = "admin.address";
    if let Some(claim) = inherited.claim(KEY, ADMIN, address)?
        && let Some(socket) = claim.bound.sockets().first()
        && let Ok(socket) = socket.try_clone()
    {
        return Ok(socket);
    }
    TcpListener::bind(address)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .map_err(|error| ServerError::Bind {
            key: KEY.into(),
            address,
            error,
        })
}

//! One gateway takes over from another: it gets the listening sockets over a Unix socket, builds its configuration, starts
//! to accept, says so, and only then the old one stops accepting and drains.
//!
//! Both have the same sockets for that moment, so no connection is refused or reset: what waits in the kernel's queue is
//! accepted by whoever comes first. A new process that dies or is refused by its configuration changes nothing for the old
//! one. What is open stays with the old process; nothing of it is handed over.
//!
//! ```text
//! new → old  Request
//! old → new  Offer, with the sockets
//! new → old  Ready      its workers accept
//! old → new  Release    the old one accepts no more
//! ```

mod message;
mod socket_file;
mod upgrade;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;
use tokio::sync::oneshot;

use super::inherit::Inherited;
use super::{Server, ServerError};
use crate::admin::revoke;
use crate::tls::stek::Secret;
use socket_file::SocketFile;
pub use upgrade::Upgrade;

/// The version of this conversation.
const PROTOCOL: u32 = 1;

/// How long the other process may take for a step that needs no work.
const PROMPTLY: Duration = Duration::from_secs(10);

/// How long a new process may take to read and build its configuration.
const TO_BUILD: Duration = Duration::from_secs(10 * 60);

#[derive(Serialize, Deserialize)]
struct Request {
    protocol: u32,
}

#[derive(Serialize, Deserialize)]
struct Offer {
    protocol: u32,
    listeners: Vec<Offered>,
    /// In base64.
    ticket_secret: String,
    /// As in `admin.revocations_file`.
    orders: String,
}

#[derive(Serialize, Deserialize)]
struct Offered {
    name: String,
    /// How many of the sockets beside the message are its.
    sockets: usize,
    kept_elsewhere: bool,
}

#[derive(Serialize, Deserialize)]
struct Ready {
    /// The addresses that the new process goes on with.
    taken: BTreeSet<SocketAddr>,
}

#[derive(Serialize, Deserialize)]
struct Release {
    /// Orders again, with those that were given meanwhile.
    orders: String,
}

// The old process

/// Where a next process finds this one.
#[derive(Debug)]
pub struct Handover {
    listener: UnixListener,
    _file: SocketFile,
}

/// A process that is ready to go on in this one's place.
#[derive(Debug)]
pub struct Successor {
    stream: UnixStream,
    taken: BTreeSet<SocketAddr>,
    pid: u32,
}

impl Handover {
    /// Listens at `path`, on the current runtime. `replaces` says that whoever listens there now has been taken over from.
    ///
    /// # Errors
    /// Another gateway listens there, or the path cannot be used.
    pub fn listen(path: &Path, replaces: bool) -> Result<Self, ServerError> {
        let listen = || {
            let (listener, file) = SocketFile::bind(path, replaces)?;
            listener.set_nonblocking(true)?;
            Ok(Self {
                listener: UnixListener::from_std(listener)?,
                _file: file,
            })
        };
        listen().map_err(|error: io::Error| at(path, &error))
    }

    /// Waits for a process that takes over from `server` and is ready; one that fails on the way changes nothing.
    pub async fn successor(&self, server: &RefCell<Server>) -> Successor {
        loop {
            match self.next(server).await {
                Ok(successor) => return successor,
                Err(error) => {
                    tracing::warn!(%error, "a take-over came to nothing; this process goes on");
                    // Out of descriptors, perhaps.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn next(&self, server: &RefCell<Server>) -> io::Result<Successor> {
        let (stream, _) = self.listener.accept().await?;
        let stream = stream.into_std()?;
        stream.set_nonblocking(false)?;
        let pid = trusted_peer(&stream)?;
        tracing::info!(pid, "a process asks to take over");
        let (offer, sockets) = server.borrow().offer()?;
        let (done, result) = oneshot::channel();
        // The conversation waits for the other process, and this thread has the admin listener to serve.
        std::thread::Builder::new()
            .name("handover".into())
            .spawn(move || {
                let ready = offer_it(&stream, &offer, &sockets);
                let _ = done.send(ready.map(|ready| (stream, ready.taken)));
            })?;
        let (stream, taken) = result
            .await
            .map_err(|_| io::Error::other("the conversation broke off"))??;
        Ok(Successor { stream, taken, pid })
    }
}

fn offer_it(stream: &UnixStream, offer: &Offer, sockets: &[OwnedFd]) -> io::Result<Ready> {
    stream.set_write_timeout(Some(PROMPTLY))?;
    stream.set_read_timeout(Some(PROMPTLY))?;
    let (request, _) = message::receive::<Request>(stream)?;
    check(request.protocol)?;
    let sockets: Vec<_> = sockets.iter().map(|socket| socket.as_fd()).collect();
    message::send(stream, offer, &sockets)?;
    stream.set_read_timeout(Some(TO_BUILD))?;
    Ok(message::receive(stream)?.0)
}

impl Successor {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Leaves everything to it: `server` accepts no more, and drains.
    ///
    /// # Errors
    /// It has gone since; nothing has changed.
    pub fn release(self, server: &Server) -> io::Result<()> {
        let orders = revoke::render(&server.orders());
        message::send(&self.stream, &Release { orders }, &[])?;
        server.end(&self.taken);
        Ok(())
    }
}

impl Server {
    /// What a next process is given.
    fn offer(&self) -> io::Result<(Offer, Vec<OwnedFd>)> {
        let (mut listeners, mut all) = (Vec::new(), Vec::new());
        for copies in self.sockets.copies()? {
            listeners.push(Offered {
                name: copies.name,
                sockets: copies.sockets.len(),
                kept_elsewhere: copies.kept_elsewhere,
            });
            all.extend(copies.sockets);
        }
        let offer = Offer {
            protocol: PROTOCOL,
            listeners,
            ticket_secret: STANDARD.encode(self.lasting.generated().expose()),
            orders: revoke::render(&self.orders()),
        };
        Ok((offer, all))
    }

    fn add_orders(&self, orders: &str) -> io::Result<()> {
        let orders = revoke::read(orders.as_bytes()).map_err(io::Error::other)?;
        let mut new = false;
        for order in orders {
            new |= self.lasting.denylist().add(order);
        }
        if new {
            self.review_connections();
        }
        Ok(())
    }
}

// The new process

/// The process that this one takes over from.
#[derive(Debug)]
pub struct Predecessor {
    stream: UnixStream,
}

/// Asks the gateway that listens at `path` for what it has.
///
/// # Errors
/// Nobody is there, or not a gateway of the same user.
pub fn take_over(path: &Path) -> Result<(Predecessor, Inherited), ServerError> {
    let stream = UnixStream::connect(path).map_err(|error| {
        let hint = "no gateway hands over here; start without --take-over";
        at(path, &io::Error::other(format!("{error}: {hint}")))
    })?;
    ask(&stream)
        .map(|inherited| (Predecessor { stream }, inherited))
        .map_err(|error| at(path, &error))
}

fn ask(stream: &UnixStream) -> io::Result<Inherited> {
    trusted_peer(stream)?;
    stream.set_write_timeout(Some(PROMPTLY))?;
    stream.set_read_timeout(Some(PROMPTLY))?;
    message::send(stream, &Request { protocol: PROTOCOL }, &[])?;
    let (offer, sockets) = message::receive::<Offer>(stream)?;
    check(offer.protocol)?;
    let wrong = |problem: String| io::Error::new(io::ErrorKind::InvalidData, problem);
    let secret = STANDARD.decode(&offer.ticket_secret);
    let secret = secret.map_err(|error| wrong(error.to_string()))?;
    let mut inherited = Inherited::default();
    inherited.ticket_secret =
        Some(Secret::from_bytes(secret).map_err(|error| wrong(error.to_string()))?);
    inherited.orders = revoke::read(offer.orders.as_bytes()).map_err(wrong)?;
    let mut sockets = sockets.into_iter().map(TcpListener::from);
    for listener in &offer.listeners {
        for socket in sockets.by_ref().take(listener.sockets) {
            inherited.add(&listener.name, socket, listener.kept_elsewhere)?;
        }
    }
    Ok(inherited)
}

impl Predecessor {
    /// Says that `server` accepts, with what it took of `inherited`, and waits until the old process does not any more.
    pub fn release(self, server: &Server, inherited: &Inherited) {
        let release = || {
            let taken = inherited.claimed().collect();
            message::send(&self.stream, &Ready { taken }, &[])?;
            let (release, _) = message::receive::<Release>(&self.stream)?;
            server.add_orders(&release.orders)
        };
        match release() {
            Ok(()) => tracing::info!("the old process drains"),
            // It has gone, or hangs: this one accepts, and there is nothing to go back to.
            Err(error) => tracing::warn!(%error, "the old process does not answer any more"),
        }
    }
}

// Both

/// The process at the other end, if it is this user's or root's: whoever has the sockets has the devices.
fn trusted_peer(stream: &UnixStream) -> io::Result<u32> {
    let peer = rustix::net::sockopt::socket_peercred(stream)?;
    if !peer.uid.is_root() && peer.uid != rustix::process::geteuid() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("the other process is of user {}", peer.uid.as_raw()),
        ));
    }
    Ok(peer.pid.as_raw_nonzero().get().unsigned_abs())
}

fn check(protocol: u32) -> io::Result<()> {
    match protocol {
        PROTOCOL => Ok(()),
        other => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the other gateway hands over by version {other}, not {PROTOCOL}; restart it"),
        )),
    }
}

fn at(path: &Path, error: &io::Error) -> ServerError {
    ServerError::Handover(format!("{}: {error}", path.display()))
}

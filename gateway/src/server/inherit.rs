//! What a process goes on with that another one began: listening sockets, the secret of the tickets, an administrator's
//! orders.
//!
//! Sockets belong to the listener that is configured for their address. Where they come from is `activation`'s and
//! `handover`'s business.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};

use crate::listener::Bound;
use crate::tls::stek::Secret;
use crate::trust::denylist::Order;

use super::ServerError;

/// The name under which the admin listener's socket is passed.
pub(super) const ADMIN: &str = "admin";

/// What a process goes on with; by default nothing.
#[derive(Debug, Default)]
pub struct Inherited {
    groups: Vec<Group>,
    /// The secret of the tickets that are out.
    pub(super) ticket_secret: Option<Secret>,
    /// What an administrator ordered.
    pub(super) orders: BTreeSet<Order>,
}

/// Sockets on one address.
#[derive(Debug)]
struct Group {
    name: String,
    address: SocketAddr,
    sockets: Vec<TcpListener>,
    /// Whether they stay open elsewhere when this process is gone.
    kept_elsewhere: bool,
    claimed: bool,
}

/// Sockets that were passed for a configured address.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) bound: Bound,
    pub(super) kept_elsewhere: bool,
}

impl Inherited {
    /// Adds a socket that was passed under `name`. `kept_elsewhere` says that a service manager holds it too, whatever becomes
    /// of this process.
    ///
    /// # Errors
    /// It has no address: it is no TCP socket.
    pub(super) fn add(
        &mut self,
        name: &str,
        socket: TcpListener,
        kept_elsewhere: bool,
    ) -> std::io::Result<()> {
        let address = socket.local_addr()?;
        let known = self
            .groups
            .iter_mut()
            .find(|group| group.address == address);
        match known {
            Some(group) => group.sockets.push(socket),
            None => self.groups.push(Group {
                name: name.to_owned(),
                address,
                sockets: vec![socket],
                kept_elsewhere,
                claimed: false,
            }),
        }
        Ok(())
    }

    /// Takes the sockets for what is configured as `name` with `address`; those of the same name where the port is 0.
    ///
    /// # Errors
    /// They cannot be used.
    pub(super) fn claim(
        &mut self,
        key: &str,
        name: &str,
        address: SocketAddr,
    ) -> Result<Option<Claim>, ServerError> {
        let fits = |group: &&mut Group| {
            let any_port =
                address.port() == 0 && group.name == name && group.address.ip() == address.ip();
            !group.claimed && (group.address == address || any_port)
        };
        let Some(group) = self.groups.iter_mut().find(fits) else {
            return Ok(None);
        };
        group.claimed = true;
        let bound = Bound::adopt(group.address, std::mem::take(&mut group.sockets));
        let bound = bound.map_err(|error| ServerError::Bind {
            key: key.to_owned(),
            address,
            error,
        })?;
        Ok(Some(Claim {
            bound,
            kept_elsewhere: group.kept_elsewhere,
        }))
    }

    /// The addresses of the sockets that were claimed.
    pub(super) fn claimed(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        let claimed = self.groups.iter().filter(|group| group.claimed);
        claimed.map(|group| group.address)
    }

    /// A socket that nobody claimed and that stays open elsewhere, so that whoever connects to it would wait for ever: its
    /// name and its address.
    pub(super) fn forgotten(&self) -> Option<(&str, SocketAddr)> {
        let forgotten = |group: &&Group| group.kept_elsewhere && !group.claimed;
        let group = self.groups.iter().find(forgotten)?;
        Some((&group.name, group.address))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener};

    use super::Inherited;

    fn socket() -> (TcpListener, SocketAddr) {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    fn claimed(inherited: &mut Inherited, name: &str, address: SocketAddr) -> Option<SocketAddr> {
        let claim = inherited.claim("key", name, address).unwrap()?;
        Some(claim.bound.address())
    }

    #[test]
    fn sockets_go_by_address_and_by_name_where_any_port_will_do() {
        let mut inherited = Inherited::default();
        let ((one, first), (other, second)) = (socket(), socket());
        inherited
            .add("devices", one.try_clone().unwrap(), false)
            .unwrap();
        inherited.add("devices", one, false).unwrap();
        inherited.add("meters", other, false).unwrap();
        assert_eq!(claimed(&mut inherited, "renamed", first), Some(first));
        assert_eq!(claimed(&mut inherited, "renamed", first), None, "taken");
        let any_port = "127.0.0.1:0".parse().unwrap();
        assert_eq!(claimed(&mut inherited, "devices", any_port), None);
        let elsewhere = "127.0.0.2:0".parse().unwrap();
        assert_eq!(claimed(&mut inherited, "meters", elsewhere), None);
        assert_eq!(claimed(&mut inherited, "meters", any_port), Some(second));
        assert_eq!(inherited.claimed().collect::<Vec<_>>(), [first, second]);
    }

    #[test]
    fn what_a_service_manager_passes_must_not_be_forgotten() {
        let (one, address) = socket();
        let mut inherited = Inherited::default();
        inherited.add("devices", one, true).unwrap();
        assert_eq!(inherited.forgotten(), Some(("devices", address)));
        assert!(claimed(&mut inherited, "devices", address).is_some());
        assert_eq!(inherited.forgotten(), None);
    }
}

//! One device: who it is, its ticket slot, and what the server is expected to do with it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::client::ResolvesClientCert;

use super::identity::Identity;
use super::ticket::TicketSlot;

/// One device of the fleet. Nothing of it is shared with another. It lives in one shard, so that its locks are never contended
/// and cost some nanoseconds per connection.
#[derive(Debug)]
pub struct Device {
    /// Number within the fleet, from 0.
    pub number: usize,
    /// The newest ticket.
    pub tickets: Arc<TicketSlot>,
    /// Set where the server has to refuse the device; `None`: it has to serve it.
    pub to_be_refused: Option<Refusal>,
    identity: Mutex<Arc<Identity>>,
}

/// A refusal that is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// Which of [`super::Fleet::faults`] the device has.
    pub fault: u16,
    /// The TLS alert (RFC 8446 section 6.2) that Fleetgate's gateway would send.
    pub alert: u8,
}

impl Device {
    pub(super) fn new(
        number: usize,
        identity: Arc<Identity>,
        to_be_refused: Option<Refusal>,
    ) -> Device {
        Device {
            number,
            tickets: Arc::new(TicketSlot::default()),
            to_be_refused,
            identity: Mutex::new(identity),
        }
    }

    /// Who it is, for a connection that begins now.
    pub fn credentials(&self) -> Arc<dyn ResolvesClientCert> {
        Arc::clone(&*self.identity()) as Arc<dyn ResolvesClientCert>
    }

    /// Its id: the common name of its certificate, or its number where there is none.
    pub fn id(&self) -> String {
        let identity = self.identity();
        identity
            .common_name()
            .unwrap_or_else(|| format!("device-{:06}", self.number))
    }

    /// Every name by which a server may know it.
    pub fn identity_names(&self) -> Vec<String> {
        self.identity().names()
    }

    /// Gives the device another identity, from its next connection on. Its ticket was the old one's and is not offered again.
    pub fn renew(&self, identity: Arc<Identity>) {
        *self.identity() = identity;
    }

    fn identity(&self) -> MutexGuard<'_, Arc<Identity>> {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! One device's session ticket: a single slot that the newest ticket takes.
//!
//! The TLS library's own store is keyed by server name alone. Shared between devices it would let one device resume as
//! another; so each device has this slot instead, and nothing else.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;

/// The slot. The library asks for a type that may be shared between threads; in fact a device lives in one shard, so
/// the mutex is never contended and costs a few nanoseconds per handshake.
#[derive(Debug, Default)]
pub struct TicketSlot {
    state: Mutex<State>,
    received: AtomicU32,
}

#[derive(Debug, Default)]
struct State {
    offer: bool,
    offered: bool,
    ticket: Ticket,
    group: Option<NamedGroup>,
}

#[derive(Debug, Default)]
enum Ticket {
    #[default]
    None,
    Tls12(Box<Tls12ClientSessionValue>),
    Tls13(Box<Tls13ClientSessionValue>),
}

impl TicketSlot {
    /// Says whether the next handshake may offer the ticket.
    pub fn prepare(&self, offer: bool) {
        let mut state = self.state();
        state.offer = offer;
        state.offered = false;
    }

    /// Whether the handshake since [`TicketSlot::prepare`] offered a ticket.
    pub fn offered(&self) -> bool {
        self.state().offered
    }

    /// Whether there is a ticket to offer.
    pub fn has_ticket(&self) -> bool {
        !matches!(self.state().ticket, Ticket::None)
    }

    /// Throws the ticket away.
    pub fn forget(&self) {
        self.state().ticket = Ticket::None;
    }

    /// Tickets received since the device exists.
    pub fn received(&self) -> u32 {
        self.received.load(Ordering::Relaxed)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self, ticket: Ticket) {
        self.received.fetch_add(1, Ordering::Relaxed);
        self.state().ticket = ticket;
    }
}

impl ClientSessionStore for TicketSlot {
    fn set_kx_hint(&self, _server_name: ServerName<'static>, group: NamedGroup) {
        self.state().group = Some(group);
    }

    fn kx_hint(&self, _server_name: &ServerName<'_>) -> Option<NamedGroup> {
        self.state().group
    }

    fn set_tls12_session(&self, _server_name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.store(Ticket::Tls12(Box::new(value)));
    }

    /// A TLS 1.2 session may be offered again and again (RFC 5077), so it stays.
    fn tls12_session(&self, _server_name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        let mut state = self.state();
        match &state.ticket {
            Ticket::Tls12(session) if state.offer => {
                let session = session.as_ref().clone();
                state.offered = true;
                Some(session)
            }
            _ => None,
        }
    }

    fn remove_tls12_session(&self, _server_name: &ServerName<'static>) {
        let mut state = self.state();
        if let Ticket::Tls12(_) = state.ticket {
            state.ticket = Ticket::None;
        }
    }

    fn insert_tls13_ticket(
        &self,
        _server_name: ServerName<'static>,
        value: Tls13ClientSessionValue,
    ) {
        self.store(Ticket::Tls13(Box::new(value)));
    }

    /// A TLS 1.3 ticket is used once (RFC 8446 appendix C.4), so it leaves the slot.
    fn take_tls13_ticket(
        &self,
        _server_name: &ServerName<'static>,
    ) -> Option<Tls13ClientSessionValue> {
        let mut state = self.state();
        if !state.offer {
            return None;
        }
        match std::mem::take(&mut state.ticket) {
            Ticket::Tls13(ticket) => {
                state.offered = true;
                Some(*ticket)
            }
            other => {
                state.ticket = other;
                None
            }
        }
    }
}

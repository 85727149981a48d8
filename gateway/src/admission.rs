//! Which connection may start its handshake, when, and which is turned away.
//!
//! Two bounds. Handshakes in progress are bounded generously, because a slot held while a distant device thinks costs
//! memory only. Public-key work is bounded strictly: one turn at a time in each worker, with a look at the sockets between
//! turns ([`turns`]), so that established connections never wait for more than a turn or so. The order in which turns are
//! given, and who is too late for one, is decided by the pure [`queue`], which goes by the [`patience`] that devices show.
//! It does not know what a turn computes.

pub mod intake;
pub mod parked;
pub mod patience;
pub mod queue;
pub mod spread;
pub mod turns;

use std::cell::Cell;
use std::rc::Rc;

use crate::listener::Accepted;
use turns::Turns;

/// Bounds of one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Handshakes that may be in progress at once.
    pub max_handshakes: usize,
    /// Connections that may be open at once.
    pub max_connections: usize,
}

/// Why a connection is turned away before its handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shed {
    /// [`Settings::max_connections`] are open.
    Connections,
    /// [`Settings::max_handshakes`] are in progress.
    Handshakes,
    /// By the time of its turn, the device would leave before it is served.
    TooLate,
}

impl Shed {
    /// Every reason, for the metric that counts them.
    pub const ALL: [Self; 3] = [Self::Connections, Self::Handshakes, Self::TooLate];

    /// The metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Connections => "too_many_connections",
            Self::Handshakes => "too_many_handshakes",
            Self::TooLate => "too_late",
        }
    }
}

/// The bounds of one worker, and how much of them is used.
#[derive(Debug)]
pub struct Admission {
    settings: Settings,
    connections: Rc<Cell<usize>>,
    handshakes: Rc<Cell<usize>>,
}

/// Counts as one until it is dropped.
#[derive(Debug)]
pub struct Slot(Rc<Cell<usize>>);

impl Slot {
    fn take(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// A connection that may do its handshake.
#[derive(Debug)]
pub struct Admitted {
    accepted: Accepted,
    handshake: Slot,
    connection: Slot,
}

impl Admitted {
    /// The device's address.
    pub(crate) fn peer(&self) -> std::net::SocketAddr {
        self.accepted.peer()
    }

    /// When it was accepted.
    pub(crate) fn at(&self) -> std::time::Instant {
        self.accepted.at()
    }

    /// The socket, where the runtime does not poll it yet.
    pub(crate) fn unregistered(&self) -> Option<&std::net::TcpStream> {
        self.accepted.unregistered()
    }

    /// Ends the connection by a reset.
    pub(crate) fn reset(self) {
        self.accepted.reset();
    }

    /// What was accepted; the slot of the handshake, to be dropped with it; the slot of the connection.
    pub(crate) fn into_parts(self) -> (Accepted, Slot, Slot) {
        (self.accepted, self.handshake, self.connection)
    }
}

impl Admission {
    /// Bounds with nothing used.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            connections: Rc::default(),
            handshakes: Rc::default(),
        }
    }

    /// Number of connections open.
    pub fn open_connections(&self) -> usize {
        self.connections.get()
    }

    /// Admits `accepted` to its handshake. Where a bound is reached while more come than can be served, the one who waits
    /// longest for `turns` makes room for it.
    ///
    /// # Errors
    /// The connection is shed: it was reset before any cryptography, so the device learns at once.
    pub fn admit(&self, accepted: Accepted, turns: &Turns) -> Result<Admitted, Shed> {
        let full = if self.connections.get() >= self.settings.max_connections {
            Some(Shed::Connections)
        } else if self.handshakes.get() >= self.settings.max_handshakes {
            Some(Shed::Handshakes)
        } else {
            None
        };
        if let Some(reason) = full.filter(|reason| !turns.make_room(*reason)) {
            accepted.reset();
            return Err(reason);
        }
        Ok(Admitted {
            accepted,
            handshake: Slot::take(&self.handshakes),
            connection: Slot::take(&self.connections),
        })
    }
}

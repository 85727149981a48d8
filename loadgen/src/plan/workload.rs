//! What each arrival does: the modes as plain data, so that one loop drives them all.

use rand::Rng;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use super::arrival::{Share, random_of_share};

/// Of 100 arrivals in mixed mode this many are telemetry requests on an open connection.
const MIXED_TELEMETRY_PERCENT: u32 = 70;
/// Of 100 arrivals in mixed mode this many reconnect with a ticket; the rest reconnect with a full handshake.
const MIXED_RESUMED_PERCENT: u32 = 25;

/// What a run consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Each attempt: connect, full handshake, one GET, close.
    Full,
    /// Each attempt: connect, handshake with the device's newest ticket, one GET, close.
    Resume,
    /// Each attempt: one POST on the device's open connection.
    Telemetry,
    /// 70 % telemetry, 25 % reconnections with a ticket, 5 % full reconnections; connections stay open.
    Mixed,
    /// Connections are opened beforehand, one GET each, and then held.
    Idle,
}

/// One thing that a device does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Action {
    /// How it comes to a connection.
    pub connect: Connect,
    /// Whether the connection stays open for later actions.
    pub keep_open: bool,
    /// A telemetry POST instead of a GET without body.
    pub post: bool,
}

/// How a device comes to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connect {
    /// The open one; without one, a new one with the ticket if there is one.
    IfNeeded,
    /// A new one, offering the device's newest ticket.
    Resumed,
    /// A new one, offering nothing.
    Full,
}

impl Mode {
    /// What each device does once before the load begins: obtain a ticket, open a connection, or nothing.
    pub fn preparation(self) -> Option<Action> {
        match self {
            Mode::Full => None,
            Mode::Resume => Some(Action {
                connect: Connect::Full,
                keep_open: false,
                post: false,
            }),
            Mode::Telemetry | Mode::Mixed | Mode::Idle => Some(Action {
                connect: Connect::Full,
                keep_open: true,
                post: false,
            }),
        }
    }

    /// Whether devices hold a connection between their attempts.
    pub fn holds_connections(self) -> bool {
        matches!(self, Mode::Telemetry | Mode::Mixed | Mode::Idle)
    }
}

/// What one share's arrivals do, in order; endless.
#[derive(Debug)]
pub struct Actions {
    mode: Mode,
    random: StdRng,
}

impl Actions {
    /// The actions of one share.
    pub fn new(mode: Mode, seed: u64, share: Share) -> Actions {
        Actions {
            mode,
            random: random_of_share(!seed, share),
        }
    }

    /// The next arrival's action.
    pub fn draw(&mut self) -> Action {
        let connect = match self.mode {
            Mode::Full => Connect::Full,
            Mode::Resume => Connect::Resumed,
            Mode::Telemetry | Mode::Idle => Connect::IfNeeded,
            Mode::Mixed => match self.random.random_range(0..100) {
                roll if roll < MIXED_TELEMETRY_PERCENT => Connect::IfNeeded,
                roll if roll < MIXED_TELEMETRY_PERCENT + MIXED_RESUMED_PERCENT => Connect::Resumed,
                _ => Connect::Full,
            },
        };
        Action {
            connect,
            keep_open: self.mode.holds_connections(),
            post: connect == Connect::IfNeeded,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixed_shares_are_as_documented_and_seeded() {
        let share = Share { index: 0, of: 1 };
        let mut actions = Actions::new(Mode::Mixed, 3, share);
        let drawn: Vec<_> = (0..10_000).map(|_| actions.draw()).collect();
        let count = |wanted| drawn.iter().filter(|a| a.connect == wanted).count();
        assert!((6_800..7_200).contains(&count(Connect::IfNeeded)));
        assert!((2_300..2_700).contains(&count(Connect::Resumed)));
        assert!((400..600).contains(&count(Connect::Full)));
        let mut again = Actions::new(Mode::Mixed, 3, share);
        assert!(drawn.iter().all(|action| *action == again.draw()));
    }

    #[test]
    fn connect_modes_close_and_send_no_body() {
        let share = Share { index: 0, of: 1 };
        for mode in [Mode::Full, Mode::Resume] {
            let action = Actions::new(mode, 1, share).draw();
            assert!(!action.keep_open && !action.post);
        }
    }
}

//! What the two ends of an HTTP/2 connection know of each other: all of it that must outlive hyper's connection when that is
//! dropped over a quiet time.
//!
//! Between requests that is little: the client's settings, both windows of the connection and the number of the last stream.
//! Of header compression (RFC 7541) it is nothing. The gateway allows clients no dynamic table; and a new encoder of its own
//! goes on where the old one was, because entries are counted from the newest and the oldest are evicted first, so that
//! whatever the old one left in the client's table lies behind all that the new one refers to.

use super::frames::{ACK, DATA, Event, GOAWAY, HEADERS, Head, PREFACE, SETTINGS, WINDOW_UPDATE};

/// The size of a connection's window before anything is said about it (RFC 9113, 6.9.2).
const DEFAULT_WINDOW: i64 = 65_535;

/// How many settings have a meaning for a server: identifiers 1 to 6 (RFC 9113, 6.5.2).
const SETTINGS_KEPT: usize = 6;

/// The state of a connection with no stream open.
#[derive(Debug)]
pub(super) struct Ledger {
    /// What the client has set, by identifier from 1 on.
    settings: [Option<u32>; SETTINGS_KEPT],
    /// The last stream that the client opened.
    last_stream: u32,
    /// How many bytes of bodies the gateway may send, and the client.
    may_send: i64,
    may_receive: i64,
    /// SETTINGS frames that wait for an acknowledgement, of the gateway and of the client.
    ours_open: i32,
    theirs_open: i32,
    going_away: bool,
}

impl Ledger {
    /// Before anything was said.
    pub(super) fn new() -> Self {
        Self {
            settings: [None; SETTINGS_KEPT],
            last_stream: 0,
            may_send: DEFAULT_WINDOW,
            may_receive: DEFAULT_WINDOW,
            ours_open: 0,
            theirs_open: 0,
            going_away: false,
        }
    }

    /// The last stream that the client opened; 0 is none.
    pub(super) fn last_stream(&self) -> u32 {
        self.last_stream
    }

    /// Enters what the client sent.
    pub(super) fn arrived(&mut self, event: Event) {
        match event {
            Event::Frame(head) => match head.kind {
                SETTINGS if head.is_acknowledgement() => self.ours_open -= 1,
                SETTINGS => self.theirs_open += 1,
                DATA => self.may_receive -= i64::from(head.length),
                HEADERS => self.last_stream = self.last_stream.max(head.stream),
                GOAWAY => self.going_away = true,
                _ => {}
            },
            Event::Setting { id, value } => {
                let index = usize::from(id).wrapping_sub(1);
                if let Some(setting) = self.settings.get_mut(index) {
                    *setting = Some(value);
                }
            }
            Event::Increment(by) => self.may_send += i64::from(by),
        }
    }

    /// Enters what the gateway sent.
    pub(super) fn left(&mut self, event: Event) {
        match event {
            Event::Frame(head) => match head.kind {
                SETTINGS if head.is_acknowledgement() => self.theirs_open -= 1,
                SETTINGS => self.ours_open += 1,
                DATA => self.may_send -= i64::from(head.length),
                GOAWAY => self.going_away = true,
                _ => {}
            },
            Event::Setting { .. } => {}
            Event::Increment(by) => self.may_receive += i64::from(by),
        }
    }

    /// Whether a new server can be brought to where the old one is. It cannot while something is to be acknowledged, nor once
    /// either side goes away, nor with a window smaller than the one that it begins with: nothing that a client can say
    /// takes room away.
    pub(super) fn is_settled(&self) -> bool {
        self.ours_open == 0
            && self.theirs_open == 0
            && !self.going_away
            && self.may_send >= DEFAULT_WINDOW
    }

    /// What a client that is where this one is would say to a new server, before its next request.
    pub(super) fn greeting(&self) -> Vec<u8> {
        let settings: Vec<u8> = (1u16..)
            .zip(self.settings)
            .filter_map(|(id, value)| Some((id, value?)))
            .flat_map(|(id, value)| {
                let ([a, b], [c, d, e, f]) = (id.to_be_bytes(), value.to_be_bytes());
                [a, b, c, d, e, f]
            })
            .collect();
        let mut greeting = PREFACE.to_vec();
        greeting.extend_from_slice(&of_connection(SETTINGS, 0, settings.len()));
        greeting.extend_from_slice(&settings);
        greeting.extend_from_slice(&of_connection(SETTINGS, ACK, 0));
        greeting.extend(window_update(self.may_send - DEFAULT_WINDOW));
        greeting
    }

    /// Gives the client room to send `window` bytes, which a new server takes for granted. What tells it so.
    pub(super) fn open_window(&mut self, window: u32) -> Vec<u8> {
        let update = window_update(i64::from(window) - self.may_receive);
        self.may_receive = self.may_receive.max(i64::from(window));
        update
    }
}

fn of_connection(kind: u8, flags: u8, length: usize) -> [u8; 9] {
    Head {
        length: u32::try_from(length).unwrap_or(u32::MAX),
        kind,
        flags,
        stream: 0,
    }
    .encode()
}

/// Nothing where there is nothing to add: an increment of zero is an error (RFC 9113, 6.9).
fn window_update(by: i64) -> Vec<u8> {
    match u32::try_from(by) {
        Ok(by) if by > 0 => [&of_connection(WINDOW_UPDATE, 0, 4)[..], &by.to_be_bytes()].concat(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::frames::Scanner;
    use super::{ACK, DATA, Event, GOAWAY, HEADERS, Head, Ledger, SETTINGS};

    fn frame(kind: u8, flags: u8, stream: u32, length: u32) -> Event {
        Event::Frame(Head {
            length,
            kind,
            flags,
            stream,
        })
    }

    /// A ledger after both sides have said what they begin with, and the client that its window is larger by `more`.
    fn met(more: u32) -> Ledger {
        let mut ledger = Ledger::new();
        ledger.arrived(frame(SETTINGS, 0, 0, 12));
        ledger.arrived(Event::Setting { id: 2, value: 0 });
        ledger.arrived(Event::Setting { id: 4, value: 9 });
        ledger.arrived(Event::Increment(more));
        ledger.left(frame(SETTINGS, 0, 0, 0));
        ledger.left(frame(SETTINGS, ACK, 0, 0));
        ledger.arrived(frame(SETTINGS, ACK, 0, 0));
        ledger
    }

    #[test]
    fn a_greeting_brings_another_ledger_to_the_same_place() {
        let mut old = met(1000);
        old.arrived(frame(HEADERS, 5, 7, 20));
        old.left(frame(DATA, 1, 7, 900));
        assert!(old.is_settled());
        let mut new = Ledger::new();
        new.left(frame(SETTINGS, 0, 0, 0));
        Scanner::before_preface().scan(&old.greeting(), None, |event| {
            new.arrived(event);
            true
        });
        new.left(frame(SETTINGS, ACK, 0, 0));
        assert!(new.is_settled());
        assert_eq!(new.settings, old.settings);
        assert_eq!(new.may_send, old.may_send);
        assert_eq!(new.may_send, 65_535 + 1000 - 900);
    }

    #[test]
    fn what_is_open_is_not_settled() {
        assert!(met(0).is_settled());
        let cases: [fn(&mut Ledger); 5] = [
            |ledger| ledger.arrived(frame(SETTINGS, 0, 0, 0)),
            |ledger| ledger.left(frame(SETTINGS, 0, 0, 0)),
            |ledger| ledger.left(frame(DATA, 0, 1, 1)),
            |ledger| ledger.arrived(frame(GOAWAY, 0, 0, 8)),
            |ledger| ledger.left(frame(GOAWAY, 0, 0, 8)),
        ];
        for (number, change) in cases.iter().enumerate() {
            let mut ledger = met(0);
            change(&mut ledger);
            assert!(!ledger.is_settled(), "{number}");
        }
    }

    #[test]
    fn the_client_gets_back_the_room_that_it_used() {
        let mut ledger = met(0);
        ledger.left(Event::Increment(100_000 - 65_535));
        assert_eq!(ledger.open_window(100_000), b"", "it has all of it");
        ledger.arrived(frame(DATA, 0, 1, 300));
        assert_eq!(
            ledger.open_window(100_000),
            [0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 1, 44]
        );
        assert_eq!(ledger.open_window(100_000), b"");
    }
}

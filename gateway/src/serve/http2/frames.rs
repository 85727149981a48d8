//! HTTP/2 frames in a stream of bytes that may be cut anywhere (RFC 9113, 4.1).
//!
//! It reads heads, settings and window increments, and skips everything else. It does not judge frames: hyper does.

/// Frame types (RFC 9113, 6).
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const SETTINGS: u8 = 4;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;

/// The flag of a SETTINGS frame that acknowledges another.
pub(super) const ACK: u8 = 1;

/// What a client says first (RFC 9113, 3.4).
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Length of a head in bytes.
const HEAD: usize = 9;

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes that follow.
    pub(super) length: u32,
    pub(super) kind: u8,
    pub(super) flags: u8,
    /// 0 is the connection itself.
    pub(super) stream: u32,
}

impl Head {
    /// The head as bytes.
    pub(super) fn encode(self) -> [u8; HEAD] {
        let [_, a, b, c] = self.length.to_be_bytes();
        let [d, e, f, g] = self.stream.to_be_bytes();
        [a, b, c, self.kind, self.flags, d, e, f, g]
    }

    fn decode([a, b, c, kind, flags, d, e, f, g]: [u8; HEAD]) -> Self {
        Self {
            length: u32::from_be_bytes([0, a, b, c]),
            kind,
            flags,
            // The highest bit is reserved and means nothing.
            stream: u32::from_be_bytes([d & 0x7f, e, f, g]),
        }
    }

    pub(super) fn is_acknowledgement(self) -> bool {
        self.kind == SETTINGS && self.flags & ACK != 0
    }
}

/// What the scanner came upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// A frame begins.
    Frame(Head),
    /// One setting of a SETTINGS frame.
    Setting { id: u16, value: u32 },
    /// A WINDOW_UPDATE frame's increment for the whole connection.
    Increment(u32),
}

/// Cuts what goes one way on one connection into frames.
#[derive(Debug)]
pub(super) struct Scanner {
    /// The bytes of a head, a setting or an increment that have come.
    held: [u8; HEAD],
    held_len: usize,
    /// The frame whose payload is being read, and how much of it is to come.
    frame: Head,
    left: u32,
    dropped: bool,
}

impl Scanner {
    /// At the beginning of a frame.
    pub(super) fn new() -> Self {
        Self {
            held: [0; HEAD],
            held_len: 0,
            frame: Head {
                length: 0,
                kind: u8::MAX,
                flags: 0,
                stream: 0,
            },
            left: 0,
            dropped: false,
        }
    }

    /// Before a client's preface.
    pub(super) fn before_preface() -> Self {
        Self {
            left: PREFACE.len() as u32,
            ..Self::new()
        }
    }

    /// Whether the last byte that came was the last of a frame.
    pub(super) fn is_between_frames(&self) -> bool {
        self.left == 0 && self.held_len == 0
    }

    /// Takes `bytes`, the next ones of the stream, and tells `visit` what is in them. At the beginning of a frame `visit` says
    /// whether it goes on; what does is appended to `kept`, heads not before they are complete. Of a frame that does not,
    /// nothing but the beginning is told.
    pub(super) fn scan(
        &mut self,
        mut bytes: &[u8],
        mut kept: Option<&mut Vec<u8>>,
        mut visit: impl FnMut(Event) -> bool,
    ) {
        while !bytes.is_empty() {
            let wanted = match self.unit() {
                Some(unit) => unit - self.held_len,
                None => self.left as usize,
            };
            let (now, rest) = bytes.split_at(wanted.min(bytes.len()));
            bytes = rest;
            let is_head = self.left == 0;
            if !is_head {
                self.left -= now.len() as u32;
                if let (Some(kept), false) = (kept.as_deref_mut(), self.dropped) {
                    kept.extend_from_slice(now);
                }
            }
            let Some(unit) = (if is_head {
                Some(HEAD)
            } else {
                self.unit_of_payload()
            }) else {
                continue;
            };
            let end = self.held_len + now.len();
            if let Some(room) = self.held.get_mut(self.held_len..end) {
                room.copy_from_slice(now);
            }
            self.held_len = end;
            if end == unit {
                self.held_len = 0;
                self.complete(is_head, &mut kept, &mut visit);
            } else if !is_head && self.left == 0 {
                // A payload that is no whole number of units. hyper refuses it.
                self.held_len = 0;
            }
        }
    }

    fn complete(
        &mut self,
        is_head: bool,
        kept: &mut Option<&mut Vec<u8>>,
        visit: &mut impl FnMut(Event) -> bool,
    ) {
        if is_head {
            self.frame = Head::decode(self.held);
            self.left = self.frame.length;
            self.dropped = !visit(Event::Frame(self.frame));
            if let (Some(kept), false) = (kept, self.dropped) {
                kept.extend_from_slice(&self.held);
            }
            return;
        }
        let [a, b, c, d, e, f, ..] = self.held;
        visit(match self.frame.kind {
            SETTINGS => Event::Setting {
                id: u16::from_be_bytes([a, b]),
                value: u32::from_be_bytes([c, d, e, f]),
            },
            _ => Event::Increment(u32::from_be_bytes([a & 0x7f, b, c, d])),
        });
    }

    /// The length of what is read as one piece; `None` for a payload that is skipped.
    fn unit(&self) -> Option<usize> {
        if self.left == 0 {
            Some(HEAD)
        } else {
            // A unit may be longer than what is left of a payload that is wrong.
            self.unit_of_payload()
                .map(|unit| unit.min(self.held_len + self.left as usize))
        }
    }

    fn unit_of_payload(&self) -> Option<usize> {
        match (self.frame.kind, self.frame.stream, self.dropped) {
            (_, _, true) => None,
            (SETTINGS, _, _) => Some(6),
            (WINDOW_UPDATE, 0, _) => Some(4),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{ACK, DATA, Event, HEADERS, Head, PREFACE, SETTINGS, Scanner, WINDOW_UPDATE};

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap();
        let head = Head {
            length,
            kind,
            flags,
            stream,
        };
        [&head.encode()[..], payload].concat()
    }

    /// What is seen, and what is kept, of `bytes` cut after every `cut` bytes.
    fn scan(
        mut scanner: Scanner,
        bytes: &[u8],
        cut: usize,
        keep: impl Fn(Head) -> bool,
    ) -> (Vec<Event>, Vec<u8>, bool) {
        let (mut seen, mut kept) = (Vec::new(), Vec::new());
        for piece in bytes.chunks(cut) {
            scanner.scan(piece, Some(&mut kept), |event| {
                seen.push(event);
                match event {
                    Event::Frame(head) => keep(head),
                    _ => true,
                }
            });
        }
        (seen, kept, scanner.is_between_frames())
    }

    #[test]
    fn the_same_is_seen_wherever_the_bytes_are_cut() {
        let parts = [
            PREFACE.to_vec(),
            frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0]),
            frame(WINDOW_UPDATE, 0, 0, &[0x80, 0, 1, 0]),
            frame(HEADERS, 5, 1, b"anything"),
            frame(DATA, 1, 1, &[]),
            frame(SETTINGS, ACK, 0, &[]),
            frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 9]),
        ];
        let bytes = parts.concat();
        let expected = [
            Event::Setting { id: 1, value: 0 },
            Event::Setting {
                id: 4,
                value: 65536,
            },
            Event::Increment(256),
        ];
        for cut in 1..=bytes.len() {
            let (seen, kept, between) = scan(Scanner::before_preface(), &bytes, cut, |_| true);
            let frames = |event: &&Event| matches!(event, Event::Frame(_));
            assert_eq!(seen.iter().filter(frames).count(), 6, "{cut}");
            let rest: Vec<Event> = seen
                .iter()
                .filter(|event| !frames(event))
                .copied()
                .collect();
            assert_eq!(rest, expected, "{cut}");
            assert_eq!(kept, bytes, "{cut}");
            assert!(between, "{cut}");
        }
    }

    #[test]
    fn a_dropped_frame_is_dropped_whole() {
        let bytes = [
            frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0]),
            frame(DATA, 0, 3, b"kept"),
            frame(DATA, 0, 1, b"dropped"),
            frame(DATA, 0, 3, b"kept too"),
        ];
        let wanted = [&bytes[1][..], &bytes[3][..]].concat();
        for cut in 1..=bytes.concat().len() {
            let (seen, kept, _) = scan(Scanner::new(), &bytes.concat(), cut, |head| {
                head.stream == 3
            });
            assert_eq!(kept, wanted, "{cut}");
            assert_eq!(
                seen.len(),
                4,
                "the settings of a dropped frame count for nothing"
            );
        }
    }

    proptest! {
        #[test]
        fn anything_goes_through_as_it_is(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 1..40usize) {
            let mut scanner = Scanner::new();
            let mut kept = Vec::new();
            for piece in bytes.chunks(cut) {
                scanner.scan(piece, Some(&mut kept), |_| true);
            }
            // Only a head that is not complete is held back.
            prop_assert!(bytes.starts_with(&kept));
            prop_assert!(bytes.len() - kept.len() < 9);
        }
    }
}

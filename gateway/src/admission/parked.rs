//! A connection that waits for its first turn without a task, a timer or a place in the runtime's poll set.
//!
//! In a storm most connections come no further than this, and what they cost is taken from those who are served. That its
//! device has left is noticed only when its turn has come.

use std::io::{self, Read as _};

use crate::admission::Admitted;
use crate::limits::SourceSlot;
use crate::metrics::Open;

/// A connection with its hello.
#[derive(Debug)]
pub struct Parked {
    /// The connection.
    pub admitted: Admitted,
    /// What came over it.
    pub received: Vec<u8>,
    /// The listener that it came to, by its place in the configuration.
    pub listener: usize,
    /// What counts it.
    pub guards: Guards,
}

/// Counts a connection for as long as it is open.
#[derive(Debug)]
pub struct Guards {
    /// In the metrics.
    pub open: Open,
    /// Among those of its source.
    pub slot: SourceSlot,
}

/// What is read at once: few hellos are longer.
const PIECE: usize = 4096;

impl Parked {
    /// Reads what has arrived. Returns whether the device is still there.
    pub fn read_on(&mut self) -> bool {
        let mut piece = [0; PIECE];
        loop {
            let Some(mut socket) = self.admitted.unregistered() else {
                return true;
            };
            match socket.read(&mut piece) {
                Ok(0) => return false,
                Ok(length) => {
                    let piece = piece.get(..length).unwrap_or_default();
                    self.received.extend_from_slice(piece);
                    if length < PIECE || self.received.len() > 4 * PIECE {
                        return true;
                    }
                }
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
    }
}

//! `ticket-expiry-wave`: the tickets of all devices become worthless in one instant, and each makes a full handshake at its
//! next turn.

use serde::{Deserialize, Serialize};

use crate::plan::spread::Spread;

/// Settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TicketExpiryWave {
    /// When, after that instant, the devices come back, each once.
    pub returns: Spread,
}

//! `rotate-certificates`: devices get new identities while everything runs. Each closes its connection, forgets its ticket
//! and comes back with its new certificate in a full handshake.

use serde::{Deserialize, Serialize};

use crate::plan::spread::Spread;

/// Settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RotateCertificates {
    /// When the devices change, each once.
    pub changes: Spread,
}

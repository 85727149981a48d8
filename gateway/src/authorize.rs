//! Whether an identified device may be served now: verified, in date, allowed by the policy.
//!
//! Pure, and the only maker of [`Permit`]. It knows no TLS type and reads no clock. It runs after every handshake,
//! full or resumed, because a resumed handshake verifies no certificate.

use std::sync::Arc;

use crate::identity::Identified;

/// Who may be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Policy {
    /// Every device whose chain verifies.
    AllowAll,
}

/// Proof that a device was authorized. Routing and forwarding take it by reference and cannot be called without one.
#[derive(Debug, Clone)]
pub struct Permit {
    device: Arc<Identified>,
}

impl Permit {
    /// The device that was authorized.
    pub fn device(&self) -> &Arc<Identified> {
        &self.device
    }
}

/// Why an identified device is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The chain is not valid yet.
    #[error("the device's certificate is not valid yet")]
    NotYetValid,
    /// The chain is no longer valid.
    #[error("the device's certificate has expired")]
    Expired,
    /// The chain's anchor is not trusted any more.
    #[error("the device's trust anchor was removed")]
    AnchorRemoved,
}

impl Denied {
    /// Every reason, for the metric that counts them.
    pub const ALL: [Self; 3] = [Self::NotYetValid, Self::Expired, Self::AnchorRemoved];

    /// The metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::NotYetValid => "not_yet_valid",
            Self::Expired => "expired",
            Self::AnchorRemoved => "anchor_removed",
        }
    }
}

/// Authorizes `device` at `now` (seconds since the Unix epoch). `trusted` says whether its anchor is trusted now, which may be
/// later than the device's handshake began.
///
/// # Errors
/// The reason for the refusal.
pub fn authorize(
    policy: &Policy,
    device: &Arc<Identified>,
    trusted: impl Fn(&Identified) -> bool,
    now: u64,
) -> Result<Permit, Denied> {
    if now < device.not_before() {
        return Err(Denied::NotYetValid);
    }
    if now > device.not_after() {
        return Err(Denied::Expired);
    }
    if !trusted(device) {
        return Err(Denied::AnchorRemoved);
    }
    match policy {
        Policy::AllowAll => Ok(Permit {
            device: Arc::clone(device),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::{Arc, Denied, Identified, Policy, authorize};

    fn device() -> Arc<Identified> {
        Arc::new(Identified::for_tests("device-000001", 100, 200))
    }

    #[test]
    fn the_window_is_inclusive_at_both_ends() {
        let at = |now| authorize(&Policy::AllowAll, &device(), |_| true, now);
        for now in [100, 150, 200] {
            assert_eq!(at(now).unwrap().device().device_id(), "device-000001");
        }
        assert_eq!(at(99).unwrap_err(), Denied::NotYetValid);
        assert_eq!(at(201).unwrap_err(), Denied::Expired);
    }

    #[test]
    fn an_anchor_that_was_removed_since_the_handshake_began_counts() {
        let denied = authorize(&Policy::AllowAll, &device(), |_| false, 150);
        assert_eq!(denied.unwrap_err(), Denied::AnchorRemoved);
    }
}

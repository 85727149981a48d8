//! Whether a device may be served now: verified, in date, not revoked, allowed by the policy.
//!
//! Pure, and the only maker of [`Permit`]. It knows no TLS type and reads no clock. It runs after every handshake, full or
//! resumed, because a resumed handshake verifies no certificate; and again for every open connection when something that
//! it looks at has changed.

use std::collections::HashSet;
use std::sync::Arc;

use crate::identity::Identified;

/// Who may be served, by device id. What is denied is denied whatever else is allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// The ids that may be served; `None` is every device whose chain verifies.
    pub allow: Option<DeviceIds>,
    /// The ids that may not.
    pub deny: DeviceIds,
}

impl Policy {
    /// Whether `device_id` may be served.
    pub fn permits(&self, device_id: &str) -> bool {
        let allowed = self
            .allow
            .as_ref()
            .is_none_or(|allow| allow.contains(device_id));
        allowed && !self.deny.contains(device_id)
    }
}

/// A set of device ids, given one by one or by patterns in which `*` stands for any text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceIds {
    exact: HashSet<String>,
    patterns: Vec<String>,
}

impl DeviceIds {
    /// The ids and patterns in `list`.
    pub fn new(list: Vec<String>) -> Self {
        let (patterns, exact): (Vec<_>, Vec<_>) =
            list.into_iter().partition(|text| text.contains('*'));
        Self {
            exact: exact.into_iter().collect(),
            patterns,
        }
    }

    /// Whether `device_id` is in the set.
    pub fn contains(&self, device_id: &str) -> bool {
        self.exact.contains(device_id)
            || self
                .patterns
                .iter()
                .any(|pattern| matches(pattern, device_id))
    }
}

/// Whether `text` fits `pattern`. Each piece between stars is taken where it first fits, which misses nothing as long as
/// the last piece is taken from the end.
fn matches(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = pieces.next_back() else {
        return rest.is_empty();
    };
    for piece in pieces {
        match rest.split_once(piece) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// What is known about a device now that its certificate does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Whether the chain's anchor is trusted now, which may be later than the device's handshake began.
    pub anchor_is_trusted: bool,
    /// What lists and orders say about its revocation.
    pub revocation: Revocation,
    /// What a responder says about it, if one is asked.
    pub responder: Revocation,
}

/// What is known about the revocation of a chain's certificates, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Revocation {
    /// None of them is revoked, or nobody asks.
    Good,
    /// Nothing is known that would be fresh enough, and the trust domain says to refuse then.
    Unknown,
    /// One of them is revoked.
    Revoked,
}

/// Proof that a connection was authorized. Routing and forwarding take it by reference and cannot be called without one.
#[derive(Debug, Clone)]
pub struct Permit {
    device: Option<Arc<Identified>>,
}

impl Permit {
    /// The device that was authorized. `None` where a trust domain lets anybody in and this peer presented no
    /// certificate: such a permit opens only routes that say so.
    pub fn device(&self) -> Option<&Arc<Identified>> {
        self.device.as_ref()
    }

    /// The device's id for a log line.
    pub fn device_id(&self) -> &str {
        self.device.as_ref().map_or("", |device| device.device_id())
    }
}

/// Why a peer is not served.
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
    /// A list, a responder or an administrator revoked a certificate of the chain.
    #[error("the device's certificate is revoked")]
    Revoked,
    /// Nothing fresh is known about the certificate's revocation.
    #[error("nothing fresh is known about the revocation of the device's certificate")]
    RevocationUnknown,
    /// The policy does not allow the device.
    #[error("the policy does not allow the device")]
    Policy,
    /// No certificate, where one is needed.
    #[error("a device certificate is needed")]
    NoDevice,
    /// The device was verified by other rules than those in force.
    #[error("the rules by which the device was verified have changed")]
    RulesChanged,
    /// The trust domain is not configured any more.
    #[error("the trust domain was removed")]
    DomainRemoved,
    /// The device has as many connections as it may, and opened another.
    #[error("a newer connection of the device takes its place")]
    Superseded,
    /// An administrator ended its open connections; it may come back.
    #[error("an administrator disconnected the device")]
    Disconnected,
}

impl Denied {
    /// Every reason, for the metric that counts them.
    pub const ALL: [Self; 11] = [
        Self::NotYetValid,
        Self::Expired,
        Self::AnchorRemoved,
        Self::Revoked,
        Self::RevocationUnknown,
        Self::Policy,
        Self::NoDevice,
        Self::RulesChanged,
        Self::DomainRemoved,
        Self::Superseded,
        Self::Disconnected,
    ];

    /// The metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::NotYetValid => "not_yet_valid",
            Self::Expired => "expired",
            Self::AnchorRemoved => "anchor_removed",
            Self::Revoked => "revoked",
            Self::RevocationUnknown => "revocation_unknown",
            Self::Policy => "policy",
            Self::NoDevice => "no_device",
            Self::RulesChanged => "rules_changed",
            Self::DomainRemoved => "domain_removed",
            Self::Superseded => "superseded",
            Self::Disconnected => "disconnected",
        }
    }
}

/// Authorizes `device` at `now` (seconds since the Unix epoch).
///
/// # Errors
/// The reason for the refusal.
pub fn authorize(
    policy: &Policy,
    device: &Arc<Identified>,
    standing: Standing,
    now: u64,
) -> Result<Permit, Denied> {
    if now < device.not_before() {
        return Err(Denied::NotYetValid);
    }
    if now > device.not_after() {
        return Err(Denied::Expired);
    }
    if !standing.anchor_is_trusted {
        return Err(Denied::AnchorRemoved);
    }
    match standing.revocation.max(standing.responder) {
        Revocation::Good => {}
        Revocation::Revoked => return Err(Denied::Revoked),
        Revocation::Unknown => return Err(Denied::RevocationUnknown),
    }
    if !policy.permits(device.device_id()) {
        return Err(Denied::Policy);
    }
    Ok(Permit {
        device: Some(Arc::clone(device)),
    })
}

/// Authorizes a peer without a certificate where the trust domain has client authentication as an option.
///
/// # Errors
/// It has not.
pub fn authorize_anonymous(client_auth_is_optional: bool) -> Result<Permit, Denied> {
    if client_auth_is_optional {
        Ok(Permit { device: None })
    } else {
        Err(Denied::NoDevice)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Arc, Denied, DeviceIds, Identified, Policy, Revocation, Standing, authorize,
        authorize_anonymous, matches,
    };

    const GOOD: Standing = Standing {
        anchor_is_trusted: true,
        revocation: Revocation::Good,
        responder: Revocation::Good,
    };

    fn device() -> Arc<Identified> {
        Arc::new(Identified::for_tests("device-000001", 100, 200))
    }

    fn denied(policy: &Policy, standing: Standing) -> Denied {
        authorize(policy, &device(), standing, 150).unwrap_err()
    }

    #[test]
    fn the_window_is_inclusive_at_both_ends() {
        let at = |now| authorize(&Policy::default(), &device(), GOOD, now);
        for now in [100, 150, 200] {
            assert_eq!(at(now).unwrap().device_id(), "device-000001");
        }
        assert_eq!(at(99).unwrap_err(), Denied::NotYetValid);
        assert_eq!(at(201).unwrap_err(), Denied::Expired);
    }

    #[test]
    fn what_changed_since_the_handshake_began_counts() {
        let everybody = Policy::default();
        let standing = |anchor_is_trusted, revocation| Standing {
            anchor_is_trusted,
            revocation,
            ..GOOD
        };
        let responder = Standing {
            responder: Revocation::Revoked,
            ..GOOD
        };
        assert_eq!(denied(&everybody, responder), Denied::Revoked);
        assert_eq!(
            denied(&everybody, standing(false, Revocation::Good)),
            Denied::AnchorRemoved
        );
        assert_eq!(
            denied(&everybody, standing(true, Revocation::Revoked)),
            Denied::Revoked
        );
        assert_eq!(
            denied(&everybody, standing(true, Revocation::Unknown)),
            Denied::RevocationUnknown
        );
    }

    #[test]
    fn denial_goes_before_allowance() {
        let ids = |list: &[&str]| DeviceIds::new(list.iter().map(|id| (*id).to_owned()).collect());
        let policy = Policy {
            allow: Some(ids(&["device-*", "sensor-7"])),
            deny: ids(&["*-000001"]),
        };
        assert_eq!(denied(&policy, GOOD), Denied::Policy);
        assert!(policy.permits("device-000002") && policy.permits("sensor-7"));
        assert!(
            !policy.permits("sensor-8"),
            "who is not listed is not allowed"
        );
        assert!(Policy::default().permits("anybody"));
    }

    #[test]
    fn patterns() {
        for (pattern, text) in [
            ("*", ""),
            ("a*", "a"),
            ("a*c", "abc"),
            ("*b*b", "abb"),
            ("a*b*c", "aXbYbc"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("a*", "b"),
            ("a*a", "a"),
            ("*b*b", "ab"),
            ("a*b*c", "acb"),
            ("a", "ab"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn nobody_without_a_certificate_is_a_device() {
        assert!(authorize_anonymous(true).unwrap().device().is_none());
        assert_eq!(authorize_anonymous(false).unwrap_err(), Denied::NoDevice);
    }
}

//! What a session ticket carries, and when it is honoured.
//!
//! A resumed handshake verifies no certificate: whoever holds an honoured ticket is that device. So a ticket is honoured
//! only inside its resumption scope, within its lineage's age, and after the device's chain was looked up and found good
//! again. In doubt it is declined, which costs the device a full handshake; it is never failed with an alert.
//!
//! A lineage is a full handshake and all resumptions that descend from it. Its start travels in every ticket, so that
//! resuming for ever does not postpone the next full handshake for ever.

use rustls::pki_types::CertificateDer;

use crate::authorize::Denied;
use crate::tls::reader::Reader;
use crate::verify::Refusal;
use crate::verify::cache::ChainHash;

/// How sessions are resumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether tickets are issued and accepted at all.
    pub enabled: bool,
    /// Seconds after which ticket keys are rotated; a ticket is accepted for at least this long.
    pub rotation: u64,
    /// The oldest lineage, in seconds, that may still be resumed.
    pub max_lineage_age: u64,
    /// What tickets carry of the device's chain.
    pub tickets: Format,
    /// The file with the secret that the ticket keys are derived from. `None` generates one that ends with the process.
    pub secret_file: Option<std::path::PathBuf>,
}

/// What a ticket carries of the device's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Its hash. Honoured where the cache of verified chains holds the chain, declined elsewhere; a fifth of the size.
    Compact,
    /// Its certificates as well, so that whoever has the ticket secret can verify it again.
    SelfContained,
}

/// Why a presented ticket was declined into a full handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Declined {
    /// Sealed with a key that this scope does not have (any more), damaged, or never a ticket of ours.
    UnknownKey,
    /// Opened, but its contents are not understood.
    Malformed,
    /// The lineage is older than [`Settings::max_lineage_age`], or starts in the future.
    LineageTooOld,
    /// A compact ticket whose chain the cache does not hold any more.
    ChainForgotten,
    /// The device's chain does not verify now: out of date, or its anchor is gone.
    ChainRefused,
    /// A certificate of the chain was revoked, or nothing fresh is known about that.
    Revoked,
    /// The device is not permitted any more.
    NotPermitted,
}

impl Declined {
    /// Every reason, for the metric that counts them.
    pub const ALL: [Self; 7] = [
        Self::UnknownKey,
        Self::Malformed,
        Self::LineageTooOld,
        Self::ChainForgotten,
        Self::ChainRefused,
        Self::Revoked,
        Self::NotPermitted,
    ];

    /// Why a device that is not to be served does not resume either. The full handshake that follows tells it.
    pub fn of_denied(denied: Denied) -> Self {
        match denied {
            Denied::Revoked | Denied::RevocationUnknown => Self::Revoked,
            Denied::Policy | Denied::Disconnected => Self::NotPermitted,
            Denied::NotYetValid
            | Denied::Expired
            | Denied::AnchorRemoved
            | Denied::NoDevice
            | Denied::RulesChanged
            | Denied::DomainRemoved
            | Denied::Superseded => Self::ChainRefused,
        }
    }

    /// Why a device does not resume whose chain was verified again, and refused.
    pub fn of_refusal(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Revoked | Refusal::RevocationUnknown => Self::Revoked,
            _ => Self::ChainRefused,
        }
    }

    /// The metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::UnknownKey => "unknown_key",
            Self::Malformed => "malformed",
            Self::LineageTooOld => "lineage_too_old",
            Self::ChainForgotten => "chain_forgotten",
            Self::ChainRefused => "chain_refused",
            Self::Revoked => "revoked",
            Self::NotPermitted => "not_permitted",
        }
    }
}

/// Clocks of instances that share a secret may differ by this many seconds.
const MAX_CLOCK_SKEW: u64 = 60;

const FORMAT: u8 = 1;
const HEAD_LEN: usize = 1 + 8 + 32;

/// The opened contents of a ticket.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TicketContents<'a> {
    /// Start of the lineage, in seconds since the Unix epoch.
    pub(super) lineage_start: u64,
    /// The device's chain, by hash; trustworthy because the ticket is authenticated.
    pub(super) chain: ChainHash,
    /// The TLS library's session value.
    pub(super) session: &'a [u8],
}

impl<'a> TicketContents<'a> {
    /// `None` where the session value is not laid out as expected: then no ticket is better than one that cannot be used.
    pub(super) fn encode(&self, format: Format) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(HEAD_LEN + self.session.len());
        bytes.push(FORMAT);
        bytes.extend_from_slice(&self.lineage_start.to_be_bytes());
        bytes.extend_from_slice(self.chain.as_bytes());
        let parts = SessionParts::of(self.session)?;
        if format == Format::Compact && parts.chain.is_some() {
            bytes.extend_from_slice(parts.before);
            bytes.push(0);
            bytes.extend_from_slice(parts.after);
        } else {
            bytes.extend_from_slice(self.session);
        }
        Some(bytes)
    }

    pub(super) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (format, rest) = bytes.split_first()?;
        let (lineage_start, rest) = rest.split_first_chunk::<8>()?;
        let (chain, session) = rest.split_first_chunk::<32>()?;
        (*format == FORMAT).then(|| Self {
            lineage_start: u64::from_be_bytes(*lineage_start),
            chain: ChainHash::new(*chain),
            session,
        })
    }

    /// Whether the lineage may still be resumed at `now`.
    pub(super) fn lineage_is_young(&self, max_age: u64, now: u64) -> bool {
        self.lineage_start <= now.saturating_add(MAX_CLOCK_SKEW)
            && now.saturating_sub(self.lineage_start) <= max_age
    }
}

/// rustls's encoded session value around the client's certificates. Without them it is as good to rustls, which does not
/// look at them when it resumes.
///
/// The layout is rustls's own and not promised. Where it is not what is expected the answer is `None`, no ticket is issued
/// or honoured, and a test over a real handshake fails.
struct SessionParts<'a> {
    before: &'a [u8],
    /// The list of certificates; `None` where the value has none.
    chain: Option<&'a [u8]>,
    after: &'a [u8],
}

impl<'a> SessionParts<'a> {
    fn of(session: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(session);
        if reader.byte()? == 1 {
            let length = reader.byte()?;
            reader.take(usize::from(length))?;
        }
        reader.take(2 + 2)?;
        let secret = reader.byte()?;
        reader.take(usize::from(secret))?;
        reader.byte()?;
        let before = session.get(..session.len() - reader.0.len())?;
        let chain = match reader.byte()? {
            0 => None,
            1 => {
                let length = reader.u24()?;
                Some(reader.take(length)?)
            }
            _ => return None,
        };
        Some(Self {
            before,
            chain,
            after: reader.0,
        })
    }
}

/// The client certificates inside rustls's encoded session value; none where the ticket is a compact one.
pub(super) fn certificates_of(session: &[u8]) -> Option<Vec<CertificateDer<'_>>> {
    let mut list = Reader(SessionParts::of(session)?.chain.unwrap_or_default());
    let mut certificates = Vec::new();
    while !list.0.is_empty() {
        let length = list.u24()?;
        certificates.push(CertificateDer::from(list.take(length)?));
    }
    Some(certificates)
}

#[cfg(test)]
mod tests {
    use super::{ChainHash, Format, MAX_CLOCK_SKEW, TicketContents, certificates_of};

    /// A session value as rustls lays it out, with two certificates.
    fn session() -> Vec<u8> {
        let mut session = vec![
            1, 3, b'a', b'.', b'b', 3, 4, 0x13, 1, 2, 7, 7, 1, 1, 0, 0, 11,
        ];
        session.extend_from_slice(&[0, 0, 2, 30, 31, 0, 0, 3, 40, 41, 42]);
        session.extend_from_slice(b"tail");
        session
    }

    fn contents(session: &[u8], lineage_start: u64) -> TicketContents<'_> {
        TicketContents {
            lineage_start,
            chain: ChainHash::new([9; 32]),
            session,
        }
    }

    #[test]
    fn self_contained_contents_survive_encoding() {
        let session = session();
        let contents = contents(&session, 77);
        let encoded = contents.encode(Format::SelfContained).unwrap();
        assert_eq!(TicketContents::decode(&encoded).unwrap(), contents);
        for length in 0..41 {
            assert!(TicketContents::decode(&encoded[..length]).is_none());
        }
        let mut other_format = encoded;
        other_format[0] = 2;
        assert!(TicketContents::decode(&other_format).is_none());
    }

    #[test]
    fn compact_contents_leave_only_the_certificates_out() {
        let session = session();
        let encoded = contents(&session, 77).encode(Format::Compact).unwrap();
        let decoded = TicketContents::decode(&encoded).unwrap();
        let expected = [&session[..13], &[0], b"tail"].concat();
        assert_eq!(decoded.session, expected);
        assert_eq!(certificates_of(decoded.session).unwrap(), []);
        // What has no certificates already stays as it is.
        let again = contents(&expected, 77).encode(Format::Compact).unwrap();
        assert_eq!(again, encoded);
    }

    #[test]
    fn a_session_value_of_another_layout_makes_no_ticket() {
        assert!(contents(b"session", 77).encode(Format::Compact).is_none());
    }

    #[test]
    fn lineages_grow_old() {
        let contents = contents(b"", 1_000);
        assert!(contents.lineage_is_young(500, 1_500));
        assert!(!contents.lineage_is_young(500, 1_501));
        assert!(contents.lineage_is_young(500, 1_000 - MAX_CLOCK_SKEW));
        assert!(!contents.lineage_is_young(500, 999 - MAX_CLOCK_SKEW));
    }

    #[test]
    fn cut_off_session_values_have_no_certificates() {
        let session = session();
        let end = session.len() - b"tail".len();
        let certificates = certificates_of(&session).unwrap();
        assert_eq!(
            certificates.iter().map(|c| c.as_ref()).collect::<Vec<_>>(),
            [&[30, 31][..], &[40, 41, 42]]
        );
        for length in 0..end {
            assert!(
                certificates_of(&session[..length]).is_none(),
                "cut at {length}"
            );
        }
    }
}

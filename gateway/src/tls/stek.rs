//! Session ticket encryption keys: derived from one secret and the time, rotated without a flag day.
//!
//! Key = HKDF-SHA256(secret, scope ‖ epoch), where an epoch is a fixed span of time since 1970. Every instance that has the
//! secret derives the same keys without talking to another; so does the next process after a restart. The keys of the
//! previous, the current and the next epoch are accepted (a neighbour's clock may be ahead), the current one seals.
//!
//! Sealing is AES-256-GCM-SIV (RFC 8452): nonces are random, many instances share a key, and a repeated nonce must cost no
//! more than the fact that two plaintexts were equal. What is inside a ticket is `resumption`'s business.

use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::rand;
use zeroize::Zeroizing;

const NAME_LEN: usize = 8;
const TAG_LEN: usize = 16;

/// How many bytes longer a sealed ticket is than what is in it.
pub const OVERHEAD: usize = NAME_LEN + NONCE_LEN + TAG_LEN;

/// The one secret that all ticket keys come from, 32 bytes or more of randomness.
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<Vec<u8>>>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why a secret or a key could not be made.
#[derive(Debug, thiserror::Error)]
pub enum StekError {
    /// The secret is shorter than 32 bytes.
    #[error("the ticket secret has {0} bytes, and at least 32 are needed")]
    TooShort(usize),
    /// The crypto library refused; not to be expected.
    #[error("the crypto library could not derive a ticket key")]
    Crypto,
}

impl Secret {
    /// A secret from outside, such as a file that instances share.
    ///
    /// # Errors
    /// It is too short to be one.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, StekError> {
        if bytes.len() < 32 {
            return Err(StekError::TooShort(bytes.len()));
        }
        Ok(Self(Arc::new(Zeroizing::new(bytes))))
    }

    /// The secret itself, for a process that goes on in this one's place.
    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }

    /// A fresh secret that nobody else has: tickets end with this process, and with those that it is handed to.
    ///
    /// # Errors
    /// The operating system has no randomness.
    pub fn generate() -> Result<Self, StekError> {
        let mut bytes = vec![0; 32];
        rand::fill(&mut bytes).map_err(|_| StekError::Crypto)?;
        Self::from_bytes(bytes)
    }
}

struct TicketKey {
    name: [u8; NAME_LEN],
    key: LessSafeKey,
}

/// Keys of the previous, the current and the next epoch.
struct KeySet {
    epoch: u64,
    keys: [TicketKey; 3],
}

/// The ticket keys of one resumption scope.
pub struct TicketKeys {
    secret: Secret,
    scope: [u8; 32],
    period: u64,
    set: ArcSwap<KeySet>,
}

impl std::fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TicketKeys")
            .field("period", &self.period)
            .finish_non_exhaustive()
    }
}

impl TicketKeys {
    /// Keys for `scope` that rotate every `period` seconds (at least 1), at `now` seconds since the Unix epoch.
    ///
    /// # Errors
    /// The crypto library refused.
    pub fn new(secret: Secret, scope: [u8; 32], period: u64, now: u64) -> Result<Self, StekError> {
        let period = period.max(1);
        let set = ArcSwap::from_pointee(derive_set(&secret, &scope, now / period)?);
        Ok(Self {
            secret,
            scope,
            period,
            set,
        })
    }

    /// Seals `contents` with the current key.
    pub fn seal(&self, contents: &[u8], now: u64) -> Option<Vec<u8>> {
        let set = self.at(now)?;
        let [_, current, _] = &set.keys;
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut ticket = Vec::with_capacity(contents.len() + OVERHEAD);
        ticket.extend_from_slice(&current.name);
        ticket.extend_from_slice(&nonce);
        let mut sealed = contents.to_vec();
        let tag = current
            .key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(current.name),
                &mut sealed,
            )
            .ok()?;
        ticket.extend_from_slice(&sealed);
        ticket.extend_from_slice(tag.as_ref());
        Some(ticket)
    }

    /// Opens a ticket that one of the three keys sealed, in this scope.
    pub fn open(&self, ticket: &[u8], now: u64) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME_LEN>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let set = self.at(now)?;
        let key = set.keys.iter().find(|key| key.name == *name)?;
        let mut contents = sealed.to_vec();
        let length = key
            .key
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(*name),
                &mut contents,
            )
            .ok()?
            .len();
        contents.truncate(length);
        Some(contents)
    }

    fn at(&self, now: u64) -> Option<arc_swap::Guard<Arc<KeySet>>> {
        let epoch = now / self.period;
        let set = self.set.load();
        if set.epoch == epoch {
            return Some(set);
        }
        // Two threads may both derive at the turn of an epoch; they derive the same.
        self.set
            .store(Arc::new(derive_set(&self.secret, &self.scope, epoch).ok()?));
        Some(self.set.load())
    }
}

fn derive_set(secret: &Secret, scope: &[u8; 32], epoch: u64) -> Result<KeySet, StekError> {
    let key = |epoch| derive(secret, scope, epoch);
    Ok(KeySet {
        epoch,
        keys: [
            key(epoch.saturating_sub(1))?,
            key(epoch)?,
            key(epoch.saturating_add(1))?,
        ],
    })
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn derive(secret: &Secret, scope: &[u8; 32], epoch: u64) -> Result<TicketKey, StekError> {
    let prk = Salt::new(HKDF_SHA256, b"fleetgate ticket key v1").extract(&secret.0);
    let epoch = epoch.to_be_bytes();
    let info = [scope.as_slice(), epoch.as_slice()];
    let okm = prk
        .expand(&info, Length(NAME_LEN + 32))
        .map_err(|_| StekError::Crypto)?;
    let mut bytes = Zeroizing::new([0; NAME_LEN + 32]);
    okm.fill(bytes.as_mut_slice())
        .map_err(|_| StekError::Crypto)?;
    let (name, key) = bytes
        .split_first_chunk::<NAME_LEN>()
        .ok_or(StekError::Crypto)?;
    let key = UnboundKey::new(&AES_256_GCM_SIV, key).map_err(|_| StekError::Crypto)?;
    Ok(TicketKey {
        name: *name,
        key: LessSafeKey::new(key),
    })
}

#[cfg(test)]
mod tests {
    use super::{OVERHEAD, Secret, StekError, TicketKeys};

    const SCOPE: [u8; 32] = [1; 32];

    fn keys(secret: u8, scope: [u8; 32]) -> TicketKeys {
        TicketKeys::new(
            Secret::from_bytes(vec![secret; 32]).unwrap(),
            scope,
            100,
            1_000,
        )
        .unwrap()
    }

    #[test]
    fn instances_with_one_secret_open_each_others_tickets() {
        let ticket = keys(1, SCOPE).seal(b"session", 1_000).unwrap();
        assert_eq!(ticket.len(), b"session".len() + OVERHEAD);
        assert_eq!(keys(1, SCOPE).open(&ticket, 1_050).unwrap(), b"session");
    }

    #[test]
    fn another_secret_or_scope_opens_nothing() {
        let ticket = keys(1, SCOPE).seal(b"session", 1_000).unwrap();
        assert!(keys(2, SCOPE).open(&ticket, 1_000).is_none());
        assert!(keys(1, [2; 32]).open(&ticket, 1_000).is_none());
    }

    #[test]
    fn previous_current_and_next_are_accepted_and_no_other() {
        let keys = keys(1, SCOPE);
        let ticket = keys.seal(b"session", 1_050).unwrap();
        for (now, opens) in [
            (850, false),
            (950, true),
            (1_050, true),
            (1_150, true),
            (1_250, false),
        ] {
            assert_eq!(keys.open(&ticket, now).is_some(), opens, "at {now}");
        }
    }

    #[test]
    fn damaged_tickets_are_declined() {
        let keys = keys(1, SCOPE);
        let ticket = keys.seal(b"session", 1_000).unwrap();
        for length in 0..ticket.len() {
            assert!(
                keys.open(&ticket[..length], 1_000).is_none(),
                "cut at {length}"
            );
        }
        for at in 0..ticket.len() {
            let mut damaged = ticket.clone();
            damaged[at] ^= 1;
            assert!(keys.open(&damaged, 1_000).is_none(), "byte {at}");
        }
    }

    #[test]
    fn a_short_secret_is_refused() {
        assert!(matches!(
            Secret::from_bytes(vec![0; 31]),
            Err(StekError::TooShort(31))
        ));
    }
}

//! Where keys and serial numbers come from: the system's random numbers, or a seed.
//!
//! With a seed, every value is HKDF-SHA-256 (RFC 5869) of the seed and the value's place in the fleet, so that it
//! depends neither on the order nor on the number of threads. **A seed has 64 bits and is written down: keys made
//! from it are for tests only.**
//!
//! Deliberately derives no RSA keys: that would need a prime search of our own.

use aws_lc_rs::agreement::{self, ECDH_P256, ECDH_P384};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::signature::Ed25519KeyPair;

use crate::IssueError;
use crate::key::{KeyKind, PrivateKey};

/// Bytes in a serial number; RFC 5280 section 4.1.2.2 allows up to 20.
const SERIAL_BYTES: usize = 16;

/// The source of a fleet's keys and serial numbers.
pub(crate) enum Entropy {
    System,
    Seeded(Prk),
}

/// What a value is for: the part of the fleet, and which one of its kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) role: &'static str,
    pub(crate) index: usize,
    /// How often it was renewed.
    pub(crate) generation: u32,
}

impl Place {
    pub(crate) fn new(role: &'static str, index: usize) -> Self {
        Self {
            role,
            index,
            generation: 0,
        }
    }
}

impl Entropy {
    pub(crate) fn new(seed: Option<u64>) -> Self {
        match seed {
            None => Self::System,
            Some(seed) => Self::Seeded(
                Salt::new(HKDF_SHA256, b"certs-gen.fleet/1").extract(&seed.to_be_bytes()),
            ),
        }
    }

    /// The same with a secret beside the seed, so that knowing the seed is not enough.
    pub(crate) fn from_secret(seed: u64, secret: &[u8]) -> Self {
        let material = [seed.to_be_bytes().as_slice(), secret].concat();
        Self::Seeded(Salt::new(HKDF_SHA256, b"certs-gen.derivation/1").extract(&material))
    }

    /// A positive serial number of fixed length, unique for all practical purposes.
    pub(crate) fn serial(&self, place: Place) -> Result<Vec<u8>, IssueError> {
        let mut bytes = vec![0; SERIAL_BYTES];
        self.fill("serial", place, 0, &mut bytes)?;
        make_positive(&mut bytes);
        Ok(bytes)
    }

    /// Calls `each` with as many serial numbers, for those who want millions: unlike [`Entropy::serial`], it draws many at
    /// a time.
    pub(crate) fn each_serial(
        &self,
        role: &'static str,
        of: &str,
        count: usize,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), IssueError> {
        // HKDF gives at most 255 hashes of 32 bytes for one place.
        const AT_ONCE: usize = 500;
        let mut bytes = vec![0; AT_ONCE * SERIAL_BYTES];
        let mut left = count;
        let mut block = 0;
        while left > 0 {
            let purpose = format!("serials of {of}");
            self.fill(&purpose, Place::new(role, block), 0, &mut bytes)?;
            for serial in bytes.chunks_exact_mut(SERIAL_BYTES).take(left) {
                make_positive(serial);
                each(serial);
            }
            left = left.saturating_sub(AT_ONCE);
            block += 1;
        }
        Ok(())
    }

    /// Four bytes as text, to tell one fleet's names from another's.
    pub(crate) fn tag(&self) -> Result<String, IssueError> {
        let mut bytes = [0; 4];
        self.fill("tag", Place::new("fleet", 0), 0, &mut bytes)?;
        Ok(format!("{:08x}", u32::from_be_bytes(bytes)))
    }

    /// A private key. Random for RSA, with or without a seed.
    pub(crate) fn key(&self, kind: KeyKind, place: Place) -> Result<PrivateKey, IssueError> {
        match (self, kind) {
            (Self::Seeded(_), KeyKind::P256) => self.ec_key(kind, &ECDH_P256, 32, place),
            (Self::Seeded(_), KeyKind::P384) => self.ec_key(kind, &ECDH_P384, 48, place),
            (Self::Seeded(_), KeyKind::Ed25519) => self.ed25519_key(place),
            _ => PrivateKey::generate(kind),
        }
    }

    /// A scalar by rejection: candidates are drawn until one lies in 1..order, which gives every valid key the same
    /// chance. One draw suffices but for one case in 2^32 (P-256).
    fn ec_key(
        &self,
        kind: KeyKind,
        curve: &'static agreement::Algorithm,
        bytes: usize,
        place: Place,
    ) -> Result<PrivateKey, IssueError> {
        let mut scalar = vec![0; bytes];
        for attempt in 0..16 {
            self.fill(kind.name(), place, attempt, &mut scalar)?;
            let Ok(key) = agreement::PrivateKey::from_private_key(curve, &scalar) else {
                continue;
            };
            let document: Pkcs8V1Der<'_> =
                key.as_der().map_err(|_| IssueError::KeyGeneration(kind))?;
            return PrivateKey::from_pkcs8(kind, document.as_ref());
        }
        Err(IssueError::KeyGeneration(kind))
    }

    fn ed25519_key(&self, place: Place) -> Result<PrivateKey, IssueError> {
        let kind = KeyKind::Ed25519;
        let mut seed = [0; 32];
        self.fill(kind.name(), place, 0, &mut seed)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed)
            .map_err(|_| IssueError::KeyGeneration(kind))?;
        let document = pair
            .to_pkcs8v1()
            .map_err(|_| IssueError::KeyGeneration(kind))?;
        PrivateKey::from_pkcs8(kind, document.as_ref())
    }

    fn fill(
        &self,
        purpose: &str,
        place: Place,
        attempt: u32,
        out: &mut [u8],
    ) -> Result<(), IssueError> {
        match self {
            Self::System => SystemRandom::new()
                .fill(out)
                .map_err(|_| IssueError::Random),
            Self::Seeded(secret) => {
                let Place {
                    role,
                    index,
                    generation,
                } = place;
                let mut info = format!("{purpose}/{role}/{index}/{attempt}");
                if generation > 0 {
                    info.push_str(&format!("/{generation}"));
                }
                secret
                    .expand(&[info.as_bytes()], Length(out.len()))
                    .and_then(|material| material.fill(out))
                    .map_err(|_| IssueError::Random)
            }
        }
    }
}

fn make_positive(serial: &mut [u8]) {
    if let Some(first) = serial.first_mut() {
        // The sign bit clear makes it positive, the next one set makes every serial number equally long.
        *first = (*first & 0x7f) | 0x40;
    }
}

/// A length in bytes, in the form in which HKDF wants it.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::{Entropy, Place};
    use crate::key::KeyKind;

    #[test]
    fn a_seed_and_a_place_give_always_the_same_key_and_never_anothers() {
        for kind in [KeyKind::P256, KeyKind::P384, KeyKind::Ed25519] {
            let key = |seed, role, index| {
                Entropy::new(Some(seed))
                    .key(kind, Place::new(role, index))
                    .unwrap()
                    .pkcs8_der()
                    .to_vec()
            };
            assert_eq!(key(1, "device", 5), key(1, "device", 5), "{kind}");
            assert_ne!(key(1, "device", 5), key(2, "device", 5), "{kind}");
            assert_ne!(key(1, "device", 5), key(1, "device", 6), "{kind}");
            assert_ne!(key(1, "device", 5), key(1, "server", 5), "{kind}");
        }
    }

    #[test]
    fn without_a_seed_nothing_repeats() {
        let entropy = Entropy::new(None);
        let place = Place::new("device", 0);
        assert_ne!(
            entropy.serial(place).unwrap(),
            entropy.serial(place).unwrap()
        );
        let key = || {
            entropy
                .key(KeyKind::P256, place)
                .unwrap()
                .pkcs8_der()
                .to_vec()
        };
        assert_ne!(key(), key());
    }

    #[test]
    fn serial_numbers_are_positive_and_of_equal_length() {
        for entropy in [Entropy::new(None), Entropy::new(Some(7))] {
            for index in 0..100 {
                let serial = entropy.serial(Place::new("device", index)).unwrap();
                assert_eq!(serial.len(), 16);
                assert_eq!(serial[0] & 0xc0, 0x40);
            }
        }
    }
}

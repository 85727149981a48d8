//! Keys and serial numbers that follow from a seed, a secret and a number: the same on every machine, with no files.
//!
//! For fleets that are minted where they are used. The secret is whatever only the issuer has, its private key as a rule:
//! then nobody can derive a device's key who could not have issued the device's certificate.
//!
//! Deliberately derives no RSA keys: that would need a prime search of our own.

use crate::IssueError;
use crate::entropy::{Entropy, Place};
use crate::key::{KeyKind, PrivateKey};

/// The source of the identities of one fleet.
pub struct Derivation {
    entropy: Entropy,
}

impl Derivation {
    /// The source that belongs to this seed and secret.
    pub fn new(seed: u64, secret: &[u8]) -> Self {
        Self {
            entropy: Entropy::from_secret(seed, secret),
        }
    }

    /// The key of device `number` after `generation` renewals; `None` for RSA.
    ///
    /// # Errors
    /// [`IssueError`] if the crypto library fails.
    pub fn key(
        &self,
        kind: KeyKind,
        number: usize,
        generation: u32,
    ) -> Result<Option<PrivateKey>, IssueError> {
        match kind {
            KeyKind::P256 | KeyKind::P384 | KeyKind::Ed25519 => {
                let place = device(number, generation);
                self.entropy.key(kind, place).map(Some)
            }
            KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096 => Ok(None),
        }
    }

    /// The serial number of the device's certificate then: 16 bytes, positive.
    ///
    /// # Errors
    /// [`IssueError`] if the crypto library fails.
    pub fn serial(&self, number: usize, generation: u32) -> Result<Vec<u8>, IssueError> {
        self.entropy.serial(device(number, generation))
    }
}

fn device(number: usize, generation: u32) -> Place {
    Place {
        generation,
        ..Place::new("device", number)
    }
}

// By hand: neither seed nor secret belong into debug output.
impl std::fmt::Debug for Derivation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Derivation").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{Derivation, KeyKind};

    #[test]
    fn all_of_seed_secret_number_and_generation_matter() {
        let identity = |seed, secret: &[u8], number, generation| {
            let derivation = Derivation::new(seed, secret);
            let key = derivation.key(KeyKind::P256, number, generation).unwrap();
            let serial = derivation.serial(number, generation).unwrap();
            (key.unwrap().pkcs8_der().to_vec(), serial)
        };
        let one = identity(1, b"secret", 5, 0);
        assert_eq!(one, identity(1, b"secret", 5, 0));
        for other in [
            identity(2, b"secret", 5, 0),
            identity(1, b"Secret", 5, 0),
            identity(1, b"secret", 6, 0),
            identity(1, b"secret", 5, 1),
        ] {
            assert!(one.0 != other.0 && one.1 != other.1);
        }
    }

    #[test]
    fn rsa_is_not_derived() {
        let derivation = Derivation::new(1, b"secret");
        assert!(derivation.key(KeyKind::Rsa2048, 0, 0).unwrap().is_none());
    }
}

//! Private keys: the kinds on offer, making one, reading one.
//!
//! Deliberately does not encrypt keys and does not keep them: a [`PrivateKey`] is made, used to sign or be
//! certified, and written.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::Ed25519KeyPair;
use rcgen::{KeyPair, PublicKeyData, RsaKeySize};
use serde::{Deserialize, Serialize};

use crate::IssueError;
use crate::credential::pem_block;

/// A type of key, and with it the signature algorithm of whoever holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum KeyKind {
    /// ECDSA on NIST P-256 with SHA-256. The default: the cheapest to verify widely supported.
    #[default]
    P256,
    /// ECDSA on NIST P-384 with SHA-384.
    P384,
    /// Ed25519 (RFC 8410).
    Ed25519,
    /// RSA with a modulus of 2048 bits, PKCS#1 v1.5 signatures with SHA-256.
    Rsa2048,
    /// RSA with a modulus of 3072 bits, PKCS#1 v1.5 signatures with SHA-256.
    Rsa3072,
    /// RSA with a modulus of 4096 bits, PKCS#1 v1.5 signatures with SHA-256.
    Rsa4096,
}

impl KeyKind {
    /// Every kind, in the order in which help texts list them.
    pub const ALL: [Self; 6] = [
        Self::P256,
        Self::P384,
        Self::Ed25519,
        Self::Rsa2048,
        Self::Rsa3072,
        Self::Rsa4096,
    ];

    /// The name used in flags and in the manifest.
    pub fn name(self) -> &'static str {
        match self {
            Self::P256 => "p256",
            Self::P384 => "p384",
            Self::Ed25519 => "ed25519",
            Self::Rsa2048 => "rsa2048",
            Self::Rsa3072 => "rsa3072",
            Self::Rsa4096 => "rsa4096",
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for KeyKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| {
                format!(
                    "no such key type; choose one of {}",
                    Self::ALL.map(Self::name).join(", ")
                )
            })
    }
}

/// An unencrypted private key, ready to sign or to be certified.
#[derive(Debug)]
pub struct PrivateKey {
    pair: KeyPair,
}

impl PrivateKey {
    /// Makes a fresh random key.
    ///
    /// # Errors
    /// [`IssueError::KeyGeneration`] if the crypto library refuses.
    pub fn generate(kind: KeyKind) -> Result<Self, IssueError> {
        let failed = |_| IssueError::KeyGeneration(kind);
        let rsa = |size| KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size);
        let pair = match kind {
            KeyKind::P256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            KeyKind::P384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
            // Not rcgen's own way, which writes PKCS#8 version 2 (RFC 5958): many readers know version 1 only.
            KeyKind::Ed25519 => {
                let document = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new())
                    .map_err(|_| IssueError::KeyGeneration(kind))?;
                return Self::from_pkcs8(kind, document.as_ref());
            }
            KeyKind::Rsa2048 => rsa(RsaKeySize::_2048),
            KeyKind::Rsa3072 => rsa(RsaKeySize::_3072),
            KeyKind::Rsa4096 => rsa(RsaKeySize::_4096),
        };
        Ok(Self {
            pair: pair.map_err(failed)?,
        })
    }

    /// Reads a PKCS#8 key (RFC 5958) of a known kind.
    ///
    /// # Errors
    /// [`IssueError::UnreadableKey`] if it is not one.
    pub fn from_pkcs8(kind: KeyKind, der: &[u8]) -> Result<Self, IssueError> {
        let algorithm = match kind {
            KeyKind::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyKind::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            KeyKind::Ed25519 => &rcgen::PKCS_ED25519,
            KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096 => &rcgen::PKCS_RSA_SHA256,
        };
        KeyPair::from_pkcs8_der_and_sign_algo(&der.into(), algorithm)
            .map(|pair| Self { pair })
            .map_err(|_| IssueError::UnreadableKey)
    }

    /// Reads a key whose kind is to be found out: PKCS#8, SEC 1 or PKCS#1.
    ///
    /// # Errors
    /// [`IssueError::UnreadableKey`] if it is none of these, is encrypted, or is of another kind than those of
    /// [`KeyKind`].
    pub fn from_der(der: &[u8]) -> Result<Self, IssueError> {
        let pair = KeyPair::try_from(der).map_err(|_| IssueError::UnreadableKey)?;
        Ok(Self { pair })
    }

    /// The key as PKCS#8 DER.
    pub fn pkcs8_der(&self) -> &[u8] {
        self.pair.serialized_der()
    }

    /// The key as a PEM block `PRIVATE KEY`.
    pub fn pem(&self) -> String {
        pem_block("PRIVATE KEY", self.pkcs8_der())
    }

    /// The public half as DER SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7).
    pub fn public_key_der(&self) -> Vec<u8> {
        self.pair.subject_public_key_info()
    }

    pub(crate) fn pair(&self) -> &KeyPair {
        &self.pair
    }

    pub(crate) fn into_pair(self) -> KeyPair {
        self.pair
    }
}

#[cfg(test)]
mod tests {
    use super::{KeyKind, PrivateKey};

    #[test]
    fn names_round_trip() {
        for kind in KeyKind::ALL {
            assert_eq!(kind.name().parse::<KeyKind>().unwrap(), kind);
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
        assert!(
            "rsa1024"
                .parse::<KeyKind>()
                .unwrap_err()
                .contains("p256, p384")
        );
    }

    #[test]
    fn a_written_key_reads_back_with_the_same_public_half() {
        for kind in [
            KeyKind::P256,
            KeyKind::P384,
            KeyKind::Ed25519,
            KeyKind::Rsa2048,
        ] {
            let key = PrivateKey::generate(kind).unwrap();
            let known = PrivateKey::from_pkcs8(kind, key.pkcs8_der()).unwrap();
            let found_out = PrivateKey::from_der(key.pkcs8_der()).unwrap();
            assert_eq!(known.public_key_der(), key.public_key_der(), "{kind}");
            assert_eq!(found_out.public_key_der(), key.public_key_der(), "{kind}");
        }
    }

    #[test]
    fn garbage_is_not_a_key() {
        assert!(PrivateKey::from_der(b"garbage").is_err());
        assert!(PrivateKey::from_pkcs8(KeyKind::P256, b"garbage").is_err());
    }
}

//! What kind of public key a certificate or request holds, in words.
//!
//! Deliberately no opinion on whether it is strong enough: that is for whoever signs or verifies.

use aws_lc_rs::digest::{SHA256, digest};
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_EC_P521,
    OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519,
};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

/// A kind of public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PublicKeyKind {
    /// An elliptic curve key on a curve that has a name here.
    Ec(&'static str),
    Ed25519,
    /// RSA, with the bits of its modulus.
    Rsa(usize),
    /// Anything else, by its object identifier.
    Other(String),
}

impl PublicKeyKind {
    pub(crate) fn of(key: &SubjectPublicKeyInfo<'_>) -> Self {
        let algorithm = &key.algorithm.algorithm;
        if *algorithm == OID_SIG_ED25519 {
            return Self::Ed25519;
        }
        if *algorithm == OID_PKCS1_RSAENCRYPTION
            && let Ok(PublicKey::RSA(rsa)) = key.parsed()
        {
            return Self::Rsa(rsa.key_size());
        }
        if *algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
            let curve = key
                .algorithm
                .parameters
                .as_ref()
                .and_then(|parameters| parameters.as_oid().ok());
            let named = [
                (OID_EC_P256, "P-256"),
                (OID_NIST_EC_P384, "P-384"),
                (OID_NIST_EC_P521, "P-521"),
            ];
            for (oid, name) in named {
                if curve.as_ref() == Some(&oid) {
                    return Self::Ec(name);
                }
            }
            if let Some(curve) = curve {
                return Self::Other(format!("elliptic curve {curve}"));
            }
        }
        Self::Other(algorithm.to_id_string())
    }
}

impl std::fmt::Display for PublicKeyKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ec(curve) => write!(formatter, "ECDSA {curve}"),
            Self::Ed25519 => formatter.write_str("Ed25519"),
            Self::Rsa(bits) => write!(formatter, "RSA {bits} bits"),
            Self::Other(name) => formatter.write_str(name),
        }
    }
}

/// Lower-case hexadecimal, two digits a byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The SHA-256 of DER bytes, in hexadecimal: the fingerprint of a certificate, or of a public key.
pub(crate) fn fingerprint(der: &[u8]) -> String {
    hex(digest(&SHA256, der).as_ref())
}

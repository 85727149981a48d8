//! Which public keys are good enough, by type and size.
//!
//! webpki bounds the keys that sign certificates by the algorithms it knows; it never looks at the end entity's own key.
//! This does, for every certificate of a path. It checks no signature.

use x509_parser::der_parser::asn1_rs::{Oid, oid};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::Refusal;

/// What a chain must fulfil beyond RFC 5280; the operator's choice for a trust domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// The smallest RSA modulus accepted in any certificate of a path, in bits. Signatures by keys under 2048 bits are
    /// not checked at all, so that a lower value concerns end entities only.
    pub min_rsa_bits: usize,
    /// Accept X.509 version 1 end entities, as `openssl x509 -req` without an extension file makes them.
    pub legacy_end_entities: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            min_rsa_bits: 2048,
            legacy_end_entities: false,
        }
    }
}

/// The largest RSA modulus, in bits: the cost of a check grows with its square, and no provider takes more.
const MAX_RSA_BITS: usize = 8192;

/// A public key of an accepted kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    /// RSA, with the size of its modulus.
    Rsa {
        /// Bits of the modulus.
        bits: usize,
    },
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// ECDSA on P-521.
    P521,
    /// Ed25519.
    Ed25519,
}

const RSA: Oid<'static> = oid!(1.2.840.113549.1.1.1);
const EC: Oid<'static> = oid!(1.2.840.10045.2.1);
const ED25519: Oid<'static> = oid!(1.3.101.112);
const CURVES: [(Oid<'static>, KeyType); 3] = [
    (oid!(1.2.840.10045.3.1.7), KeyType::P256),
    (oid!(1.3.132.0.34), KeyType::P384),
    (oid!(1.3.132.0.35), KeyType::P521),
];

impl KeyType {
    /// The kind of `key`, if it is an accepted one and strong enough by `rules`.
    ///
    /// # Errors
    /// [`Refusal::UnsupportedAlgorithm`], [`Refusal::WeakKey`] or [`Refusal::Malformed`].
    pub(super) fn of(key: &SubjectPublicKeyInfo<'_>, rules: &Rules) -> Result<Self, Refusal> {
        let algorithm = &key.algorithm;
        if algorithm.algorithm == ED25519 {
            return Ok(Self::Ed25519);
        }
        if algorithm.algorithm == EC {
            let curve = algorithm
                .parameters
                .as_ref()
                .and_then(|parameters| parameters.as_oid().ok())
                .ok_or(Refusal::UnsupportedAlgorithm)?;
            return CURVES
                .iter()
                .find(|(oid, _)| *oid == curve)
                .map(|(_, kind)| *kind)
                .ok_or(Refusal::UnsupportedAlgorithm);
        }
        if algorithm.algorithm != RSA {
            return Err(Refusal::UnsupportedAlgorithm);
        }
        let Ok(PublicKey::RSA(parsed)) = key.parsed() else {
            return Err(Refusal::Malformed);
        };
        let bits = bits_of(parsed.modulus);
        // An even exponent is none at all, and with 1 every text is its own signature.
        let exponent = parsed.try_exponent().map_err(|_| Refusal::WeakKey)?;
        if bits < rules.min_rsa_bits || bits > MAX_RSA_BITS || exponent < 3 || exponent % 2 == 0 {
            return Err(Refusal::WeakKey);
        }
        Ok(Self::Rsa { bits })
    }
}

/// Number of bits of a big-endian integer, without leading zeros.
fn bits_of(integer: &[u8]) -> usize {
    let digits = integer.iter().skip_while(|byte| **byte == 0);
    let leading = digits.clone().next().map_or(0, |byte| byte.leading_zeros());
    (digits.count() * 8).saturating_sub(leading as usize)
}

#[cfg(test)]
mod tests {
    use super::bits_of;

    #[test]
    fn a_modulus_is_measured_in_bits() {
        for (integer, bits) in [
            (&[][..], 0),
            (&[0, 0], 0),
            (&[1], 1),
            (&[0, 0x80], 8),
            (&[0, 0x7f, 0xff], 15),
        ] {
            assert_eq!(bits_of(integer), bits);
        }
    }
}

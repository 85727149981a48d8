//! What the crypto library refuses to make, for good reasons: RSA keys of 1024 bits, and signatures over SHA-1.
//!
//! Both come out as real as they were twenty years ago. **The arithmetic here is not constant in time**, and its keys are
//! good for being refused, for nothing else.

use aws_lc_rs::digest::{Digest, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use x509_parser::num_bigint::BigUint;

use super::forge::Template;
use crate::IssueError;
use crate::der;
use crate::signed::envelope;

/// AlgorithmIdentifier ecdsa-with-SHA1 (RFC 3279 section 2.2.3).
const ECDSA_WITH_SHA1: &[u8] = b"\x30\x09\x06\x07\x2a\x86\x48\xce\x3d\x04\x01";
/// AlgorithmIdentifier rsaEncryption (RFC 3279 section 2.3.1).
const RSA_ENCRYPTION: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";

/// Primes of half the modulus's size.
const PRIME_BYTES: usize = 64;
const PUBLIC_EXPONENT: u32 = 65_537;
/// For trial division, and as bases of the Miller-Rabin test: for random candidates of 512 bits, one round errs less often
/// than once in 2^56 (Handbook of Applied Cryptography, note 4.47).
const SMALL_PRIMES: [u32; 15] = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47];

/// An RSA key.
pub(super) struct RsaKey {
    /// PKCS#8 DER.
    pub(super) pkcs8: Vec<u8>,
    /// DER SubjectPublicKeyInfo.
    pub(super) public_key: Vec<u8>,
}

/// A fresh RSA key with a modulus of 1024 bits.
pub(super) fn rsa_1024() -> Result<RsaKey, IssueError> {
    let exponent = BigUint::from(PUBLIC_EXPONENT);
    loop {
        let (p, q) = (prime()?, prime()?);
        let (below_p, below_q) = (&p - 1u32, &q - 1u32);
        // None where the exponent divides one of them: draw again.
        let private = exponent.modinv(&(&below_p * &below_q));
        let (Some(d), Some(coefficient)) = (private, q.modinv(&p)) else {
            continue;
        };
        let n = &p * &q;
        let integer = |number: &BigUint| der::unsigned(&number.to_bytes_be());
        let public = der::sequence(&[&integer(&n), &integer(&exponent)]);
        // RSAPrivateKey (RFC 8017 appendix A.1.2).
        let parts = [
            &n,
            &exponent,
            &d,
            &p,
            &q,
            &(&d % &below_p),
            &(&d % &below_q),
            &coefficient,
        ];
        let fields: Vec<u8> = parts.into_iter().flat_map(integer).collect();
        let private = der::sequence(&[&der::number(0), &fields]);
        let octets = der::element(der::OCTET_STRING, &private);
        return Ok(RsaKey {
            pkcs8: der::sequence(&[&der::number(0), RSA_ENCRYPTION, &octets]),
            public_key: der::sequence(&[RSA_ENCRYPTION, &der::bit_string(&public)]),
        });
    }
}

/// A random prime whose two highest bits are set, so that the product of two has its full length.
fn prime() -> Result<BigUint, IssueError> {
    let mut bytes = [0; PRIME_BYTES];
    loop {
        SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| IssueError::Random)?;
        let [first, .., last] = &mut bytes;
        *first |= 0xc0;
        *last |= 1;
        let candidate = BigUint::from_bytes_be(&bytes);
        if is_prime(&candidate) {
            return Ok(candidate);
        }
    }
}

/// Miller-Rabin, for odd candidates that are larger than the small primes.
fn is_prime(candidate: &BigUint) -> bool {
    let divides = |small: &u32| candidate % *small == BigUint::ZERO;
    if SMALL_PRIMES.iter().any(divides) {
        return false;
    }
    let one = BigUint::from(1u32);
    let below = candidate - &one;
    let twos = below.trailing_zeros().unwrap_or(0);
    let odd = &below >> twos;
    SMALL_PRIMES.iter().all(|base| {
        let mut power = BigUint::from(*base).modpow(&odd, candidate);
        if power == one || power == below {
            return true;
        }
        (1..twos).any(|_| {
            power = power.modpow(&BigUint::from(2u32), candidate);
            power == below
        })
    })
}

/// The certificate, signed with a P-256 key (PKCS#8) over its SHA-1.
///
/// ECDSA takes a hash as a number (FIPS 186-5 section 6.4.1), so that a SHA-1 behind twelve zero bytes is, to a signer of
/// 32-byte hashes, that SHA-1.
pub(super) fn signed_with_sha1(
    template: &Template,
    issuer_key: &[u8],
) -> Result<Vec<u8>, IssueError> {
    let to_be_signed = template.to_be_signed(ECDSA_WITH_SHA1);
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &to_be_signed);
    let widened = [&[0; 12], hash.as_ref()].concat();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, issuer_key)
        .map_err(|_| IssueError::UnreadableKey)?;
    let signature = Digest::import_less_safe(&widened, &SHA256)
        .and_then(|digest| key.sign_digest(&digest))
        .map_err(|_| IssueError::Random)?;
    Ok(envelope(&to_be_signed, ECDSA_WITH_SHA1, signature.as_ref()))
}

#[cfg(test)]
mod tests {
    use x509_parser::num_bigint::BigUint;
    use x509_parser::prelude::FromDer;
    use x509_parser::public_key::PublicKey;
    use x509_parser::x509::SubjectPublicKeyInfo;

    use super::{is_prime, rsa_1024};

    #[test]
    fn primes_are_told_from_others() {
        let two = BigUint::from(2u32);
        assert!(is_prime(&(two.pow(127) - 1u32)));
        assert!(is_prime(&(two.pow(255) - 19u32)));
        assert!(!is_prime(&(two.pow(128) + 1u32)));
        // 151 * 751 * 28351, which bases 2, 3, 5 and 7 take for a prime; and a product of two primes.
        assert!(!is_prime(&BigUint::from(3_215_031_751u64)));
        assert!(!is_prime(&((two.pow(127) - 1u32) * (two.pow(89) - 1u32))));
    }

    #[test]
    fn the_modulus_has_its_full_length_every_time() {
        for _ in 0..3 {
            let key = rsa_1024().unwrap();
            let (_, parsed) = SubjectPublicKeyInfo::from_der(&key.public_key).unwrap();
            let Ok(PublicKey::RSA(rsa)) = parsed.parsed() else {
                panic!("not RSA")
            };
            assert_eq!(
                (rsa.key_size(), rsa.try_exponent().unwrap()),
                (1024, 65_537)
            );
        }
    }
}

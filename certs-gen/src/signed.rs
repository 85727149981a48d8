//! Puts a signature under something written by hand: a list, or a certificate that is wrong on purpose.
//!
//! Deliberately signs with an authority's usual algorithm only; what is signed otherwise is in [`crate::faults`].

use rcgen::{KeyPair, SigningKey};

use crate::IssueError;
use crate::der;

/// The AlgorithmIdentifier (RFC 5280 section 4.1.1.2) of a key's signatures, as DER.
pub(crate) fn algorithm_of(key: &KeyPair) -> Result<&'static [u8], IssueError> {
    let known: [(&rcgen::SignatureAlgorithm, &[u8]); 4] = [
        (
            &rcgen::PKCS_ECDSA_P256_SHA256,
            b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02",
        ),
        (
            &rcgen::PKCS_ECDSA_P384_SHA384,
            b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03",
        ),
        (&rcgen::PKCS_ED25519, b"\x30\x05\x06\x03\x2b\x65\x70"),
        (
            &rcgen::PKCS_RSA_SHA256,
            b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00",
        ),
    ];
    known
        .into_iter()
        .find(|(algorithm, _)| *algorithm == key.algorithm())
        .map(|(_, identifier)| identifier)
        .ok_or(IssueError::UnreadableKey)
}

/// What is to be signed, then algorithm and signature, in a SEQUENCE.
pub(crate) fn sign(to_be_signed: &[u8], key: &KeyPair) -> Result<Vec<u8>, IssueError> {
    let signature = key.sign(to_be_signed)?;
    Ok(envelope(to_be_signed, algorithm_of(key)?, &signature))
}

/// The same with a signature that is made already.
pub(crate) fn envelope(to_be_signed: &[u8], algorithm: &[u8], signature: &[u8]) -> Vec<u8> {
    der::sequence(&[to_be_signed, algorithm, &der::bit_string(signature)])
}

//! Checks signatures over revocation lists and OCSP responses with the algorithms that webpki checks certificates with, and
//! no other.

use rustls::pki_types::SignatureVerificationAlgorithm;

use crate::der::{self, Malformed, Reader};

/// A public key with the identifier of its algorithm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PublicKey {
    /// What is in the AlgorithmIdentifier.
    algorithm: Vec<u8>,
    bits: Vec<u8>,
}

/// Something signed, in the form that X.509 and OCSP share: the data, an AlgorithmIdentifier, a signature.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signed<'a> {
    /// With its header.
    pub(crate) data: &'a [u8],
    /// What is in the AlgorithmIdentifier.
    pub(crate) algorithm: &'a [u8],
    pub(crate) signature: &'a [u8],
}

/// Why a signature is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignatureError {
    /// The algorithm is not supported, or not with such a key.
    Unsupported,
    /// It was made by another key, or over something else.
    Wrong,
}

impl PublicKey {
    /// The key that is in a SubjectPublicKeyInfo, taken without its header.
    pub(crate) fn from_contents(key_info: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(key_info);
        let algorithm = reader.contents(der::SEQUENCE)?.to_owned();
        let bits = reader.bits()?.to_owned();
        reader.end()?;
        Ok(Self { algorithm, bits })
    }

    /// The key itself, as responders and certificate identifiers hash it (RFC 6960, 4.1.1).
    pub(crate) fn bits(&self) -> &[u8] {
        &self.bits
    }

    /// Checks that this key signed `signed`.
    pub(crate) fn verify(&self, signed: &Signed<'_>) -> Result<(), SignatureError> {
        let fits = |algorithm: &&&dyn SignatureVerificationAlgorithm| {
            algorithm.signature_alg_id().as_ref() == signed.algorithm
                && algorithm.public_key_alg_id().as_ref() == self.algorithm
        };
        // One pair of identifiers can name more than one algorithm, which differ in the sizes of keys that they take.
        let mut fitting = webpki::ALL_VERIFICATION_ALGS.iter().filter(fits).peekable();
        if fitting.peek().is_none() {
            return Err(SignatureError::Unsupported);
        }
        fitting
            .any(|algorithm| {
                algorithm
                    .verify_signature(&self.bits, signed.data, signed.signature)
                    .is_ok()
            })
            .then_some(())
            .ok_or(SignatureError::Wrong)
    }
}

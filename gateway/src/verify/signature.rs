//! Signatures on certificates, and bounds on what is looked at for one presented chain.
//!
//! A hostile list can lead path building into thousands of dead ends, many of which end in a signature check; the bounds
//! keep such a list from costing much more than an honest refusal. It chooses no path: that is webpki's work, and
//! `walk`'s.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustls::pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};
use webpki::{ExtendedKeyUsageValidator, KeyPurposeIdIter, KeyUsage};
use x509_parser::der_parser::asn1_rs::{Any, FromDer as _, Tag};

use super::Refusal;
use super::certificate::{Certificate, contents};

/// The most signatures checked for one presented chain. The longest path has seven; the rest is for issuers that share
/// a name, as after a change of keys.
pub(super) const MAX_CHECKS: usize = 16;

/// The most certificates that path building comes to for one presented chain, each as often as it comes to it.
pub(super) const MAX_STEPS: usize = 32;

/// What one chain may still cost.
#[derive(Debug)]
pub(super) struct Budget {
    left: AtomicUsize,
    steps: AtomicUsize,
    exhausted: AtomicBool,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self {
            left: AtomicUsize::new(MAX_CHECKS),
            steps: AtomicUsize::new(MAX_STEPS),
            exhausted: AtomicBool::new(false),
        }
    }

    fn take(&self) -> Result<(), InvalidSignature> {
        self.take_from(&self.left).ok_or(InvalidSignature)
    }

    fn take_from(&self, left: &AtomicUsize) -> Option<()> {
        let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(1)
        });
        if taken.is_err() {
            self.exhausted.store(true, Ordering::Relaxed);
        }
        taken.ok().map(|_| ())
    }

    /// Whether a check or a step was wanted that could not be made any more.
    pub(super) fn is_exhausted(&self) -> bool {
        self.exhausted.load(Ordering::Relaxed)
    }

    /// Number of checks made.
    #[cfg(test)]
    pub(super) fn used(&self) -> usize {
        MAX_CHECKS - self.left.load(Ordering::Relaxed)
    }

    /// The purpose clientAuth, each look at which is a step taken from this budget.
    pub(super) fn client_auth(&self) -> ClientAuth<'_> {
        ClientAuth(self)
    }

    /// The algorithms of the stack, each check with which is taken from this budget. RSA from 2048 bits, ECDSA and
    /// Ed25519; SHA-1 is not among them.
    pub(super) fn algorithms(&self) -> Vec<Counted<'_>> {
        webpki::ALL_VERIFICATION_ALGS
            .iter()
            .map(|algorithm| Counted {
                algorithm: *algorithm,
                budget: self,
            })
            .collect()
    }

    /// Checks that the holder of `public_key` (the contents of a `SubjectPublicKeyInfo`) signed `certificate`.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn check(
        &self,
        certificate: &Certificate<'_>,
        public_key: &[u8],
    ) -> Result<(), Refusal> {
        let signed = Signed::of(certificate)?;
        let (key_algorithm, key) = key_parts(public_key)?;
        let fitting = webpki::ALL_VERIFICATION_ALGS.iter().find(|candidate| {
            candidate.signature_alg_id().as_ref() == signed.algorithm
                && candidate.public_key_alg_id().as_ref() == key_algorithm
        });
        let fitting = fitting.ok_or(Refusal::UnsupportedAlgorithm)?;
        self.take()
            .and_then(|()| fitting.verify_signature(key, signed.message, signed.signature))
            .map_err(|_| Refusal::BadSignature)
    }
}

/// Extended key usage, if present, must have clientAuth. webpki asks this of each certificate that it comes to, before it
/// looks further up from there, and goes no further where the answer is no.
#[derive(Debug)]
pub(super) struct ClientAuth<'a>(&'a Budget);

impl ExtendedKeyUsageValidator for ClientAuth<'_> {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        self.0
            .take_from(&self.0.steps)
            .ok_or(webpki::Error::UnknownIssuer)?;
        KeyUsage::client_auth().validate(purposes)
    }
}

/// An algorithm that costs its budget one for every check.
#[derive(Debug)]
pub(super) struct Counted<'a> {
    algorithm: &'static dyn SignatureVerificationAlgorithm,
    budget: &'a Budget,
}

impl SignatureVerificationAlgorithm for Counted<'_> {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        self.budget.take()?;
        self.algorithm
            .verify_signature(public_key, message, signature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.signature_alg_id()
    }

    fn fips(&self) -> bool {
        self.algorithm.fips()
    }
}

/// The parts of a signed certificate.
struct Signed<'c> {
    message: &'c [u8],
    /// The contents of the algorithm's identifier.
    algorithm: &'c [u8],
    signature: &'c [u8],
}

impl<'c> Signed<'c> {
    fn of(certificate: &'c Certificate<'_>) -> Result<Self, Refusal> {
        let x509 = certificate.x509();
        // RFC 5280, 4.1.1.2: the algorithm is said twice, and must be the same.
        if x509.signature_algorithm != x509.tbs_certificate.signature
            || x509.signature_value.unused_bits != 0
        {
            return Err(Refusal::Malformed);
        }
        let message = x509.tbs_certificate.as_ref();
        let algorithm = contents(certificate.der())?
            .get(message.len()..)
            .ok_or(Refusal::Malformed)?;
        Ok(Self {
            message,
            algorithm: contents(algorithm)?,
            signature: &x509.signature_value.data,
        })
    }
}

/// The contents of a key's algorithm identifier, and the key.
fn key_parts(public_key: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    let (rest, algorithm) = Any::from_der(public_key).map_err(|_| Refusal::Malformed)?;
    let (rest, bits) = Any::from_der(rest).map_err(|_| Refusal::Malformed)?;
    match (rest.is_empty(), bits.tag(), bits.data.split_first()) {
        (true, Tag::BitString, Some((0, key))) => Ok((algorithm.data, key)),
        _ => Err(Refusal::Malformed),
    }
}

//! Verification of the server's certificate, remembered.
//!
//! Every simulated device meets the same server, and checking the same chain of signatures thousands of times a second
//! would make the generator twice as expensive as it must be. So the chain is verified in full the first time, again
//! whenever other bytes are presented, and again after a minute; in between the same bytes get the same answer. The
//! proof of possession (CertificateVerify) is checked in every full handshake: nothing of it is remembered.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

use crate::fleet::TrustAnchors;

/// Seconds for which an answer is remembered.
const REMEMBERED_SECONDS: u64 = 60;

/// A verifier for one server.
#[derive(Debug)]
pub(crate) struct RememberingVerifier {
    verifier: Arc<WebPkiServerVerifier>,
    verified: OnceLock<Presented>,
    verified_at: AtomicU64,
}

#[derive(Debug, PartialEq)]
struct Presented {
    chain: Vec<CertificateDer<'static>>,
    name: ServerName<'static>,
}

impl Presented {
    fn is(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
    ) -> bool {
        self.chain
            .split_first()
            .is_some_and(|(first, rest)| first == end_entity && rest == intermediates)
            && self.name == *name
    }
}

impl RememberingVerifier {
    pub(crate) fn new(
        anchors: Arc<TrustAnchors>,
        provider: Arc<CryptoProvider>,
    ) -> Result<RememberingVerifier, Error> {
        let verifier = WebPkiServerVerifier::builder_with_provider(anchors, provider)
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        Ok(RememberingVerifier {
            verifier,
            verified: OnceLock::new(),
            verified_at: AtomicU64::new(0),
        })
    }
}

impl ServerCertVerifier for RememberingVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let age = now
            .as_secs()
            .saturating_sub(self.verified_at.load(Ordering::Relaxed));
        if age < REMEMBERED_SECONDS
            && self
                .verified
                .get()
                .is_some_and(|presented| presented.is(end_entity, intermediates, server_name))
        {
            return Ok(ServerCertVerified::assertion());
        }
        let verified = self.verifier.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        )?;
        let presented = self.verified.get_or_init(|| Presented {
            chain: std::iter::once(end_entity)
                .chain(intermediates)
                .map(|certificate| certificate.clone().into_owned())
                .collect(),
            name: server_name.to_owned(),
        });
        if presented.is(end_entity, intermediates, server_name) {
            self.verified_at.store(now.as_secs(), Ordering::Relaxed);
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// Whether an error says that the server's certificate was refused.
pub(crate) fn is_certificate_error(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(_) | Error::NoCertificatesPresented
    )
}

//! CertificateVerify: that a device holds the key of the certificate that it presented.
//!
//! rustls parses a certificate of version 3 only. An end entity of version 1, where those are accepted, has its key taken
//! out here and the signature checked with that. It judges no certificate: the chain was verified before.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use rustls::{CertificateError, DigitallySignedStruct, Error};
use webpki::RawPublicKeyEntity;
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Version};

/// Checks `signature` over `message` with the key of `certificate`, by the rules of TLS 1.3 (RFC 8446, 4.4.3).
///
/// # Errors
/// What is wrong with the signature, or with the certificate.
pub fn verify_tls13(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    verify_tls13_signature(message, certificate, signature, algorithms).or_else(|error| {
        let key = version_one_key(certificate).ok_or(error)?;
        verify_tls13_signature_with_raw_key(message, &key, signature, algorithms)
    })
}

/// Checks `signature` over `message` with the key of `certificate`, by the rules of TLS 1.2 (RFC 5246, 7.4.8).
///
/// # Errors
/// What is wrong with the signature, or with the certificate.
pub fn verify_tls12(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    verify_tls12_signature(message, certificate, signature, algorithms).or_else(|error| {
        let key = version_one_key(certificate).ok_or(error)?;
        let key = RawPublicKeyEntity::try_from(&key)
            .map_err(|_| Error::from(CertificateError::BadEncoding))?;
        // In TLS 1.2 a scheme names no curve, so that several algorithms may fit it; at most one fits the key.
        let fitting = algorithms
            .mapping
            .iter()
            .filter(|(scheme, _)| *scheme == signature.scheme)
            .flat_map(|(_, algorithms)| algorithms.iter());
        for algorithm in fitting {
            if key
                .verify_signature(*algorithm, message, signature.signature())
                .is_ok()
            {
                return Ok(HandshakeSignatureValid::assertion());
            }
        }
        Err(CertificateError::BadSignature.into())
    })
}

fn version_one_key<'a>(certificate: &'a CertificateDer<'_>) -> Option<SubjectPublicKeyInfoDer<'a>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    (parsed.version() == X509Version::V1)
        .then(|| SubjectPublicKeyInfoDer::from(parsed.tbs_certificate.subject_pki.raw))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rcgen::{CertificateParams, KeyPair};
    use rustls::client::ResolvesClientCert;
    use rustls::crypto::aws_lc_rs::{default_provider, sign::any_supported_type};
    use rustls::pki_types::{PrivateKeyDer, UnixTime};
    use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
    use rustls::sign::CertifiedKey;
    use rustls::version::{TLS12, TLS13};
    use rustls::{
        ClientConfig, ClientConnection, DistinguishedName, RootCertStore, ServerConfig,
        ServerConnection, SignatureScheme, SupportedProtocolVersion,
    };

    use super::{
        CertificateDer, CertificateError, DigitallySignedStruct, Error, HandshakeSignatureValid,
        WebPkiSupportedAlgorithms, verify_tls12, verify_tls13,
    };
    use crate::verify::tests::{anchor, authority_params, device_params, version_one};

    /// Takes every chain, and checks who holds the key.
    #[derive(Debug)]
    struct ProofOnly(WebPkiSupportedAlgorithms);

    impl ClientCertVerifier for ProofOnly {
        fn root_hint_subjects(&self) -> &[DistinguishedName] {
            &[]
        }

        fn verify_client_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: UnixTime,
        ) -> Result<ClientCertVerified, Error> {
            Ok(ClientCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls12(message, certificate, signature, &self.0)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13(message, certificate, signature, &self.0)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.supported_schemes()
        }
    }

    /// A device that presents what it is given, without looking at it.
    #[derive(Debug)]
    struct Present(Arc<CertifiedKey>);

    impl ResolvesClientCert for Present {
        fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
            Some(Arc::clone(&self.0))
        }

        fn has_certs(&self) -> bool {
            true
        }
    }

    fn private(key: &KeyPair) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(key.serialize_der().into())
    }

    /// A handshake in memory, in which a device presents `certificate` and signs with `key`.
    fn handshake(
        version: &'static SupportedProtocolVersion,
        certificate: &CertificateDer<'static>,
        key: &KeyPair,
    ) -> Result<(), Error> {
        let provider = Arc::new(default_provider());
        let server_key = KeyPair::generate().unwrap();
        let server = CertificateParams::new(vec!["gateway.test".to_owned()])
            .unwrap()
            .self_signed(&server_key)
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(server.der().clone()).unwrap();
        let device = CertifiedKey::new(
            vec![certificate.clone()],
            any_supported_type(&private(key)).unwrap(),
        );
        let client_config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_cert_resolver(Arc::new(Present(Arc::new(device))));
        let verifier = ProofOnly(provider.signature_verification_algorithms);
        let server_config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_client_cert_verifier(Arc::new(verifier))
            .with_single_cert(vec![server.der().clone()], private(&server_key))
            .unwrap();
        let name = "gateway.test".try_into().unwrap();
        let mut client = ClientConnection::new(Arc::new(client_config), name).unwrap();
        let mut server = ServerConnection::new(Arc::new(server_config)).unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            let mut flight = Vec::new();
            client.write_tls(&mut flight).unwrap();
            server.read_tls(&mut flight.as_slice()).unwrap();
            server.process_new_packets()?;
            flight.clear();
            server.write_tls(&mut flight).unwrap();
            client.read_tls(&mut flight.as_slice()).unwrap();
            client.process_new_packets().unwrap();
        }
        Ok(())
    }

    #[test]
    fn the_holder_of_the_key_is_believed_and_nobody_else() {
        let root = anchor(authority_params("root"));
        let rsa = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048);
        let ecdsa = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        for key in [ecdsa, rsa.unwrap()] {
            let stranger = match key.algorithm() == &rcgen::PKCS_RSA_SHA256 {
                true => {
                    KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048)
                }
                false => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            }
            .unwrap();
            let three = device_params("device").signed_by(&key, &root).unwrap();
            let one = version_one(three.der(), root.key());
            for certificate in [three.der(), &one] {
                for version in [&TLS13, &TLS12] {
                    assert_eq!(handshake(version, certificate, &key), Ok(()));
                    assert_eq!(
                        handshake(version, certificate, &stranger),
                        Err(Error::InvalidCertificate(CertificateError::BadSignature))
                    );
                }
            }
        }
    }
}

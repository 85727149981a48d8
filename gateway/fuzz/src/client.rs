//! The device's side of a handshake, for the bytes that it sends.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, ServerConnection,
    SignatureScheme, SupportedProtocolVersion,
};

use gateway::tls::session::Session;

use crate::pki::{self, NOW};
use crate::server::{Side, device};

/// What a device sends to `side` in a whole handshake of each version.
pub fn flights(side: &Side) -> Vec<Vec<u8>> {
    [&rustls::version::TLS13, &rustls::version::TLS12]
        .into_iter()
        .map(|version| flight(side, version))
        .collect()
}

fn flight(side: &Side, version: &'static SupportedProtocolVersion) -> Vec<u8> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[version])
        .expect("a version")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer))
        .with_client_auth_cert(
            device().to_vec(),
            PrivatePkcs8KeyDer::from(pki::private_key()).into(),
        )
        .expect("a certificate and its key");
    let name = ServerName::try_from("gateway.example").expect("a name");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut server = ServerConnection::new(Arc::clone(&side.config)).expect("a server");
    let mut session = Session::default();
    let mut flight = Vec::new();
    while client.is_handshaking() || server.is_handshaking() {
        let start = flight.len();
        client.write_tls(&mut flight).expect("a vector");
        let mut sent = &flight[start..];
        while !sent.is_empty() {
            server.read_tls(&mut sent).expect("a slice");
            let processed = session.enter(NOW, || server.process_new_packets());
            processed.expect("a good handshake");
        }
        let mut answer = Vec::new();
        server.write_tls(&mut answer).expect("a vector");
        let mut answer = answer.as_slice();
        while !answer.is_empty() {
            client.read_tls(&mut answer).expect("a slice");
            client.process_new_packets().expect("a good handshake");
        }
    }
    flight
}

/// Takes every server for the right one.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

#[cfg(test)]
mod tests {
    use gateway::tls::resumption::Format;

    use super::{Side, device, flights};

    #[test]
    fn a_device_comes_through_handshakes_of_both_versions() {
        let flights = flights(&Side::new(Format::Compact));
        // Handshake records, with the device's certificate in the clear before TLS 1.3.
        assert_eq!(flights.len(), 2);
        assert!(flights.iter().all(|flight| flight[0] == 22));
        let certificate = &device()[0];
        let shows = |flight: &Vec<u8>| {
            flight
                .windows(certificate.len())
                .any(|window| window == certificate.as_ref())
        };
        assert_eq!(flights.iter().map(shows).collect::<Vec<_>>(), [false, true]);
    }
}

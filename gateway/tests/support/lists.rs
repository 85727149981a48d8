//! Revocation lists for a test's PKI.

use certs_gen::authority::Authority;
use certs_gen::credential::Credential;
use rcgen::{
    CertificateRevocationListParams, Issuer, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber,
};
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// A list that is to be signed.
pub(crate) struct List<'a> {
    pub(crate) issuer: &'a Authority,
    pub(crate) number: u64,
    pub(crate) next_update: Duration,
    revoked: Vec<Vec<u8>>,
}

impl<'a> List<'a> {
    /// An empty list, good for an hour.
    pub(crate) fn of(issuer: &'a Authority, number: u64) -> Self {
        Self {
            issuer,
            number,
            next_update: Duration::hours(1),
            revoked: Vec::new(),
        }
    }

    pub(crate) fn revoking(self, device: &Credential) -> Self {
        let der = device.end_entity().to_vec();
        self.revoking_certificate(&der)
    }

    pub(crate) fn revoking_certificate(mut self, der: &[u8]) -> Self {
        let (_, certificate) = X509Certificate::from_der(der).unwrap();
        self.revoked.push(certificate.raw_serial().to_vec());
        self
    }

    /// A list that ran out so long ago.
    pub(crate) fn stale_since(mut self, ago: Duration) -> Self {
        self.next_update = -ago;
        self
    }

    pub(crate) fn der(&self) -> Vec<u8> {
        self.signed().der().to_vec()
    }

    pub(crate) fn pem(&self) -> String {
        self.signed().pem().unwrap()
    }

    fn signed(&self) -> rcgen::CertificateRevocationList {
        let key = KeyPair::from_pem(&self.issuer.key_pem()).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&self.issuer.certificate_pem(), key).unwrap();
        let next_update = OffsetDateTime::now_utc() + self.next_update;
        let this_update = next_update.min(OffsetDateTime::now_utc()) - Duration::hours(1);
        CertificateRevocationListParams {
            this_update,
            next_update,
            crl_number: SerialNumber::from(self.number),
            issuing_distribution_point: None,
            revoked_certs: self
                .revoked
                .iter()
                .map(|serial| RevokedCertParams {
                    serial_number: SerialNumber::from_slice(serial),
                    revocation_time: this_update,
                    reason_code: None,
                    invalidity_date: None,
                })
                .collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        }
        .signed_by(&issuer)
        .unwrap()
    }
}

//! Revocation lists for benches.

use certs_gen::authority::Authority;
use rand::RngCore;
use rand::rngs::StdRng;
use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber,
};
use time::{Duration, OffsetDateTime};

/// A serial number as long as those of `certs-gen`.
pub(crate) type Serial = [u8; 16];

/// A random one.
pub(crate) fn serial(random: &mut StdRng) -> Serial {
    let mut serial = [0; 16];
    random.fill_bytes(&mut serial);
    serial
}

/// A list of `issuer`'s with these certificates on it, as DER.
pub(crate) fn signed(issuer: &Authority, serials: &[Serial]) -> Vec<u8> {
    let now = OffsetDateTime::now_utc();
    let list = CertificateRevocationListParams {
        this_update: now,
        next_update: now + Duration::days(7),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: serials.iter().map(|serial| entry(serial, now)).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let certificate = issuer.certificate_der().into();
    let key = KeyPair::from_pem(&issuer.key_pem()).unwrap();
    let signer = rcgen::Issuer::from_ca_cert_der(&certificate, key).unwrap();
    list.signed_by(&signer).unwrap().der().to_vec()
}

fn entry(serial: &[u8], now: OffsetDateTime) -> RevokedCertParams {
    RevokedCertParams {
        serial_number: SerialNumber::from_slice(serial),
        revocation_time: now,
        reason_code: None,
        invalidity_date: None,
    }
}

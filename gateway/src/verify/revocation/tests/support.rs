//! Writes revocation lists, and signs them.

use std::sync::OnceLock;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{RSA_PSS_SHA256, RsaKeyPair};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint,
    CrlIssuingDistributionPoint, DistinguishedName, DnType, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, RevocationReason, RevokedCertParams, SerialNumber, SigningKey,
};
use rustls::pki_types::alg_id;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::super::{Authority, verify_list};
use crate::der;

/// When the tests take place, in seconds since the Unix epoch.
pub(crate) const NOW: u64 = 1_800_000_000;
/// When lists go stale unless they say otherwise.
pub(crate) const LATER: u64 = NOW + 1_000;

/// One DER value.
pub(crate) fn write(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = contents.len();
    let mut written = vec![tag];
    if length < 0x80 {
        written.push(length as u8);
    } else {
        let digits = length.to_be_bytes();
        let digits = &digits[digits.iter().position(|digit| *digit != 0).unwrap()..];
        written.push(0x80 | digits.len() as u8);
        written.extend(digits);
    }
    written.extend(contents);
    written
}

/// An extension 2.5.29.`number` that does not say whether it is critical.
pub(crate) fn extension(number: u8, value: &[u8]) -> Vec<u8> {
    extension_of(number, &[], value)
}

pub(crate) fn boolean_extension(number: u8, critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical { 0xff } else { 0 };
    extension_of(number, &write(der::BOOLEAN, &[critical]), value)
}

fn extension_of(number: u8, critical: &[u8], value: &[u8]) -> Vec<u8> {
    let id = write(der::OBJECT_IDENTIFIER, &[0x55, 0x1d, number]);
    let value = write(der::OCTET_STRING, value);
    write(der::SEQUENCE, &[id.as_slice(), critical, &value].concat())
}

/// An entry without extensions.
pub(crate) fn entry(serial: &[u8]) -> Vec<u8> {
    entry_with(serial, &[])
}

pub(crate) fn revoked_for(serial: &[u8], reason: u8) -> Vec<u8> {
    entry_with(serial, &[extension(21, &write(der::ENUMERATED, &[reason]))])
}

pub(crate) fn removal(serial: &[u8]) -> Vec<u8> {
    revoked_for(serial, 8)
}

pub(crate) fn entry_with(serial: &[u8], extensions: &[Vec<u8>]) -> Vec<u8> {
    let mut fields = [write(der::INTEGER, serial), time(NOW - 10)].concat();
    if !extensions.is_empty() {
        fields.extend(write(der::SEQUENCE, &extensions.concat()));
    }
    write(der::SEQUENCE, &fields)
}

fn time(seconds: u64) -> Vec<u8> {
    let time = OffsetDateTime::from_unix_timestamp(seconds.try_into().unwrap()).unwrap();
    let text = format!(
        "{:02}{:02}{:02}{:02}{:02}{:02}Z",
        time.year() % 100,
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    );
    write(der::UTC_TIME, text.as_bytes())
}

/// What a list shall say.
#[derive(Clone)]
pub(crate) struct TestList {
    pub(crate) version_1: bool,
    pub(crate) number: Option<u64>,
    pub(crate) base: Option<u64>,
    pub(crate) this_update: u64,
    pub(crate) next_update: Option<u64>,
    pub(crate) key_id: Option<Vec<u8>>,
    pub(crate) entries: Vec<Vec<u8>>,
    pub(crate) extensions: Vec<Vec<u8>>,
}

impl Default for TestList {
    fn default() -> Self {
        Self {
            version_1: false,
            number: Some(1),
            base: None,
            this_update: NOW - 1,
            next_update: Some(LATER),
            key_id: None,
            entries: Vec::new(),
            extensions: Vec::new(),
        }
    }
}

impl TestList {
    pub(crate) fn signed_by(&self, signer: &Signer) -> Vec<u8> {
        let signature = signer.sign(&self.to_be_signed(signer));
        self.with_signature(signer, &signature)
    }

    pub(crate) fn with_signature(&self, signer: &Signer, signature: &[u8]) -> Vec<u8> {
        let signature = [&[0], signature].concat();
        let list = [
            self.to_be_signed(signer),
            write(der::SEQUENCE, &signer.algorithm),
            write(der::BIT_STRING, &signature),
        ]
        .concat();
        write(der::SEQUENCE, &list)
    }

    pub(crate) fn to_be_signed(&self, signer: &Signer) -> Vec<u8> {
        let mut fields = Vec::new();
        if !self.version_1 {
            fields.extend(write(der::INTEGER, &[1]));
        }
        fields.extend(write(der::SEQUENCE, &signer.algorithm));
        fields.extend(signer.subject());
        fields.extend(time(self.this_update));
        fields.extend(self.next_update.map(time).unwrap_or_default());
        if !self.entries.is_empty() {
            fields.extend(write(der::SEQUENCE, &self.entries.concat()));
        }
        let extensions = self.all_extensions();
        if !extensions.is_empty() {
            let extensions = write(der::SEQUENCE, &extensions);
            fields.extend(write(der::constructed(0), &extensions));
        }
        write(der::SEQUENCE, &fields)
    }

    fn all_extensions(&self) -> Vec<u8> {
        let mut extensions = self.extensions.concat();
        if let Some(number) = self.number {
            extensions.extend(extension(20, &integer(number)));
        }
        if let Some(base) = self.base {
            extensions.extend(boolean_extension(27, true, &integer(base)));
        }
        if let Some(key_id) = &self.key_id {
            let value = write(der::SEQUENCE, &write(der::primitive(0), key_id));
            extensions.extend(extension(35, &value));
        }
        extensions
    }
}

fn integer(number: u64) -> Vec<u8> {
    assert!(number < 0x80, "one byte suffices");
    write(der::INTEGER, &[number as u8])
}

/// An authority with its key.
pub(crate) struct Signer {
    pub(crate) key: TestKey,
    pub(crate) certificate: Vec<u8>,
    params: CertificateParams,
    algorithm: Vec<u8>,
}

/// rcgen signs with PKCS #1 v1.5 only.
pub(crate) enum TestKey {
    Rcgen(KeyPair),
    Pss(KeyPair, RsaKeyPair),
}

impl TestKey {
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        match self {
            Self::Rcgen(key) => key.sign(message),
            Self::Pss(_, key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(
                    &RSA_PSS_SHA256,
                    &SystemRandom::new(),
                    message,
                    &mut signature,
                )
                .unwrap();
                Ok(signature)
            }
        }
    }

    fn pair(&self) -> &KeyPair {
        match self {
            Self::Rcgen(key) | Self::Pss(key, _) => key,
        }
    }
}

impl Signer {
    /// P-256, with the usual key usages.
    pub(crate) fn new(name: &str) -> Self {
        let usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self::with_usages(name, usages)
    }

    /// One for all cases of a property test: making a key takes longer than a case.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Signer> = OnceLock::new();
        SHARED.get_or_init(|| Self::new("shared"))
    }

    pub(crate) fn with_usages(name: &str, usages: Vec<KeyUsagePurpose>) -> Self {
        let key = TestKey::Rcgen(KeyPair::generate().unwrap());
        Self::with_key(name, usages, key, alg_id::ECDSA_SHA256.as_ref())
    }

    fn with_key(name: &str, usages: Vec<KeyUsagePurpose>, key: TestKey, algorithm: &[u8]) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = usages;
        let certificate = params.self_signed(key.pair()).unwrap().der().to_vec();
        Self {
            key,
            certificate,
            params,
            algorithm: algorithm.to_vec(),
        }
    }

    /// The same name and key under a new certificate.
    pub(crate) fn renewed(&self, usages: Vec<KeyUsagePurpose>) -> Self {
        let mut params = self.params.clone();
        params.key_usages = usages;
        let key = KeyPair::from_pem(&self.key.pair().serialize_pem()).unwrap();
        let certificate = params.self_signed(&key).unwrap().der().to_vec();
        Self {
            key: TestKey::Rcgen(key),
            certificate,
            params,
            algorithm: self.algorithm.clone(),
        }
    }

    /// One for each algorithm, RSA-PSS included.
    pub(crate) fn of_every_algorithm() -> Vec<Self> {
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let pkcs8 = rsa.as_der().unwrap();
        let rsa = || KeyPair::try_from(pkcs8.as_ref()).unwrap();
        let pss = RsaKeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        let generate = |algorithm| TestKey::Rcgen(KeyPair::generate_for(algorithm).unwrap());
        [
            (
                generate(&rcgen::PKCS_ECDSA_P256_SHA256),
                alg_id::ECDSA_SHA256,
            ),
            (
                generate(&rcgen::PKCS_ECDSA_P384_SHA384),
                alg_id::ECDSA_SHA384,
            ),
            (generate(&rcgen::PKCS_ED25519), alg_id::ED25519),
            (TestKey::Rcgen(rsa()), alg_id::RSA_PKCS1_SHA256),
            (TestKey::Pss(rsa(), pss), alg_id::RSA_PSS_SHA256),
        ]
        .into_iter()
        .map(|(key, algorithm)| Self::with_key("a", Vec::new(), key, algorithm.as_ref()))
        .collect()
    }

    /// The same, but its lists name another algorithm.
    pub(crate) fn claiming(mut self, algorithm: &[u8]) -> Self {
        self.algorithm = algorithm.to_vec();
        self
    }

    pub(crate) fn authority(&self) -> Authority<'_> {
        Authority::from_certificate(&self.certificate).unwrap()
    }

    pub(crate) fn accepts(&self, list: &TestList) -> bool {
        verify_list(&list.signed_by(self), &[self.authority()]).is_ok()
    }

    pub(crate) fn key_id(&self) -> Vec<u8> {
        self.params.key_identifier(self.key.pair())
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.key.sign(message).unwrap()
    }

    fn subject(&self) -> Vec<u8> {
        let (_, certificate) = X509Certificate::from_der(&self.certificate).unwrap();
        certificate.tbs_certificate.subject.as_raw().to_vec()
    }

    /// A list by rcgen, of one distribution point or of none.
    pub(crate) fn rcgen_list(&self, serials: &[&[u8]], point: Option<&str>) -> Vec<u8> {
        let time = |seconds: u64| {
            OffsetDateTime::from_unix_timestamp(seconds.try_into().unwrap()).unwrap()
        };
        let revoked_certs = serials
            .iter()
            .map(|serial| RevokedCertParams {
                serial_number: SerialNumber::from_slice(serial),
                revocation_time: time(NOW - 10),
                reason_code: Some(RevocationReason::KeyCompromise),
                invalidity_date: Some(time(NOW - 20)),
            })
            .collect();
        let list = CertificateRevocationListParams {
            this_update: time(NOW - 1),
            next_update: time(LATER),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: point.map(|uri| CrlIssuingDistributionPoint {
                distribution_point: distribution_point(uri),
                scope: None,
            }),
            revoked_certs,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let issuer = Issuer::from_params(&self.params, self.key.pair());
        list.signed_by(&issuer).unwrap().der().to_vec()
    }
}

/// A certificate whose lists are found at this point.
pub(crate) fn certificate(point: Option<&str>) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.crl_distribution_points = point.map(distribution_point).into_iter().collect();
    let key = KeyPair::generate().unwrap();
    params.self_signed(&key).unwrap().der().to_vec()
}

fn distribution_point(uri: &str) -> CrlDistributionPoint {
    CrlDistributionPoint {
        uris: vec![uri.to_owned()],
    }
}

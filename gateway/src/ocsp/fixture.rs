//! A responder in a test's own process: authorities, devices, and responses that are right until a test spoils them.

use std::sync::Arc;

use aws_lc_rs::digest;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, SerialNumber, SigningKey as _,
};
use time::OffsetDateTime;

use super::subject::{Issuer, Subject};
use crate::der::{self, encode};

/// When the tests' messages are made.
pub(super) const NOW: u64 = 1_795_242_000;

/// ecdsa-with-SHA256, in its SEQUENCE.
const ECDSA_SHA256: &[u8] = &[0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];

/// Somebody with a key and a certificate.
pub(super) struct Party {
    params: CertificateParams,
    key: KeyPair,
    pub(super) certificate: Vec<u8>,
}

impl Party {
    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = at(NOW - 1000);
        params.not_after = at(NOW + 1000);
        params
    }

    /// A certificate authority.
    pub(super) fn authority(name: &str) -> Self {
        let mut params = Self::params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().to_vec();
        Self {
            params,
            key,
            certificate,
        }
    }

    /// An authority of another name with the same key.
    pub(super) fn renamed(&self, name: &str) -> Self {
        let mut params = Self::params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::try_from(self.key.serialize_der()).unwrap();
        let certificate = params.self_signed(&key).unwrap().der().to_vec();
        Self {
            params,
            key,
            certificate,
        }
    }

    /// A party whose certificate this one issued, with `change` made to it.
    pub(super) fn issue(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = Self::params(name);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let issuer = rcgen::Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).unwrap().der().to_vec();
        Self {
            params,
            key,
            certificate,
        }
    }

    /// A responder that this one appointed.
    pub(super) fn appoint(&self) -> Self {
        self.issue("responder", |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
        })
    }

    pub(super) fn issuer(&self) -> Arc<Issuer> {
        Arc::new(Issuer::from_certificate(&self.certificate).unwrap())
    }

    /// The subject that a device with `serial` is, whose certificate names `responders`.
    pub(super) fn subject(&self, serial: u64, responders: &[&str]) -> Subject {
        let device = self.device(serial, responders);
        Subject::new(&device.certificate, self.issuer()).unwrap()
    }

    pub(super) fn device(&self, serial: u64, responders: &[&str]) -> Self {
        self.issue("device", |params| {
            params.serial_number = Some(SerialNumber::from(serial));
            if !responders.is_empty() {
                params.custom_extensions.push(access(responders));
            }
        })
    }

    pub(super) fn name_der(&self) -> Vec<u8> {
        Issuer::from_certificate(&self.certificate)
            .unwrap()
            .name_der()
    }

    /// SHA-1 over its key.
    pub(super) fn key_hash(&self) -> Vec<u8> {
        let issuer = Issuer::from_certificate(&self.certificate).unwrap();
        let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, issuer.key().bits());
        hash.as_ref().to_owned()
    }
}

fn at(time: u64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(time.cast_signed()).unwrap()
}

/// Authority information access: first a place of the issuer's certificate, then the responders.
fn access(responders: &[&str]) -> CustomExtension {
    let describe = |method: u8, url: &str| {
        let method = [0x2b, 6, 1, 5, 5, 7, 0x30, method];
        let parts = [
            encode(der::OBJECT_IDENTIFIER, &[&method]),
            encode(der::primitive(6), &[url.as_bytes()]),
        ];
        encode(der::SEQUENCE, &[&parts.concat()])
    };
    let mut descriptions = describe(2, "http://issuer.example/");
    for responder in responders {
        descriptions.extend(describe(1, responder));
    }
    CustomExtension::from_oid_content(
        &[1, 3, 6, 1, 5, 5, 7, 1, 1],
        encode(der::SEQUENCE, &[&descriptions]),
    )
}

pub(super) fn time(time: u64) -> Vec<u8> {
    let time = at(time);
    let text = format!(
        "{:04}{:02}{:02}{:02}{:02}{:02}Z",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    );
    encode(der::GENERALIZED_TIME, &[text.as_bytes()])
}

pub(super) fn good() -> Vec<u8> {
    encode(der::primitive(0), &[])
}

pub(super) fn revoked() -> Vec<u8> {
    let reason = encode(der::constructed(0), &[&encode(der::ENUMERATED, &[&[1]])]);
    encode(der::constructed(1), &[&time(NOW - 100), &reason])
}

pub(super) fn unknown() -> Vec<u8> {
    encode(der::primitive(2), &[])
}

/// A response, part by part.
pub(super) struct Response {
    /// CertID, status, thisUpdate of each SingleResponse, and when the next comes.
    pub(super) singles: Vec<Vec<u8>>,
    pub(super) responder: Vec<u8>,
    pub(super) extensions: Vec<u8>,
    pub(super) certificates: Vec<Vec<u8>>,
}

impl Response {
    /// A response by key about the CertID `id`, of `status`, made at [`NOW`] and good for 600 seconds.
    pub(super) fn new(id: &[u8], status: &[u8], signer: &Party) -> Self {
        let single = Self::single(id, status, NOW, Some(NOW + 600));
        let hash = encode(der::OCTET_STRING, &[&signer.key_hash()]);
        Self {
            singles: vec![single],
            responder: encode(der::constructed(2), &[&hash]),
            extensions: Vec::new(),
            certificates: Vec::new(),
        }
    }

    pub(super) fn single(
        id: &[u8],
        status: &[u8],
        this_update: u64,
        next_update: Option<u64>,
    ) -> Vec<u8> {
        let next_update = next_update
            .map(|next_update| encode(der::constructed(0), &[&time(next_update)]))
            .unwrap_or_default();
        encode(
            der::SEQUENCE,
            &[id, status, &time(this_update), &next_update],
        )
    }

    /// The whole OCSPResponse, signed by `signer`.
    pub(super) fn sign(&self, signer: &Party) -> Vec<u8> {
        let extensions = match &self.extensions[..] {
            [] => Vec::new(),
            extensions => encode(der::constructed(1), &[extensions]),
        };
        let data = encode(
            der::SEQUENCE,
            &[
                &self.responder,
                &time(NOW),
                &encode(der::SEQUENCE, &[&self.singles.concat()]),
                &extensions,
            ],
        );
        let signature = signer.key.sign(&data).unwrap();
        let certificates = match &self.certificates[..] {
            [] => Vec::new(),
            certificates => encode(
                der::constructed(0),
                &[&encode(der::SEQUENCE, &[&certificates.concat()])],
            ),
        };
        let basic = encode(
            der::SEQUENCE,
            &[
                &data,
                ECDSA_SHA256,
                &encode(der::BIT_STRING, &[&[0], &signature]),
                &certificates,
            ],
        );
        let bytes = encode(
            der::SEQUENCE,
            &[
                &encode(
                    der::OBJECT_IDENTIFIER,
                    &[&[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1]],
                ),
                &encode(der::OCTET_STRING, &[&basic]),
            ],
        );
        encode(
            der::SEQUENCE,
            &[
                &encode(der::ENUMERATED, &[&[0]]),
                &encode(der::constructed(0), &[&bytes]),
            ],
        )
    }
}

/// An OCSPResponse that refuses with `status`.
pub(super) fn refusal(status: u8) -> Vec<u8> {
    encode(der::SEQUENCE, &[&encode(der::ENUMERATED, &[&[status]])])
}

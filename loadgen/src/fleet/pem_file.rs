//! What one PEM file holds: certificates and private keys, in any number and order.
//!
//! Judges no certificate; only reads what it says of itself, as far as it must be known to tell devices from others.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::KeyProvider;
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};
use rustls::sign::SigningKey;
use x509_parser::prelude::{FromDer, X509Certificate};

/// More than any credential needs; what is larger is something else.
const LONGEST_FILE: u64 = 1 << 20;

/// What one file holds.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) certificates: Vec<Certificate>,
    pub(super) keys: Vec<Key>,
}

/// A certificate, and what it says of itself.
#[derive(Debug)]
pub(super) struct Certificate {
    pub(super) der: CertificateDer<'static>,
    pub(super) subject: Box<[u8]>,
    pub(super) issuer: Box<[u8]>,
    pub(super) public_key: Box<[u8]>,
    pub(super) role: Role,
}

/// What a certificate says it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// CA:TRUE, or a version 1 certificate that signed itself.
    Authority,
    /// An end entity for TLS servers and not for clients.
    Server,
    /// Any other end entity.
    Device,
}

/// A private key, and its public half as DER SubjectPublicKeyInfo.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) signing: Arc<dyn SigningKey>,
    pub(super) public_key: Box<[u8]>,
}

/// Why a file cannot be used.
#[derive(Debug)]
pub(super) enum Unusable {
    Unreadable(io::Error),
    /// No PEM in it at all: it may be something else altogether.
    NoPem,
    Broken(String),
}

impl Unusable {
    pub(super) fn reason(self) -> String {
        match self {
            Unusable::Unreadable(error) => format!("cannot be read: {error}"),
            Unusable::NoPem => "no PEM text in it".to_owned(),
            Unusable::Broken(what) => what,
        }
    }
}

/// Reads and understands a file.
pub(super) fn read(path: &Path, keys: &dyn KeyProvider) -> Result<Contents, Unusable> {
    parse(&read_bytes(path)?, keys)
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, Unusable> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(Unusable::Unreadable)?;
    file.take(LONGEST_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(Unusable::Unreadable)?;
    if bytes.len() as u64 > LONGEST_FILE {
        return Err(Unusable::Broken(
            "longer than 1 MiB, which no credential is".to_owned(),
        ));
    }
    Ok(bytes)
}

fn parse(bytes: &[u8], keys: &dyn KeyProvider) -> Result<Contents, Unusable> {
    let blocks = pem::parse_many(bytes)
        .map_err(|error| Unusable::Broken(format!("no valid PEM: {error}")))?;
    if blocks.is_empty() {
        let begins = bytes.windows(11).any(|window| window == b"-----BEGIN ");
        return Err(if begins {
            Unusable::Broken("a PEM block that begins and does not end".to_owned())
        } else {
            Unusable::NoPem
        });
    }
    let mut contents = Contents::default();
    for block in blocks {
        let encrypted = block
            .headers()
            .get("Proc-Type")
            .is_some_and(|header| header.contains("ENCRYPTED"));
        let der = match block.tag() {
            "CERTIFICATE" | "X509 CERTIFICATE" => {
                contents
                    .certificates
                    .push(Certificate::from_der(block.into_contents())?);
                continue;
            }
            "ENCRYPTED PRIVATE KEY" => return Err(encrypted_key()),
            "PRIVATE KEY" | "EC PRIVATE KEY" | "RSA PRIVATE KEY" if encrypted => {
                return Err(encrypted_key());
            }
            "PRIVATE KEY" => PrivateKeyDer::from(PrivatePkcs8KeyDer::from(block.into_contents())),
            "EC PRIVATE KEY" => PrivateKeyDer::from(PrivateSec1KeyDer::from(block.into_contents())),
            "RSA PRIVATE KEY" => {
                PrivateKeyDer::from(PrivatePkcs1KeyDer::from(block.into_contents()))
            }
            // Requests, revocation lists, curve parameters: nothing to present.
            _ => continue,
        };
        contents.keys.push(Key::load(der, keys)?);
    }
    Ok(contents)
}

fn encrypted_key() -> Unusable {
    Unusable::Broken(
        "its private key is encrypted; write it without passphrase (openssl pkey -in FILE -out FILE)"
            .to_owned(),
    )
}

impl Certificate {
    fn from_der(der: Vec<u8>) -> Result<Certificate, Unusable> {
        let (_, parsed) = X509Certificate::from_der(&der)
            .map_err(|error| Unusable::Broken(format!("a certificate that is none: {error}")))?;
        Ok(Certificate {
            subject: parsed.subject().as_raw().into(),
            issuer: parsed.issuer().as_raw().into(),
            public_key: parsed.public_key().raw.into(),
            role: role(&parsed),
            der: CertificateDer::from(der),
        })
    }

    /// Whether it names itself as its issuer.
    pub(super) fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }

    /// Whether it is an authority with nobody above it.
    pub(super) fn is_trust_anchor(&self) -> bool {
        self.role == Role::Authority && self.is_self_issued()
    }
}

fn role(certificate: &X509Certificate<'_>) -> Role {
    // A certificate with an extension twice is for the server to judge: here it counts as having none.
    let authority = certificate
        .basic_constraints()
        .ok()
        .flatten()
        .map(|constraints| constraints.value.ca);
    let signed_itself = certificate.subject() == certificate.issuer();
    if authority == Some(true) || (certificate.extensions().is_empty() && signed_itself) {
        return Role::Authority;
    }
    let usage = certificate.extended_key_usage().ok().flatten();
    match usage {
        Some(usage) if usage.value.server_auth && !usage.value.client_auth => Role::Server,
        _ => Role::Device,
    }
}

impl Key {
    fn load(der: PrivateKeyDer<'static>, keys: &dyn KeyProvider) -> Result<Key, Unusable> {
        let signing = keys.load_private_key(der).map_err(|_| {
            Unusable::Broken(
                "a private key that is broken or of another kind than P-256, P-384, P-521, Ed25519 and RSA of 2048 to 8192 bits"
                    .to_owned(),
            )
        })?;
        let public_key = signing
            .public_key()
            .ok_or_else(|| Unusable::Broken("a private key without public half".to_owned()))?;
        Ok(Key {
            public_key: public_key.as_ref().into(),
            signing,
        })
    }
}

//! A request, parsed, with its self-signature checked and what no profile allows refused.

use std::net::IpAddr;

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::error::X509Error;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::{OID_PKCS1_SHA1WITHRSA, OID_SHA1_WITH_RSA};
use x509_parser::prelude::FromDer;

use super::Refusal;
use crate::authority::SubjectAltName;
use crate::public_key::PublicKeyKind;

/// More alternative names than any device or server here has.
const MOST_NAMES: usize = 100;

/// What a request asks for, after proof that whoever asks holds the private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) common_name: Option<String>,
    pub(super) names: Vec<SubjectAltName>,
    /// Whether the extended key usage asked for allows a TLS client and a server; both if none is asked for.
    pub(super) wants_client: bool,
    pub(super) wants_server: bool,
    /// DER SubjectPublicKeyInfo.
    pub(super) public_key: Vec<u8>,
}

impl Request {
    /// Parses PEM or DER.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let der = der_of(bytes)?;
        let (rest, request) =
            X509CertificationRequest::from_der(&der).map_err(|_| Refusal::NotARequest)?;
        if !rest.is_empty() {
            return Err(Refusal::NotARequest);
        }
        check_key_and_signature(&request)?;
        let info = &request.certification_request_info;
        let mut parsed = Self {
            common_name: common_name(&request)?,
            names: Vec::new(),
            wants_client: true,
            wants_server: true,
            public_key: info.subject_pki.raw.to_vec(),
        };
        for extension in request.requested_extensions().into_iter().flatten() {
            parsed.take(extension)?;
        }
        Ok(parsed)
    }

    fn take(&mut self, extension: &ParsedExtension<'_>) -> Result<(), Refusal> {
        match extension {
            ParsedExtension::ParseError { .. } => Err(Refusal::MalformedExtension),
            ParsedExtension::BasicConstraints(constraints) if constraints.ca => {
                Err(Refusal::Authority("basic constraints CA:TRUE"))
            }
            ParsedExtension::KeyUsage(usage) if usage.key_cert_sign() || usage.crl_sign() => Err(
                Refusal::Authority("key usage for signing certificates or lists"),
            ),
            ParsedExtension::ExtendedKeyUsage(usage) => {
                self.wants_client = usage.client_auth || usage.any;
                self.wants_server = usage.server_auth || usage.any;
                Ok(())
            }
            ParsedExtension::SubjectAlternativeName(names) => {
                for name in &names.general_names {
                    self.names.push(alternative_name(name)?);
                }
                if self.names.len() > MOST_NAMES {
                    Err(Refusal::TooManyNames(MOST_NAMES))
                } else {
                    Ok(())
                }
            }
            // Key identifiers, comments and the like: not copied, no harm in having been asked for.
            _ => Ok(()),
        }
    }
}

fn der_of(bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
    // DER of any request begins with a SEQUENCE, PEM text never with that byte.
    if bytes.first() == Some(&0x30) {
        return Ok(bytes.to_vec());
    }
    // The second tag is the old Netscape one, which some tools still write.
    pem::parse_many(bytes)
        .map_err(|_| Refusal::NotARequest)?
        .into_iter()
        .find(|block| {
            matches!(
                block.tag(),
                "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST"
            )
        })
        .map(pem::Pem::into_contents)
        .ok_or(Refusal::NotARequest)
}

fn check_key_and_signature(request: &X509CertificationRequest<'_>) -> Result<(), Refusal> {
    let kind = PublicKeyKind::of(&request.certification_request_info.subject_pki);
    match kind {
        PublicKeyKind::Ec("P-256" | "P-384") | PublicKeyKind::Ed25519 => {}
        PublicKeyKind::Rsa(bits) if (2048..=8192).contains(&bits) => {}
        other => return Err(Refusal::Key(other.to_string())),
    }
    let algorithm = &request.signature_algorithm.algorithm;
    if *algorithm == OID_PKCS1_SHA1WITHRSA || *algorithm == OID_SHA1_WITH_RSA {
        return Err(Refusal::SignatureAlgorithm);
    }
    request.verify_signature().map_err(|error| match error {
        X509Error::SignatureUnsupportedAlgorithm => Refusal::SignatureAlgorithm,
        _ => Refusal::Signature,
    })
}

fn common_name(request: &X509CertificationRequest<'_>) -> Result<Option<String>, Refusal> {
    let mut names = request
        .certification_request_info
        .subject
        .iter_common_name();
    match (names.next(), names.next()) {
        (None, _) => Ok(None),
        (Some(name), None) => name
            .as_str()
            .map(|text| Some(text.to_owned()))
            .map_err(|_| Refusal::CommonName),
        // Which of two is the id? Neither, then.
        (Some(_), Some(_)) => Err(Refusal::CommonName),
    }
}

fn alternative_name(name: &GeneralName<'_>) -> Result<SubjectAltName, Refusal> {
    match name {
        GeneralName::DNSName(name) => Ok(SubjectAltName::Dns(name.to_ascii_lowercase())),
        GeneralName::URI(uri) => Ok(SubjectAltName::Uri((*uri).to_owned())),
        GeneralName::RFC822Name(address) => Ok(SubjectAltName::Email((*address).to_owned())),
        GeneralName::IPAddress(octets) => ip_address(octets).map(SubjectAltName::Ip),
        other => Err(Refusal::Name(other.to_string())),
    }
}

fn ip_address(octets: &[u8]) -> Result<IpAddr, Refusal> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    let v6 = <[u8; 16]>::try_from(octets).map(IpAddr::from);
    v4.or(v6).map_err(|_| Refusal::MalformedExtension)
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose};

    use super::{Refusal, Request};

    fn der(change: impl Fn(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["pump.example".to_owned()]).unwrap();
        change(&mut params);
        params
            .serialize_request(&KeyPair::generate().unwrap())
            .unwrap()
            .der()
            .to_vec()
    }

    #[test]
    fn a_request_is_read() {
        let request = Request::parse(&der(|_| {})).unwrap();
        assert_eq!(
            request.common_name.as_deref(),
            Some("rcgen self signed cert")
        );
        assert_eq!(request.names.len(), 1);
        assert!(request.wants_client && request.wants_server);
    }

    #[test]
    fn no_changed_bit_changes_what_is_certified() {
        let good = der(|_| {});
        let wanted = Request::parse(&good).unwrap();
        for position in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[position] ^= 1 << bit;
                // What the signature does not cover (its own encoding) may change, what is certified may not.
                if let Ok(accepted) = Request::parse(&bad) {
                    assert_eq!(accepted, wanted, "byte {position} bit {bit}");
                    assert!(position > good.len() - 90, "byte {position} bit {bit}");
                }
            }
        }
    }

    #[test]
    fn authorities_are_refused() {
        let ca = der(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
        assert!(matches!(Request::parse(&ca), Err(Refusal::Authority(_))));
        let signer = der(|params| params.key_usages = vec![KeyUsagePurpose::KeyCertSign]);
        assert!(matches!(
            Request::parse(&signer),
            Err(Refusal::Authority(_))
        ));
    }

    #[test]
    fn what_is_no_request_is_told_so() {
        for bytes in [
            &b""[..],
            b"garbage",
            b"0garbage",
            b"-----BEGIN X-----\nAAAA\n-----END X-----\n",
        ] {
            assert_eq!(Request::parse(bytes), Err(Refusal::NotARequest));
        }
    }
}

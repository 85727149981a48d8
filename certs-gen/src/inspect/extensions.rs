//! The extensions that say what a key is for and whose it is; of certificates, and asked for in requests.
//!
//! Those that are not understood here are listed by object identifier, so that nothing is passed over in silence.

use std::net::IpAddr;

use serde::Serialize;
use x509_parser::extensions::{ExtendedKeyUsage, GeneralName, KeyUsage, ParsedExtension};

use crate::public_key::hex;

/// What extensions say. Absent ones are `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ExtensionsItem {
    /// Subject alternative names, each as `DNS:…`, `IP:…`, `URI:…`, `email:…` or `other:…`.
    pub subject_alt_names: Vec<String>,
    /// Key usages, by their names in RFC 5280.
    pub key_usages: Vec<&'static str>,
    /// Extended key usages, by name or object identifier.
    pub extended_key_usages: Vec<String>,
    /// Basic constraints.
    pub basic_constraints: Option<BasicConstraintsItem>,
    /// Subject key identifier, hexadecimal.
    pub subject_key_id: Option<String>,
    /// Authority key identifier, hexadecimal.
    pub authority_key_id: Option<String>,
    /// Object identifiers of extensions that are not described.
    pub other_extensions: Vec<String>,
}

/// Basic constraints (RFC 5280 section 4.2.1.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct BasicConstraintsItem {
    /// Whether it may issue certificates.
    pub ca: bool,
    /// How many intermediates may follow.
    pub path_length: Option<u32>,
}

impl ExtensionsItem {
    pub(super) fn of<'a>(extensions: impl Iterator<Item = &'a ParsedExtension<'a>>) -> Self {
        let mut item = Self::default();
        for extension in extensions {
            item.take(extension);
        }
        item
    }

    fn take(&mut self, extension: &ParsedExtension<'_>) {
        match extension {
            ParsedExtension::SubjectAlternativeName(names) => {
                self.subject_alt_names
                    .extend(names.general_names.iter().map(general_name));
            }
            ParsedExtension::KeyUsage(usage) => self.key_usages = key_usages(usage),
            ParsedExtension::ExtendedKeyUsage(usage) => self.extended_key_usages = purposes(usage),
            ParsedExtension::BasicConstraints(constraints) => {
                self.basic_constraints = Some(BasicConstraintsItem {
                    ca: constraints.ca,
                    path_length: constraints.path_len_constraint,
                });
            }
            ParsedExtension::SubjectKeyIdentifier(id) => self.subject_key_id = Some(hex(id.0)),
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                self.authority_key_id = id.key_identifier.as_ref().map(|id| hex(id.0));
            }
            ParsedExtension::UnsupportedExtension { oid } => {
                self.other_extensions.push(oid.to_id_string())
            }
            ParsedExtension::ParseError { .. } => {
                self.other_extensions.push("malformed".to_owned())
            }
            known => self.other_extensions.push(name_of(known).to_owned()),
        }
    }
}

fn name_of(extension: &ParsedExtension<'_>) -> &'static str {
    match extension {
        ParsedExtension::CertificatePolicies(_) => "certificatePolicies",
        ParsedExtension::NameConstraints(_) => "nameConstraints",
        ParsedExtension::CRLDistributionPoints(_) => "cRLDistributionPoints",
        ParsedExtension::AuthorityInfoAccess(_) => "authorityInfoAccess",
        ParsedExtension::CRLNumber(_) => "cRLNumber",
        ParsedExtension::IssuingDistributionPoint(_) => "issuingDistributionPoint",
        _ => "another known to X.509",
    }
}

fn general_name(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(name) => format!("DNS:{name}"),
        GeneralName::URI(uri) => format!("URI:{uri}"),
        GeneralName::RFC822Name(address) => format!("email:{address}"),
        GeneralName::IPAddress(octets) => {
            let v4 = <[u8; 4]>::try_from(*octets).map(IpAddr::from);
            let v6 = <[u8; 16]>::try_from(*octets).map(IpAddr::from);
            v4.or(v6).map_or_else(
                |_| format!("IP:malformed {}", hex(octets)),
                |ip| format!("IP:{ip}"),
            )
        }
        GeneralName::DirectoryName(name) => format!("directory:{name}"),
        other => format!("other:{other}"),
    }
}

fn key_usages(usage: &KeyUsage) -> Vec<&'static str> {
    [
        (usage.digital_signature(), "digitalSignature"),
        (usage.non_repudiation(), "nonRepudiation"),
        (usage.key_encipherment(), "keyEncipherment"),
        (usage.data_encipherment(), "dataEncipherment"),
        (usage.key_agreement(), "keyAgreement"),
        (usage.key_cert_sign(), "keyCertSign"),
        (usage.crl_sign(), "cRLSign"),
        (usage.encipher_only(), "encipherOnly"),
        (usage.decipher_only(), "decipherOnly"),
    ]
    .into_iter()
    .filter_map(|(set, name)| set.then_some(name))
    .collect()
}

fn purposes(usage: &ExtendedKeyUsage<'_>) -> Vec<String> {
    let known = [
        (usage.any, "any"),
        (usage.server_auth, "serverAuth"),
        (usage.client_auth, "clientAuth"),
        (usage.code_signing, "codeSigning"),
        (usage.email_protection, "emailProtection"),
        (usage.time_stamping, "timeStamping"),
        (usage.ocsp_signing, "OCSPSigning"),
    ];
    let named = known
        .into_iter()
        .filter(|(set, _)| *set)
        .map(|(_, name)| name.to_owned());
    named
        .chain(usage.other.iter().map(|oid| oid.to_id_string()))
        .collect()
}

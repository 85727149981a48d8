//! Every fault: its name, what is wrong, and what is expected of those who see it.
//!
//! Reasons and alerts are those of Fleetgate's `gateway` with its default settings, the lists in `crl/` in force. openssl
//! is asked as [`super::Openssl`] says, for the purpose of a TLS client.

use super::manifest::{Alert, Expectation, Fault, Openssl, Opinion};
use super::workshop::Workshop;
use super::{end_entity, path};
use crate::IssueError;
use crate::credential::Credential;

/// One fault, and how it is made.
pub(super) struct Entry {
    pub(super) name: &'static str,
    wrong: &'static str,
    /// The reason and alert of a refusal; `None`: it is accepted.
    refusal: Option<(&'static str, Alert)>,
    openssl: Opinion,
    pub(super) make: fn(&Workshop) -> Result<Credential, IssueError>,
}

impl Entry {
    pub(super) fn describe(&self) -> Fault {
        let mut arguments = vec!["-purpose", "sslclient"];
        if self.name == "revoked" {
            arguments.extend(["-crl_check", "-CRLfile", "crl/intermediate-00.pem"]);
        }
        Fault {
            name: self.name.to_owned(),
            file: format!("{}.pem", self.name),
            wrong: self.wrong.to_owned(),
            expected: match self.refusal {
                None => Expectation::Accept,
                Some((reason, alert)) => Expectation::Refuse {
                    reason: reason.to_owned(),
                    alert,
                },
            },
            openssl: Openssl {
                opinion: self.openssl,
                arguments: arguments.into_iter().map(str::to_owned).collect(),
            },
        }
    }
}

/// All of them, each with a name of its own.
pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        name: "expired",
        wrong: "The device's certificate expired a day ago.",
        refusal: Some(("expired", Alert::CertificateExpired)),
        openssl: Opinion::Refuse,
        make: end_entity::expired,
    },
    Entry {
        name: "not_yet_valid",
        wrong: "The device's certificate becomes valid in a month.",
        refusal: Some(("not_yet_valid", Alert::CertificateExpired)),
        openssl: Opinion::Refuse,
        make: end_entity::not_yet_valid,
    },
    Entry {
        name: "wrong_anchor",
        wrong: "The chain leads to a trust anchor of another name that nobody here trusts.",
        refusal: Some(("unknown_issuer", Alert::UnknownCa)),
        openssl: Opinion::Refuse,
        make: path::wrong_anchor,
    },
    Entry {
        name: "self_signed",
        wrong: "The device signed its certificate itself.",
        refusal: Some(("unknown_issuer", Alert::UnknownCa)),
        openssl: Opinion::Refuse,
        make: end_entity::self_signed,
    },
    Entry {
        name: "other_purpose",
        wrong: "The certificate is for signing code: its extended key usage has codeSigning and no clientAuth.",
        refusal: Some(("wrong_usage", Alert::UnsupportedCertificate)),
        openssl: Opinion::Refuse,
        make: end_entity::other_purpose,
    },
    Entry {
        name: "server_only",
        wrong: "The certificate is for servers: its extended key usage has serverAuth and no clientAuth.",
        refusal: Some(("wrong_usage", Alert::UnsupportedCertificate)),
        openssl: Opinion::Refuse,
        make: end_entity::server_only,
    },
    Entry {
        name: "authority_as_device",
        wrong: "The device presents the certificate of an authority, CA:TRUE, as its own.",
        refusal: Some(("wrong_role", Alert::UnsupportedCertificate)),
        openssl: Opinion::Accept,
        make: path::authority_as_device,
    },
    Entry {
        name: "path_length_exceeded",
        wrong: "An intermediate whose path length is 0 has issued another intermediate.",
        refusal: Some(("constraint_violated", Alert::CertificateUnknown)),
        openssl: Opinion::Refuse,
        make: path::path_length_exceeded,
    },
    Entry {
        name: "name_constraint_violated",
        wrong: "The intermediate may issue for DNS names below fleet.example only, and the device has the name device.elsewhere.example.",
        refusal: Some(("constraint_violated", Alert::CertificateUnknown)),
        openssl: Opinion::Refuse,
        make: path::name_constraint_violated,
    },
    Entry {
        name: "intermediate_expired",
        wrong: "The intermediate expired a day ago; the device's certificate has not.",
        refusal: Some(("expired", Alert::CertificateExpired)),
        openssl: Opinion::Refuse,
        make: path::intermediate_expired,
    },
    Entry {
        name: "intermediate_without_ca",
        wrong: "The intermediate's basic constraints say that it is no authority, CA:FALSE.",
        refusal: Some(("wrong_role", Alert::UnsupportedCertificate)),
        openssl: Opinion::Refuse,
        make: path::intermediate_without_ca,
    },
    Entry {
        name: "intermediate_without_key_cert_sign",
        wrong: "The intermediate's key usage lacks keyCertSign; it has cRLSign only.",
        refusal: Some(("wrong_role", Alert::UnsupportedCertificate)),
        openssl: Opinion::Refuse,
        make: path::intermediate_without_key_cert_sign,
    },
    Entry {
        name: "version_1_intermediate",
        wrong: "The intermediate is a certificate of X.509 version 1, which cannot say that it is an authority.",
        refusal: Some(("wrong_role", Alert::UnsupportedCertificate)),
        openssl: Opinion::Refuse,
        make: path::version_1_intermediate,
    },
    Entry {
        name: "weak_rsa",
        wrong: "The device's key is RSA with a modulus of 1024 bits.",
        refusal: Some(("weak_key", Alert::UnsupportedCertificate)),
        openssl: Opinion::Accept,
        make: end_entity::weak_rsa,
    },
    Entry {
        name: "sha1_signature",
        wrong: "The device's certificate is signed with ecdsa-with-SHA1; the signature itself is right.",
        refusal: Some(("unsupported_algorithm", Alert::UnsupportedCertificate)),
        openssl: Opinion::Accept,
        make: path::sha1_signature,
    },
    Entry {
        name: "revoked",
        wrong: "The device's certificate is on its issuer's revocation list.",
        refusal: Some(("revoked", Alert::CertificateRevoked)),
        openssl: Opinion::Refuse,
        make: end_entity::revoked,
    },
    Entry {
        name: "wrong_key",
        wrong: "The key in the file is not that of the certificate, so that CertificateVerify does not verify.",
        refusal: Some(("bad_certificate_verify", Alert::DecryptError)),
        openssl: Opinion::None,
        make: end_entity::wrong_key,
    },
    Entry {
        name: "tampered",
        wrong: "The device's common name was changed after its certificate was signed.",
        refusal: Some(("bad_signature", Alert::DecryptError)),
        openssl: Opinion::Refuse,
        make: end_entity::tampered,
    },
    Entry {
        name: "duplicated_extension",
        wrong: "The device's certificate has the extended key usage extension twice.",
        refusal: Some(("malformed_certificate", Alert::BadCertificate)),
        openssl: Opinion::Refuse,
        make: end_entity::duplicated_extension,
    },
    Entry {
        name: "unknown_critical_extension",
        wrong: "The device's certificate has a critical extension, 1.3.6.1.4.1.32473.1, that nobody knows.",
        refusal: Some(("unsupported_extension", Alert::BadCertificate)),
        openssl: Opinion::Refuse,
        make: end_entity::unknown_critical_extension,
    },
    Entry {
        name: "version_1",
        wrong: "The device's certificate is of X.509 version 1, without extensions.",
        refusal: Some(("legacy_version", Alert::UnsupportedCertificate)),
        openssl: Opinion::Accept,
        make: end_entity::version_1,
    },
    Entry {
        name: "empty_subject",
        wrong: "The device's certificate has an empty subject, and so no common name.",
        refusal: Some(("no_identity", Alert::AccessDenied)),
        openssl: Opinion::Accept,
        make: end_entity::empty_subject,
    },
    Entry {
        name: "two_ids",
        wrong: "The subject has two common names, the second that of another device.",
        refusal: Some(("no_identity", Alert::AccessDenied)),
        openssl: Opinion::Accept,
        make: end_entity::two_ids,
    },
    Entry {
        name: "oversized_chain",
        wrong: "A hundred copies of the intermediate follow the chain, fewer if they are too large for a TLS message.",
        refusal: Some(("too_many_certificates", Alert::CertificateUnknown)),
        openssl: Opinion::Accept,
        make: path::oversized_chain,
    },
    Entry {
        name: "too_large",
        wrong: "The device's certificate has 700 further names, and more than 32 KiB.",
        refusal: Some(("chain_too_large", Alert::CertificateUnknown)),
        openssl: Opinion::Accept,
        make: end_entity::too_large,
    },
    Entry {
        name: "missing_intermediate",
        wrong: "The device presents its own certificate alone, without the intermediate.",
        refusal: Some(("unknown_issuer", Alert::UnknownCa)),
        openssl: Opinion::Refuse,
        make: path::missing_intermediate,
    },
    Entry {
        name: "unordered_chain",
        wrong: "The chain's upper certificates come in the wrong order, the trust anchor first; RFC 8446 section 4.4.2 wants it taken all the same.",
        refusal: None,
        openssl: Opinion::Accept,
        make: path::unordered_chain,
    },
];

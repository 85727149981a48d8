//! A certificate signing request.

use serde::Serialize;
use x509_parser::certification_request::X509CertificationRequest;

use super::ExtensionsItem;
use super::certificate::algorithm;
use crate::public_key::{PublicKeyKind, fingerprint};

/// A certificate signing request. Whether it is signed by its own key is checked by `sign`, not here.
#[derive(Clone, Debug, Serialize)]
pub struct RequestItem {
    /// Subject.
    pub subject: String,
    /// Kind of public key, such as `ECDSA P-256`.
    pub key: String,
    /// Algorithm of the self-signature.
    pub signature: String,
    /// What the extensions that it asks for say.
    #[serde(flatten)]
    pub extensions: ExtensionsItem,
    /// SHA-256 of the DER SubjectPublicKeyInfo.
    pub public_key_sha256: String,
}

impl RequestItem {
    pub(super) fn of(request: &X509CertificationRequest<'_>) -> Self {
        let info = &request.certification_request_info;
        Self {
            subject: info.subject.to_string(),
            key: PublicKeyKind::of(&info.subject_pki).to_string(),
            signature: algorithm(&request.signature_algorithm),
            extensions: ExtensionsItem::of(request.requested_extensions().into_iter().flatten()),
            public_key_sha256: fingerprint(info.subject_pki.raw),
        }
    }
}

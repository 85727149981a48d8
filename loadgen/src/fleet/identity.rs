//! Who a device is: its certificate, the path above it, and its private key, ready to sign.
//!
//! Small, because there may be a hundred thousand of them: the end entity's certificate, a path that devices share, and
//! the crypto library's form of the key, which for P-256 takes 0.7 KB and 20 µs to make. It is made once, before the load
//! begins, so that no handshake pays for it.

use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SigningKey};
use x509_parser::extensions::GeneralName;

/// Who a device is. A session ticket is bound to this very object: a device with another identity cannot use it.
#[derive(Debug)]
pub struct Identity {
    end_entity: CertificateDer<'static>,
    path: Path,
    key: Arc<dyn SigningKey>,
}

/// What is presented after the end entity, in this order; shared by the devices that have the same.
pub(super) type Path = Arc<[CertificateDer<'static>]>;

impl Identity {
    /// Takes the parts as they are: a bad identity may consist of parts that do not fit.
    pub(super) fn new(
        end_entity: CertificateDer<'static>,
        path: Path,
        key: Arc<dyn SigningKey>,
    ) -> Identity {
        // A vector that was grown keeps room that is never used again.
        let end_entity = CertificateDer::from(end_entity.as_ref().to_vec());
        Identity {
            end_entity,
            path,
            key,
        }
    }

    /// The end entity's certificate as DER.
    pub fn end_entity(&self) -> &CertificateDer<'static> {
        &self.end_entity
    }

    /// The common name in its subject (RFC 5280 section 4.1.2.6); `None` where it has none that is text.
    pub fn common_name(&self) -> Option<String> {
        let (_, certificate) = x509_parser::parse_x509_certificate(&self.end_entity).ok()?;
        let name = certificate.subject().iter_common_name().next()?;
        name.as_str().ok().map(str::to_owned)
    }

    /// Every name in its certificate that is text: the common name, and the alternative names (RFC 5280 section 4.2.1.6) that are URIs,
    /// DNS names or mail addresses.
    pub fn names(&self) -> Vec<String> {
        let Ok((_, certificate)) = x509_parser::parse_x509_certificate(&self.end_entity) else {
            return Vec::new();
        };
        let alternative = certificate.subject_alternative_name().ok().flatten();
        let alternative = alternative
            .iter()
            .flat_map(|found| &found.value.general_names);
        let text = alternative.filter_map(|name| match name {
            GeneralName::URI(name) | GeneralName::DNSName(name) | GeneralName::RFC822Name(name) => {
                Some((*name).to_owned())
            }
            _ => None,
        });
        self.common_name().into_iter().chain(text).collect()
    }

    /// What is presented after it.
    pub fn path(&self) -> &[CertificateDer<'static>] {
        &self.path
    }
}

impl ResolvesClientCert for Identity {
    /// Always this one, whatever the server hints at: a device has no other.
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _sigschemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let presented = std::iter::once(&self.end_entity).chain(self.path.iter());
        Some(Arc::new(CertifiedKey::new(
            presented.cloned().collect(),
            Arc::clone(&self.key),
        )))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

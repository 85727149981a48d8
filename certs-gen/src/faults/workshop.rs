//! What the makers of faults work with: the fleet's authorities, and good certificates to spoil.

use time::{Duration, OffsetDateTime};

use super::Error;
use super::forge::{Template, basic_constraints, key_usage};
use crate::IssueError;
use crate::authority::{Authority, AuthoritySpec, EndEntitySpec, SubjectAltName};
use crate::credential::Credential;
use crate::entropy::{Entropy, Place};
use crate::fleet::Fleet;
use crate::key::{KeyKind, PrivateKey};
use crate::layout::AuthorityName;
use crate::names::device_uri;

/// How long credentials are good from now, but for those whose dates are the fault.
pub(super) const VALIDITY: Duration = Duration::days(90);

/// A fleet's authorities, open.
pub(super) struct Workshop {
    pub(super) now: OffsetDateTime,
    pub(super) anchor: Authority,
    /// The first intermediate.
    pub(super) issuer: Authority,
    pub(super) issuer_name: AuthorityName,
    /// The serial number of the credential that is to be revoked.
    pub(super) revoked_serial: Vec<u8>,
    spiffe_domain: Option<String>,
}

impl Workshop {
    pub(super) fn open(fleet: &Fleet, now: OffsetDateTime) -> Result<Self, Error> {
        let issuer_name = AuthorityName::Intermediate(0);
        let serial = Entropy::System.serial(Place::new("fault", 0));
        Ok(Self {
            now,
            anchor: fleet.authority(AuthorityName::TrustAnchor)?,
            issuer: fleet.authority(issuer_name)?,
            issuer_name,
            revoked_serial: serial.map_err(|source| Error::Issue {
                name: "revoked",
                source,
            })?,
            spiffe_domain: fleet.manifest().spiffe_domain.clone(),
        })
    }

    /// A good device's certificate, to be spoiled; the fault's name is part of its id.
    pub(super) fn device(&self, fault: &str) -> EndEntitySpec {
        let id = format!("fault-{fault}");
        let uri = device_uri(&id, self.spiffe_domain.as_deref());
        EndEntitySpec {
            subject_alt_names: vec![SubjectAltName::Uri(uri)],
            not_after: self.now + VALIDITY,
            ..EndEntitySpec::device(&id)
        }
    }

    /// A good intermediate below the trust anchor, to be spoiled.
    pub(super) fn intermediate(&self, fault: &str) -> AuthoritySpec {
        AuthoritySpec {
            path_length: Some(0),
            not_after: self.now + VALIDITY,
            ..AuthoritySpec::new(format!("Fault {fault} intermediate"))
        }
    }

    /// Issued by the fleet's first intermediate, as to any of its devices.
    pub(super) fn issue(&self, entity: &EndEntitySpec) -> Result<Credential, IssueError> {
        self.issuer.issue(entity)
    }

    /// The same as a template, for what [`EndEntitySpec`] cannot say.
    pub(super) fn device_template(
        &self,
        fault: &str,
        key: &PrivateKey,
    ) -> Result<Template, IssueError> {
        let authority_key_id = self.issuer.key_id()?;
        let issuer = self.issuer.subject_der()?;
        Template::device(&self.device(fault), key, issuer, &authority_key_id)
    }

    /// A certificate that the fleet's first intermediate signed, with the chain above it.
    pub(super) fn with_chain(&self, certificate: Vec<u8>, key: &PrivateKey) -> Credential {
        Credential {
            chain: [vec![certificate], self.issuer.path().to_vec()].concat(),
            key: key.pkcs8_der().to_vec(),
        }
    }

    /// A device below an intermediate that `change` spoils, which is below the trust anchor.
    pub(super) fn below_spoiled(
        &self,
        fault: &str,
        device: &EndEntitySpec,
        change: impl FnOnce(&mut Template),
    ) -> Result<Credential, IssueError> {
        let key = PrivateKey::generate(KeyKind::P256)?;
        let spec = self.intermediate(fault);
        let mut template = Template::new(
            &spec.common_name,
            (spec.not_before, spec.not_after),
            &key,
            self.anchor.subject_der()?,
        )?;
        template.add_key_ids(&self.anchor.key_id()?);
        template.extensions.push(basic_constraints(true, Some(0)));
        template
            .extensions
            .push(key_usage(KEY_CERT_SIGN | CRL_SIGN));
        change(&mut template);
        let certificate = template.signed_by(self.anchor.key())?;
        let own_key = PrivateKey::generate(KeyKind::P256)?;
        let below = Template::device(device, &own_key, template.subject, &template.key_id)?;
        Ok(Credential {
            chain: vec![below.signed_by(key.pair())?, certificate],
            key: own_key.pkcs8_der().to_vec(),
        })
    }
}

/// Bits of key usage as they stand in its first byte (RFC 5280 section 4.2.1.3).
pub(super) const DIGITAL_SIGNATURE: u8 = 0x80;
pub(super) const KEY_CERT_SIGN: u8 = 0x04;
pub(super) const CRL_SIGN: u8 = 0x02;

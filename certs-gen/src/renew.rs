//! Gives a device a new certificate in place of the one it has: same names, same issuer, new serial number, new dates.
//!
//! Deliberately revokes nothing: the old certificate stays good until it expires or [`crate::revocation`] says otherwise.

mod error;
mod names;

use std::path::PathBuf;
use std::time::Duration;

use time::{Duration as Span, OffsetDateTime};
use x509_parser::prelude::{FromDer, X509Certificate};

pub use error::Error;

use crate::IssueError;
use crate::authority::EndEntitySpec;
use crate::fleet::{Fleet, Issuers, LONGEST_VALIDITY};
use crate::key::PrivateKey;
use crate::layout::AuthorityName;
use crate::private_file::replace;
use crate::revocation::{Serial, index_of};

/// What to renew.
#[derive(Clone, Debug)]
pub struct RenewSpec {
    /// The fleet's folder.
    pub ca: PathBuf,
    /// The device's id.
    pub device: String,
    /// How long from now, in whole seconds; 1 second to [`LONGEST_VALIDITY`].
    pub validity: Duration,
    /// Make a new key of the fleet's type; otherwise the device keeps its own.
    pub new_key: bool,
}

impl RenewSpec {
    /// For 90 days, with the key that the device has.
    pub fn new(ca: impl Into<PathBuf>, device: impl Into<String>) -> Self {
        Self {
            ca: ca.into(),
            device: device.into(),
            validity: Duration::from_secs(90 * 86_400),
            new_key: false,
        }
    }
}

/// What the device has now.
#[derive(Clone, Debug)]
pub struct Renewed {
    /// Its file.
    pub path: PathBuf,
    /// Who issued the certificate, the new one as the old one.
    pub issuer: AuthorityName,
    /// Serial number of the old certificate: what to revoke, if that is wanted.
    pub old_serial: Serial,
    /// Serial number of the new one.
    pub new_serial: Serial,
    /// Last second of validity.
    pub not_after: OffsetDateTime,
}

/// Makes the certificate and puts it in the old one's place, in one step.
///
/// # Errors
/// [`Error`], whose text names the flag or file at fault; the old credential is then still there.
pub fn renew(spec: &RenewSpec) -> Result<Renewed, Error> {
    if spec.validity < Duration::from_secs(1) || spec.validity > LONGEST_VALIDITY {
        return Err(Error::Validity(spec.validity.as_secs()));
    }
    let fleet = Fleet::open(&spec.ca)?;
    let index = index_of(&spec.device, &fleet)?;
    let path = fleet.layout().device_path(index);
    let old = fleet.device(index)?;
    let failed = |source| Error::Issue {
        path: path.clone(),
        source,
    };
    let unreadable = |_| failed(IssueError::UnreadableCertificate);
    let (_, certificate) = X509Certificate::from_der(old.end_entity()).map_err(unreadable)?;
    let issuer = Issuers::open(&fleet)?
        .of(&certificate)
        .ok_or_else(|| Error::ForeignIssuer(path.clone()))?;
    let authority = fleet.authority(issuer)?;
    let now = OffsetDateTime::now_utc();
    if authority.not_after() <= now {
        return Err(Error::AuthorityExpired(issuer, spec.ca.clone()));
    }
    let entity = EndEntitySpec {
        key: fleet.manifest().algorithms.device,
        not_before: now - Span::HOUR,
        // Nothing outlives who signed it: strict verifiers would refuse the chain from then on anyway.
        not_after: (now + Duration::from_secs(spec.validity.as_secs())).min(authority.not_after()),
        ..names::same_names(&certificate).ok_or_else(|| Error::Names(path.clone()))?
    };
    let new = if spec.new_key {
        authority.issue(&entity)
    } else {
        let key = PrivateKey::from_der(&old.key).map_err(failed)?;
        authority.issue_with_key(&entity, &key)
    }
    .map_err(failed)?;
    let (_, renewed) = X509Certificate::from_der(new.end_entity()).map_err(unreadable)?;
    replace(&path, 0o600, new.pem().as_bytes())?;
    Ok(Renewed {
        issuer,
        old_serial: Serial::from_bytes(certificate.raw_serial()),
        new_serial: Serial::from_bytes(renewed.raw_serial()),
        not_after: entity.not_after,
        path,
    })
}

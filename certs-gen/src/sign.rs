//! Answers a certificate signing request (PKCS#10, RFC 2986) with a chain.
//!
//! ```text
//! bytes ─▶ request::Request ─▶ profile::end_entity ─▶ Authority ─▶ chain in a file
//!           self-signature      what may be certified
//!           checked
//! ```
//!
//! Deliberately takes from the request only the names and the key: purposes, usages and validity are the profile's
//! and the fleet's. What asks for more than the profile gives is refused, not trimmed.

mod error;
mod profile;
mod request;

use std::io;
use std::path::{Path, PathBuf};

use time::{Duration, OffsetDateTime};

pub use error::{Error, Refusal};
pub use profile::Profile;

use crate::authority::EndEntitySpec;
use crate::credential::chain_pem;
use crate::fleet::Fleet;
use crate::private_file::{WriteError, without_temporary_name, write_beside};
use request::Request;

/// Larger requests are refused unread: a request with the largest RSA key and many names has a few kilobytes.
const LARGEST_REQUEST: u64 = 64 * 1024;

/// What to sign, with what, and where to put the answer.
#[derive(Clone, Debug)]
pub struct SignSpec {
    /// The folder of the fleet whose authority signs.
    pub ca: PathBuf,
    /// The request, PEM or DER.
    pub csr: PathBuf,
    /// Where the chain goes, as PEM.
    pub out: PathBuf,
    /// What the certificate is for.
    pub profile: Profile,
    /// Replace a file that is at `out`.
    pub force: bool,
}

/// What was signed.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The common name, or the first alternative name where there is none.
    pub name: String,
    /// Last second of validity.
    pub not_after: OffsetDateTime,
    /// DER certificates, end entity first.
    pub chain: Vec<Vec<u8>>,
}

/// Checks the request, signs, and writes the chain to `spec.out`.
///
/// # Errors
/// [`Error`], whose text names the file at fault.
pub fn sign(spec: &SignSpec) -> Result<Signed, Error> {
    if !spec.force && spec.out.symlink_metadata().is_ok() {
        return Err(Error::Exists(spec.out.clone()));
    }
    let fleet = Fleet::open(&spec.ca)?;
    let der = read_request(&spec.csr)?;
    let refused = |refusal| Error::Refused {
        path: spec.csr.clone(),
        refusal,
    };
    let request = Request::parse(&der).map_err(refused)?;
    let spiffe_domain = fleet.manifest().spiffe_domain.as_deref();
    let entity = profile::end_entity(spec.profile, &request, spiffe_domain).map_err(refused)?;

    let authority = fleet.issuer()?;
    let now = OffsetDateTime::now_utc();
    if authority.not_after() <= now {
        return Err(Error::AuthorityExpired(spec.ca.clone()));
    }
    // Nothing outlives who signed it: strict verifiers would refuse the chain from then on anyway.
    let not_after = (now + fleet.manifest().validity_duration()).min(authority.not_after());
    let entity = EndEntitySpec {
        not_before: now - Duration::HOUR,
        not_after,
        ..entity
    };
    let name = match (&entity.common_name, entity.subject_alt_names.first()) {
        (Some(name), _) => name.clone(),
        (None, first) => first.map(ToString::to_string).unwrap_or_default(),
    };
    let chain = authority
        .issue_for_public_key(&entity, &request.public_key)
        .map_err(Error::Issue)?;
    write_beside_and_rename(&spec.out, chain_pem(&chain).as_bytes(), spec.force)?;
    Ok(Signed {
        name,
        not_after,
        chain,
    })
}

fn read_request(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::Read {
        path: path.to_owned(),
        source,
    };
    if std::fs::metadata(path).map_err(failed)?.len() > LARGEST_REQUEST {
        return Err(Error::Refused {
            path: path.to_owned(),
            refusal: Refusal::TooLarge,
        });
    }
    std::fs::read(path).map_err(failed)
}

fn write_beside_and_rename(path: &Path, contents: &[u8], force: bool) -> Result<(), Error> {
    let file = write_beside(path, 0o644, contents).map_err(Error::Write)?;
    let outcome = if force {
        file.persist(path)
    } else {
        file.persist_noclobber(path)
    };
    match outcome {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
            Err(Error::Exists(path.to_owned()))
        }
        Err(error) => Err(Error::Write(WriteError {
            path: path.to_owned(),
            source: without_temporary_name(&error.error),
        })),
    }
}

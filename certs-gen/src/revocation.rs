//! Records which certificates of a fleet are revoked, and by whom.
//!
//! ```text
//! flags ─▶ target (who issued it?) ─▶ Ledger, DIR/crl/revoked.json ─▶ crl::write
//! ```
//!
//! Deliberately makes no lists: [`crate::crl`] does, when it is asked to. Nothing recorded is ever taken back.

mod error;
mod ledger;
mod reason;
mod serial;
mod target;

use std::path::PathBuf;

use time::OffsetDateTime;

pub use error::Error;
pub(crate) use ledger::Ledger;
pub use ledger::{Revocation, SCHEMA};
pub use reason::Reason;
pub use serial::Serial;
pub(crate) use target::{Target, index_of};

use crate::fleet::{Fleet, Issuers};
use crate::layout::AuthorityName;

/// What to revoke.
#[derive(Clone, Debug)]
pub struct RevokeSpec {
    /// The fleet's folder.
    pub ca: PathBuf,
    /// Ids of devices whose certificates, as they are in the fleet's folder now, are revoked.
    pub devices: Vec<String>,
    /// Intermediates and policy layers, by name.
    pub intermediates: Vec<AuthorityName>,
    /// Certificates by their serial numbers.
    pub serials: Vec<Serial>,
    /// Who issued those with `serials`; `None`: looked up in the fleet's certificates.
    pub issuer: Option<AuthorityName>,
    /// Why.
    pub reason: Option<Reason>,
}

impl RevokeSpec {
    /// Nothing yet, for no stated reason.
    pub fn new(ca: impl Into<PathBuf>) -> Self {
        Self {
            ca: ca.into(),
            devices: Vec::new(),
            intermediates: Vec::new(),
            serials: Vec::new(),
            issuer: None,
            reason: None,
        }
    }
}

/// What became of one request to revoke.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The record: of now, or the older one.
    pub revocation: Revocation,
    /// Whether it was revoked already; its first date and reason stay.
    pub already: bool,
}

/// Records the revocations, all or none of them.
///
/// # Errors
/// [`Error`], whose text names the flag or file at fault.
pub fn revoke(spec: &RevokeSpec) -> Result<Vec<Outcome>, Error> {
    let fleet = Fleet::open(&spec.ca)?;
    let issuers = Issuers::open(&fleet)?;
    let targets = target::resolve(spec, &fleet, &issuers)?;
    let mut ledger = Ledger::open(fleet.layout())?;
    let now = OffsetDateTime::now_utc();
    let outcomes = targets
        .into_iter()
        .map(|target| ledger.revoke(target, spec.reason, now))
        .collect::<Vec<_>>();
    if outcomes.iter().any(|outcome| !outcome.already) {
        ledger.save()?;
    }
    Ok(outcomes)
}

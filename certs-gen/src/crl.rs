//! Makes the revocation lists of a fleet, one for each of its authorities (RFC 5280 section 5).
//!
//! ```text
//! Ledger ─▶ list::signed, for the trust anchor, each policy layer, each intermediate ─▶ DIR/crl/NAME.pem
//! ```
//!
//! An authority that has revoked nothing gets a list that says so. Deliberately publishes nothing and removes no expired
//! entries.

mod list;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use time::OffsetDateTime;

use crate::IssueError;
use crate::authority::Authority;
use crate::credential::pem_block;
use crate::entropy::Entropy;
use crate::fleet::{Fleet, LONGEST_VALIDITY};
use crate::layout::AuthorityName;
use crate::private_file::{WriteError, replace};
use crate::revocation::{Error, Ledger, Revocation};
use list::{Contents, Entries};

/// The most entries that `pad` adds.
pub const MOST_PADDING: usize = 10_000_000;

/// What lists are wanted.
#[derive(Clone, Debug)]
pub struct CrlSpec {
    /// The fleet's folder.
    pub ca: PathBuf,
    /// From now to nextUpdate, in whole seconds; 1 second to [`LONGEST_VALIDITY`].
    pub next_update: Duration,
    /// How many random serial numbers to add to the list of each authority that issues to devices, at most
    /// [`MOST_PADDING`]: what a gateway does with long lists can be tested so. They are recorded nowhere.
    pub pad: usize,
    /// **For tests only.** The same seed gives the same random serial numbers.
    pub seed: Option<u64>,
    /// Make delta lists: what was revoked since the last full ones.
    pub delta: bool,
    /// Write DER in place of PEM.
    pub der: bool,
}

impl CrlSpec {
    /// Full lists for seven days, as PEM, without padding.
    pub fn new(ca: impl Into<PathBuf>) -> Self {
        Self {
            ca: ca.into(),
            next_update: Duration::from_secs(7 * 86_400),
            pad: 0,
            seed: None,
            delta: false,
            der: false,
        }
    }

    fn check(&self) -> Result<(), Error> {
        if self.next_update < Duration::from_secs(1) || self.next_update > LONGEST_VALIDITY {
            return Err(Error::Usage {
                flag: "--next-update",
                value: format!("{}s", self.next_update.as_secs()),
                remedy: "choose from 1s to 36500d, such as 7d",
            });
        }
        if self.pad > MOST_PADDING {
            return Err(Error::Usage {
                flag: "--pad",
                value: self.pad.to_string(),
                remedy: "choose a number from 0 to 10000000",
            });
        }
        Ok(())
    }
}

/// What lists were made.
#[derive(Clone, Debug)]
pub struct Lists {
    /// Their number, the same for all.
    pub number: u64,
    /// The number of the full lists that these add to, if they are delta lists.
    pub base: Option<u64>,
    /// thisUpdate.
    pub this_update: OffsetDateTime,
    /// nextUpdate.
    pub next_update: OffsetDateTime,
    /// Each authority's, the trust anchor's first.
    pub lists: Vec<List>,
}

/// One list.
#[derive(Clone, Debug)]
pub struct List {
    /// Whose it is.
    pub issuer: AuthorityName,
    /// Where it lies.
    pub path: PathBuf,
    /// How many certificates it revokes, padding included.
    pub revoked: usize,
}

/// Makes and writes the lists.
///
/// # Errors
/// [`Error`], whose text names the flag or file at fault. Lists written before the fault stay: each is whole.
pub fn write(spec: &CrlSpec) -> Result<Lists, Error> {
    spec.check()?;
    let fleet = Fleet::open(&spec.ca)?;
    let mut ledger = Ledger::open(fleet.layout())?;
    let lists = write_lists(spec, &fleet, &mut ledger, &fleet.layout().crl_folder())?;
    if !spec.delta {
        ledger.full_lists_written(lists.number);
        ledger.save()?;
    }
    Ok(lists)
}

/// A full list in memory, as PEM, by an authority whose fleet lies in no folder: what it revokes is told, not remembered. Its
/// number is the second in which it is made, so that a later list has a higher one.
///
/// # Errors
/// [`IssueError`] if the list cannot be signed.
pub fn list_of(
    authority: &Authority,
    serials: impl IntoIterator<Item = Vec<u8>>,
    this_update: OffsetDateTime,
    next_update: OffsetDateTime,
) -> Result<String, IssueError> {
    let mut entries = Entries::default();
    for serial in serials {
        entries.push(&serial, this_update, None);
    }
    let contents = Contents {
        number: u64::try_from(this_update.unix_timestamp()).unwrap_or_default(),
        base: None,
        this_update,
        next_update,
        entries,
    };
    Ok(pem_block("X509 CRL", &list::signed(authority, contents)?))
}

/// Makes the lists of what the ledger has, and writes them into `folder`, which must exist.
pub(crate) fn write_lists(
    spec: &CrlSpec,
    fleet: &Fleet,
    ledger: &mut Ledger,
    folder: &Path,
) -> Result<Lists, Error> {
    let base = match (spec.delta, ledger.full_number()) {
        (false, _) => None,
        (true, Some(number)) => Some(number),
        (true, None) => return Err(Error::NoBase(spec.ca.clone())),
    };
    let number = ledger.next_number();
    ledger.save()?;
    let now = OffsetDateTime::now_utc();
    let this_update = now.replace_nanosecond(0).unwrap_or(now);
    let next_update = this_update + Duration::from_secs(spec.next_update.as_secs());
    let mut lists = Vec::new();
    for issuer in fleet.authorities() {
        let failed = |source| Error::Issue { issuer, source };
        let mut entries = Entries::default();
        let is_wanted = |entry: &&Revocation| base.is_none() || !entry.in_full_list;
        for revocation in ledger.of(issuer).filter(is_wanted) {
            entries.push(
                revocation.serial.bytes(),
                revocation.date,
                revocation.reason,
            );
        }
        if fleet.issues_devices(issuer) {
            let role = if spec.delta {
                "delta padding"
            } else {
                "padding"
            };
            let entropy = Entropy::new(spec.seed);
            entropy
                .each_serial(role, &issuer.to_string(), spec.pad, |serial| {
                    entries.push(serial, this_update, None);
                })
                .map_err(failed)?;
        }
        let revoked = entries.count();
        let authority = fleet.authority(issuer)?;
        let contents = Contents {
            number,
            base,
            this_update,
            next_update,
            entries,
        };
        let der = list::signed(&authority, contents).map_err(failed)?;
        let path = place(spec, issuer, folder, &der)?;
        lists.push(List {
            issuer,
            path,
            revoked,
        });
    }
    Ok(Lists {
        number,
        base,
        this_update,
        next_update,
        lists,
    })
}

/// Writes a list, and removes what it takes the place of: the same list in the other form, and with a full list the
/// delta that it contains. A reader of the folder would otherwise find two lists of one kind by one authority.
fn place(
    spec: &CrlSpec,
    issuer: AuthorityName,
    folder: &Path,
    der: &[u8],
) -> Result<PathBuf, Error> {
    let delta = if spec.delta { ".delta" } else { "" };
    let pem = folder.join(format!("{issuer}{delta}.pem"));
    let raw = folder.join(format!("{issuer}{delta}.crl"));
    let (path, other) = if spec.der { (raw, pem) } else { (pem, raw) };
    if spec.der {
        replace(&path, 0o644, der)?;
    } else {
        replace(&path, 0o644, pem_block("X509 CRL", der).as_bytes())?;
    }
    remove(&other)?;
    if !spec.delta {
        remove(&folder.join(format!("{issuer}.delta.pem")))?;
        remove(&folder.join(format!("{issuer}.delta.crl")))?;
    }
    Ok(path)
}

fn remove(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::Write(WriteError {
            path: path.to_owned(),
            source,
        })),
        _ => Ok(()),
    }
}

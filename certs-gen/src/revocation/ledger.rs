//! The record of what is revoked: `DIR/crl/revoked.json`, changed by one process at a time and replaced in one step.
//!
//! It has the numbers of the lists too, because both must survive together: a list whose number went backwards would be
//! taken for an old one (RFC 5280 section 5.2.3).

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{Error, Outcome, Reason, Serial, Target};
use crate::layout::{AuthorityName, Layout};
use crate::private_file::{WriteError, create_folder, replace};

/// The schema that this version writes, and the only one that it reads.
pub const SCHEMA: &str = "certs-gen.revoked/1";

/// One revoked certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Who issued it, and lists it.
    pub issuer: AuthorityName,
    /// Its serial number.
    pub serial: Serial,
    /// What it is, where that is known: a device's id, an intermediate's name, or `server`.
    pub name: Option<String>,
    /// When it was revoked.
    #[serde(with = "time::serde::rfc3339")]
    pub date: OffsetDateTime,
    /// Why.
    pub reason: Option<Reason>,
    /// Whether the last full list has it; what is in no full list yet makes up the delta lists.
    pub in_full_list: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    schema: String,
    /// Of the last list made, full or delta: the two share one sequence (RFC 5280 section 5.2.4). 0 before the first.
    last_number: u64,
    /// Of the last full list.
    full_number: Option<u64>,
    revoked: Vec<Revocation>,
}

/// The record, open and locked.
#[derive(Debug)]
pub(crate) struct Ledger {
    path: PathBuf,
    record: Record,
    known: HashMap<(AuthorityName, Serial), usize>,
    // Held until the ledger is dropped.
    _lock: File,
}

impl Ledger {
    /// Waits until no other process has it open, and reads it; an absent file is an empty record.
    pub(crate) fn open(layout: &Layout) -> Result<Self, Error> {
        let lock = lock(&layout.crl_folder())?;
        let path = layout.revoked();
        let record = match std::fs::read(&path) {
            Ok(bytes) => parse(&path, &bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Record {
                schema: SCHEMA.to_owned(),
                last_number: 0,
                full_number: None,
                revoked: Vec::new(),
            },
            Err(source) => return Err(Error::Read { path, source }),
        };
        let known = record
            .revoked
            .iter()
            .enumerate()
            .map(|(at, entry)| ((entry.issuer, entry.serial.clone()), at))
            .collect();
        Ok(Self {
            path,
            record,
            known,
            _lock: lock,
        })
    }

    /// Adds a certificate, unless it is there already.
    pub(crate) fn revoke(
        &mut self,
        target: Target,
        reason: Option<Reason>,
        now: OffsetDateTime,
    ) -> Outcome {
        let key = (target.issuer, target.serial.clone());
        let older = self
            .known
            .get(&key)
            .and_then(|at| self.record.revoked.get(*at));
        if let Some(revocation) = older {
            return Outcome {
                revocation: revocation.clone(),
                already: true,
            };
        }
        let revocation = Revocation {
            issuer: target.issuer,
            serial: target.serial,
            name: target.name,
            date: now.replace_nanosecond(0).unwrap_or(now),
            reason,
            in_full_list: false,
        };
        self.known.insert(key, self.record.revoked.len());
        self.record.revoked.push(revocation.clone());
        Outcome {
            revocation,
            already: false,
        }
    }

    /// What this authority has revoked, in the order in which it was.
    pub(crate) fn of(&self, issuer: AuthorityName) -> impl Iterator<Item = &Revocation> {
        self.record
            .revoked
            .iter()
            .filter(move |entry| entry.issuer == issuer)
    }

    /// The number of the last full list.
    pub(crate) fn full_number(&self) -> Option<u64> {
        self.record.full_number
    }

    /// A number for new lists, higher than all before. Save before they are written, so that no number is used twice.
    pub(crate) fn next_number(&mut self) -> u64 {
        self.record.last_number = self.record.last_number.saturating_add(1);
        self.record.last_number
    }

    /// Remembers that full lists with this number have been written, with everything in them.
    pub(crate) fn full_lists_written(&mut self, number: u64) {
        self.record.full_number = Some(number);
        for entry in &mut self.record.revoked {
            entry.in_full_list = true;
        }
    }

    /// Replaces the file, in one step.
    pub(crate) fn save(&self) -> Result<(), Error> {
        let json = serde_json::to_string_pretty(&self.record).map_err(|error| Error::Record {
            path: self.path.clone(),
            reason: error.to_string(),
        })?;
        Ok(replace(&self.path, 0o644, (json + "\n").as_bytes())?)
    }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Record, Error> {
    #[derive(Deserialize)]
    struct SchemaOnly {
        schema: String,
    }
    let failed = |reason: String| Error::Record {
        path: path.to_owned(),
        reason,
    };
    let malformed = |error: serde_json::Error| failed(error.to_string());
    // The schema first: a later one may have changed anything else.
    let SchemaOnly { schema } = serde_json::from_slice(bytes).map_err(malformed)?;
    if schema != SCHEMA {
        return Err(failed(format!(
            "it has schema {schema:?}, and this version reads {SCHEMA:?} only"
        )));
    }
    serde_json::from_slice(bytes).map_err(malformed)
}

/// Makes the folder if need be, and locks it: the file itself is replaced, so a lock on it would be on the old one.
fn lock(folder: &Path) -> Result<File, Error> {
    match create_folder(folder) {
        Err(error) if error.source.kind() != io::ErrorKind::AlreadyExists => {
            return Err(error.into());
        }
        _ => {}
    }
    let open = || -> io::Result<File> {
        let handle = File::open(folder)?;
        handle.lock()?;
        Ok(handle)
    };
    open().map_err(|source| {
        Error::Write(WriteError {
            path: folder.to_owned(),
            source,
        })
    })
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::{Error, Ledger, Target};
    use crate::layout::{AuthorityName, Layout};
    use crate::revocation::{Reason, Serial};

    fn target(issuer: AuthorityName) -> Target {
        Target {
            issuer,
            serial: Serial::from_bytes(&[0x4a]),
            name: None,
        }
    }

    #[test]
    fn what_is_saved_is_read_back_and_the_first_revocation_stays() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path());
        let now = OffsetDateTime::now_utc();
        let (first, second) = (
            AuthorityName::Intermediate(0),
            AuthorityName::Intermediate(1),
        );
        let mut ledger = Ledger::open(&layout).unwrap();
        assert_eq!(ledger.next_number(), 1);
        let outcome = ledger.revoke(target(first), Some(Reason::KeyCompromise), now);
        assert!(!outcome.already);
        ledger.save().unwrap();
        drop(ledger);

        let mut ledger = Ledger::open(&layout).unwrap();
        let again = ledger.revoke(target(first), None, now + time::Duration::DAY);
        assert!(again.already);
        assert_eq!(again.revocation, outcome.revocation);
        // The same serial number of another issuer is another certificate.
        assert!(!ledger.revoke(target(second), None, now).already);
        assert_eq!(
            (ledger.of(first).count(), ledger.of(second).count()),
            (1, 1)
        );
        assert_eq!(ledger.next_number(), 2);
        assert_eq!(std::fs::read_dir(layout.crl_folder()).unwrap().count(), 1);
    }

    #[test]
    fn a_record_that_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path());
        std::fs::create_dir(layout.crl_folder()).unwrap();
        for (contents, word) in [
            ("", "EOF"),
            (
                "{\"schema\":\"certs-gen.revoked/2\"}",
                "certs-gen.revoked/2",
            ),
            ("{\"schema\":\"certs-gen.revoked/1\"}", "last_number"),
        ] {
            std::fs::write(layout.revoked(), contents).unwrap();
            let error = Ledger::open(&layout).unwrap_err();
            assert!(matches!(error, Error::Record { .. }), "{error}");
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}

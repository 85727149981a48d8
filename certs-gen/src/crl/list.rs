//! One list as DER: CertificateList of RFC 5280 section 5.1, version 2.
//!
//! Written by hand because rcgen writes no delta lists and holds a struct for every entry: entries here are a few dozen
//! bytes each, encoded as they come, so that a list of a million is made in seconds.

use time::OffsetDateTime;

use crate::IssueError;
use crate::authority::Authority;
use crate::der;
use crate::revocation::Reason;
use crate::signed::{algorithm_of, sign};

const CRL_NUMBER: &[u8] = b"\x55\x1d\x14";
const DELTA_CRL_INDICATOR: &[u8] = b"\x55\x1d\x1b";
const CRL_REASON: &[u8] = b"\x55\x1d\x15";

/// What a list says.
pub(super) struct Contents {
    pub(super) number: u64,
    /// With a number, it is a delta list.
    pub(super) base: Option<u64>,
    pub(super) this_update: OffsetDateTime,
    pub(super) next_update: OffsetDateTime,
    pub(super) entries: Entries,
}

/// The entries, encoded one after the other.
#[derive(Default)]
pub(super) struct Entries {
    encoded: Vec<u8>,
    count: usize,
}

impl Entries {
    /// Adds a certificate; of its serial number, the big-endian bytes.
    pub(super) fn push(&mut self, serial: &[u8], date: OffsetDateTime, reason: Option<Reason>) {
        let mut entry = der::unsigned(serial);
        entry.extend(der::time(date));
        if let Some(reason) = reason {
            let code = der::element(der::ENUMERATED, &[reason.code()]);
            entry.extend(der::sequence(&[&der::extension(CRL_REASON, false, &code)]));
        }
        der::push_element(&mut self.encoded, der::SEQUENCE, &entry);
        self.count += 1;
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }
}

/// The list, signed by `authority`.
pub(super) fn signed(authority: &Authority, contents: Contents) -> Result<Vec<u8>, IssueError> {
    // Version 2, which is what extensions need, is written as 1.
    let mut fields = der::number(1);
    fields.extend(algorithm_of(authority.key())?);
    fields.extend(authority.subject_der()?);
    fields.extend(der::time(contents.this_update));
    fields.extend(der::time(contents.next_update));
    // Absent where there is nothing to list (section 5.1.2.6).
    if contents.entries.count > 0 {
        der::push_element(&mut fields, der::SEQUENCE, &contents.entries.encoded);
    }
    drop(contents.entries);
    let number = der::number(contents.number);
    let mut extensions = der::authority_key_identifier(&authority.key_id()?);
    extensions.extend(der::extension(CRL_NUMBER, false, &number));
    if let Some(base) = contents.base {
        // Critical, so that who does not know delta lists does not take it for a full one (section 5.2.4).
        let base = der::number(base);
        extensions.extend(der::extension(DELTA_CRL_INDICATOR, true, &base));
    }
    let extensions = der::element(der::SEQUENCE, &extensions);
    der::push_element(&mut fields, der::context(0), &extensions);
    let to_be_signed = der::element(der::SEQUENCE, &fields);
    drop(fields);
    sign(&to_be_signed, authority.key())
}

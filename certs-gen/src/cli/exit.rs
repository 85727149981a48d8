//! Outcomes and exit codes, in one place: 0 done, 1 failed, 2 wrong usage, 130 interrupted.

use std::io::{self, Write};
use std::process::ExitCode;

use certs_gen::{faults, fleet, renew, revocation, sign};

const FAILED: u8 = 1;
const WRONG_USAGE: u8 = 2;
/// What shells report for a program ended by SIGINT (128 + 2).
pub(super) const INTERRUPTED: u8 = 130;

/// Wrong usage that the argument parser could not see.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct UsageError(pub(super) String);

/// Says what went wrong, if anything did, and chooses the exit code.
pub(crate) fn exit(outcome: anyhow::Result<()>) -> ExitCode {
    let Err(error) = outcome else {
        return ExitCode::SUCCESS;
    };
    // When even standard error is gone, there is nobody left to tell.
    let _ = writeln!(io::stderr(), "error: {}", sentence(&error));
    ExitCode::from(code(&error))
}

/// The error in one line. The library's own are complete sentences, which say of their causes what is worth saying.
fn sentence(error: &anyhow::Error) -> String {
    let is_sentence = error.is::<fleet::Error>()
        || error.is::<sign::Error>()
        || error.is::<revocation::Error>()
        || error.is::<renew::Error>()
        || error.is::<faults::Error>();
    if is_sentence {
        error.to_string()
    } else {
        format!("{error:#}")
    }
}

fn code(error: &anyhow::Error) -> u8 {
    let is_cancelled = matches!(error.downcast_ref(), Some(fleet::Error::Cancelled))
        || matches!(error.downcast_ref(), Some(faults::Error::Cancelled));
    if is_cancelled {
        return INTERRUPTED;
    }
    let is_usage = error.is::<UsageError>()
        || error.downcast_ref().is_some_and(fleet::Error::is_usage)
        || error
            .downcast_ref()
            .is_some_and(revocation::Error::is_usage)
        || error.downcast_ref().is_some_and(renew::Error::is_usage);
    if is_usage { WRONG_USAGE } else { FAILED }
}

//! Outcomes and exit codes, in one place: 0 done, 1 failed, 2 wrong usage, 130 interrupted.

use std::io::{self, Write};
use std::process::ExitCode;

use certs_gen::{fleet, sign};

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
    if error.is::<fleet::Error>() || error.is::<sign::Error>() {
        error.to_string()
    } else {
        format!("{error:#}")
    }
}

fn code(error: &anyhow::Error) -> u8 {
    if error.downcast_ref::<UsageError>().is_some() {
        return WRONG_USAGE;
    }
    match error.downcast_ref::<fleet::Error>() {
        Some(fleet::Error::Cancelled) => INTERRUPTED,
        Some(error) if error.is_usage() => WRONG_USAGE,
        _ => FAILED,
    }
}

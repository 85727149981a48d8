//! Exit codes, in one place.

use std::process::ExitCode;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All is well.
    Pass = 0,
    /// A failure of this program or machine.
    Failure = 1,
    /// A flag, a file or the target cannot be used as given.
    Usage = 2,
    /// A comparison proved a regression.
    Regression = 3,
    /// A comparison proved nothing.
    Inconclusive = 4,
    /// The generator could not keep up.
    Void = 5,
    /// A threshold failed.
    Threshold = 99,
    /// Stopped from outside.
    Interrupted = 105,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

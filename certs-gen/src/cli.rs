//! The command line: what each command takes, calls and says.
//!
//! Rules about fleets, requests and files are the library's; here are only flags, words and exit codes.

mod arguments;
mod commands;
mod documents;
mod exit;
mod faults;
mod interrupt;
mod progress_bar;
mod revocation;

pub(crate) use arguments::{Arguments, Command};
pub(crate) use commands::{fleet, inspect, sign};
pub(crate) use documents::{completions, man};
pub(crate) use exit::exit;
pub(crate) use faults::faults;
pub(crate) use revocation::{crl, renew, revoke};

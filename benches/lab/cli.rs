//! The command line: arguments in, exit code out.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::{compare, continuity, demo, revocation, role};

/// Shows and measures Fleetgate on this machine.
#[derive(Debug, Parser)]
#[command(
    name = "lab",
    version,
    about = "Fleetgate's laboratory: see it work, and what it costs, on this machine",
    after_help = "Exit codes: 0 all checks passed, 1 a check failed or something broke, 2 usage, \
        5 the run is void (its numbers are not to be believed), 105 stopped from outside."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a fleet, start the gateway before an upstream, drive the fleet, report what each operation cost
    Demo(demo::Arguments),
    /// Do the same work with the gateway and each installed peer in turn, and compare CPU and memory
    Compare(compare::Arguments),
    /// Revoke devices that are connected, load a long list, and measure how soon that takes effect and what it costs
    Revocation(revocation::Arguments),
    /// Reload the gateway ten times under load, restart it by a take-over, and see whether anything is lost
    Continuity(continuity::Arguments),
    /// The gateway, as a child of this program
    #[command(hide = true, name = role::GATEWAY, disable_help_flag = true)]
    Gateway {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// The upstream, as a child of this program
    #[command(hide = true, name = role::UPSTREAM)]
    Upstream,
    /// A program that ends with this one
    #[command(hide = true, name = role::TIED, disable_help_flag = true)]
    Tied {
        parent: u32,
        program: OsString,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything is as it should be.
    Passed = 0,
    /// A check failed, or the command could not be carried out.
    Failed = 1,
    /// The numbers are not to be believed.
    Void = 5,
    /// Stopped by a signal.
    Stopped = 105,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

pub(crate) fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Demo(arguments) => demo::execute(&arguments),
        Command::Compare(arguments) => compare::execute(&arguments),
        Command::Revocation(arguments) => revocation::execute(&arguments),
        Command::Continuity(arguments) => continuity::execute(&arguments),
        Command::Gateway { arguments } => return role::gateway(arguments),
        Command::Upstream => role::upstream().map(|()| Exit::Passed),
        Command::Tied {
            parent,
            program,
            arguments,
        } => Err(role::tied(parent, &program, &arguments)),
    };
    outcome.map_or_else(
        |error| {
            eprintln!("lab: {error:#}");
            Exit::Failed.into()
        },
        ExitCode::from,
    )
}

/// Reads `8s`, `500ms`, `2m`.
pub(crate) fn positive_duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        Ok(_) => Err("must be longer than nothing".to_owned()),
        Err(error) => Err(format!("{error}; write it as 500ms, 8s or 2m")),
    }
}

//! The `certs-gen` program: arguments in, one library call, its outcome in words and an exit code out.

#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

use clap::Parser;

use cli::{Arguments, Command};

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Fleet(arguments) => cli::fleet(&arguments),
        Command::Sign(arguments) => cli::sign(&arguments),
        Command::Revoke(arguments) => cli::revoke(&arguments),
        Command::Crl(arguments) => cli::crl(&arguments),
        Command::Renew(arguments) => cli::renew(&arguments),
        Command::Faults(arguments) => cli::faults(&arguments),
        Command::Inspect(arguments) => cli::inspect(&arguments),
        Command::Completions { shell } => cli::completions(shell),
        Command::Man { command } => cli::man(command.as_deref()),
    };
    cli::exit(outcome)
}

//! The command line: what can be asked for, and the exit codes.

mod activity;
mod capacity;
mod compare;
mod doctor;
mod exit;
mod exports;
mod fleet;
mod merge;
mod outputs;
mod plan;
mod progress;
mod report;
mod revocation_list;
mod run;
mod server;
mod signals;
mod terminal;
mod upstream;
mod value;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;

use exit::Exit;

const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (",
    env!("FLEETGATE_COMMIT"),
    ", TLS: rustls 0.23 with aws-lc-rs)"
);

const EXIT_CODES: &str = "\
Exit codes:
  0    the run was made and no threshold failed
  1    a failure of this program or machine
  2    a flag, a file or the target cannot be used as given
  3    compare: a regression is proven
  4    compare: neither a regression nor its absence is proven
  5    the run is void: the generator could not keep up, its numbers are not to be believed
  99   a threshold failed
  105  stopped from outside; a partial result was still written
`loadgen capacity --help` and `loadgen doctor --help` say what 0, 4, 5 and 99 mean there.";

/// Simulates a fleet of certificate-bearing devices against a mutual-TLS endpoint.
#[derive(Debug, Parser)]
#[command(name = "loadgen", version = VERSION, after_help = EXIT_CODES, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Drive a fleet against a server and report what it cost.
    Run(Box<run::RunArguments>),
    /// Look at plan files.
    Plan(plan::PlanArguments),
    /// Find the most that a server carries within conditions.
    Capacity(Box<capacity::CapacityArguments>),
    /// Print a saved result again, or write it as a page, Markdown or CSV.
    Report(report::ReportArguments),
    /// Say what this machine can carry, and what lifts its limits.
    Doctor(doctor::DoctorArguments),
    /// Compare two saved results: is a regression proven?
    Compare(compare::CompareArguments),
    /// Join the results of a plan's segments into one.
    Merge(merge::MergeArguments),
    /// Write the revocation list of a minted fleet's revoked devices, for the server.
    RevocationList(revocation_list::RevocationListArguments),
    /// Serve as the upstream behind a gateway under test.
    Upstream(upstream::UpstreamArguments),
    /// Print a completion script.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print the manual page (roff), of all or of one command: loadgen man run | man -l -
    Man {
        /// The command [default: the program, with its exit codes].
        command: Option<String>,
    },
}

/// Parses the arguments and does what they say.
pub(crate) fn main() -> ExitCode {
    let matches = Arguments::command().get_matches();
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let of_command = matches.subcommand().map(|(_, matches)| matches);
    let none = ArgMatches::default();
    let given = plan::Given(of_command.unwrap_or(&none));
    let result = match arguments.command {
        Command::Run(arguments) => run::run(&arguments, &given),
        Command::Plan(arguments) => plan::run(&arguments),
        Command::Capacity(arguments) => capacity::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Doctor(arguments) => doctor::diagnose(&arguments),
        Command::Compare(arguments) => compare::run(&arguments),
        Command::Merge(arguments) => merge::run(&arguments),
        Command::RevocationList(arguments) => revocation_list::write(&arguments),
        Command::Upstream(arguments) => upstream::serve(&arguments),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "loadgen", &mut script);
            print(&script)
        }
        Command::Man { command } => man(command.as_deref()),
    };
    match result {
        Ok(exit) => exit.into(),
        Err((exit, error)) => {
            eprintln!("loadgen: {}", sentence(&error));
            exit.into()
        }
    }
}

/// An error and its causes; a cause that the error has told already is not told again.
fn sentence(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |mut told, cause| {
        let cause = cause.to_string();
        if !told.contains(&cause) {
            if !told.is_empty() {
                told += ": ";
            }
            told += &cause;
        }
        told
    })
}

/// What a command ends with: an exit code, and for a failure the sentence that explains it.
type Outcome = Result<Exit, (Exit, anyhow::Error)>;

fn man(of: Option<&str>) -> Outcome {
    let mut command = Arguments::command();
    // Gives the commands their full names, and what they have in common.
    command.build();
    if let Some(name) = of {
        command = match command.find_subcommand(name) {
            Some(found) => found.clone(),
            None => {
                let known: Vec<_> = command
                    .get_subcommands()
                    .map(|one| one.get_name())
                    .collect();
                let known = known.join(", ");
                return Err((
                    Exit::Usage,
                    anyhow::anyhow!("`{name}` is not a command; there are {known}"),
                ));
            }
        };
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command)
        .render(&mut page)
        .map_err(|error| (Exit::Failure, error.into()))?;
    print(&page)
}

/// Writes to standard output; a reader that has gone away (`| head`) is no failure.
fn print(bytes: &[u8]) -> Outcome {
    match io::stdout().write_all(bytes) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err((Exit::Failure, error.into()))
        }
        _ => Ok(Exit::Pass),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn nothing_is_told_twice() {
        let cause = anyhow::anyhow!("no such name");
        let told = cause.context("cannot resolve `x` (no such name), use --connect-to");
        assert_eq!(
            sentence(&told),
            "cannot resolve `x` (no such name), use --connect-to"
        );
        let silent = anyhow::anyhow!("no space").context("--html x");
        assert_eq!(sentence(&silent), "--html x: no space");
    }

    fn refused(arguments: &[&str]) -> String {
        let all = [
            "loadgen",
            "run",
            "--target",
            "https://127.0.0.1:1",
            "--pki",
            "pki",
        ];
        let all = all.iter().chain(arguments);
        Arguments::try_parse_from(all)
            .map(|_| ())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn garbage_and_contradictions_name_the_flag() {
        for (arguments, flag) in [
            (
                &["--rate", "10/s", "--connections", "3"][..],
                "--connections",
            ),
            (&["--rate", "fast"], "--rate"),
            (&["--rate", "0/s"], "--rate"),
            (&["--rate", "10/s", "--interval", "1s"], "--interval"),
            (&["--connections", "0"], "--connections"),
            (&["--connections", "-1"], "--connections"),
            (&["--duration", "soon"], "--duration"),
            (&["--duration", "1s", "--count", "3"], "--count"),
            (&["--count", "0"], "--count"),
            (&["--mode", "half"], "--mode"),
            (&["--devices", "0"], "--devices"),
            (&["--mint-ca", "x"], "--mint-ca"),
            (&["--keys", "p256"], "--keys"),
            (&["--bad", "expired"], "--bad"),
            (&["--bad", "expired:200%"], "--bad"),
            (&["--faults", "x"], "--bad"),
            (&["--payload", "huge"], "--payload"),
            (&["--protocol", "h3"], "--protocol"),
            (&["--resume-ratio", "1.5"], "--resume-ratio"),
            (&["--hold", "0s"], "--hold"),
            (&["--telemetry-every", "5s"], "--hold"),
            (
                &["--hold", "9s", "--telemetry-jitter", "5s"],
                "--telemetry-every",
            ),
            (&["--close", "slowly"], "--close"),
            (&["--upload", "much"], "--upload"),
            (&["--expect-bytes", "-1"], "--expect-bytes"),
            (&["--ws-messages", "0"], "--ws-messages"),
            (&["--mqtt-qos", "3"], "--mqtt-qos"),
            (&["--mqtt-keep-alive", "long"], "--mqtt-keep-alive"),
            (&["--mqtt-no-publish", "--mqtt-echo"], "--mqtt-echo"),
            (&["--connect-to", "localhost"], "--connect-to"),
            (&["--source-ips", "127.0.0.9-127.0.0.1"], "--source-ips"),
            (&["--watch-pid", "x"], "--watch-pid"),
            (&["--threshold", "p99"], "--threshold"),
            (&["--timeout", "0s"], "--timeout"),
            (&["--distance", "far"], "--distance"),
            (&["--distance", "60ms,"], "--distance"),
            (&["--patience", "0s"], "--patience"),
            (&["--tls", "1.1"], "--tls"),
            (&["--groups", "X25519,x"], "--groups"),
            (&["--shards", "0"], "--shards"),
            (&["--segment", "3/3"], "--segment"),
            (&["--start-at", "noon"], "--start-at"),
        ] {
            let message = refused(arguments);
            assert!(message.contains(flag), "{arguments:?}: {message}");
        }
    }

    #[test]
    fn a_minted_fleet_needs_its_key_and_a_number() {
        let given = |more: &[&str]| {
            let all = ["loadgen", "run", "--target", "https://127.0.0.1:1"];
            Arguments::try_parse_from(all.iter().chain(more)).map_err(|error| error.to_string())
        };
        let without_key = given(&["--mint-ca", "x", "--devices", "3"]).unwrap_err();
        assert!(without_key.contains("--mint-key"), "{without_key}");
        let without_number = given(&["--mint-ca", "x", "--mint-key", "y"]).unwrap_err();
        assert!(without_number.contains("--devices"), "{without_number}");
        let mix = ["--keys", "p256:80,p257:20"];
        let mint = ["--mint-ca", "x", "--mint-key", "y", "--devices", "3"];
        let bad_mix = given(&[&mint[..], &mix[..]].concat()).unwrap_err();
        assert!(
            bad_mix.contains("--keys") && bad_mix.contains("ed25519"),
            "{bad_mix}"
        );
        assert!(given(&mint).is_ok());
    }
}

//! What fleet, sign and inspect call, and what they say of the outcome.

use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use certs_gen::fleet::{FleetSpec, Manifest, generate};
use certs_gen::inspect::inspect as inspect_bytes;
use certs_gen::sign::{SignSpec, sign as sign_request};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::arguments::{FleetArguments, InspectArguments, SignArguments};
use super::exit::UsageError;
use super::interrupt::Interrupt;
use super::progress_bar::ProgressBar;

/// Larger files are no certificates, keys or lists that this program is meant for.
const LARGEST_FILE: u64 = 256 * 1024 * 1024;

pub(crate) fn fleet(arguments: &FleetArguments) -> Result<()> {
    if arguments.depth == 0 && arguments.intermediates.is_some() {
        let message = "--intermediates has no meaning with --depth 0, where the trust anchor issues: leave one out";
        return Err(UsageError(message.to_owned()).into());
    }
    let mut spec = FleetSpec::new(&arguments.out, arguments.devices);
    spec.key = arguments.key;
    spec.ca_key = arguments.ca_key;
    spec.server_key = arguments.server_key;
    spec.intermediates = arguments.intermediates.unwrap_or(spec.intermediates);
    spec.depth = arguments.depth;
    spec.validity = arguments.validity;
    if !arguments.server_names.is_empty() {
        spec.server_names.clone_from(&arguments.server_names);
    }
    spec.spiffe_domain.clone_from(&arguments.spiffe_domain);
    spec.seed = arguments.seed;
    spec.jobs = arguments.jobs;
    spec.force = arguments.force;

    let start = Instant::now();
    let progress = ProgressBar::new(Interrupt::install()?);
    let manifest = generate(&spec, &progress)?;
    print(&summary(&manifest, &arguments.out, start.elapsed()))
}

fn summary(manifest: &Manifest, out: &Path, elapsed: Duration) -> String {
    let plural =
        |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    format!(
        "{} ({}) with {} ({}), depth {}, valid until {}, in {}: {:.2} s\n",
        plural(manifest.devices, "device"),
        manifest.algorithms.device,
        plural(manifest.intermediates, "intermediate"),
        manifest.algorithms.ca,
        manifest.depth,
        in_words(manifest.validity.not_after),
        out.display(),
        elapsed.as_secs_f64(),
    )
}

pub(crate) fn sign(arguments: &SignArguments) -> Result<()> {
    let signed = sign_request(&SignSpec {
        ca: arguments.ca.clone(),
        csr: arguments.csr.clone(),
        out: arguments.out.clone(),
        profile: arguments.profile.into(),
        force: arguments.force,
    })?;
    let until = in_words(signed.not_after);
    print(&format!(
        "signed {}, valid until {until}, in {}\n",
        signed.name,
        arguments.out.display()
    ))
}

pub(crate) fn inspect(arguments: &InspectArguments) -> Result<()> {
    let file = arguments.file.display();
    let bytes = read(&arguments.file).with_context(|| format!("cannot read {file}"))?;
    let inspection =
        inspect_bytes(&bytes, OffsetDateTime::now_utc()).with_context(|| file.to_string())?;
    if arguments.json {
        print(&(serde_json::to_string_pretty(&inspection)? + "\n"))
    } else {
        print(&inspection.words())
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(std::fs::File::open(path)?)
    };
    let mut bytes = Vec::new();
    source.take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(io::Error::other("it is larger than 256 MiB"));
    }
    Ok(bytes)
}

pub(super) fn in_words(time: OffsetDateTime) -> String {
    let whole_seconds = time.replace_nanosecond(0).unwrap_or(time);
    whole_seconds
        .format(&Rfc3339)
        .unwrap_or_else(|_| time.to_string())
}

/// Writes to standard output; that a reader such as `head` has gone is not an error.
pub(super) fn print(text: &str) -> Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.context("cannot write to standard output"),
    }
}

//! One line per phase while it runs, on standard error.

use std::io::{self, IsTerminal as _, Write as _};

use loadgen::measure::Second;

use super::phase::Phase;
use super::report::PhaseReport;
use crate::number;

/// Writes the lines; on a terminal the running phase's line is kept up to date.
#[derive(Debug)]
pub(super) struct Progress {
    on_terminal: bool,
}

impl Progress {
    pub(super) fn new() -> Progress {
        Progress {
            on_terminal: io::stderr().is_terminal(),
        }
    }

    /// A line of its own.
    pub(super) fn line(&self, text: &str) {
        eprintln!("{text}");
    }

    /// A phase begins: connections or tickets are prepared first, where it needs any.
    pub(super) fn begin(&self, title: &str) {
        if self.on_terminal {
            rewrite(&format!("{title:<10} preparing"));
        }
    }

    /// A second of it has passed.
    pub(super) fn second(&self, phase: Phase, second: &Second) {
        if self.on_terminal {
            let failed = match second.failed {
                0 => String::new(),
                failed => format!(", {} failed", number::count(failed)),
            };
            rewrite(&format!(
                "{:<10} second {}: {} {}s/s{failed}",
                phase.title(),
                second.index + 1,
                number::count(second.ok),
                phase.operation(),
            ));
        }
    }

    /// It is done.
    pub(super) fn end(&self, measured: &PhaseReport) {
        if self.on_terminal {
            rewrite("");
        }
        eprintln!(
            "{:<10} {} {}s, {}/s, {} µs of server CPU each",
            measured.phase.title(),
            number::count(measured.run.counts.ok),
            measured.phase.operation(),
            number::plain(measured.rate_per_second),
            number::or_dash(measured.server_cpu_us, number::plain),
        );
    }
}

fn rewrite(text: &str) {
    let mut stderr = io::stderr().lock();
    // A progress line that cannot be shown is no loss.
    let _ = write!(stderr, "\r\x1b[K{text}");
    let _ = stderr.flush();
}

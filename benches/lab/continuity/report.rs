//! What was lost, which must be nothing: the report, its table and its page; pure.

use std::time::Duration;

use loadgen::RunResult;
use loadgen::measure::Verdict;
use loadgen::report::Host;
use serde::{Deserialize, Serialize};

use super::load::{Choices, Load};
use crate::number::count;
use crate::output::JSON;
use crate::page::{self, escape};
use crate::table::Table;

const SCHEMA: &str = "lab.continuity/1";
const HEADINGS: [&str; 6] = [
    "load",
    "intended",
    "ok",
    "failed",
    "not started",
    "connections",
];

/// Everything that was found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Report {
    schema: String,
    started_at: String,
    took_seconds: f64,
    gateway_version: String,
    host: Host,
    choices: Choices,
    /// Reloads that the gateway counted as done.
    reloads_done: u64,
    restart: Restart,
    loads: Vec<Driven>,
    problems: Vec<String>,
    notes: Vec<String>,
    /// Whether nothing was lost.
    pub(super) passed: bool,
}

/// How the take-over went.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Restart {
    /// From the start of the new process until it said that it is ready.
    #[serde(with = "loadgen::plan::seconds", rename = "ready_after_seconds")]
    pub(super) ready_after: Duration,
    /// From then until the old one had ended.
    #[serde(with = "loadgen::plan::seconds", rename = "drained_after_seconds")]
    pub(super) drained_after: Duration,
    /// Whether the old one exited with 0 in its time.
    pub(super) ended_well: bool,
}

/// A load, and what became of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Driven {
    pub(super) load: Load,
    pub(super) run: RunResult,
}

impl Report {
    #[expect(
        clippy::too_many_arguments,
        reason = "a report is made in one place, of everything that was found"
    )]
    pub(super) fn new(
        started_at: String,
        took: Duration,
        gateway_version: String,
        host: Host,
        choices: Choices,
        reloads_done: u64,
        restart: Restart,
        loads: Vec<Driven>,
    ) -> Self {
        let mut problems: Vec<String> = loads.iter().flat_map(Driven::losses).collect();
        if reloads_done != u64::from(choices.reloads) {
            problems.push(format!(
                "{reloads_done} reloads of {} were done",
                choices.reloads
            ));
        }
        if !restart.ended_well {
            problems.push("the old process did not drain in its time and exit with 0".to_owned());
        }
        let notes = loads.iter().filter_map(Driven::doubt).collect();
        Self {
            schema: SCHEMA.to_owned(),
            started_at,
            took_seconds: took.as_secs_f64(),
            gateway_version,
            host,
            choices,
            reloads_done,
            restart,
            loads,
            passed: problems.is_empty(),
            problems,
            notes,
        }
    }

    /// For a terminal.
    pub(super) fn text(&self) -> String {
        let mut table = Table::new(&HEADINGS);
        for driven in &self.loads {
            table.row(driven.row());
        }
        let lines = |kind: &str, lines: &[String]| -> String {
            lines
                .iter()
                .map(|line| format!("{kind:<7} {line}\n"))
                .collect()
        };
        let verdict = match self.passed {
            true => "passed  nothing was lost\n".to_owned(),
            false => lines("FAILED", &self.problems),
        };
        let table = table.render();
        format!(
            "{table}\n{}\n{}{verdict}",
            self.events(),
            lines("note", &self.notes)
        )
    }

    /// As a page.
    pub(super) fn html(&self) -> String {
        let (class, verdict) = match self.passed {
            true => ("passed", "Nothing was lost"),
            false => ("failed", "Something was lost"),
        };
        let rows: Vec<_> = self.loads.iter().map(Driven::row).collect();
        let body = format!(
            "<header>\n<p class=\"eyebrow\">Fleetgate continuity · {}</p>\n<h1>Ten reloads and a restart under load</h1>\n\
             <p class=\"verdict {class}\">{verdict}</p>\n{}{}</header>\n{}\
             <footer>Every measurement is in <a href=\"{JSON}\">{JSON}</a> ({SCHEMA}).</footer>\n",
            escape(&self.started_at),
            page::list("problems", &self.problems),
            page::list("notes", &self.notes),
            page::section(
                "What became of it",
                &(page::paragraph(&self.events()) + &page::table(&HEADINGS, &rows))
            ),
        );
        page::document("Fleetgate: continuity", &body)
    }

    fn events(&self) -> String {
        format!(
            "{} reloads; then another process took over: it was ready after {:.0} ms, and the old one had drained after {:.1} s.",
            self.reloads_done,
            self.restart.ready_after.as_secs_f64() * 1000.0,
            self.restart.drained_after.as_secs_f64()
        )
    }
}

impl Driven {
    fn row(&self) -> Vec<String> {
        let (counts, handshakes) = (&self.run.counts, &self.run.handshakes);
        let connections = handshakes.full + handshakes.full_hrr + handshakes.resumed;
        vec![
            self.load.title().to_owned(),
            count(counts.intended),
            count(counts.ok),
            count(counts.failed),
            count(counts.overflow),
            count(connections),
        ]
    }

    /// What went wrong, also before the measured window.
    fn losses(&self) -> Vec<String> {
        let errors = self.run.errors.iter().chain(&self.run.before_window.errors);
        let title = self.load.title();
        let mut losses: Vec<String> = errors
            .map(|error| {
                format!(
                    "{title}: {} × {} {} ({})",
                    error.count, error.class, error.code, error.when
                )
            })
            .collect();
        if self.run.counts.ok == 0 {
            losses.push(format!("{title}: nothing was answered"));
        }
        losses
    }

    fn doubt(&self) -> Option<String> {
        let validity = &self.run.validity;
        (validity.verdict != Verdict::Valid)
            .then(|| format!("{}: {}", self.load.title(), validity.reasons.join("; ")))
    }
}

//! The report of `lab soak`: what was asked, what became of it, what leaked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Choices;
use super::faults::Fault;
use crate::bar::{Bar, Side};
use crate::circumstances::Circumstances;
use crate::number::count;
use crate::page;
use crate::table::Table;

/// Name and version of the schema.
pub(crate) const SCHEMA: &str = "lab.soak/1";
/// Statuses that mean that the upstream was away.
const AWAY: [&str; 3] = ["502", "503", "504"];
/// How an answer that had begun breaks off when its upstream is killed.
const BROKEN_OFF: [&str; 3] = ["closed", "reset", "protocol"];
/// What memory may grow by after the first third, in megabytes of 10⁶ bytes.
const MEMORY_MB: f64 = 4.0;
/// Shortest soak whose memory is judged, in seconds: before, caches are still filling.
const JUDGED_SECONDS: f64 = 300.0;

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// [`SCHEMA`].
    pub(crate) schema: String,
    /// When, on what and with what.
    #[serde(flatten)]
    pub(crate) circumstances: Circumstances,
    /// Whether every bar that was judged was reached.
    pub(crate) passed: bool,
    /// What went wrong, in words.
    pub(crate) problems: Vec<String>,
    /// What to bear in mind.
    pub(crate) notes: Vec<String>,
    /// What the experiment was told.
    pub(crate) choices: Choices,
    /// What was to be reached.
    pub(crate) bars: Vec<Bar>,
    /// The measurements.
    #[serde(flatten)]
    pub(crate) findings: Findings,
}

/// What the experiment found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Findings {
    /// By kind of traffic, and of all clients.
    pub(crate) traffic: Vec<Traffic>,
    /// How often each fault was made.
    pub(crate) faults: BTreeMap<Fault, u64>,
    /// Requests that the gateway answered with 2xx, as it counts.
    pub(crate) gateway_ok: u64,
    /// And with 5xx.
    pub(crate) gateway_5xx: u64,
    /// Attempts that failed when the upstream was not away.
    pub(crate) failed_without_outage: u64,
    /// Lines of the gateway's log that tell of a panic.
    pub(crate) panics: u64,
    /// Connections that it counts as open when all have left.
    pub(crate) connections_left: u64,
    /// Descriptors more than before, without those to the upstream.
    pub(crate) descriptors_left: i64,
    /// Resident memory, once a second.
    pub(crate) resident: Vec<u64>,
}

/// One kind of traffic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Traffic {
    /// In words.
    pub(crate) title: String,
    /// Attempts.
    pub(crate) started: u64,
    /// Of these, with a complete 2xx answer.
    pub(crate) ok: u64,
    /// All others: by class and code.
    pub(crate) failed: BTreeMap<String, u64>,
}

impl Report {
    /// Judges what was found.
    pub(super) fn new(
        circumstances: Circumstances,
        choices: &Choices,
        findings: Findings,
    ) -> Report {
        let bars = bars(choices, &findings);
        let problems: Vec<String> = bars.iter().filter_map(Bar::problem).collect();
        Report {
            schema: SCHEMA.to_owned(),
            passed: problems.is_empty(),
            problems,
            notes: circumstances.notes(),
            circumstances,
            choices: choices.clone(),
            bars,
            findings,
        }
    }
}

impl Findings {
    fn sum(&self, pick: impl Fn(&Traffic) -> u64) -> u64 {
        self.traffic.iter().map(pick).sum()
    }

    /// Failures by status of the gateway's own.
    fn refused_by_status(&self) -> u64 {
        self.sum(|traffic| {
            let away = AWAY
                .iter()
                .filter_map(|code| traffic.failed.get(&format!("status {code}")));
            away.sum()
        })
    }

    /// What memory grew by from the second third to the last, medians, in megabytes.
    fn grown_mb(&self) -> Option<f64> {
        let third = self.resident.len() / 3;
        let median = |part: &[u64]| {
            let mut sorted = part.to_vec();
            sorted.sort_unstable();
            sorted.get(sorted.len() / 2).map(|bytes| *bytes as f64)
        };
        let middle = median(self.resident.get(third..2 * third)?)?;
        let last = median(self.resident.get(2 * third..)?)?;
        Some((last - middle) / 1e6)
    }
}

fn bars(choices: &Choices, findings: &Findings) -> Vec<Bar> {
    let none = |what: &str, value: f64| Bar::always(what, Some(value), Side::AtMost, 0.0, "");
    let started = findings.sum(|traffic| traffic.started);
    let ok = findings.sum(|traffic| traffic.ok);
    let failed = findings.sum(|traffic| traffic.failed.values().sum());
    let by_status = findings.refused_by_status();
    let broken: u64 = findings.sum(|traffic| {
        let kinds = BROKEN_OFF
            .iter()
            .filter_map(|kind| traffic.failed.get(*kind));
        kinds.sum()
    });
    // An answer that broke off was begun with 2xx: the gateway counts it, and nobody got it whole.
    let more = findings.gateway_ok.saturating_sub(ok + broken);
    let fewer = ok.saturating_sub(findings.gateway_ok);
    let judged = choices.duration.as_secs_f64() >= JUDGED_SECONDS;
    vec![
        none("lines about a panic in the log", findings.panics as f64),
        none(
            "attempts without an outcome",
            started.abs_diff(ok + failed) as f64,
        ),
        none(
            "2xx on which generator and gateway disagree",
            (more + fewer) as f64,
        ),
        none(
            "5xx of the gateway's that no device got",
            findings.gateway_5xx.saturating_sub(failed) as f64,
        ),
        none(
            "failures of a kind that an absent upstream does not explain",
            failed.saturating_sub(by_status + broken) as f64,
        ),
        none(
            "failures while the upstream was there",
            findings.failed_without_outage as f64,
        ),
        none(
            "connections that the gateway still counts when all have left",
            findings.connections_left as f64,
        ),
        none(
            "descriptors that were not there before",
            findings.descriptors_left as f64,
        ),
        Bar::always(
            "memory in the last third above that in the second",
            findings.grown_mb(),
            Side::AtMost,
            MEMORY_MB,
            "MB",
        )
        .timed(judged),
    ]
}

/// Headings of the table of traffic.
const TRAFFIC: [&str; 4] = ["traffic", "attempts", "ok", "others"];

fn rows(findings: &Findings) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for traffic in &findings.traffic {
        let failed: Vec<String> = traffic
            .failed
            .iter()
            .map(|(kind, number)| format!("{kind} {}", count(*number)))
            .collect();
        rows.push(vec![
            traffic.title.clone(),
            count(traffic.started),
            count(traffic.ok),
            failed.join(", "),
        ]);
    }
    rows
}

fn faults(findings: &Findings) -> String {
    let made = findings.faults.iter();
    let made: Vec<String> = made
        .map(|(fault, times)| format!("{} ({times})", fault.title()))
        .collect();
    made.join(", ")
}

/// As text for a terminal.
pub(super) fn text(report: &Report) -> String {
    let mut traffic = Table::new(&TRAFFIC);
    rows(&report.findings)
        .into_iter()
        .for_each(|row| traffic.row(row));
    let mut bars = Table::new(&crate::bar::HEADINGS);
    report.bars.iter().for_each(|bar| bars.row(bar.row()));
    let mut text = format!(
        "{}\n{}\n{} s; faults: {}.\n",
        traffic.render(),
        bars.render(),
        report.choices.duration.as_secs_f64(),
        faults(&report.findings)
    );
    for note in &report.notes {
        text.push_str(&format!("note    {note}\n"));
    }
    if report.passed {
        text.push_str("passed  everything that was judged\n");
    }
    for problem in &report.problems {
        text.push_str(&format!("FAILED  {problem}\n"));
    }
    text
}

/// As a page.
pub(super) fn html(report: &Report) -> String {
    let (class, verdict) = if report.passed {
        ("passed", "Everything that was judged passed")
    } else {
        ("failed", "Not everything passed")
    };
    let bars: Vec<_> = report.bars.iter().map(Bar::row).collect();
    let body = [
        format!(
            "<header>\n<p class=\"eyebrow\">Fleetgate soak · {}</p>\n<h1>A long time with faults</h1>\n\
             <p class=\"verdict {class}\">{verdict}</p>\n{}{}</header>\n",
            page::escape(&report.circumstances.started_at),
            page::list("problems", &report.problems),
            page::list("notes", &report.notes),
        ),
        page::section("What was to be reached", &page::table(&crate::bar::HEADINGS, &bars)),
        page::section(
            "Traffic",
            &(page::table(&TRAFFIC, &rows(&report.findings))
                + &page::paragraph(&format!("Faults: {}.", faults(&report.findings)))),
        ),
        page::section("This machine", &page::definitions(&report.circumstances.definitions())),
    ]
    .concat();
    page::document("Fleetgate: soak", &body)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::circumstances;

    fn report(change: impl FnOnce(&mut Findings)) -> Report {
        let mut findings = Findings {
            traffic: vec![Traffic {
                title: "telemetry".to_owned(),
                started: 1000,
                ok: 980,
                failed: [("status 503".to_owned(), 18), ("closed".to_owned(), 2)].into(),
            }],
            faults: [(Fault::Outage, 1)].into(),
            gateway_ok: 981,
            gateway_5xx: 18,
            resident: vec![20_000_000; 90],
            ..Findings::default()
        };
        change(&mut findings);
        let choices = Choices {
            duration: Duration::from_secs(1200),
            devices: 100,
            seed: 1,
        };
        Report::new(circumstances::sample(), &choices, findings)
    }

    #[test]
    fn a_soak_in_which_everything_is_accounted_for_passes() {
        let report = report(|_| ());
        assert!(report.passed, "{:?}", report.problems);
        let text = text(&report);
        assert!(
            text.contains("status 503 18") && text.contains("passed"),
            "{text}"
        );
        let html = html(&report);
        assert!(html.contains("upstream killed") && !html.contains("<script"));
    }

    #[test]
    fn each_leak_and_each_lost_request_is_named() {
        let broken: [fn(&mut Findings); 8] = [
            |findings| findings.panics = 1,
            |findings| findings.traffic[0].started += 1,
            |findings| findings.gateway_ok = 983,
            |findings| findings.gateway_ok = 979,
            |findings| findings.failed_without_outage = 1,
            |findings| findings.connections_left = 1,
            |findings| findings.descriptors_left = 1,
            |findings| findings.resident[60..].fill(30_000_000),
        ];
        for change in broken {
            let report = report(change);
            assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
        }
    }
}

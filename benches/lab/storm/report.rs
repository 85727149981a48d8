//! The report of `lab storm`.

use loadgen::measure::Verdict;
use serde::{Deserialize, Serialize};

use super::bars;
use super::choices::Choices;
use super::peers::PeerStorm;
use super::phase::Phase;
use super::waiting::Waiting;
use crate::bar::Bar;
use crate::circumstances::Circumstances;
use crate::compare::report::Missing;

/// Name and version of the schema.
pub(crate) const SCHEMA: &str = "lab.storm/1";

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
    /// Whether the generator could not keep up: nothing here is to be believed.
    pub(crate) void: bool,
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
    /// Whether the gateway had a share of a core only; otherwise it had all of one.
    pub(crate) quota: bool,
    /// The share that it had in the burst.
    pub(crate) burst_share: f64,
    /// The established devices before anything happened.
    pub(crate) quiet: Waiting,
    /// Every load, in order.
    pub(crate) phases: Vec<Phase>,
    /// What the gateway held before the storms and when everybody had gone.
    pub(crate) held: [Held; 2],
    /// The first storm against other servers.
    #[serde(default)]
    pub(crate) peers: Vec<PeerStorm>,
    /// Those that were asked for and are not here.
    #[serde(default)]
    pub(crate) missing_peers: Vec<Missing>,
}

impl Findings {
    /// Every load on a peer.
    pub(super) fn phases_of_peers(&self) -> impl Iterator<Item = (&PeerStorm, &Phase)> {
        self.peers
            .iter()
            .flat_map(|peer| peer.phases.iter().map(move |phase| (peer, phase)))
    }
}

/// What a gateway holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Held {
    /// Devices' connections that it counts as open.
    pub(crate) connections: u64,
    /// Descriptors, without those of open connections to upstreams.
    pub(crate) descriptors: i64,
    /// Resident memory.
    pub(crate) resident_bytes: u64,
}

impl Report {
    /// Judges what was found.
    pub(super) fn new(
        circumstances: Circumstances,
        choices: &Choices,
        findings: Findings,
    ) -> Report {
        let bars = bars::bars(choices, &findings);
        let own = findings.phases.iter().map(|phase| (phase.title(), phase));
        let others = findings
            .phases_of_peers()
            .map(|(peer, phase)| (peer.title(phase), phase));
        let mut problems: Vec<String> = own
            .chain(others)
            .filter(|(_, phase)| phase.verdict == Verdict::Void)
            .map(|(title, phase)| format!("{title}: void: {}", phase.reasons.join("; ")))
            .collect();
        let void = !problems.is_empty();
        problems.extend(bars.iter().filter_map(Bar::problem));
        Report {
            schema: SCHEMA.to_owned(),
            passed: problems.is_empty(),
            void,
            problems,
            notes: notes(&circumstances, choices, &findings),
            circumstances,
            choices: choices.clone(),
            bars,
            findings,
        }
    }
}

fn notes(circumstances: &Circumstances, choices: &Choices, findings: &Findings) -> Vec<String> {
    let mut notes = circumstances.notes();
    if !findings.quota {
        notes.push(
            "The gateway had a whole core, because control groups cannot be made here: times and rates are not judged."
                .to_owned(),
        );
    }
    let own = findings.phases.iter().map(|phase| (phase.title(), phase));
    let others = findings
        .phases_of_peers()
        .map(|(peer, phase)| (peer.title(phase), phase));
    for (title, phase) in own.chain(others) {
        if phase.verdict == Verdict::Suspect {
            notes.push(format!("{title}: {}.", phase.reasons.join("; ")));
        }
    }
    for peer in findings.peers.iter().filter(|peer| !peer.quota) {
        let name = peer.server.name();
        notes.push(format!("{name} had a whole core."));
    }
    for gap in &findings.missing_peers {
        let (name, why, how) = (gap.server.name(), &gap.why, &gap.how_to_install);
        notes.push(format!("without {name}: {why} ({how})."));
    }
    if choices.quick {
        notes.push(
            "This was a quick run: it shows that everything works; times and rates are not judged."
                .to_owned(),
        );
    }
    notes
}

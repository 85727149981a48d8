//! Whether a demo shows what it should; pure.

use loadgen::measure::Verdict;

use super::phase::Phase;
use super::report::PhaseReport;
use crate::number::{count, percent};

/// Share that the modes imply: all, but for the odd connection.
const IMPLIED_SHARE: f64 = 0.99;
/// Share of hits beyond which a cache was not cold.
const COLD_SHARE: f64 = 0.01;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Judgement {
    /// Checks that did not pass.
    pub(super) problems: Vec<String>,
    /// Whether one of them is a void run.
    pub(super) void: bool,
    /// Doubts that are no failures.
    pub(super) notes: Vec<String>,
}

/// Applies every rule to every phase.
pub(super) fn judge(phases: &[PhaseReport]) -> Judgement {
    let mut judgement = Judgement::default();
    for phase in phases {
        let title = phase.phase.title();
        let mut problem = |text: String| judgement.problems.push(format!("{title}: {text}"));
        for text in [shares(phase), failures(phase), measured(phase)].concat() {
            problem(text);
        }
        for text in disagreements(phase) {
            problem(text);
        }
        let reasons = phase.run.validity.reasons.join("; ");
        match phase.run.validity.verdict {
            Verdict::Valid => {}
            Verdict::Suspect => judgement.notes.push(format!("{title}: {reasons}.")),
            Verdict::Void => {
                judgement.void = true;
                problem(format!("the run is void: {reasons}"));
            }
        }
    }
    judgement
}

/// Cache and tickets must do what the phase is about.
fn shares(phase: &PhaseReport) -> Vec<String> {
    let mut problems = Vec::new();
    match phase.phase {
        Phase::ColdFull => match phase.cache_hit_share {
            Some(share) if share <= COLD_SHARE => {}
            Some(share) => problems.push(format!(
                "the chain cache was not cold, {} of the look-ups hit",
                percent(share)
            )),
            None => problems.push("the gateway counted no look-up in its chain cache".to_owned()),
        },
        Phase::WarmFull => at_least(
            &mut problems,
            phase.cache_hit_share,
            "cache hit share, by the gateway's metrics",
        ),
        Phase::Resumed => {
            at_least(
                &mut problems,
                phase.tickets_accepted_share,
                "share of tickets accepted, by the gateway's metrics",
            );
            at_least(
                &mut problems,
                phase.run.resumption.accepted_share,
                "share of attempts that resumed, by loadgen",
            );
        }
        Phase::Telemetry => {}
    }
    problems
}

fn at_least(problems: &mut Vec<String>, share: Option<f64>, what: &str) {
    match share {
        Some(share) if share >= IMPLIED_SHARE => {}
        Some(share) => problems.push(format!(
            "{what}: {}, {} or more is implied",
            percent(share),
            percent(IMPLIED_SHARE)
        )),
        None => problems.push(format!("{what}: nothing was counted")),
    }
}

/// Nothing is broken on purpose here, so nothing may fail.
fn failures(phase: &PhaseReport) -> Vec<String> {
    let (window, before) = (&phase.run.counts, &phase.run.before_window.counts);
    let failed = window.failed + before.failed;
    if failed == 0 {
        return Vec::new();
    }
    let errors = phase
        .run
        .errors
        .iter()
        .chain(&phase.run.before_window.errors);
    let kinds: Vec<String> = errors
        .map(|error| {
            let text = format!("{} {} ({})", error.class, error.code, error.count);
            text.replace("  ", " ")
        })
        .collect();
    vec![format!(
        "{} attempts failed: {}",
        count(failed),
        kinds.join(", ")
    )]
}

/// A phase without operations measured nothing.
fn measured(phase: &PhaseReport) -> Vec<String> {
    if phase.run.counts.ok == 0 {
        vec!["no operation was measured".to_owned()]
    } else {
        Vec::new()
    }
}

fn disagreements(phase: &PhaseReport) -> Vec<String> {
    phase
        .agreement
        .iter()
        .filter(|agreement| agreement.loadgen != agreement.gateway)
        .map(|agreement| {
            format!(
                "counts disagree: {} {} by loadgen, {} by the gateway",
                agreement.what,
                count(agreement.loadgen),
                count(agreement.gateway)
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::phases;
    use super::*;

    fn problems(change: impl FnOnce(&mut Vec<PhaseReport>)) -> Vec<String> {
        let mut phases = phases();
        change(&mut phases);
        judge(&phases).problems
    }

    fn found(change: impl FnOnce(&mut Vec<PhaseReport>), word: &str) {
        let problems = problems(change);
        assert!(
            problems.len() == 1 && problems[0].contains(word),
            "{word}: {problems:?}"
        );
    }

    #[test]
    fn a_good_demo_passes() {
        assert_eq!(problems(|_| ()), Vec::<String>::new());
    }

    #[test]
    fn each_rule_finds_its_fault() {
        found(|p| p[0].cache_hit_share = Some(0.5), "not cold");
        found(|p| p[0].cache_hit_share = None, "no look-up");
        found(|p| p[1].cache_hit_share = Some(0.98), "cache hit share");
        found(
            |p| p[2].tickets_accepted_share = Some(0.98),
            "by the gateway's metrics",
        );
        found(
            |p| p[2].run.resumption.accepted_share = Some(0.5),
            "by loadgen",
        );
        found(|p| p[3].agreement[0].gateway += 1, "counts disagree");
        found(|p| p[3].run.counts.failed = 2, "2 attempts failed");
        found(|p| p[3].run.counts.ok = 0, "no operation");
    }

    #[test]
    fn void_is_a_problem_and_suspect_a_note() {
        let mut phases = phases();
        phases[1].run.validity.verdict = Verdict::Suspect;
        phases[1].run.validity.reasons = vec!["busy".to_owned()];
        let judgement = judge(&phases);
        assert!(judgement.problems.is_empty() && !judgement.void);
        assert_eq!(judgement.notes, ["warm full: busy."]);
        phases[1].run.validity.verdict = Verdict::Void;
        let judgement = judge(&phases);
        assert!(judgement.void && judgement.problems[0].contains("void: busy"));
    }
}

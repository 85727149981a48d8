//! Results of segments become one result, exactly, or a list of what stands against it.

use std::process::{Command, Output};

use loadgen::RunResult;
use loadgen::measure::Verdict;
use loadgen::plan::Mode;
use loadgen::report::merge::{MergeError, merge};
use loadgen::report::{SecondOfRun, json, metric};

use crate::models::{plan, run};
use crate::server::{Options, Server};

/// The results of all segments, each with a name.
fn segments(of: usize) -> Vec<(String, RunResult)> {
    let server = Server::start(Options::default());
    (0..of)
        .map(|index| {
            let mut plan = plan(&server, Mode::Mixed);
            // Fewer shards altogether than connections: each has something to do.
            plan.shards = Some(1);
            plan.thresholds = vec![
                "p99<60s".parse().unwrap(),
                "rate>9000000/s".parse().unwrap(),
            ];
            plan.segment = format!("{index}/{of}").parse().unwrap();
            (format!("{index}.json"), run(&plan))
        })
        .collect()
}

fn sum(results: &[(String, RunResult)], of: fn(&RunResult) -> u64) -> u64 {
    results.iter().map(|(_, result)| of(result)).sum()
}

#[test]
fn the_whole_is_exactly_the_sum_of_its_segments() {
    let mut parts = segments(3);
    parts[1].1.validity.verdict = Verdict::Suspect;
    parts[1].1.validity.reasons = vec!["it was late".to_owned()];
    // The order of the files does not matter.
    parts.reverse();
    let whole = merge(&parts).unwrap();
    assert_eq!(whole.counts.ok, 60);
    assert_eq!(whole.counts.ok, sum(&parts, |one| one.counts.ok));
    assert_eq!(
        whole.run.devices as u64,
        sum(&parts, |one| one.run.devices as u64)
    );
    assert_eq!(
        whole.handshakes.resumed,
        sum(&parts, |one| one.handshakes.resumed)
    );
    assert_eq!(
        whole.before_window.counts.ok,
        sum(&parts, |one| one.before_window.counts.ok)
    );
    for metric in &whole.metrics {
        let mut all = loadgen::measure::recorder::new_histogram();
        for (_, part) in &parts {
            if let Some(of_part) = part.metric(&metric.name, &metric.operation) {
                all.add(of_part.decode().unwrap()).unwrap();
            }
        }
        assert_eq!(metric.decode().unwrap(), all);
        for quantile in &metric.quantiles {
            let exact = all.value_at_quantile(quantile.quantile).min(all.max());
            assert_eq!(quantile.value, exact);
        }
    }
    let seconds = |of: fn(&SecondOfRun) -> u64| whole.seconds.iter().map(of).sum::<u64>();
    assert_eq!(seconds(|second| second.ok), 60);
    let samples: u64 = whole
        .seconds
        .iter()
        .filter_map(|second| metric::decode::<u32>(second.histogram.as_deref()?))
        .map(|histogram| histogram.len())
        .sum();
    assert_eq!(samples, 60);
    let scenario = &whole.scenarios[0];
    assert_eq!((scenario.counts, whole.scenarios.len()), (whole.counts, 1));

    assert_eq!(whole.validity.verdict, Verdict::Suspect);
    assert!(
        whole
            .validity
            .reasons
            .iter()
            .any(|reason| reason == "segment 1/3: it was late"),
        "{:?}",
        whole.validity.reasons
    );
    assert_eq!((whole.run.segment.of(), whole.segments.len()), (1, 3));
    assert!(whole.thresholds[0].holds && !whole.thresholds[1].holds);
    // It can be saved and read like any other.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("whole.json");
    json::save(&whole, &path).unwrap();
    assert_eq!(json::load(&path).unwrap(), whole);
}

#[test]
fn seconds_are_aligned_by_the_clock() {
    let mut parts = segments(2);
    for ((_, part), began) in parts.iter_mut().zip(["00", "03"]) {
        let began = format!("2026-11-21T18:00:{began}.100000Z");
        part.run.load_started_at = Some(began.clone());
        part.run.started_at = began;
        part.run.window_seconds = 10.0;
    }
    let first = parts[0].1.seconds.clone();
    let whole = merge(&parts).unwrap();
    assert_eq!(whole.run.window_seconds, 13.0);
    assert_eq!(whole.seconds[0].ok, first[0].ok);
    let later: u64 = whole
        .seconds
        .iter()
        .filter(|second| second.second >= 3)
        .map(|second| second.ok)
        .sum();
    assert_eq!(later, parts[1].1.counts.ok);
    // Seven of ten seconds together are not together.
    assert!(
        whole
            .validity
            .reasons
            .iter()
            .any(|reason| reason.contains("--start-at"))
    );
    assert!(whole.validity.verdict >= Verdict::Suspect);
}

#[test]
fn everything_that_stands_against_it_is_said_at_once() {
    let mut parts = segments(3);
    let alone = merge(&parts[..1]).unwrap_err();
    assert_eq!(alone, [MergeError::TooFew]);

    // One missing is suspect, not an error.
    let two = merge(&parts[..2]).unwrap();
    assert!(
        two.validity
            .reasons
            .iter()
            .any(|reason| reason.contains("missing: 2/3"))
    );

    let words = |parts: &[(String, RunResult)]| -> Vec<String> {
        merge(parts)
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    let mut twice = parts.clone();
    twice[2] = ("copy.json".to_owned(), twice[0].1.clone());
    twice[1].1.choices.seed = 99;
    let found = words(&twice);
    assert!(
        found
            .iter()
            .any(|word| word.contains("copy.json and 0.json are both segment 0/3")),
        "{found:?}"
    );
    assert!(
        found.iter().any(|word| word.contains("seed: 1 and 99")),
        "{found:?}"
    );

    let server = Server::start(Options::default());
    let whole = ("whole.json".to_owned(), run(&plan(&server, Mode::Mixed)));
    let found = words(&[parts[0].clone(), whole]);
    assert!(
        found
            .iter()
            .any(|word| word.contains("whole.json is the run of a whole plan")),
        "{found:?}"
    );

    parts[1].1.metrics[0].histogram = "AAAA".to_owned();
    let found = words(&parts);
    assert!(
        found[0].contains("1.json") && found[0].contains("damaged"),
        "{found:?}"
    );
}

#[test]
fn the_program_merges_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let parts = segments(2);
    for (name, part) in &parts {
        json::save(part, path(name).as_ref()).unwrap();
    }
    let merged = |files: &[&str]| -> Output {
        Command::new(env!("CARGO_BIN_EXE_loadgen"))
            .arg("merge")
            .args(files.iter().map(|file| path(file)))
            .args(["--json", &path("whole.json"), "--html", &path("whole.html")])
            .output()
            .unwrap()
    };
    let output = merged(&["0.json", "1.json"]);
    // One of the thresholds fails.
    assert_eq!(output.status.code(), Some(99), "{output:?}");
    let whole = json::load(path("whole.json").as_ref()).unwrap();
    assert_eq!(whole.counts.ok, sum(&parts, |one| one.counts.ok));
    assert!(
        std::fs::read_to_string(path("whole.html"))
            .unwrap()
            .contains("0/2")
    );

    let output = merged(&["0.json", "absent.json"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("absent.json"));
}

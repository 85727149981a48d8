//! Saved results: as files of every kind, compared with each other.

use std::path::Path;
use std::process::{Command, Output};

use loadgen::plan::Mode;
use loadgen::report::{Metric, RunResult, csv, html, json, markdown};

use crate::models::{plan, run};
use crate::server::{Behaviour, Options, Server};

fn loadgen(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(arguments)
        .output()
        .unwrap()
}

/// Runs the program on two saved results; its exit code and what it said.
fn compare(first: &RunResult, second: &RunResult, more: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    json::save(first, &path("a.json")).unwrap();
    json::save(second, &path("b.json")).unwrap();
    let (a, b) = (path("a.json"), path("b.json"));
    let mut arguments = vec!["compare", a.to_str().unwrap(), b.to_str().unwrap()];
    arguments.extend(more);
    let output = loadgen(&arguments);
    let words = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&words).into_owned(),
    )
}

/// What a hostile file could have in every text that it holds.
const HOSTILE: &str = "</style></svg><script>alert(1)</script>\x1b[2J|`=cmd`";

fn poisoned(mut result: RunResult) -> RunResult {
    let poison = |text: &mut String| HOSTILE.clone_into(text);
    poison(&mut result.run.started_at);
    poison(&mut result.run.loadgen_version);
    result.host.processor = Some(HOSTILE.to_owned());
    result.host.kernel = Some(HOSTILE.to_owned());
    poison(&mut result.choices.target.host);
    poison(&mut result.choices.target.path);
    result.validity.reasons = vec![HOSTILE.to_owned()];
    for threshold in &mut result.thresholds {
        poison(&mut threshold.expression);
    }
    for error in &mut result.errors {
        poison(&mut error.class);
        poison(&mut error.code);
        poison(&mut error.direction);
        poison(&mut error.when);
    }
    for metric in &mut result.metrics {
        metric.operation.push_str(HOSTILE);
    }
    result
}

#[test]
fn what_others_wrote_into_a_result_stays_text() {
    let server = Server::start(Options {
        behaviour: Behaviour::Status(503),
        ..Options::default()
    });
    let mut plan = plan(&server, Mode::Full);
    plan.thresholds = vec!["p99<1s".parse().unwrap()];
    let result = poisoned(run(&plan));
    assert!(!result.errors.is_empty());
    let page = html::page(&result);
    assert!(!page.contains("<script") && !page.contains('\x1b'));
    assert_eq!(page.matches("</style>").count(), 1);
    let text = markdown::render(&result);
    assert!(
        !text.contains("<script") && !text.contains('\x1b'),
        "{text}"
    );
    assert!(!csv::quantiles(&result).contains('\x1b'));
    assert!(!loadgen::report::text::render(&result).contains('\x1b'));
}

#[test]
fn a_saved_result_becomes_files_of_every_kind() {
    let server = Server::start(Options::default());
    let result = run(&plan(&server, Mode::Mixed));
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let saved = path("result.json");
    json::save(&result, Path::new(&saved)).unwrap();
    let (page, text, table) = (path("r.html"), path("r.md"), path("r.csv"));
    let output = loadgen(&[
        "report",
        &saved,
        "--html",
        &page,
        "--markdown",
        &text,
        "--csv",
        &table,
    ]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let read = |name: &str| std::fs::read_to_string(path(name)).unwrap();
    assert_eq!(read("r.html"), html::page(&result));
    assert!(read("r.md").starts_with("### loadgen: "));
    assert_eq!(read("r.csv").lines().count(), result.seconds.len() + 1);
    let last = format!(
        ",1,{},",
        result.response_time().unwrap().value(1.0).unwrap()
    );
    let quantiles = read("r-quantiles.csv");
    let maxima: Vec<_> = quantiles
        .lines()
        .filter(|line| line.starts_with("response_time,all,us,1,"))
        .collect();
    assert!(maxima.len() == 1 && maxima[0].contains(&last), "{maxima:?}");

    let refused = loadgen(&["report", &saved, "--html", "/no/such/folder/x.html"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--html"));
}

#[test]
fn a_regression_is_proven_and_its_absence_too() {
    let server = Server::start(Options::default());
    let mut plan = plan(&server, Mode::Telemetry);
    plan.shards = Some(1);
    let good = run(&plan);
    // Every attempt of the same run takes ten times as long, and a third of them fails.
    let mut bad = rewritten(&good, 10, 1);
    bad.counts.failed = bad.counts.ok / 3;
    bad.counts.ok -= bad.counts.failed;

    let (code, words) = compare(&good, &bad, &[]);
    assert_eq!(code, Some(3), "{words}");
    assert!(words.starts_with("verdict       regression"), "{words}");
    assert!(
        words.contains("response time p50") && words.contains("failed"),
        "{words}"
    );

    // Sixty attempts of some milliseconds prove nothing about a twentieth; nobody claims they do.
    let (code, words) = compare(&good, &good, &[]);
    assert_eq!(code, Some(4), "{words}");
    assert!(words.contains("measure longer"), "{words}");

    // A hundred times as many do.
    let many = rewritten(&good, 1, 100);
    let wide = ["--threshold", "900%", "--failures-threshold", "1%"];
    let (code, words) = compare(&many, &many, &wide);
    assert_eq!(code, Some(0), "{words}");
    assert!(words.starts_with("verdict       no regression"), "{words}");
}

/// The same result with each value `slower` times as large, and `more` times as often.
fn rewritten(result: &RunResult, slower: u64, more: u64) -> RunResult {
    let mut result = result.clone();
    for metric in &mut result.metrics {
        let old = metric.decode().unwrap();
        let mut new = loadgen::measure::recorder::new_histogram();
        for value in old.iter_recorded() {
            new.record_n(
                value.value_iterated_to() * slower,
                value.count_since_last_iteration() * more,
            )
            .unwrap();
        }
        *metric = Metric::new(&metric.name, &metric.operation, metric.unit, &new).unwrap();
    }
    result.counts.intended *= more;
    result.counts.started *= more;
    result.counts.ok *= more;
    result
}

#[test]
fn a_void_run_proves_nothing() {
    let server = Server::start(Options::default());
    let good = run(&plan(&server, Mode::Full));
    let mut void = good.clone();
    void.validity.verdict = loadgen::measure::Verdict::Void;
    void.validity.reasons = vec!["the generator was late".to_owned()];
    void.counts.failed = void.counts.ok;
    void.counts.ok = 0;
    let (code, words) = compare(&good, &void, &[]);
    assert_eq!(code, Some(4), "{words}");
    assert!(words.contains("is void and proves nothing"), "{words}");
}

#[test]
fn runs_that_were_told_different_things_are_compared_on_request_only() {
    let server = Server::start(Options::default());
    let full = run(&plan(&server, Mode::Full));
    let resumed = run(&plan(&server, Mode::Resume));
    let (code, words) = compare(&full, &resumed, &[]);
    assert_eq!(code, Some(2), "{words}");
    assert!(
        words.contains("resume_ratio: 0.0 and 1.0") && words.contains("--despite-differences"),
        "{words}"
    );
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("c.html");
    let despite = ["--despite-differences", "--html", page.to_str().unwrap()];
    let (code, words) = compare(&poisoned(full), &poisoned(resumed), &despite);
    assert_ne!(code, Some(2), "{words}");
    assert!(!words.contains('\x1b'), "{words}");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("Latency by percentile") && !page.contains("<script"));
}

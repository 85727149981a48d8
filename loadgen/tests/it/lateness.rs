//! Pauses: of the server, which response times must show in full, and of the generator, which must not pass for the server's.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use loadgen::RunResult;
use loadgen::measure::Verdict;
use loadgen::plan::{FleetSpec, Limit, Mode};
use loadgen::report::json;
use rustix::process::{Pid, Signal, kill_process};

use crate::models::{closed, execute, limit, open, plan, run};
use crate::pki;
use crate::server::{Behaviour, Options, Server};

/// Arrivals per second, of which there are three seconds.
const RATE: u64 = 100;
const ARRIVALS: u64 = 3 * RATE;
/// When a second's pause begins: after preparation and a good part of the first second.
const PAUSE_AT: u64 = pki::MANY as u64 + RATE;

/// A server whose fleet has enough devices that nobody is missing in a pause.
fn server(behaviour: Behaviour) -> Server {
    Server::start(Options {
        behaviour,
        trusts: pki::many(),
        presents: pki::many(),
        ..Options::default()
    })
}

fn seconds(result: &RunResult, metric: &str, quantile: f64) -> f64 {
    let metric = result.metric(metric, "all").unwrap();
    metric.milliseconds(quantile).unwrap() / 1e3
}

#[test]
fn every_arrival_of_a_pause_shows_how_long_it_waited() {
    let server = server(Behaviour::PausesAtRequest(PAUSE_AT));
    let mut plan = plan(&server, Mode::Telemetry);
    plan.fleet = FleetSpec::folder(pki::many());
    execute(&mut plan, open(RATE as f64));
    limit(&mut plan, Limit::Count(ARRIVALS));
    let result = run(&plan);
    assert_eq!(result.counts.ok, ARRIVALS, "{:?}", result.errors);
    // A third of the arrivals fall into the pause, one each 10 ms; the k-th of them waits 10 ms less than the one before.
    for (quantile, waited) in [(0.99, 0.97), (0.9, 0.7), (0.8, 0.4)] {
        let found = seconds(&result, "response_time", quantile);
        assert!(
            (waited - 0.1..waited + 0.5).contains(&found),
            "{quantile}: {found} s, not {waited} s"
        );
    }
    let median = seconds(&result, "response_time", 0.5);
    assert!(median < 0.2, "{median}");
}

#[test]
fn the_closed_model_hides_the_same_pause() {
    // Why the open model is there: whoever waits for an answer before the next request asks once in that second.
    let server = server(Behaviour::PausesAtRequest(PAUSE_AT));
    let mut plan = plan(&server, Mode::Telemetry);
    plan.fleet = FleetSpec::folder(pki::many());
    execute(&mut plan, closed(1));
    limit(&mut plan, Limit::Count(ARRIVALS));
    let result = run(&plan);
    assert!(seconds(&result, "response_time", 1.0) >= 1.0);
    let p99 = seconds(&result, "response_time", 0.99);
    assert!(p99 < 0.5, "{p99}");
}

#[test]
fn a_pause_of_the_generator_counts_from_the_intended_start_and_voids_the_run() {
    let server = server(Behaviour::Answers);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("result.json");
    let count = ARRIVALS.to_string();
    let rate = format!("{RATE}/s");
    let child = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["run", "--target", &server.url(), "--pki"])
        .arg(pki::many())
        .args(["--mode", "telemetry", "--rate", &rate, "--count", &count])
        .args(["--shards", "1", "--json"])
        .arg(&path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    server.wait_for_requests(PAUSE_AT);
    // For a second it does nothing: this is the fault under test.
    signal(&child, Signal::STOP);
    std::thread::sleep(Duration::from_secs(1));
    signal(&child, Signal::CONT);
    let (code, printed) = ended(child);
    assert_eq!(code, Some(5), "{printed}");

    let result = json::load(&path).unwrap();
    assert_eq!(result.counts.ok, ARRIVALS, "{:?}", result.errors);
    assert_eq!(result.validity.verdict, Verdict::Void);
    let [response, service] =
        ["response_time", "service_time"].map(|metric| seconds(&result, metric, 0.99));
    assert!((0.7..2.0).contains(&response), "{response}");
    // Counted from the actual start, nobody would have waited long.
    assert!(service < 0.5 * response, "{service} {response}");
    let reason = &result.validity.reasons[0];
    assert!(reason.contains("late") && reason.contains("ms"), "{reason}");
    // Each attempt: response time = lag + service time.
    let mean = |metric| result.metric(metric, "all").unwrap().mean;
    let sum = mean("schedule_lag") + mean("service_time");
    let response = mean("response_time");
    assert!((sum - response).abs() < 0.01 * response, "{sum} {response}");
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// The exit code, and what was printed.
fn ended(mut child: Child) -> (Option<i32>, String) {
    let mut printed = String::new();
    let mut output = child.stdout.take().unwrap();
    output.read_to_string(&mut printed).unwrap();
    (child.wait().unwrap().code(), printed)
}

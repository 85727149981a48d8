//! A plan split over processes is the whole plan once, and begins together.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use loadgen::RunResult;
use loadgen::plan::{Activity, Mode, Scenario, Segment};
use loadgen::report::json;

use crate::models::{closed, execute, plan, run};
use crate::pki;
use crate::server::{Options, Server};

const ARRIVALS: u64 = 57;

fn segment(server: &Server, segment: &str, more: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["run", "--target", &server.url(), "--warmup", "0s"])
        .args(["--count", &ARRIVALS.to_string(), "--segment", segment])
        .args(["--pki".as_ref(), pki::ours().as_os_str()])
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn results(server: &Server, pace: [&str; 2], start_at: &str) -> [RunResult; 2] {
    let folder = tempfile::tempdir().unwrap();
    let path = |index: usize| folder.path().join(format!("{index}.json"));
    let children = [0, 1].map(|index| {
        let json = path(index);
        // The machines need not be alike.
        let shards = ["1", "3"][index];
        let more = ["--json", json.to_str().unwrap(), "--shards", shards];
        let more = [&more[..], &pace, &["--start-at", start_at]].concat();
        segment(server, &format!("{index}/2"), &more)
    });
    for child in children {
        let output = child.wait_with_output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        // Void (5) is what a run on a busy machine may be; its counts are exact all the same.
        assert!(matches!(output.status.code(), Some(0 | 5)), "{complaint}");
    }
    [0, 1].map(|index| json::load(&path(index)).unwrap())
}

fn soon() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_secs(5)
}

#[test]
fn two_processes_are_the_whole_plan_once_and_begin_together() {
    // Of seven connections at a time the first process has four, and as much of the work: one makes nine attempts, the others eight.
    for (pace, shares) in [
        (["--rate", "100/s"], [29, 28]),
        (["--connections", "7"], [33, 24]),
    ] {
        let server = Server::start(Options::default());
        let start_at = soon();
        let results = results(&server, pace, &start_at.as_secs_f64().to_string());
        let counted = server.counted();
        assert_eq!(results.each_ref().map(|r| r.counts.intended), shares);
        assert_eq!(results.each_ref().map(|r| r.run.devices), [20, 20]);
        assert_eq!(results[1].run.segment.to_string(), "1/2");
        assert_eq!(counted.connections.load(Ordering::Relaxed), ARRIVALS);
        // Forty devices took turns, twenty in each process, and each came at least once.
        assert_eq!(counted.devices.lock().unwrap().len(), pki::DEVICES);
        for result in results {
            let began = result.run.load_started_at.unwrap();
            let began = began.parse::<loadgen::plan::StartAt>().unwrap();
            let late = began
                .after(UNIX_EPOCH + start_at)
                .unwrap_or_else(|late| late);
            assert!(late < Duration::from_millis(50), "{late:?}");
        }
    }
}

#[test]
fn connections_and_their_attempts_are_split_together() {
    let server = Server::start(Options::default());
    let mut made = Vec::new();
    for index in 0..3 {
        let mut plan = plan(&server, Mode::Full);
        plan.segment = Segment::new(index, 3).unwrap();
        // As many shards as connections in one scenario, and more of them than connections in the other.
        let few = Scenario::new("few", closed(4), Activity::default());
        plan.scenarios.push(few);
        execute(&mut plan, closed(12));
        plan.shards = Some(4);
        let result = run(&plan);
        assert_eq!(result.run.shards, 4);
        let counts = |name: &str| result.scenario(name).unwrap().counts;
        made.push((counts("load").ok, counts("few").ok));
    }
    assert_eq!(made, [(20, 30), (20, 15), (20, 15)]);
    assert_eq!(server.counted().requests.load(Ordering::Relaxed), 120);
}

#[test]
fn a_segment_has_no_more_shards_than_connections() {
    let server = Server::start(Options::default());
    let mut plan = plan(&server, Mode::Full);
    plan.segment = Segment::new(1, 3).unwrap();
    let result = run(&plan);
    assert_eq!((result.run.shards, result.counts.ok), (1, 15));
}

#[test]
fn a_start_that_has_passed_makes_no_load() {
    let server = Server::start(Options::default());
    let child = segment(&server, "0/2", &["--start-at", "2020-01-01T00:00:00Z"]);
    let output = child.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{complaint}");
    assert!(complaint.contains("--start-at 2020"), "{complaint}");
    assert_eq!(server.counted().connections.load(Ordering::Relaxed), 0);
}

#[test]
fn a_segment_with_nothing_to_do_says_so() {
    let server = Server::start(Options::default());
    for (segment_of, more, wanted) in [
        ("40/41", &[][..], "devices"),
        ("3/4", &["--connections", "3"], "--connections"),
    ] {
        let output = segment(&server, segment_of, more)
            .wait_with_output()
            .unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{complaint}");
        let named = complaint.contains("--segment") && complaint.contains(wanted);
        assert!(named, "{complaint}");
    }
}

//! Searches for capacity over real sockets.

use std::process::{Command, Output, Stdio};

use loadgen::report::capacity::{
    CapacityResult, CapacityVerdict, LimitKind, ProbeAnswer, ProbeResult, Variable,
};

use crate::pki;
use crate::server::{Behaviour, Options, Server};

fn capacity(server: &Server) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command
        .args(["capacity", "--target", &server.url()])
        .args(["--pki".as_ref(), pki::many().as_os_str()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn words(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn server(behaviour: Behaviour) -> Server {
    Server::start(Options {
        behaviour,
        trusts: pki::many(),
        presents: pki::many(),
        ..Options::default()
    })
}

/// Runs a search with more arguments; its result is checked against the published schema.
fn search(server: &Server, more: &[&str]) -> (Option<i32>, CapacityResult, String) {
    let folder = tempfile::tempdir().unwrap();
    let (json, html) = (folder.path().join("c.json"), folder.path().join("c.html"));
    let mut command = capacity(server);
    command
        .args(more)
        .args(["--json".as_ref(), json.as_os_str()]);
    command.args(["--html".as_ref(), html.as_os_str()]);
    let (code, printed, complaint) = words(&command.output().unwrap());
    assert!(printed.starts_with("capacity"), "{printed}{complaint}");
    let text = std::fs::read_to_string(json).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let schema = include_str!("../../capacity.schema.json");
    let schema: serde_json::Value = serde_json::from_str(schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<_> = validator
        .iter_errors(&value)
        .map(|e| e.to_string())
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
    let page = std::fs::read_to_string(html).unwrap();
    assert!(page.contains("<svg") && page.contains("Response time by load"));
    assert!(!page.contains("NaN") && !page.contains("inf\""), "{page}");
    (code, serde_json::from_value(value).unwrap(), printed)
}

/// The exit code which the verdict stands for. How busy this machine is decides which one it is.
fn wanted(result: &CapacityResult) -> Option<i32> {
    Some(match result.verdict {
        CapacityVerdict::Found | CapacityVerdict::HoldsAll => 0,
        CapacityVerdict::Inconclusive => 4,
        CapacityVerdict::GeneratorLimited => 5,
        CapacityVerdict::HoldsNothing => 99,
    })
}

#[test]
fn a_hard_limit_is_found() {
    const CAPACITY: f64 = 800.0;
    let server = server(Behaviour::Serves(CAPACITY as u32));
    let pid = std::process::id().to_string();
    let (code, result, printed) = search(
        &server,
        &[
            "--search",
            "requests",
            "--from",
            "500",
            "--settle",
            "1s",
            "--window",
            "1s",
            "--confirm",
            "2s",
            "--precision",
            "50%",
            "--threshold",
            "p90<1s",
            "--watch-pid",
            &pid,
            "--interval",
            "20s",
        ],
    );
    assert_eq!(code, wanted(&result), "{printed}");
    assert_eq!(result.choices.search, Variable::Requests);
    match result.verdict {
        CapacityVerdict::Found => {
            // It is between 500 and 1000; a busy machine may have kept the server from what it could have done.
            let maximum = result.maximum.unwrap();
            assert!(
                (CAPACITY / 3.0..CAPACITY).contains(&maximum.load),
                "{printed}"
            );
            assert!(
                maximum.high.is_some_and(|high| high > maximum.load),
                "{printed}"
            );
            assert!(maximum.confirmed, "{printed}");
            assert!(result.hysteresis.is_some(), "{printed}");
            assert_ne!(result.limited_by.kind, LimitKind::Generator);
        }
        // A busy machine may also have kept the generator from making so much load. Then that is what it says.
        CapacityVerdict::GeneratorLimited => {
            assert_eq!(result.limited_by.kind, LimitKind::Generator, "{printed}");
            assert!(printed.contains("generator"), "{printed}");
            let unfit = |probe: &ProbeResult| !probe.generator.reasons.is_empty();
            assert!(result.probes.iter().any(unfit), "{printed}");
        }
        other => panic!("{other:?}: {printed}"),
    }
    if let Some(maximum) = result.maximum {
        assert!(maximum.load < CAPACITY, "{printed}");
        let sizing = result.sizing.unwrap();
        assert_eq!(sizing.devices, maximum.load * 20.0);
        assert!(sizing.statement.contains("every 20s"), "{printed}");
    }
    for probe in &result.probes {
        // What had waited for its turn is done in the window, too; nobody makes it serve more than that.
        assert!(probe.achieved_per_second <= 1.15 * CAPACITY, "{probe:?}");
        let can_hold = probe.load <= CAPACITY;
        assert!(can_hold || probe.answer != ProbeAnswer::Holds, "{probe:?}");
        assert!(probe.cores_used.is_some());
    }
    // Connections stay from one probe to the next.
    let counted = server.counted();
    let opened = counted
        .connections
        .load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(opened, pki::MANY as u64, "{printed}");
}

#[test]
fn open_devices_are_found_up_to_the_fleet() {
    let server = server(Behaviour::Answers);
    let (code, result, printed) = search(
        &server,
        &[
            "--search",
            "devices",
            "--interval",
            "400ms",
            "--from",
            "40",
            "--settle",
            "1s",
            "--window",
            "1s",
            "--confirm",
            "1s",
            "--precision",
            "10%",
            "--threshold",
            "p50<5s",
            "--probes",
            "12",
        ],
    );
    assert_eq!(code, wanted(&result), "{printed}");
    if let Some(maximum) = result.maximum {
        assert!(maximum.load <= pki::MANY as f64 && maximum.load.fract() == 0.0);
    }
    for probe in result
        .probes
        .iter()
        .filter(|p| p.answer == ProbeAnswer::Holds)
    {
        assert!(probe.open as f64 >= 0.99 * probe.load, "{probe:?}");
        assert!(probe.open as f64 <= probe.load, "{probe:?}");
    }
}

#[test]
fn a_server_that_refuses_everything_holds_nothing() {
    let server = server(Behaviour::Status(503));
    let (code, result, printed) = search(
        &server,
        &[
            "--from",
            "40",
            "--settle",
            "1s",
            "--window",
            "1s",
            "--threshold",
            "error_rate<10%",
        ],
    );
    assert_eq!(code, wanted(&result), "{printed}");
    assert!(result.maximum.is_none(), "{printed}");
    assert!(
        result
            .probes
            .iter()
            .all(|probe| probe.answer != ProbeAnswer::Holds)
    );
}

#[test]
fn an_interrupt_still_writes_what_is_known() {
    let server = server(Behaviour::Answers);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.json");
    let mut command = capacity(&server);
    command.args(["--from", "20", "--json", path.to_str().unwrap()]);
    let child = command.spawn().unwrap();
    server.wait_for_requests(10);
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    let (code, printed, complaint) = words(&child.wait_with_output().unwrap());
    assert_eq!(code, Some(105), "{printed}{complaint}");
    assert!(printed.contains("partial"), "{printed}");
    let text = std::fs::read_to_string(path).unwrap();
    let result: CapacityResult = serde_json::from_str(&text).unwrap();
    assert!(result.run.interrupted);
    assert_eq!(result.verdict, CapacityVerdict::Inconclusive);
}

#[test]
fn mistakes_name_the_flag() {
    let server = server(Behaviour::Answers);
    for (arguments, flag) in [
        (&["--mode", "idle"][..], "--mode"),
        (&["--search", "requests", "--mode", "mixed"], "--mode"),
        (&["--interval", "3s"], "--interval"),
        (&["--from", "9", "--to", "8"], "--from"),
        (&["--from", "0"], "--from"),
        (&["--precision", "3"], "--precision"),
        (&["--window", "1500ms"], "--window"),
        (&["--threshold", "p99"], "--threshold"),
        (&["--looks", "0"], "--looks"),
        (&["--json", "/no/such/folder/x"], "--json"),
        (&["--rate", "5/s"], "--rate"),
    ] {
        let mut command = capacity(&server);
        let (code, _, complaint) = words(&command.args(arguments).output().unwrap());
        assert_eq!(code, Some(2), "{arguments:?}: {complaint}");
        assert!(complaint.contains(flag), "{arguments:?}: {complaint}");
    }
}

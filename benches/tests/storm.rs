//! `lab storm` end to end, small: every load is offered, every figure is there, and nothing is left behind.

#![expect(
    clippy::unwrap_used,
    reason = "the whole target is a test: a panic is its way to fail"
)]

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;

/// The exit code of a run that the machine spoiled, because it gave its time to others.
const VOID: i32 = 5;
/// How often a spoiled run is made again.
const ATTEMPTS: usize = 4;

fn storm() -> (tempfile::TempDir, Output) {
    let mut attempts = 1;
    loop {
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_lab"))
            .args(["storm", "--quick", "--duration", "500ms", "--out"])
            .arg(folder.path().join("out"))
            .env("TMPDIR", folder.path())
            .output()
            .unwrap();
        if output.status.code() != Some(VOID) || attempts == ATTEMPTS {
            return (folder, output);
        }
        attempts += 1;
    }
}

#[test]
fn every_load_is_offered_and_nothing_is_left_behind() {
    let (folder, output) = storm();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    // On a machine that has no time for it there is a report all the same; it says so.
    let void = output.status.code() == Some(VOID);
    assert!(output.status.success() || void, "{stdout}\n{stderr}");

    let json = fs::read_to_string(folder.path().join("out/report.json")).unwrap();
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["schema"], "lab.storm/1");
    assert_eq!(report["void"], void);
    let phases = report["phases"].as_array().unwrap();
    let offered: Vec<_> = phases
        .iter()
        .filter(|phase| phase["kind"]["storm"].is_f64())
        .map(|phase| {
            let established = &phase["established"];
            assert!(established["requests"].as_u64().unwrap() > 20, "{phase}");
            let errors = phase["errors"].as_array().unwrap();
            let failed: u64 = errors.iter().filter_map(|e| e["count"].as_u64()).sum();
            let served = phase["served"].as_u64().unwrap();
            assert!(served + failed <= phase["intended"].as_u64().unwrap());
            let place = phase["place"].as_str().unwrap();
            (place, phase["kind"]["storm"].as_f64().unwrap())
        })
        .collect();
    let expected = [("near", 2.0), ("near", 5.0), ("mixed", 2.0), ("mixed", 5.0)];
    assert_eq!(offered, expected);
    assert_eq!(phases.last().unwrap()["kind"], "burst");
    assert_eq!(phases.last().unwrap()["intended"], 300);
    assert_eq!(report["held"][1]["connections"], 0);
    // The work folder is gone: the report is all that is left.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let html = fs::read_to_string(folder.path().join("out/report.html")).unwrap();
    assert!(html.contains("Who is served") && !html.contains("<script"));
}

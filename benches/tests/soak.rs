//! `lab soak` for some seconds: every fault is made, nothing leaks, and every request is accounted for.

use std::fs;
use std::process::Command;

use serde_json::Value;

#[test]
fn every_fault_is_made_and_every_request_accounted_for() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let output = Command::new(env!("CARGO_BIN_EXE_lab"))
        .args(["soak", "--duration", "25s", "--devices", "20", "--out"])
        .arg(&out)
        .env("TMPDIR", folder.path())
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    let json = fs::read_to_string(out.join("report.json")).unwrap();
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["schema"], "lab.soak/1");
    assert_eq!(report["faults"].as_object().unwrap().len(), 7);
    for traffic in report["traffic"].as_array().unwrap() {
        assert!(traffic["ok"].as_u64().unwrap() > 0, "{traffic}");
    }
    // The work folder is gone: the report is all that is left.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

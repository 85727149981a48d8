//! `lab revocation` end to end, small: revoked devices are disconnected and nobody else, and every figure is there.

use std::fs;
use std::process::Command;

use serde_json::Value;

#[test]
fn revoked_devices_are_disconnected_and_every_figure_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let output = Command::new(env!("CARGO_BIN_EXE_lab"))
        .args(["revocation", "--quick", "--devices", "45"])
        .args(["--entries", "2000", "--duration", "200ms", "--out"])
        .arg(&out)
        .env("TMPDIR", folder.path())
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}\n{stderr}");

    let json = fs::read_to_string(out.join("report.json")).unwrap();
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["schema"], "lab.revocation/1");
    assert_eq!(report["passed"], true);
    let live = report["live"].as_array().unwrap();
    let triggers: Vec<_> = live
        .iter()
        .map(|live| live["trigger"].as_str().unwrap())
        .collect();
    assert_eq!(triggers, ["signal", "watch"]);
    for live in live {
        assert_eq!(live["ended"], 5, "{live}");
        assert_eq!(live["answered"], 40, "{live}");
        assert!(live["counted_ms"].as_f64().unwrap() > 0.0, "{live}");
    }
    for cost in report["costs"].as_array().unwrap() {
        assert!(cost["ratio"]["median"].as_f64().unwrap() > 0.0, "{cost}");
    }
    let reconnects = report["reconnects"].as_array().unwrap();
    let sent = |index: usize| reconnects[index]["bytes_sent"].as_u64().unwrap();
    // Full, resumed; with compact tickets, then with self-contained ones.
    assert!(sent(1) < sent(0) && sent(1) < sent(3), "{reconnects:?}");
    for bar in report["bars"].as_array().unwrap() {
        assert!(bar["value"].is_number(), "{bar}");
    }
    // The work folder is gone: the report is all that is left.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let html = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(html.contains("Revoked while connected") && !html.contains("<script"));
}

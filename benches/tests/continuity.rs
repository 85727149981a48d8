//! `lab continuity` end to end, small: nothing is lost, and every figure is there.

use std::fs;
use std::process::Command;

use serde_json::Value;

#[test]
fn nothing_is_lost_and_every_figure_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let output = Command::new(env!("CARGO_BIN_EXE_lab"))
        .args(["continuity", "--quick", "--out"])
        .arg(&out)
        .env("TMPDIR", folder.path())
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}\n{stderr}");

    let json = fs::read_to_string(out.join("report.json")).unwrap();
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["schema"], "lab.continuity/1");
    assert_eq!(
        (&report["passed"], &report["reloads_done"]),
        (&true.into(), &10.into())
    );
    assert_eq!(report["restart"]["ended_well"], true);
    let loads = report["loads"].as_array().unwrap();
    assert_eq!(loads.len(), 4);
    for load in loads {
        let counts = &load["run"]["counts"];
        assert!(counts["ok"].as_u64().unwrap() > 100, "{counts}");
        assert_eq!(counts["failed"], 0);
    }
    // Tickets are honoured by both processes.
    let resumed = &loads[3]["run"]["handshakes"];
    assert_eq!(resumed["full"], 0, "{resumed}");
    // The work folder is gone: the report is all that is left.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let html = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(html.contains("Nothing was lost") && !html.contains("<script"));
}

//! `lab compare` where no peer is installed: it measures the gateway alone, and names what is missing.

use std::fs;
use std::process::Command;

use serde_json::Value;

#[test]
fn a_missing_peer_is_named_and_the_gateway_measured() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let output = Command::new(env!("CARGO_BIN_EXE_lab"))
        .args(["compare", "--quick", "--rounds", "1", "--duration", "200ms"])
        .args(["--peers", "envoy", "--envoy", "/nowhere/envoy"])
        .arg("--out")
        .arg(&out)
        .env("TMPDIR", folder.path())
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert!(
        stdout.contains("MISSING Envoy: /nowhere/envoy cannot be run"),
        "{stdout}"
    );

    let json = fs::read_to_string(out.join("report.json")).unwrap();
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["schema"], "lab.compare/1");
    assert_eq!(report["complete"], true);
    assert_eq!(report["missing"][0]["server"], "envoy");
    let figures = report["figures"].as_array().unwrap();
    let operations: Vec<_> = figures
        .iter()
        .map(|figure| figure["operation"].as_str().unwrap())
        .collect();
    assert_eq!(
        operations,
        [
            "full_cold",
            "full_warm",
            "resumed",
            "request",
            "request_h2",
            "body",
            "body_h2",
            "idle_memory"
        ]
    );
    for figure in figures {
        assert!(figure["cost"]["median"].as_f64().unwrap() > 0.0, "{figure}");
    }
    // The work folder is gone: the report is all that is left.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let html = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(html.contains("Envoy is not compared") && !html.contains("<script"));
}

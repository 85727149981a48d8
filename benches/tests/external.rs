//! `lab compare` and `lab storm` with nginx and HAProxy, which must be installed: their configurations work, every figure is there,
//! and none of their processes is left behind, even if the laboratory is killed.

#![expect(
    clippy::unwrap_used,
    reason = "the whole target is a test: a panic is its way to fail"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

fn compare(work: &Path, duration: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    command
        .args([
            "compare",
            "--quick",
            "--rounds",
            "1",
            "--duration",
            duration,
        ])
        .args(["--peers", "nginx,haproxy", "--out"])
        .arg(work.join("out"))
        .env("TMPDIR", work);
    command
}

/// Processes that run in a folder below `work`: peers, and nobody else.
fn processes_in(work: &Path) -> usize {
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.ok()?.path().join("cwd")).ok())
        .filter(|folder| folder.starts_with(work))
        .count()
}

#[test]
fn both_peers_get_every_figure() {
    let folder = tempfile::tempdir().unwrap();
    let output = compare(folder.path(), "300ms").output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    let json = fs::read_to_string(folder.path().join("out/report.json")).unwrap();
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["servers"].as_array().unwrap().len(), 3);
    let figures = report["figures"].as_array().unwrap();
    assert_eq!(figures.len(), 24);
    for figure in figures {
        assert!(figure["cost"]["median"].as_f64().unwrap() > 0.0, "{figure}");
        let is_peer = figure["server"] != "fleetgate";
        assert_eq!(is_peer, figure["fleetgate_ratio"]["median"].is_f64());
    }
    assert_eq!(processes_in(folder.path()), 0);
}

#[test]
fn peers_are_put_through_a_storm_and_one_that_is_not_here_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let output = Command::new(env!("CARGO_BIN_EXE_lab"))
        .args(["storm", "--quick", "--duration", "500ms"])
        .args([
            "--peers",
            "nginx,haproxy,envoy",
            "--envoy",
            "/no/such/envoy",
        ])
        .arg("--out")
        .arg(&out)
        .env("TMPDIR", folder.path())
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    // On a machine that has no time for it there is a report all the same; it says so.
    let void = output.status.code() == Some(5);
    assert!(output.status.success() || void, "{stdout}\n{stderr}");
    let json = fs::read_to_string(out.join("report.json")).unwrap();
    let report: Value = serde_json::from_str(&json).unwrap();
    let peers = report["peers"].as_array().unwrap();
    let names: Vec<_> = peers
        .iter()
        .map(|peer| peer["server"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["nginx", "haproxy"]);
    for peer in peers {
        let phases = peer["phases"].as_array().unwrap();
        let (capacity, storm) = (&phases[0], &phases[1]);
        let served = capacity["goodput"].as_f64().unwrap();
        assert!(served > 0.0, "{peer}");
        // Offered is twice what was served just before.
        let offered = storm["offered_per_second"].as_f64().unwrap();
        assert!((offered / served - 2.0).abs() < 1e-9, "{peer}");
        assert!(
            storm["share"].is_f64() && storm["gateway"].is_null(),
            "{peer}"
        );
        assert!(
            storm["established"]["requests"].as_u64().unwrap() > 20,
            "{peer}"
        );
    }
    assert_eq!(report["missing_peers"][0]["server"], "envoy");
    assert!(
        stdout.contains("without Envoy: /no/such/envoy cannot be run"),
        "{stdout}"
    );
    let html = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(html.contains("The same storm against others"));
    assert_eq!(processes_in(folder.path()), 0);
}

#[test]
fn peers_end_even_if_the_laboratory_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut laboratory = compare(folder.path(), "30s")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let until = Instant::now() + PATIENCE;
    // Gateway, nginx's two processes and HAProxy.
    while processes_in(folder.path()) < 4 {
        assert!(Instant::now() < until, "not every server was started");
        assert!(laboratory.try_wait().unwrap().is_none(), "ended early");
        std::thread::sleep(Duration::from_millis(20));
    }
    laboratory.kill().unwrap();
    laboratory.wait().unwrap();
    while processes_in(folder.path()) > 0 {
        assert!(Instant::now() < until, "a server outlived the laboratory");
        std::thread::sleep(Duration::from_millis(20));
    }
}

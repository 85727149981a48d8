//! `lab demo` end to end, small: it passes, writes its report, and leaves no process and no file behind, even killed.

#![expect(
    clippy::unwrap_used,
    reason = "the whole target is a test: a panic is its way to fail"
)]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest wait for anything; a demo of this size takes some five seconds.
const PATIENCE: Duration = Duration::from_secs(60);

fn start(folder: &Path, duration: &str) -> Child {
    fs::create_dir(folder.join("tmp")).unwrap();
    Command::new(env!("CARGO_BIN_EXE_lab"))
        .args(["demo", "--quick", "--devices", "40", "--duration", duration])
        .arg("--out")
        .arg(folder.join("out"))
        .env("TMPDIR", folder.join("tmp"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits until the demo has both its children, gateway and upstream.
fn children_of(demo: &mut Child) -> Vec<u32> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let children: Vec<u32> = fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
            .filter(|pid| parent_of(*pid) == Some(demo.id()))
            .collect();
        if children.len() == 2 {
            return children;
        }
        assert!(demo.try_wait().unwrap().is_none(), "ended without children");
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("no children after {PATIENCE:?}");
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Whether it still runs one of the laboratory's roles; ids are used again by others.
fn lives(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|command_line| {
        command_line.contains("as-gateway") || command_line.contains("as-upstream")
    })
}

/// The exit code of a run that the machine spoiled, because it gave its time to others.
const VOID: i32 = 5;

/// How often a spoiled run is made again.
const ATTEMPTS: usize = 4;

/// A demo to its end: its folder, its output, and the children that it had.
fn finished() -> (tempfile::TempDir, Output, Vec<u32>) {
    let mut attempts = 1;
    loop {
        let folder = tempfile::tempdir().unwrap();
        let mut demo = start(folder.path(), "500ms");
        let children = children_of(&mut demo);
        let output = demo.wait_with_output().unwrap();
        if output.status.code() != Some(VOID) || attempts == ATTEMPTS {
            return (folder, output, children);
        }
        attempts += 1;
    }
}

#[test]
fn a_small_demo_passes_and_reports() {
    let (folder, output, children) = finished();
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "{}\n{stdout}\n{stderr}",
        output.status
    );
    assert!(stdout.contains("passed  every check"), "{stdout}");
    assert!(!children.into_iter().any(lives), "a child survived");
    assert_eq!(fs::read_dir(folder.path().join("tmp")).unwrap().count(), 0);

    let json = fs::read_to_string(folder.path().join("out/report.json")).unwrap();
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["schema"], "lab.demo/1");
    assert_eq!(report["passed"], true);
    let phases = report["phases"].as_array().unwrap();
    let names: Vec<_> = phases
        .iter()
        .map(|phase| phase["phase"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["cold_full", "warm_full", "resumed", "telemetry"]);
    let cold = &phases[0];
    assert_eq!(cold["gateway"]["cache_misses"], 40);
    assert_eq!(cold["gateway"]["handshakes_full"], 40);
    assert_eq!(phases[1]["cache_hit_share"], 1.0);
    assert_eq!(phases[2]["tickets_accepted_share"], 1.0);
    for phase in phases {
        assert!(phase["server_cpu_us"].as_f64().unwrap() > 0.0);
        assert!(phase["run"]["counts"]["ok"].as_u64().unwrap() > 0);
    }

    let html = fs::read_to_string(folder.path().join("out/report.html")).unwrap();
    assert!(html.contains("Every check passed") && html.contains("<svg"));
    for forbidden in ["<script", "http://", "https://", "NaN"] {
        assert!(!html.contains(forbidden), "{forbidden}");
    }
}

#[test]
fn children_end_even_if_the_demo_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = start(folder.path(), "30s");
    let children = children_of(&mut demo);
    demo.kill().unwrap();
    demo.wait().unwrap();
    let until = Instant::now() + PATIENCE;
    while children.iter().any(|pid| lives(*pid)) {
        assert!(Instant::now() < until, "a child outlived the demo");
        std::thread::sleep(Duration::from_millis(20));
    }
}

//! What lies in `deploy` for several machines does what it says: run here, against a server in this process.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use loadgen::RunResult;
use loadgen::report::json;
use yaml_rust2::{Yaml, YamlLoader};

use crate::pki;
use crate::server::{Options, Server};

const ARRIVALS: u64 = 40;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// The search path with the program under test, and `folder`, in front.
fn path_with(folder: &Path) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_loadgen")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    format!("{}:{}:{path}", folder.display(), program.display())
}

fn flags(server: &Server) -> Vec<String> {
    let pki = pki::ours().to_str().unwrap();
    let count = ARRIVALS.to_string();
    let url = server.url();
    [
        "--target", &url, "--pki", pki, "--rate", "100/s", "--count", &count,
    ]
    .map(str::to_owned)
    .to_vec()
}

fn soon(seconds: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    (now + Duration::from_secs(seconds)).as_secs()
}

/// The results of two segments are those of the whole plan; and so says `merge`.
fn check(server: Server, files: &[PathBuf], folder: &Path) {
    let results: Vec<RunResult> = files.iter().map(|file| json::load(file).unwrap()).collect();
    let segments: Vec<_> = results.iter().map(|r| r.run.segment.to_string()).collect();
    assert_eq!(segments, ["0/2", "1/2"]);
    let intended: u64 = results.iter().map(|result| result.counts.intended).sum();
    assert_eq!(intended, ARRIVALS);
    let whole = folder.join("whole.json");
    let merged = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .arg("merge")
        .args(files)
        .arg("--json")
        .arg(&whole)
        .output()
        .unwrap();
    // Void (5) is what a run on a busy machine may be.
    assert!(matches!(merged.status.code(), Some(0 | 5)), "{merged:?}");
    assert_eq!(json::load(&whole).unwrap().counts.intended, ARRIVALS);
    let counted = server.counted();
    assert_eq!(counted.connections.load(Ordering::Relaxed), ARRIVALS);
    assert_eq!(counted.devices.lock().unwrap().len(), pki::DEVICES);
}

fn manifest() -> Yaml {
    let path = repository().join("deploy/kubernetes/loadgen-job.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let mut documents = YamlLoader::load_from_str(&text).unwrap();
    assert_eq!(documents.len(), 1);
    documents.remove(0)
}

fn environment(container: &Yaml) -> Vec<(String, String)> {
    let variables = container["env"].as_vec().unwrap().iter();
    variables
        .map(|variable| {
            let text = |key: &str| variable[key].as_str().unwrap().to_owned();
            (text("name"), text("value"))
        })
        .collect()
}

#[test]
fn the_kubernetes_job_is_indexed_and_has_as_many_pods_as_segments() {
    let job = manifest();
    assert_eq!(job["apiVersion"].as_str(), Some("batch/v1"));
    assert_eq!(job["kind"].as_str(), Some("Job"));
    let spec = &job["spec"];
    assert_eq!(spec["completionMode"].as_str(), Some("Indexed"));
    assert_eq!(spec["completions"], spec["parallelism"]);
    let pod = &spec["template"]["spec"];
    assert_eq!(pod["restartPolicy"].as_str(), Some("Never"));
    let container = &pod["containers"][0];
    let environment = environment(container);
    let value = |name: &str| environment.iter().find(|v| v.0 == name).unwrap().1.clone();
    assert_eq!(
        Some(value("SEGMENTS")),
        spec["completions"].as_i64().map(|n| n.to_string())
    );
    // What it mounts is what it declares, and the results go there.
    let names = |list: &Yaml| -> Vec<String> {
        let list = list.as_vec().unwrap().iter();
        list.map(|entry| entry["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&container["volumeMounts"]), names(&pod["volumes"]));
    let mounts = container["volumeMounts"].as_vec().unwrap();
    assert!(
        mounts
            .iter()
            .any(|mount| mount["mountPath"].as_str() == Some(&value("RESULTS")))
    );
    // Its own flags are flags that the program has: a wrong one would be named before the target is.
    let mut flags: Vec<String> = value("FLAGS")
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    flags.extend(["--segment", "0/4", "--start-at", "1"].map(str::to_owned));
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .arg("run")
        .args(flags)
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{complaint}");
    assert!(
        complaint.contains("/pki") && !complaint.contains("unexpected"),
        "{complaint}"
    );
}

#[test]
fn the_kubernetes_job_s_command_performs_its_segment() {
    let server = Server::start(Options::default());
    let folder = tempfile::tempdir().unwrap();
    let container = &manifest()["spec"]["template"]["spec"]["containers"][0];
    let command: Vec<_> = container["command"]
        .as_vec()
        .unwrap()
        .iter()
        .map(|word| word.as_str().unwrap())
        .collect();
    let start_at = soon(5).to_string();
    let pods: Vec<_> = ["0", "1"]
        .into_iter()
        .map(|index| {
            Command::new(command[0])
                .args(&command[1..])
                .envs(environment(container))
                .env("PATH", path_with(folder.path()))
                .env("JOB_COMPLETION_INDEX", index)
                .env("SEGMENTS", "2")
                .env("START_AT", &start_at)
                .env("FLAGS", flags(&server).join(" "))
                .env("RESULTS", folder.path())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let outputs: Vec<Output> = pods
        .into_iter()
        .map(|pod| pod.wait_with_output().unwrap())
        .collect();
    for (index, output) in outputs.iter().enumerate() {
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        // The log alone is enough: its one line between the marks is the result.
        let log = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines: Vec<_> = log.lines().collect();
        assert_eq!(lines[0], format!("-----BEGIN LOADGEN RESULT {index}-----"));
        let from_log: RunResult = serde_json::from_str(lines[1]).unwrap();
        let saved = json::load(&folder.path().join(format!("{index}.json"))).unwrap();
        assert_eq!(from_log, saved);
        assert_eq!(lines[2], format!("-----END LOADGEN RESULT {index}-----"));
    }
    let files = ["0.json", "1.json"].map(|name| folder.path().join(name));
    check(server, &files, folder.path());
}

/// A program called `ssh` that does on this machine what it is to do elsewhere.
fn fake_ssh(folder: &Path) {
    let path = folder.join("ssh");
    let script = "#!/bin/sh\n[ \"$1\" = -o ] && shift 2\necho \"$1\" >> \"$HOSTS\"\nshift\nexec sh -c \"$*\"\n";
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn loadgen_ssh(folder: &Path) -> Command {
    let mut command = Command::new(repository().join("deploy/ssh/loadgen-ssh"));
    command
        .env("PATH", path_with(folder))
        .env("HOSTS", folder.join("hosts"))
        .arg("--results")
        .arg(folder.join("results"));
    command
}

#[test]
fn the_ssh_recipe_runs_each_segment_and_brings_the_results() {
    let server = Server::start(Options::default());
    let folder = tempfile::tempdir().unwrap();
    fake_ssh(folder.path());
    let output = loadgen_ssh(folder.path())
        .args(["--lead", "5", "load-1", "load-2", "--"])
        .args(flags(&server))
        // Quoting survives two shells.
        .args(["--threshold", "p99 < 60s"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let hosts = std::fs::read_to_string(folder.path().join("hosts")).unwrap();
    let mut hosts: Vec<_> = hosts.lines().collect();
    hosts.sort_unstable();
    assert_eq!(hosts, ["load-1", "load-2"]);
    let files = ["0.json", "1.json"].map(|name| folder.path().join("results").join(name));
    check(server, &files, folder.path());
}

#[test]
fn the_ssh_recipe_can_be_looked_at_first_and_tells_what_went_wrong() {
    let folder = tempfile::tempdir().unwrap();
    fake_ssh(folder.path());
    let run = |arguments: &[&str]| {
        let output = loadgen_ssh(folder.path()).args(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    let (code, printed, _) = run(&["--dry-run", "a", "b", "--", "--target", "https://x'y"]);
    assert_eq!(code, Some(0));
    assert_eq!(printed.lines().count(), 2, "{printed}");
    assert!(
        printed.starts_with("ssh a ") && printed.contains("--segment 1/2"),
        "{printed}"
    );
    assert!(!folder.path().join("hosts").exists() && !folder.path().join("results").exists());
    for wrong in [
        &["a", "b"][..],
        &["--", "--target"],
        &["--lead", "x", "a", "--", "b"],
        &["--nonsense"],
    ] {
        let (code, _, complaint) = run(wrong);
        assert_eq!(code, Some(2), "{wrong:?}");
        assert!(complaint.contains("usage"), "{complaint}");
    }
    let (code, _, complaint) = run(&["a", "--", "--target", "http://no-tls"]);
    assert_eq!(code, Some(1));
    assert!(
        complaint.contains("segment 0 ended with 2") && complaint.contains("https"),
        "{complaint}"
    );
}

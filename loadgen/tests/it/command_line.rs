//! The program: exit codes, and one clear sentence for each mistake.

use std::process::{Command, Output, Stdio};

use loadgen::RunResult;

use crate::pki;
use crate::server::{Behaviour, Honesty, Options, Server};

fn loadgen(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(arguments)
        .output()
        .unwrap()
}

fn run(server: &Server, more: &[&str]) -> Output {
    let url = server.url();
    let mut arguments = vec![
        "run",
        "--target",
        &url,
        "--pki",
        pki::ours().to_str().unwrap(),
        "--count",
        "20",
    ];
    arguments.extend(more);
    loadgen(&arguments)
}

fn words(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn a_run_prints_its_verdict_first_and_can_be_reported_again() {
    let server = Server::start(Options::default());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("result.json");
    let path = path.to_str().unwrap();
    let (code, printed, complaint) = words(&run(&server, &["--json", path, "--connections", "2"]));
    assert_eq!(code, Some(0), "{complaint}");
    assert!(printed.starts_with("verdict"), "{printed}");
    assert!(printed.contains("20 ok"), "{printed}");
    let (code, again, _) = words(&loadgen(&["report", path]));
    assert_eq!((code, again), (Some(0), printed));
}

#[test]
fn exit_codes_are_as_documented() {
    let server = Server::start(Options::default());
    assert_eq!(
        run(&server, &["--threshold", "p99<60s"]).status.code(),
        Some(0)
    );
    assert_eq!(
        run(&server, &["--threshold", "rate>9000000/s"])
            .status
            .code(),
        Some(99)
    );
    let (code, _, complaint) = words(&run(&server, &["--mode", "idle"]));
    assert_eq!(code, Some(2));
    assert!(complaint.contains("--count"), "{complaint}");
    for (flag, value) in [("--arrivals", "poisson"), ("--max-in-flight", "3")] {
        let (code, _, complaint) = words(&run(&server, &[flag, value]));
        assert_eq!(code, Some(2));
        assert!(complaint.contains(flag), "{complaint}");
    }
    let (code, _, complaint) = words(&run(&server, &["--json", "/no/such/folder/x.json"]));
    assert_eq!(code, Some(2));
    assert!(complaint.contains("--json"), "{complaint}");
}

#[test]
fn every_command_has_a_manual_page() {
    for (arguments, wanted) in [
        (&["man"][..], "Exit codes"),
        (&["man", "run"], r"\-\-watch\-pid"),
        (&["man", "capacity"], r"\-\-precision"),
    ] {
        let (code, page, complaint) = words(&loadgen(arguments));
        assert_eq!(code, Some(0), "{complaint}");
        assert!(page.contains(wanted), "{arguments:?}: {page}");
    }
    let (code, _, complaint) = words(&loadgen(&["man", "rum"]));
    assert_eq!(code, Some(2));
    assert!(complaint.contains("revocation-list"), "{complaint}");
}

#[test]
fn another_device_s_identity_fails_the_run() {
    let server = Server::start(Options {
        behaviour: Behaviour::NamesDevice(Honesty::MistakenWhenResumed),
        ..Options::default()
    });
    let looks = [
        "--mode",
        "resume",
        "--verify-identity",
        "header:x-device-subject",
    ];
    let (code, printed, complaint) = words(&run(&server, &looks));
    assert_eq!(code, Some(99), "{printed}{complaint}");
    assert!(
        printed.contains("FAILS  identity_mismatches<1"),
        "{printed}"
    );
    let (code, _, complaint) = words(&run(&server, &["--verify-identity", "cookie:id"]));
    assert_eq!(code, Some(2));
    assert!(complaint.contains("--verify-identity"), "{complaint}");
}

#[test]
fn mistakes_get_one_sentence() {
    let empty = tempfile::tempdir().unwrap();
    let empty = empty.path().to_str().unwrap();
    for (arguments, wanted) in [
        (
            &["run", "--target", "https://127.0.0.1:1", "--pki", empty][..],
            "(--pki) holds no device",
        ),
        (
            &["run", "--target", "http://127.0.0.1:1", "--pki", "x"],
            "https",
        ),
        (
            &[
                "run",
                "--target",
                "https://127.0.0.1:1",
                "--pki",
                "no-such-folder",
            ],
            "no-such-folder (--pki)",
        ),
        (&["report", "no-such-file.json"], "no-such-file.json"),
        (&["upstream", "--listen", "127.0.0.1:notaport"], "--listen"),
        (&["upstream", "--listen", "192.0.2.1:80"], "--listen"),
        (&["capacity"], "--target"),
    ] {
        let (code, _, complaint) = words(&loadgen(arguments));
        assert_eq!(code, Some(2), "{arguments:?}");
        assert!(complaint.contains(wanted), "{arguments:?}: {complaint}");
        assert!(!complaint.contains("panicked"), "{complaint}");
    }
}

#[test]
fn attempts_lost_for_want_of_local_addresses_void_the_run() {
    let server = Server::start(Options {
        trusts: pki::many(),
        presents: pki::many(),
        ..Options::default()
    });
    // A hundred devices connect from loopback's last addresses, the others from those after it, which nobody here has.
    let sources = "127.255.255.155-128.0.0.58";
    let (code, printed, complaint) = words(&loadgen(&[
        "run",
        "--target",
        &server.url(),
        "--pki",
        pki::many().to_str().unwrap(),
        "--source-ips",
        sources,
        "--rate",
        "200/s",
        "--count",
        "160",
        "--shards",
        "1",
    ]));
    assert_eq!(code, Some(5), "{printed}{complaint}");
    assert!(printed.starts_with("verdict       void\n"), "{printed}");
    for expected in [
        "ran out of local ports or addresses",
        "--source-ips",
        "doctor",
    ] {
        assert!(printed.contains(expected), "{expected}: {printed}");
    }
    assert!(printed.contains("local             addresses"), "{printed}");
}

#[test]
fn the_doctor_says_whether_a_plan_can_be_carried() {
    let (code, told, complaint) = words(&loadgen(&["doctor"]));
    assert_eq!(code, Some(0), "{complaint}");
    assert!(told.starts_with("this machine"), "{told}");
    let modest = ["doctor", "--devices", "10", "--rate", "5/s", "--json"];
    let (code, told, complaint) = words(&loadgen(&modest));
    assert_eq!(code, Some(0), "{complaint}");
    let json: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(json["schema"], "loadgen.doctor/1");
    assert!(json["facts"]["handshakes"]["full_us"].as_f64().unwrap() > 1.0);
    let (code, told, _) = words(&loadgen(&["doctor", "--devices", "1000000000000"]));
    assert_eq!(code, Some(5), "{told}");
    assert!(told.contains("cannot be carried"), "{told}");
    let elsewhere = ["doctor", "--rate", "1/s", "--source-ips", "192.0.2.1"];
    let (code, told, _) = words(&loadgen(&elsewhere));
    assert_eq!(code, Some(5), "{told}");
    assert!(told.contains("sudo ip address add 192.0.2.1/32"), "{told}");
}

/// Interrupts `loadgen run` with these arguments as soon as it is under way, and returns the result that it has written.
fn interrupted(more: &[&str]) -> RunResult {
    let server = Server::start(Options::default());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("result.json");
    let child = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .arg("run")
        .args(more)
        .args(["--target", &server.url(), "--duration", "600s"])
        .args(["--pki".as_ref(), pki::ours().as_os_str()])
        .args(["--json".as_ref(), path.as_os_str()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    server.wait_for_requests(100);
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    let (code, printed, complaint) = words(&child.wait_with_output().unwrap());
    assert_eq!(code, Some(105), "{complaint}");
    assert!(printed.contains("partial"), "{printed}");
    let result = loadgen::report::json::load(&path).unwrap();
    assert!(result.run.interrupted);
    result
}

#[test]
fn an_interrupt_still_writes_the_result() {
    assert_eq!(interrupted(&[]).scenarios.len(), 1);
}

#[test]
fn an_interrupt_writes_what_each_scenario_has_done() {
    let folder = tempfile::tempdir().unwrap();
    let plan = folder.path().join("plan.toml");
    // The storm takes longer than anybody waits, and the last scenario has not begun by then.
    let text = r#"
        warmup = "0s"
        [scenarios.telemetry]
        executor = "constant-arrival-rate"
        rate = "200/s"
        activity = "telemetry"
        [scenarios.storm]
        executor = "reconnect-storm"
        over = "10m"
        activity = "resume"
        [scenarios.later]
        executor = "constant-devices"
        devices = 4
        start = "5m"
        activity = "full"
    "#;
    std::fs::write(&plan, text).unwrap();
    let result = interrupted(&[plan.to_str().unwrap()]);
    for scenario in &result.scenarios {
        let counts = scenario.counts;
        assert_eq!(counts.intended, counts.started + counts.overflow);
        assert_eq!(counts.started, counts.ok + counts.failed);
    }
    assert_eq!(result.scenario("later").unwrap().counts.intended, 0);
    assert!(result.scenario("telemetry").unwrap().counts.ok > 0);
    let returns = result.scenario("storm").unwrap().returns.unwrap();
    assert!(returns.returned < returns.dropped, "{returns:?}");
}

#[test]
fn documentation_comes_from_the_program_itself() {
    let (code, version, _) = words(&loadgen(&["--version"]));
    assert_eq!(code, Some(0));
    assert!(
        version.contains(env!("FLEETGATE_COMMIT")) && version.contains("rustls"),
        "{version}"
    );
    assert!(words(&loadgen(&["man"])).1.contains("loadgen"));
    assert!(
        words(&loadgen(&["completions", "bash"]))
            .1
            .contains("loadgen")
    );
}

#[test]
fn a_minted_fleet_needs_two_files_and_a_number() {
    let server = Server::start(Options::default());
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| pki::ours().join(name).to_str().unwrap().to_owned();
    let (certificate, key) = (file("intermediate-00.pem"), file("intermediate-00.key"));
    let anchor = file("trust-anchor.pem");
    let fleet = [
        "--mint-ca",
        &certificate,
        "--mint-key",
        &key,
        "--ca",
        &anchor,
        "--devices",
        "30",
        "--bad",
    ];
    let url = server.url();
    let run = [
        "run",
        "--target",
        &url,
        "--count",
        "60",
        "--connections",
        "4",
    ];
    let all = [&run[..], &fleet, &["expired:20%"]].concat();
    let (code, printed, complaint) = words(&loadgen(&all));
    assert_eq!(code, Some(0), "{complaint}");
    assert!(printed.contains("bad devices"), "{printed}");
    assert!(printed.contains("refuse certificate_expired"), "{printed}");

    let unknown = [&run[..], &fleet, &["misprint:1%"]].concat();
    let (code, _, complaint) = words(&loadgen(&unknown));
    assert_eq!(code, Some(2));
    assert!(
        complaint.contains("--bad misprint") && complaint.contains("not_yet_valid"),
        "{complaint}"
    );

    let list = folder.path().join("list.pem");
    let out = ["--out", list.to_str().unwrap()];
    let write = [&["revocation-list"], &fleet[..], &["revoked:50%"], &out].concat();
    assert_eq!(loadgen(&write).status.code(), Some(0));
    let text = std::fs::read_to_string(&list).unwrap();
    assert!(text.starts_with("-----BEGIN X509 CRL-----"), "{text}");
    let pki = file("");
    let of_a_folder = [&["revocation-list", "--pki", &pki], &out[..]].concat();
    let (code, _, complaint) = words(&loadgen(&of_a_folder));
    assert_eq!(code, Some(2));
    assert!(complaint.contains("--mint-ca"), "{complaint}");
}

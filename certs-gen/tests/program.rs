//! The program from outside: output, exit codes, messages that name what to change, and nothing left behind.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should panic"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, DnType, KeyPair};

fn certs_gen(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_certs-gen"))
        .current_dir(folder)
        .args(arguments)
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

fn succeeds(folder: &Path, arguments: &[&str]) -> String {
    let output = certs_gen(folder, arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        stderr(&output)
    );
    assert_eq!(stderr(&output), "", "{arguments:?}");
    stdout(&output).to_owned()
}

/// Asserts the exit code, that the message holds each of `words`, and that it is one line but for the parser's usage.
fn fails(folder: &Path, arguments: &[&str], code: i32, words: &[&str]) {
    let output = certs_gen(folder, arguments);
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {message}");
    assert_eq!(stdout(&output), "", "{arguments:?}");
    assert!(message.starts_with("error: "), "{message}");
    assert!(!message.contains("panicked"), "{message}");
    for word in words {
        assert!(message.contains(word), "{word:?} is missing in: {message}");
    }
}

fn names(folder: &Path) -> Vec<String> {
    let name =
        |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(name).collect();
    names.sort();
    names
}

#[test]
fn a_fleet_ends_with_one_line() {
    let around = tempfile::tempdir().unwrap();
    let said = succeeds(around.path(), &["fleet", "--out", "pki", "--devices", "3"]);
    assert_eq!(said.lines().count(), 1);
    assert!(
        said.starts_with("3 devices (p256) with 1 intermediate (p256), depth 1, valid until "),
        "{said}"
    );
    assert_eq!(names(around.path()), ["pki"]);
}

#[test]
fn usage_errors_name_the_flag_and_exit_2() {
    let around = tempfile::tempdir().unwrap();
    let folder = around.path();
    let fleet = |more: &[&str], flag: &str| {
        let arguments = [&["fleet", "--out", "pki"], more].concat();
        fails(folder, &arguments, 2, &[flag]);
    };
    fleet(&[], "--devices");
    fleet(&["--devices", "0"], "--devices");
    fleet(&["--devices", "1000001"], "--devices");
    fleet(&["--devices", "many"], "--devices");
    fleet(&["--devices", "-1"], "-1");
    fleet(&["--devices", "1", "--key", "rsa1024"], "rsa4096");
    fleet(&["--devices", "1", "--validity", "0s"], "--validity");
    fleet(&["--devices", "1", "--validity", "forever"], "--validity");
    fleet(&["--devices", "1", "--validity", "90000000d"], "--validity");
    fleet(
        &["--devices", "1", "--intermediates", "0"],
        "--intermediates",
    );
    fleet(
        &["--devices", "1", "--intermediates", "2", "--depth", "0"],
        "--depth 0",
    );
    fleet(&["--devices", "1", "--depth", "9"], "--depth");
    fleet(&["--devices", "1", "--jobs", "0"], "--jobs");
    fleet(&["--devices", "1", "--server-name", "a b"], "--server-name");
    fleet(
        &["--devices", "1", "--spiffe-domain", "A"],
        "--spiffe-domain",
    );
    fails(folder, &["revoke"], 2, &["--ca"]);
    fails(
        folder,
        &["revoke", "--ca", "pki"],
        2,
        &["--device", "--serial"],
    );
    let serial = ["revoke", "--ca", "pki", "--serial", "xyz"];
    fails(folder, &serial, 2, &["--serial", "xyz", "hexadecimal"]);
    let reason = [
        "revoke", "--ca", "pki", "--device", "d", "--reason", "boredom",
    ];
    fails(folder, &reason, 2, &["--reason", "key-compromise"]);
    let name = ["revoke", "--ca", "pki", "--intermediate", "first"];
    fails(folder, &name, 2, &["--intermediate", "intermediate-00"]);
    let crl = |more: &[&str], flag: &str| {
        fails(
            folder,
            &[&["crl", "--ca", "pki"], more].concat(),
            2,
            &[flag],
        );
    };
    crl(&["--next-update", "0s"], "--next-update");
    crl(&["--pad", "10000001"], "--pad");
    crl(&["--seed", "7"], "--pad");
    let renew = ["renew", "--ca", "pki", "--device", "d", "--validity", "0s"];
    fails(folder, &renew, 2, &["--validity"]);
    fails(folder, &["man", "nothing"], 2, &["nothing", "fleet"]);
    assert!(names(folder).is_empty());
}

#[test]
fn an_unusable_out_is_named_and_exits_1() {
    let around = tempfile::tempdir().unwrap();
    let folder = around.path();
    let fleet = |out: &str, more: &[&str], words: &[&str]| {
        let arguments = [&["fleet", "--devices", "2", "--out", out], more].concat();
        fails(folder, &arguments, 1, words);
    };
    succeeds(folder, &["fleet", "--devices", "2", "--out", "pki"]);
    let before = fs::read(folder.join("pki/trust-anchor.pem")).unwrap();
    fleet("pki", &[], &["--out pki", "exists already", "--force"]);
    assert_eq!(
        fs::read(folder.join("pki/trust-anchor.pem")).unwrap(),
        before
    );
    succeeds(
        folder,
        &["fleet", "--devices", "1", "--out", "pki", "--force"],
    );
    assert!(!folder.join("pki/devices/00/device-000001.pem").exists());

    fs::create_dir(folder.join("mine")).unwrap();
    fs::write(folder.join("mine/thesis"), "years").unwrap();
    fleet("mine", &["--force"], &["--out mine", "neither a fleet"]);
    assert!(folder.join("mine/thesis").exists());
    fleet("no/such/place", &[], &["no/such", "does not exist"]);
    fleet("mine/thesis/pki", &[], &["mine/thesis", "not a folder"]);
    fleet("/proc/pki", &[], &["/proc"]);
    fleet(".", &[], &["exists already"]);
    assert_eq!(names(folder), ["mine", "pki"]);
}

#[test]
fn a_file_system_that_takes_no_more_leaves_nothing_behind() {
    let around = tempfile::tempdir().unwrap();
    // No file may grow past a block of 512 bytes, which is the same to the program as a full disk.
    let script = "trap '' XFSZ; ulimit -f 1; exec \"$0\" fleet --out pki --devices 50";
    let output = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_certs-gen")])
        .current_dir(around.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(
        stderr(&output).starts_with("error: cannot write "),
        "{}",
        stderr(&output)
    );
    assert_eq!(stderr(&output).lines().count(), 1);
    assert!(!stderr(&output).contains("partial"), "{}", stderr(&output));
    assert!(names(around.path()).is_empty());
}

#[test]
fn an_interrupted_fleet_leaves_nothing_behind() {
    let around = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_certs-gen"))
        .args(["fleet", "--out", "pki", "--devices", "1000000"])
        .current_dir(around.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The temporary folder is made after the signals are watched.
    let patience = Instant::now() + Duration::from_secs(20);
    while names(around.path()).is_empty() && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(names(around.path()).is_empty());
}

#[test]
fn sign_writes_a_chain_and_never_over_a_file() {
    let around = tempfile::tempdir().unwrap();
    let folder = around.path();
    succeeds(
        folder,
        &["fleet", "--out", "pki", "--devices", "1", "--depth", "2"],
    );
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "pump-7");
    let request = params
        .serialize_request(&KeyPair::generate().unwrap())
        .unwrap();
    fs::write(folder.join("pump.csr"), request.pem().unwrap()).unwrap();
    fs::write(folder.join("pump.der"), request.der()).unwrap();

    let sign = [
        "sign", "--ca", "pki", "--csr", "pump.csr", "--out", "pump.pem",
    ];
    assert!(succeeds(folder, &sign).starts_with("signed pump-7, valid until "));
    let chain = fs::read_to_string(folder.join("pump.pem")).unwrap();
    assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 3);
    fails(
        folder,
        &sign,
        1,
        &["--out pump.pem", "exists already", "--force"],
    );
    succeeds(folder, &[&sign[..], &["--force"]].concat());
    succeeds(
        folder,
        &[
            "sign",
            "--ca",
            "pki",
            "--csr",
            "pump.der",
            "--out",
            "other.pem",
        ],
    );

    fails(
        folder,
        &["sign", "--ca", "none", "--csr", "pump.csr", "--out", "x"],
        1,
        &["none/fleet.json"],
    );
    fails(
        folder,
        &["sign", "--ca", "pki", "--csr", "none", "--out", "x"],
        1,
        &["--csr none"],
    );
    fails(
        folder,
        &["sign", "--ca", "pki", "--csr", "pump.pem", "--out", "x"],
        1,
        &["--csr pump.pem", "PKCS#10"],
    );
    fails(
        folder,
        &["sign", "--ca", "pki", "--csr", "pump.csr", "--out", "no/x"],
        1,
        &["no/x"],
    );
}

#[test]
fn revoke_list_and_renew() {
    let around = tempfile::tempdir().unwrap();
    let folder = around.path();
    succeeds(folder, &["fleet", "--out", "pki", "--devices", "2"]);
    let revoke = [
        "revoke",
        "--ca",
        "pki",
        "--device",
        "device-000001",
        "--reason",
        "key-compromise",
    ];
    assert!(succeeds(folder, &revoke).starts_with("revoked device-000001, serial "));
    let again = succeeds(folder, &revoke);
    assert!(again.starts_with("already revoked on "), "{again}");
    let said = succeeds(folder, &["crl", "--ca", "pki"]);
    assert!(
        said.contains("pki/crl/intermediate-00.pem: list 1, 1 revoked"),
        "{said}"
    );
    assert!(
        said.contains("pki/crl/trust-anchor.pem: list 1, 0 revoked"),
        "{said}"
    );
    let said = succeeds(folder, &["crl", "--ca", "pki", "--delta"]);
    assert!(
        said.contains("intermediate-00.delta.pem: delta 2 to 1, 0 revoked"),
        "{said}"
    );
    let words = succeeds(folder, &["inspect", "pki/crl/intermediate-00.delta.pem"]);
    assert!(words.contains("adds to full list 1"), "{words}");
    let renew = ["renew", "--ca", "pki", "--device", "device-000001"];
    assert!(succeeds(folder, &renew).starts_with("renewed device-000001, valid until "));
    assert!(
        succeeds(folder, &revoke).starts_with("revoked"),
        "a new certificate"
    );

    let unknown = ["--ca", "pki", "--device", "device-000002"];
    for command in ["revoke", "renew"] {
        fails(
            folder,
            &[&[command], &unknown[..]].concat(),
            1,
            &["--device device-000002"],
        );
        fails(
            folder,
            &[command, "--ca", "none", "--device", "device-000000"],
            1,
            &["none/fleet.json"],
        );
    }
    fails(folder, &["crl", "--ca", "none"], 1, &["none/fleet.json"]);
    fs::write(folder.join("pki/crl/revoked.json"), "{").unwrap();
    fails(folder, &revoke, 1, &["pki/crl/revoked.json"]);
}

#[test]
fn faults_end_with_one_line() {
    let around = tempfile::tempdir().unwrap();
    let folder = around.path();
    succeeds(folder, &["fleet", "--out", "pki", "--devices", "1"]);
    let faults = ["faults", "--ca", "pki", "--out", "faults"];
    let said = succeeds(folder, &faults);
    assert!(
        said.ends_with(" faulty credentials, described in faults/faults.json\n"),
        "{said}"
    );
    fails(
        folder,
        &faults,
        1,
        &["--out faults", "exists already", "--force"],
    );
    succeeds(folder, &[&faults[..], &["--force"]].concat());
    let over = ["faults", "--ca", "pki", "--out", "pki", "--force"];
    fails(
        folder,
        &over,
        1,
        &["--out pki", "neither a folder of faults"],
    );
    fails(
        folder,
        &["faults", "--ca", "none", "--out", "x"],
        1,
        &["none/fleet.json"],
    );
    fails(folder, &["faults", "--ca", "pki"], 2, &["--out"]);
    assert_eq!(names(folder), ["faults", "pki"]);
}

#[test]
fn a_file_system_that_takes_no_more_leaves_the_record_as_it_was() {
    let around = tempfile::tempdir().unwrap();
    let folder = around.path();
    succeeds(folder, &["fleet", "--out", "pki", "--devices", "9"]);
    succeeds(
        folder,
        &["revoke", "--ca", "pki", "--device", "device-000000"],
    );
    let before = fs::read(folder.join("pki/crl/revoked.json")).unwrap();
    let devices: String = (1..9)
        .map(|index| format!(" --device device-{index:06}"))
        .collect();
    let script = format!("trap '' XFSZ; ulimit -f 1; exec \"$0\" revoke --ca pki{devices}");
    let output = Command::new("sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_certs-gen")])
        .current_dir(folder)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("pki/crl/revoked.json"),
        "{}",
        stderr(&output)
    );
    assert_eq!(
        fs::read(folder.join("pki/crl/revoked.json")).unwrap(),
        before
    );
    assert_eq!(names(&folder.join("pki/crl")), ["revoked.json"]);
}

#[test]
fn inspect_in_words_and_as_json() {
    let around = tempfile::tempdir().unwrap();
    let folder = around.path();
    succeeds(folder, &["fleet", "--out", "pki", "--devices", "1"]);
    let device = "pki/devices/00/device-000000.pem";
    let words = succeeds(folder, &["inspect", device]);
    assert!(words.contains("URI:urn:device:device-000000"), "{words}");
    let json: serde_json::Value =
        serde_json::from_str(&succeeds(folder, &["inspect", "--json", device])).unwrap();
    assert_eq!(json["schema"], "certs-gen.inspect/1");
    let types: Vec<_> = json["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["type"].clone())
        .collect();
    assert_eq!(types, ["certificate", "certificate", "private_key"]);
    assert_eq!(json["items"][0]["subject"], "CN=device-000000");
    assert_eq!(json["items"][0]["basic_constraints"]["ca"], false);
    assert_eq!(json["items"][2]["belongs_to_item"], 1);
    fs::write(folder.join("garbage"), "garbage").unwrap();
    fails(
        folder,
        &["inspect", "garbage"],
        1,
        &["garbage: neither PEM nor DER"],
    );
    fails(folder, &["inspect", "none"], 1, &["cannot read none"]);
    fails(folder, &["inspect", "pki"], 1, &["cannot read pki"]);
}

#[test]
fn documents() {
    let around = tempfile::tempdir().unwrap();
    let folder = around.path();
    assert!(succeeds(folder, &["completions", "bash"]).contains("--spiffe-domain"));
    assert!(succeeds(folder, &["man"]).contains("fleet"));
    let page = succeeds(folder, &["man", "fleet"]);
    assert!(
        page.contains("certs\\-gen\\-fleet") && page.contains("\\-\\-devices"),
        "{page}"
    );
    assert!(succeeds(folder, &["--version"]).contains("AWS-LC"));
    let help = succeeds(folder, &["--help"]);
    for command in ["revoke", "crl", "renew", "faults"] {
        assert!(help.contains(command), "{command}");
        let examples = format!("certs-gen {command} --ca pki");
        assert!(succeeds(folder, &[command, "--help"]).contains(&examples));
    }
}

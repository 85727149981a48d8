//! The gateway before the TLS stacks that devices carry: each makes a full handshake and is served, comes back with its
//! session, and is refused in a way that it can report.
//!
//! The programs in `device_stacks/` make two visits each, the second with the session of the first; whether it was resumed is
//! for the gateway's counters to say. What was learned is in the gateway's README, under "Device stacks".

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should panic"
)]

mod support;

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use certs_gen::authority::EndEntitySpec;
use certs_gen::credential::Credential;
use certs_gen::key::KeyKind;
use rustix::process::{Pid, Signal, kill_process};
use support::counters::{expect_moved, handshake, request};
use support::pki::SERVER_NAME;
use support::{Fleet, PATIENCE, Upstream, upstream};

const DEVICE: &str = "device-000042";
const REQUEST: &str = "GET / HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\r\n";

/// A credential as files, and where to take it.
struct Visitor {
    port: String,
    anchor: PathBuf,
    chain: PathBuf,
    key: PathBuf,
}

impl Visitor {
    fn new(fleet: &Fleet, name: &str, credential: &Credential) -> Self {
        Self {
            port: fleet.gateway.address().port().to_string(),
            anchor: fleet.pki.folder().join("trust-anchor.pem"),
            chain: fleet
                .pki
                .write(&format!("{name}.pem"), &credential.chain_pem()),
            key: fleet
                .pki
                .write(&format!("{name}.key"), &credential.key_pem()),
        }
    }

    /// `program` with the arguments that all programs in `device_stacks/` take.
    fn run(&self, mut program: Command, last: &str) -> Said {
        program.arg(&self.port).args([&self.anchor, &self.chain]);
        said(program.arg(&self.key).arg(last), "")
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

/// What a program said, and whether it was content.
#[derive(Debug)]
struct Said {
    content: bool,
    text: String,
}

/// Runs `command` to its end with `input`, and something to install if it is not there.
fn said(command: &mut Command, input: &str) -> Said {
    let program = command.get_program().to_string_lossy().into_owned();
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            panic!(
                "{program} is missing: install the package {}",
                package(&program)
            )
        }
        child => child.unwrap(),
    };
    // Open to the end: gnutls-cli closes its connection when its input ends, and would not wait for the answer. A refused
    // client may be gone before it has read its input.
    let mut stdin = child.stdin.take().unwrap();
    let _ = stdin.write_all(input.as_bytes());
    let process = Pid::from_child(&child);
    let (done, output) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(child.wait_with_output()));
    let Ok(output) = output.recv_timeout(3 * PATIENCE) else {
        let _ = kill_process(process, Signal::KILL);
        panic!("{program} does not end");
    };
    drop(stdin);
    let Output {
        status,
        stdout,
        stderr,
    } = output.unwrap();
    Said {
        content: status.success(),
        text: String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned(),
    }
}

/// The Debian package that a program comes from.
fn package(program: &str) -> &'static str {
    match program {
        "openssl" => "openssl",
        "curl" => "curl",
        "gnutls-cli" => "gnutls-bin",
        "cc" => "gcc",
        "java" => "openjdk-17-jdk-headless",
        "go" => "golang-go",
        "node" => "nodejs",
        "python3" => "python3",
        _ => "that it is part of",
    }
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/device_stacks")
        .join(name)
}

/// Runs a compiler that makes `device` in the fleet's folder.
fn compiled(fleet: &Fleet, compiler: &mut Command, package: &str) -> PathBuf {
    let output = said(compiler, "");
    assert!(
        output.content,
        "the client does not compile; is the package {package} installed?\n{}",
        output.text
    );
    fleet.pki.folder().join("device")
}

fn compiled_c(fleet: &Fleet, name: &str, libraries: &[&str], package: &str) -> PathBuf {
    let mut compiler = Command::new("cc");
    compiler
        .args(["-Wall", "-o"])
        .arg(fleet.pki.folder().join("device"))
        .arg(source(name));
    // Behind the source, where the linker looks for them.
    compiler.args(libraries.iter().map(|library| format!("-l{library}")));
    compiled(fleet, &mut compiler, package)
}

fn mbedtls_program(fleet: &Fleet) -> PathBuf {
    let libraries = ["mbedtls", "mbedx509", "mbedcrypto"];
    compiled_c(fleet, "mbedtls.c", &libraries, "libmbedtls-dev")
}

/// What a stack is expected to do.
struct Expected<'a> {
    /// The kinds of handshake of its visits.
    visits: &'a [&'a str],
    /// How many of its visits ask for something.
    requests: usize,
    /// What it says to the alert that refuses it.
    refusal: &'a str,
    /// Why it is refused.
    outcome: &'a str,
}

/// What most of them do.
const SERVED: Expected<'_> = Expected {
    visits: &RESUMES,
    requests: 2,
    refusal: "unknown ca",
    outcome: "unknown_issuer",
};

const RESUMES: [&str; 2] = ["full", "resumed"];

const KEYS: [KeyKind; 2] = [KeyKind::P256, KeyKind::Rsa2048];

impl Expected<'_> {
    /// Lets good devices visit, and then one that no anchor vouches for.
    fn check(&self, fleet: &Fleet, visit: impl Fn(&Visitor) -> Said) {
        for key in KEYS {
            self.check_good(fleet, key, &visit);
        }
        self.check_stranger(fleet, visit);
    }

    fn check_good(&self, fleet: &Fleet, key: KeyKind, visit: impl Fn(&Visitor) -> Said) {
        let mut spec = EndEntitySpec::device(DEVICE);
        spec.key = key;
        let device = Visitor::new(fleet, "device", &fleet.pki.issue(&spec));
        let before = fleet.gateway.counters();
        let already = fleet.upstream.received().len();
        let outcome = visit(&device);
        assert!(
            outcome.content && outcome.text.matches("HTTP/1.1 200 OK").count() == self.requests,
            "{key:?}: {}",
            outcome.text
        );
        let handshakes = self.visits.iter().map(|kind| handshake(kind, "ok"));
        let requests = std::iter::repeat_n(request("2xx"), self.requests);
        let moved: Vec<String> = handshakes.chain(requests).collect();
        expect_moved(&fleet.gateway, &before, &moved);
        let received = fleet.upstream.received().split_off(already);
        assert_eq!(received.len(), self.requests);
        for received in received {
            assert_eq!(received.message.field("x-device-id"), DEVICE);
        }
    }

    fn check_stranger(&self, fleet: &Fleet, visit: impl Fn(&Visitor) -> Said) {
        let stranger = support::pki::authority("stranger");
        let stranger = stranger.issue(&EndEntitySpec::device(DEVICE)).unwrap();
        let stranger = Visitor::new(fleet, "stranger", &stranger);
        let before = fleet.gateway.counters();
        let outcome = visit(&stranger);
        assert!(
            !outcome.content && outcome.text.contains(self.refusal),
            "{}",
            outcome.text
        );
        let refused = handshake("full", self.outcome);
        expect_moved(&fleet.gateway, &before, &[refused]);
    }
}

#[test]
fn openssl() {
    let fleet = Fleet::start(|_| {});
    for version in ["-tls1_3", "-tls1_2"] {
        let session = fleet.pki.folder().join("session");
        let s_client = |visitor: &Visitor, more: [&str; 2]| {
            let mut openssl = Command::new("openssl");
            openssl
                .args(["s_client", "-ign_eof", "-servername", SERVER_NAME, version])
                .args(["-connect", &visitor.address()])
                .args([Path::new("-CAfile"), &visitor.anchor])
                .args([Path::new("-cert"), &visitor.chain])
                .args([Path::new("-cert_chain"), &visitor.chain])
                .args([Path::new("-key"), &visitor.key]);
            said(openssl.args(more), REQUEST)
        };
        let expected = Expected {
            refusal: "tlsv1 alert unknown ca",
            ..SERVED
        };
        expected.check(&fleet, |visitor| {
            let session = session.to_str().unwrap();
            let mut outcome = s_client(visitor, ["-sess_out", session]);
            if outcome.content {
                outcome.text += &s_client(visitor, ["-sess_in", session]).text;
            }
            outcome
        });
    }
}

#[test]
fn curl() {
    let fleet = Fleet::start(|_| {});
    // curl switches the tickets of TLS 1.2 off.
    for (version, visits) in [("1.3", RESUMES), ("1.2", ["full"; 2])] {
        let expected = Expected {
            visits: &visits,
            ..SERVED
        };
        expected.check(&fleet, |visitor| {
            let address = format!("{SERVER_NAME}:{}", visitor.port);
            let mut curl = Command::new("curl");
            curl.args(["--silent", "--show-error", "--include", "--http1.1"])
                .args(["--fail-early", "--header", "Connection: close"])
                .args([&format!("--tlsv{version}"), "--tls-max", version])
                .args(["--resolve", &format!("{address}:127.0.0.1")])
                .args([Path::new("--cacert"), &visitor.anchor])
                .args([Path::new("--cert"), &visitor.chain])
                .args([Path::new("--key"), &visitor.key]);
            let url = format!("https://{address}/");
            said(curl.args([&url, &url]), "")
        });
    }
}

#[test]
fn gnutls() {
    let fleet = Fleet::start(|_| {});
    for version in ["1.3", "1.2"] {
        let visit = |visitor: &Visitor, more: &[&str]| {
            let mut gnutls = Command::new("gnutls-cli");
            let versions = format!("NORMAL:-VERS-ALL:+VERS-TLS{version}");
            gnutls
                .args(["--port", &visitor.port, "--priority", &versions])
                .args(["--sni-hostname", SERVER_NAME])
                .args(["--verify-hostname", SERVER_NAME])
                .args([Path::new("--x509cafile"), &visitor.anchor])
                .args([Path::new("--x509certfile"), &visitor.chain])
                .args([Path::new("--x509keyfile"), &visitor.key]);
            said(gnutls.args(more).arg("127.0.0.1"), REQUEST)
        };
        let expected = Expected {
            // The first visit only fetches a session.
            requests: 1,
            refusal: "Received alert [48]",
            ..SERVED
        };
        for key in KEYS {
            expected.check_good(&fleet, key, |visitor| {
                visit(visitor, &["--resume", "--waitresumption"])
            });
        }
        // It would wait for ever for a ticket.
        expected.check_stranger(&fleet, |visitor| visit(visitor, &[]));
    }
}

#[test]
fn mbedtls() {
    let fleet = Fleet::start(|_| {});
    let program = mbedtls_program(&fleet);
    let expected = Expected {
        refusal: "fatal alert",
        ..SERVED
    };
    expected.check(&fleet, |visitor| visitor.run(Command::new(&program), "0"));
}

#[test]
fn mbedtls_that_asks_for_short_records_gets_long_ones() {
    let upstream = Upstream::answering(|_| upstream::ok(&"x".repeat(5_000)));
    let fleet = Fleet::with_upstream(upstream, |_| {});
    let program = mbedtls_program(&fleet);
    let device = Visitor::new(&fleet, "device", &fleet.pki.device(DEVICE));
    let outcome = device.run(Command::new(&program), "512");
    assert!(outcome.content, "{}", outcome.text);
    let (_, longest) = outcome.text.split_once("longest record: ").unwrap();
    let longest: usize = longest.trim().parse().unwrap();
    assert!(longest > 5_000, "{longest} bytes: say so in the README");
}

#[test]
fn wolfssl() {
    let fleet = Fleet::start(|_| {});
    let program = compiled_c(&fleet, "wolfssl.c", &["wolfssl"], "libwolfssl-dev");
    for version in ["1.3", "1.2"] {
        let expected = Expected {
            refusal: "alert 48",
            ..SERVED
        };
        expected.check(&fleet, |visitor| {
            visitor.run(Command::new(&program), version)
        });
    }
}

#[test]
fn java() {
    let fleet = Fleet::start(|_| {});
    for version in ["1.3", "1.2"] {
        let expected = Expected {
            // It has no certificate of an issuer that the gateway names, and sends none.
            refusal: "certificate_required",
            outcome: "no_certificate",
            ..SERVED
        };
        expected.check(&fleet, |visitor| {
            let mut java = Command::new("java");
            java.arg(source("Device.java"));
            visitor.run(java, version)
        });
    }
}

#[test]
fn go() {
    let fleet = Fleet::start(|_| {});
    let mut compiler = Command::new("go");
    let folder = fleet.pki.folder();
    compiler
        .env("GOCACHE", folder.join("go-cache"))
        .env("GO111MODULE", "off")
        .env("CGO_ENABLED", "0")
        .arg("build");
    let program = folder.join("device");
    let built = said(
        compiler.arg("-o").arg(&program).arg(source("device.go")),
        "",
    );
    assert!(built.content, "{}", built.text);
    let expected = Expected {
        refusal: "unknown certificate authority",
        ..SERVED
    };
    expected.check(&fleet, |visitor| visitor.run(Command::new(&program), "1.3"));

    // TLS 1.2 with the extended master secret came with Go 1.21.
    let versions = said(Command::new("go").arg("version"), "").text;
    if ["go1.19", "go1.20"]
        .iter()
        .any(|old| versions.contains(old))
    {
        let device = Visitor::new(&fleet, "device", &fleet.pki.device(DEVICE));
        let before = fleet.gateway.counters();
        let outcome = device.run(Command::new(&program), "1.2");
        assert!(
            outcome.text.contains("handshake failure"),
            "{}",
            outcome.text
        );
        let refused = handshake("full", "incompatible");
        expect_moved(&fleet.gateway, &before, &[refused]);
    } else {
        expected.check(&fleet, |visitor| visitor.run(Command::new(&program), "1.2"));
    }
}

#[test]
fn node() {
    let fleet = Fleet::start(|_| {});
    for version in ["1.3", "1.2"] {
        SERVED.check(&fleet, |visitor| {
            let mut node = Command::new("node");
            node.arg(source("device.mjs"));
            visitor.run(node, version)
        });
    }
}

#[test]
fn python() {
    let fleet = Fleet::start(|_| {});
    for version in ["1.3", "1.2"] {
        SERVED.check(&fleet, |visitor| {
            let mut python = Command::new("python3");
            python.arg(source("device.py"));
            visitor.run(python, version)
        });
    }
}

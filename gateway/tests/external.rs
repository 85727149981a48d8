//! The gateway before programs that it did not grow up with: curl and OpenSSL as devices, nginx as an upstream.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on should panic"
)]

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use support::pki::SERVER_NAME;
use support::{Fleet, Upstream, eventually};

/// A device's credential in one file, as curl and openssl take it.
fn device_file(fleet: &Fleet) -> PathBuf {
    let device = fleet.pki.device("device-000042");
    fleet.pki.write("device.pem", &device.pem())
}

fn curl(fleet: &Fleet, arguments: &[&str], path: &str) -> Output {
    let port = fleet.gateway.address().port();
    Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "10"])
        .args(["--write-out", "\n%{http_code} %{http_version}"])
        .args(["--resolve", &format!("{SERVER_NAME}:{port}:127.0.0.1")])
        .arg("--cacert")
        .arg(fleet.pki.folder().join("trust-anchor.pem"))
        .args(arguments)
        .arg(format!("https://{SERVER_NAME}:{port}{path}"))
        .output()
        .expect("curl runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// One `openssl s_client` connection with one request; what it printed.
fn s_client(fleet: &Fleet, arguments: &[&str]) -> String {
    let mut child = Command::new("openssl")
        .args(["s_client", "-ign_eof", "-servername", SERVER_NAME])
        .args(["-connect", &fleet.gateway.address().to_string()])
        .arg("-CAfile")
        .arg(fleet.pki.folder().join("trust-anchor.pem"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl runs");
    let request = format!("GET / HTTP/1.1\r\nHost: {SERVER_NAME}\r\nConnection: close\r\n\r\n");
    // A refused client may be gone before it has read its standard input.
    let _ = child.stdin.take().unwrap().write_all(request.as_bytes());
    let output = child.wait_with_output().unwrap();
    text(&output.stdout) + &text(&output.stderr)
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn curl_is_served_over_both_protocols_and_versions() {
    let fleet = Fleet::start(|_| {});
    let device = device_file(&fleet);
    let flags: [(&[&str], &str); 4] = [
        (&["--http1.1", "--tlsv1.3"], "200 1.1"),
        (&["--http2", "--tlsv1.3"], "200 2"),
        (&["--http1.1", "--tls-max", "1.2"], "200 1.1"),
        (&["--http2", "--tls-max", "1.2"], "200 2"),
    ];
    for (flags, expected) in flags {
        let arguments = [&["--cert", path(&device), "--data", "21.5"], flags].concat();
        let output = curl(&fleet, &arguments, "/telemetry");
        let said = text(&output.stdout);
        assert_eq!(
            said.trim(),
            format!("ok\n{expected}"),
            "{flags:?}: {}",
            text(&output.stderr)
        );
    }
    let request = fleet.upstream.request(3);
    assert_eq!(request.body, b"21.5");
}

#[test]
fn curl_without_a_certificate_is_told_so() {
    let fleet = Fleet::start(|_| {});
    let output = curl(&fleet, &[], "/");
    assert!(!output.status.success());
    let said = text(&output.stderr);
    assert!(said.contains("certificate required"), "{said}");
}

#[test]
fn openssl_resumes_with_the_ticket_it_was_given() {
    let fleet = Fleet::start(|_| {});
    let device = device_file(&fleet);
    let session = fleet.pki.folder().join("session");
    for version in ["-tls1_3", "-tls1_2"] {
        let credential = [
            "-cert",
            path(&device),
            "-cert_chain",
            path(&device),
            "-key",
            path(&device),
            version,
        ];
        let first = s_client(
            &fleet,
            &[&credential[..], &["-sess_out", path(&session)]].concat(),
        );
        assert!(
            first.contains("New, TLSv1") && first.contains("200 OK"),
            "{version}: {first}"
        );
        let second = s_client(
            &fleet,
            &[&credential[..], &["-sess_in", path(&session)]].concat(),
        );
        assert!(
            second.contains("Reused, TLSv1") && second.contains("200 OK"),
            "{version}: {second}"
        );
    }
}

#[test]
fn openssl_with_an_unknown_certificate_sees_the_alert() {
    let fleet = Fleet::start(|_| {});
    let stranger = support::pki::authority("stranger")
        .issue(&certs_gen::authority::EndEntitySpec::device(
            "device-000001",
        ))
        .unwrap();
    let file = fleet.pki.write("stranger.pem", &stranger.pem());
    let said = s_client(&fleet, &["-cert", path(&file), "-key", path(&file)]);
    assert!(said.contains("unknown ca"), "{said}");
    assert!(fleet.upstream.received().is_empty());
}

/// nginx, ended with the test.
struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn nginx_as_the_upstream_sees_the_identity_and_streams() {
    let folder = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let large = folder.path().join("large");
    std::fs::write(&large, vec![b'x'; 3_000_000]).unwrap();
    let configuration = format!(
        "daemon off; master_process off; pid {folder}/pid; error_log stderr;\n\
         events {{}}\n\
         http {{ access_log off; client_body_temp_path {folder}; server {{ listen {address};\n\
         location /identity {{ return 200 \"$http_x_device_id|$http_x_forwarded_for|$host\"; }}\n\
         location /large {{ alias {folder}/large; }} }} }}",
        folder = folder.path().display(),
    );
    let file = folder.path().join("nginx.conf");
    std::fs::write(&file, configuration).unwrap();
    let mut child = Command::new("nginx")
        .arg("-c")
        .arg(&file)
        .stderr(Stdio::piped())
        .spawn()
        .expect("nginx runs");
    let stderr = child.stderr.take().unwrap();
    let _nginx = Nginx(child);
    std::thread::spawn(move || {
        BufReader::new(stderr)
            .lines()
            .map_while(Result::ok)
            .for_each(drop)
    });
    eventually("nginx listens", || {
        std::net::TcpStream::connect(address).ok()
    });

    let fleet = Fleet::with_upstream(Upstream::ok(), |setup| setup.endpoints = vec![address]);
    let device = device_file(&fleet);
    for protocol in ["--http1.1", "--http2"] {
        let arguments = [
            "--cert",
            path(&device),
            protocol,
            "--header",
            "X-Device-Id: admin",
        ];
        let said = text(&curl(&fleet, &arguments, "/identity").stdout);
        let expected = format!("device-000042|127.0.0.1|{SERVER_NAME}\n200");
        assert!(said.starts_with(&expected), "{protocol}: {said}");
        let output = curl(&fleet, &["--cert", path(&device), protocol], "/large");
        assert!(
            output.stdout.len() > 3_000_000,
            "{protocol}: {}",
            output.stdout.len()
        );
    }
}

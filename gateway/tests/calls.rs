//! gRPC and WebSocket end to end: clients and servers that the gateway did not grow up with, on both sides of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should panic"
)]

mod support;

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use support::pki::SERVER_NAME;
use support::{Fleet, Upstream};

/// Debian's, for which the packages of the programs are.
const PYTHON: &str = "/usr/bin/python3";

fn program(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/programs")
        .join(name)
}

/// A server, which ends when its standard input is closed, and with the test at the latest.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(name: &str) -> Self {
        let mut child = Command::new(PYTHON)
            .arg(program(name))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python runs");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let port: u16 = line.trim().parse().expect("the server prints its port");
        Self {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a client with a device's certificate against a gateway before `server`.
fn client(name: &str, server: &Server, upstream: &str) -> Fleet {
    let fleet = Fleet::with_upstream(Upstream::ok(), |setup| {
        setup.endpoints = vec![server.address];
        setup.upstream = upstream.into();
    });
    let pem = fleet.pki.device("device-000001").pem();
    let key = pem.find("-----BEGIN PRIVATE KEY-----").unwrap();
    let output = Command::new(PYTHON)
        .arg(program(name))
        .arg(fleet.gateway.address().port().to_string())
        .arg(SERVER_NAME)
        .arg(fleet.pki.folder().join("trust-anchor.pem"))
        .arg(fleet.pki.write("device.crt", &pem[..key]))
        .arg(fleet.pki.write("device.key", &pem[key..]))
        .output()
        .expect("python runs");
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(stdout.trim(), "fine", "{stderr}");
    fleet
}

#[test]
fn grpc_calls_of_every_kind_with_trailers_and_deadlines() {
    let server = Server::start("grpc_server.py");
    let fleet = client("grpc_client.py", &server, "protocol = \"http2\"");
    let refused = fleet
        .gateway
        .counters()
        .get(&support::counters::request("5xx"));
    assert_eq!(refused, 0);
}

#[test]
fn websocket_messages_pings_and_an_orderly_end() {
    let server = Server::start("websocket_server.py");
    let fleet = client("websocket_client.py", &server, "");
    support::counters::expect_value(
        &fleet.gateway,
        "gateway_tunnels_total{listener=\"devices\",outcome=\"closed\"}",
        1,
    );
}

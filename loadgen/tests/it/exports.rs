//! What a run tells others while it goes on: counts agree with the result, and nobody who does not listen spoils it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};

use loadgen::export::Shared;
use loadgen::export::push::Push;
use loadgen::export::scrape::Scrape;
use loadgen::plan::Mode;
use loadgen::{RunResult, Stop};
use serde_json::Value;

use crate::models::plan;
use crate::pki;
use crate::server::{Options, Server};

/// Asks for the metrics as Prometheus does.
fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A short run that keeps `shared` up to date.
fn run(shared: &Shared) -> RunResult {
    let server = Server::start(Options::default());
    loadgen::run(&plan(&server, Mode::Full), Stop::never(), |second| {
        shared.add(second);
    })
    .unwrap()
}

#[test]
fn prometheus_reads_what_the_result_counts() {
    let shared = Shared::default();
    let scrape = Scrape::start("127.0.0.1:0".parse().unwrap(), shared.clone()).unwrap();
    let before = ask(scrape.address(), "GET /metrics");
    assert!(
        before.contains("loadgen_attempts_total{outcome=\"ok\"} 0"),
        "{before}"
    );
    let result = run(&shared);
    let answer = ask(scrape.address(), "GET /metrics");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(
        answer.contains("content-type: text/plain; version=0.0.4"),
        "{answer}"
    );
    for line in [
        format!(
            "loadgen_attempts_total{{outcome=\"ok\"}} {}",
            result.counts.ok
        ),
        format!(
            "loadgen_handshakes_total{{kind=\"full\"}} {}",
            result.handshakes.full
        ),
        format!("loadgen_response_seconds_count {}", result.counts.ok),
    ] {
        assert!(answer.contains(&line), "{line} is not in {answer}");
    }
    assert!(ask(scrape.address(), "POST /metrics").starts_with("HTTP/1.1 405"));
    assert!(ask(scrape.address(), "GET /").starts_with("HTTP/1.1 404"));
    let address = scrape.address();
    drop(scrape);
    // The listener is closed by the thread that had it: soon.
    while TcpStream::connect(address).is_ok() {
        std::thread::yield_now();
    }
}

/// Takes one request, answers with `status` and returns its body.
fn collector(status: &'static str) -> (SocketAddr, std::thread::JoinHandle<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(reader.read_line(&mut head).unwrap(), 0);
        }
        assert!(head.starts_with("POST /v1/metrics HTTP/1.1"), "{head}");
        assert!(head.contains("content-type: application/json"), "{head}");
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        write!(
            reader.into_inner(),
            "HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\n{{}}"
        )
        .unwrap();
        serde_json::from_slice(&body).unwrap()
    });
    (address, thread)
}

#[test]
fn a_collector_is_sent_what_the_result_counts() {
    let (address, received) = collector("200 OK");
    let shared = Shared::default();
    let push = Push::start(format!("http://{address}").parse().unwrap(), shared.clone()).unwrap();
    let result = run(&shared);
    let sent = push.finish();
    assert_eq!((sent.taken, sent.failed), (1, 0), "{:?}", sent.last_error);
    let body = received.join().unwrap();
    let metrics = &body["resourceMetrics"][0]["scopeMetrics"][0]["metrics"];
    let attempts = metrics
        .as_array()
        .unwrap()
        .iter()
        .find(|metric| metric["name"] == "loadgen.attempts")
        .unwrap();
    let ok = &attempts["sum"]["dataPoints"][0]["asInt"];
    assert_eq!(*ok, result.counts.ok.to_string());
}

#[test]
fn a_collector_that_refuses_or_is_not_there_is_a_warning() {
    let (refusing, received) = collector("503 Service Unavailable");
    // A port on which nobody listens.
    let absent = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let server = Server::start(Options::default());
    for (address, wanted) in [(refusing, "503"), (absent, "1 of 1")] {
        let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
            .args(["run", "--target", &server.url(), "--count", "20"])
            .args(["--pki", pki::ours().to_str().unwrap()])
            .args(["--connections", "2", "--otlp", &format!("http://{address}")])
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{words}");
        assert!(words.contains("OTLP") && words.contains(wanted), "{words}");
    }
    received.join().unwrap();
}

#[test]
fn metrics_can_be_scraped_while_the_run_lasts() {
    let server = Server::start(Options::default());
    let mut child = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["run", "--target", &server.url(), "--duration", "600s"])
        .args(["--pki", pki::ours().to_str().unwrap()])
        .args(["--connections", "2", "--prometheus", "127.0.0.1:0"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    errors.read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("metrics at http://").unwrap();
    let address = address.strip_suffix("/metrics").unwrap().parse().unwrap();
    let attempts = || {
        let answer = ask(address, "GET /metrics");
        let ok = "loadgen_attempts_total{outcome=\"ok\"} ";
        let found = answer.lines().find_map(|line| line.strip_prefix(ok));
        found.unwrap().parse::<u64>().unwrap()
    };
    while attempts() == 0 {
        std::thread::yield_now();
    }
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(105));
}

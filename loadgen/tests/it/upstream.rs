//! The embedded upstream, spoken to byte by byte.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use loadgen::upstream::Upstream;

fn upstream() -> Upstream {
    Upstream::start(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap()
}

fn ask(upstream: &Upstream, request: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(upstream.address())?;
    stream.write_all(request.as_bytes())?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    Ok(String::from_utf8_lossy(&reply).into_owned())
}

fn get(upstream: &Upstream, path: &str) -> String {
    ask(
        upstream,
        &format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"),
    )
    .unwrap()
}

#[test]
fn paths_are_answered_as_documented() {
    let upstream = upstream();
    assert!(get(&upstream, "/").ends_with("\r\n\r\nok\n"));
    assert!(get(&upstream, "/telemetry?x=1").ends_with("\r\n\r\nok\n"));
    assert!(get(&upstream, "/status/503").starts_with("HTTP/1.1 503 "));
    assert!(get(&upstream, "/status/204").starts_with("HTTP/1.1 204 "));
    assert!(get(&upstream, "/status/99").starts_with("HTTP/1.1 400 "));
    assert!(get(&upstream, "/delay/1").ends_with("ok\n"));
    let bytes = get(&upstream, "/bytes/100000");
    assert_eq!(bytes.split_once("\r\n\r\n").unwrap().1.len(), 100_000);
    assert_eq!(upstream.requests(), 7);
}

#[test]
fn echo_returns_the_body() {
    let request =
        "POST /echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello";
    assert!(
        ask(&upstream(), request)
            .unwrap()
            .ends_with("\r\n\r\nhello")
    );
}

#[test]
fn sink_says_how_much_it_took() {
    let request =
        "POST /sink HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello";
    assert!(ask(&upstream(), request).unwrap().ends_with("\r\n\r\n5\n"));
    assert!(get(&upstream(), "/sink").ends_with("\r\n\r\n0\n"));
}

#[test]
fn headers_are_told_exactly_as_received() {
    let request = "GET /headers?q HTTP/1.1\r\nHost: a\r\nX-Device-Id: one\r\nB: 2\r\nx-device-id:  two \r\n\
                   Connection: close\r\n\r\n";
    let reply = ask(&upstream(), request).unwrap();
    let head: serde_json::Value =
        serde_json::from_str(reply.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(head["method"], "GET");
    assert_eq!(head["target"], "/headers?q");
    assert_eq!(
        head["headers"],
        serde_json::json!([
            ["Host", "a"],
            ["X-Device-Id", "one"],
            ["B", "2"],
            ["x-device-id", "two"],
            ["Connection", "close"]
        ])
    );
}

#[test]
fn reset_is_a_reset() {
    let upstream = upstream();
    let error = ask(&upstream, "GET /reset HTTP/1.1\r\nhost: a\r\n\r\n").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert!(get(&upstream, "/").ends_with("ok\n"));
}

#[test]
fn dropping_it_closes_the_door() {
    let upstream = upstream();
    let address = upstream.address();
    drop(upstream);
    assert!(TcpStream::connect(address).is_err());
}

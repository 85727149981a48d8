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
fn websocket_messages_come_back() {
    let upstream = upstream();
    let key = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
               sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: telemetry.v1, other\r\n";
    let mut stream = TcpStream::connect(upstream.address()).unwrap();
    let ask = format!("GET /ws HTTP/1.1\r\nhost: a\r\n{key}\r\n");
    // The first message comes with the request: a masked frame of two letters; the goodbye follows.
    let hello = [0x82, 0x82, 0, 0, 0, 0, b'h', b'i'];
    stream
        .write_all(&[ask.as_bytes(), &hello].concat())
        .unwrap();
    stream
        .write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8])
        .unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    let end = reply.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8_lossy(&reply[..end]).to_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(
        head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="),
        "{head}"
    );
    assert!(
        head.contains("sec-websocket-protocol: telemetry.v1\r\n"),
        "{head}"
    );
    assert_eq!(reply[end..], [0x82, 2, b'h', b'i', 0x88, 2, 0x03, 0xe8]);
    assert!(get(&upstream, "/ws").starts_with("HTTP/1.1 426 "));
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

//! Requests that two readers could take for different ones, and what an upstream gets of them: nothing, or exactly one
//! request that can be read in one way only. The upstream of these tests records every byte and reads it as strictly as
//! RFC 9112 allows; whatever it cannot read so is a failure.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should panic"
)]

mod support;

use std::sync::{Arc, Mutex};

use http::HeaderName;
use proptest::prelude::{ProptestConfig, Strategy, any, proptest};
use support::upstream::{Peer, ok};
use support::{Connection, Device, Fleet, Options, Upstream, h2};

const HOST: &str = "host: fleet.test\r\n";

/// What follows each hostile request on its connection. It is not to be answered where the request before it is refused.
const HIDDEN: &str = "GET /smuggled HTTP/1.1\r\nhost: fleet.test\r\n\r\n";

/// What a strict reader saw.
#[derive(Debug, Default)]
struct Seen {
    targets: Vec<String>,
    violations: Vec<String>,
}

/// A gateway before an upstream that reads strictly.
struct Strict {
    fleet: Fleet,
    seen: Arc<Mutex<Seen>>,
}

impl Strict {
    fn start() -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let recorded = Arc::clone(&seen);
        let upstream = Upstream::by_hand(move |mut peer| {
            loop {
                match strict_request(&mut peer) {
                    Ok(Some(target)) => recorded.lock().unwrap().targets.push(target),
                    Ok(None) => return,
                    Err(violation) => return recorded.lock().unwrap().violations.push(violation),
                }
                peer.send(ok("ok"));
            }
        });
        let fleet = Fleet::with_upstream(upstream, |_| {});
        Self { fleet, seen }
    }

    fn connect(&self) -> Connection {
        self.fleet.connect()
    }

    /// What reached the upstream so far, all of it in order.
    fn targets(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        assert!(seen.violations.is_empty(), "{:?}", seen.violations);
        seen.targets.clone()
    }
}

/// The next request's target; `None` where the connection ends first.
fn strict_request(peer: &mut Peer) -> Result<Option<String>, String> {
    let Ok(message) = peer.reader.head() else {
        return match peer.reader.held() {
            [] => Ok(None),
            rest => Err(format!("half a head: {:?}", String::from_utf8_lossy(rest))),
        };
    };
    let head = message.head.strip_suffix("\r\n\r\n").unwrap();
    let wrong = |what: &str| Err(format!("{what} in {head:?}"));
    let mut lines = head.split("\r\n");
    let line: Vec<&str> = lines.next().unwrap().split(' ').collect();
    let [method, target, "HTTP/1.1"] = line[..] else {
        return wrong("no request line");
    };
    if !is_token(method)
        || !target.starts_with('/')
        || !target.bytes().all(|b| b.is_ascii_graphic())
    {
        return wrong("a method or target");
    }
    let mut fields: Vec<(String, &str)> = Vec::new();
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            return wrong("a line without a colon");
        };
        let value = value.trim_matches(' ');
        if !is_token(name) || value.bytes().any(|b| b != b'\t' && (b < b' ' || b == 0x7f)) {
            return wrong("a field");
        }
        fields.push((name.to_ascii_lowercase(), value));
    }
    let of = |name: &str| -> Vec<&str> {
        let named = fields.iter().filter(|field| field.0 == name);
        named.map(|field| field.1).collect()
    };
    // A server that folds names must not find another framing or identity.
    let folded = |name: &str| name.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let alias = |field: &&(String, &str)| {
        field
            .0
            .contains(|c: char| c != '-' && !c.is_ascii_alphanumeric())
            && matches!(
                folded(&field.0).as_str(),
                "content-length" | "transfer-encoding" | "host" | "x-device-id" | "client-cert"
            )
    };
    if let Some(field) = fields.iter().find(alias) {
        return wrong(&format!("an alias, {},", field.0));
    }
    if of("host").len() != 1 || of("x-device-id") != ["device-000001"] {
        return wrong("host or identity");
    }
    for hop in [
        "connection",
        "upgrade",
        "te",
        "keep-alive",
        "proxy-connection",
        "http2-settings",
    ] {
        if !of(hop).is_empty() {
            return wrong(hop);
        }
    }
    match (&of("content-length")[..], &of("transfer-encoding")[..]) {
        ([], []) => {}
        ([length], []) if length.bytes().all(|b| b.is_ascii_digit()) => {
            if peer.reader.exactly(length.parse().unwrap()).is_err() {
                return Ok(None);
            }
        }
        ([], ["chunked"]) => match strict_chunks(peer) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(violation) => return Err(violation),
        },
        _ => return wrong("framing"),
    }
    Ok(Some(target.to_owned()))
}

/// Reads a body in chunks; false where the connection ends inside it.
fn strict_chunks(peer: &mut Peer) -> Result<bool, String> {
    loop {
        let Some(line) = line(peer) else {
            return Ok(false);
        };
        let Ok(size) = usize::from_str_radix(&line, 16) else {
            return Err(format!("the chunk size {line:?}"));
        };
        if size == 0 {
            break;
        }
        let Ok(data) = peer.reader.exactly(size + 2) else {
            return Ok(false);
        };
        if !data.ends_with(b"\r\n") {
            return Err("a chunk that is longer than it says".to_owned());
        }
    }
    loop {
        match line(peer).as_deref() {
            None => return Ok(false),
            Some("") => return Ok(true),
            Some(trailer) => {
                let name = trailer.split(':').next().unwrap().to_ascii_lowercase();
                let name = name.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
                if matches!(
                    name.as_str(),
                    "content-length" | "transfer-encoding" | "host" | "x-device-id" | "client-cert"
                ) {
                    return Err(format!("the trailer {trailer:?}"));
                }
            }
        }
    }
}

fn line(peer: &mut Peer) -> Option<String> {
    let mut line = Vec::new();
    loop {
        line.extend(peer.reader.exactly(1).ok()?);
        if line.ends_with(b"\r\n") {
            line.truncate(line.len() - 2);
            return Some(String::from_utf8_lossy(&line).into_owned());
        }
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Sends `request` and what is hidden behind it, and reads until the gateway closes or has answered both.
fn statuses(strict: &Strict, request: &[u8]) -> Vec<u16> {
    let mut connection = strict.connect();
    connection.send([request, HIDDEN.as_bytes()].concat());
    let mut statuses = Vec::new();
    while statuses.len() < 2 {
        match connection.try_response() {
            Ok(response) => statuses.push(response.status()),
            Err(_) => break,
        }
    }
    statuses
}

#[test]
fn what_is_ambiguous_is_refused_and_so_is_what_follows_it() {
    let strict = Strict::start();
    let post =
        |fields: &str, body: &str| format!("POST /first HTTP/1.1\r\n{HOST}{fields}\r\n{body}");
    let chunked = "transfer-encoding: chunked\r\n";
    let cases: Vec<String> = vec![
        // Two lengths, or one that is none.
        post("content-length: 0\r\ncontent-length: 5\r\n", ""),
        post("content-length: 5, 5\r\n", "hello"),
        post("content-length: +5\r\n", "hello"),
        post("content-length: -1\r\n", ""),
        post("content-length: 0x5\r\n", "hello"),
        post("content-length: 5 5\r\n", "hello"),
        post("content-length:\r\n", ""),
        post("content-length: 99999999999999999999999\r\n", ""),
        // Encodings that are not exactly chunked.
        post("transfer-encoding: chunked, identity\r\n", "0\r\n\r\n"),
        post("transfer-encoding: identity\r\n", ""),
        post("transfer-encoding: xchunked\r\n", "0\r\n\r\n"),
        post("transfer-encoding: chunked;q=1\r\n", "0\r\n\r\n"),
        post("transfer-encoding: \"chunked\"\r\n", "0\r\n\r\n"),
        post(
            "transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n",
            "0\r\n\r\n",
        ),
        post(
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
            "0\r\n\r\n",
        ),
        post("transfer-encoding: \u{b}chunked\r\n", "0\r\n\r\n"),
        // Spaces and folds around names.
        post("transfer-encoding : chunked\r\n", "0\r\n\r\n"),
        post("content-length : 5\r\n", "hello"),
        post("x: y\r\n transfer-encoding: chunked\r\n", "0\r\n\r\n"),
        post("x: y\r\n\tfolded\r\n", ""),
        post(" x: y\r\n", ""),
        // Bare CR, NUL, and other bytes that no field has.
        post("x: a\rtransfer-encoding: chunked\r\n", ""),
        post("x: a\0b\r\n", ""),
        post("x\r: y\r\n", ""),
        post("x\u{1}: y\r\n", ""),
        post(": y\r\n", ""),
        post("x\r\n", ""),
        // Request lines.
        format!("GET /first HTTP/1.1 HTTP/1.1\r\n{HOST}\r\n"),
        format!("GET  /first HTTP/1.1\r\n{HOST}\r\n"),
        format!("GET\t/first\tHTTP/1.1\r\n{HOST}\r\n"),
        format!("GET /fi\0rst HTTP/1.1\r\n{HOST}\r\n"),
        format!("GET /fi rst HTTP/1.1\r\n{HOST}\r\n"),
        format!("GET /first HTTP/1.2\r\n{HOST}\r\n"),
        format!("GET /first HTTP/2.0\r\n{HOST}\r\n"),
        format!("GET /first\r\n{HOST}\r\n"),
        format!("G\u{1}T /first HTTP/1.1\r\n{HOST}\r\n"),
        format!("GET first HTTP/1.1\r\n{HOST}\r\n"),
        // Bad chunks.
        post(chunked, "z\r\n"),
        post(chunked, "5\r\nhelloX0\r\n\r\n"),
        post(chunked, "-1\r\n\r\n"),
        post(chunked, "fffffffffffffffff\r\n"),
        post(chunked, "0x5\r\nhello\r\n0\r\n\r\n"),
        post(chunked, "5\nhello\r\n0\r\n\r\n"),
    ];
    let mut wrong = Vec::new();
    for case in &cases {
        let statuses = statuses(&strict, case.as_bytes());
        // Refused, or given up where its body goes wrong; in both cases nothing after it is a request.
        let refused = statuses.len() <= 1 && statuses.iter().all(|status| *status >= 400);
        if !refused {
            wrong.push((case, statuses));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(strict.targets().is_empty(), "{:?}", strict.targets());
}

#[test]
fn what_can_be_read_in_one_way_is_written_in_one_way() {
    let strict = Strict::start();
    let cases: [&str; 9] = [
        "transfer-encoding: chunked\r\ncontent-length: 999\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "Transfer-Encoding: CHUNKED\r\n\r\n5;extension=\"0\"\r\nhello\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\n00005\r\nhello\r\n0\r\nx-device-id: forged\r\ncontent-length: 9\r\nx: y\r\n\r\n",
        "content-length: 5\r\ntransfer_encoding: chunked\r\n\r\nhello",
        "content-length: 5\r\ntransfer.encoding: chunked\r\n\r\nhello",
        "content-length: 5\r\ncontent_length: 0\r\nhost_: x\r\n\r\nhello",
        "content-length: 5\r\nconnection: content-length, host, x-device-id\r\n\r\nhello",
        "content-length: 5\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\nhello",
        "content-length: 05\r\nx_device_id: forged\r\nX-DEVICE-ID: forged\r\nclient.cert: forged\r\n\r\nhello",
    ];
    for (number, case) in cases.iter().enumerate() {
        let request = format!("POST /{number} HTTP/1.1\r\n{HOST}{case}");
        let mut connection = strict.connect();
        connection.send(request);
        let status = connection.response().status();
        // Refusing is as good as reading in one way.
        assert!(matches!(status, 200 | 400), "{case:?}: {status}");
        connection.close();
    }
    let targets = strict.targets();
    assert!(targets.len() >= 6, "most of it is read: {targets:?}");
    assert!(
        targets.iter().all(|target| target.len() == 2),
        "{targets:?}"
    );
}

#[test]
fn absolute_targets_and_paths_go_on_in_origin_form() {
    let strict = Strict::start();
    let cases = [
        ("http://fleet.test/a?b=c#d", 200),
        ("https://fleet.test", 200),
        ("http://user@fleet.test/a", 400),
        ("/a?%0d%0ax:y", 200),
        ("//other.test/a", 200),
    ];
    for (target, expected) in cases {
        let mut connection = strict.connect();
        connection.send(format!("GET {target} HTTP/1.1\r\n{HOST}\r\n"));
        assert_eq!(connection.response().status(), expected, "{target}");
    }
    assert_eq!(
        strict.targets(),
        ["/a?b=c", "/", "/a?%0d%0ax:y", "//other.test/a"]
    );
}

fn h2_device(strict: &Strict) -> Device {
    let credential = strict.fleet.pki.device("device-000001");
    Device::with(&strict.fleet.pki, Some(&credential), Options::h2())
}

#[test]
fn fields_from_http2_cannot_become_framing() {
    let strict = Strict::start();
    h2::run(async {
        let gateway = strict.fleet.gateway.address();
        let (mut sender, _) = h2::connect(&h2_device(&strict), gateway).await;
        let fields = [
            ("content_length", "0"),
            ("transfer_encoding", "chunked"),
            ("x_device_id", "forged"),
            ("host_", "forged"),
            ("x-tab", "a\tb"),
            ("x!odd", "y"),
        ];
        for (name, value) in fields {
            let mut request = h2::request("POST", "https://fleet.test/field", "hello");
            let name: HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
            assert_eq!(h2::ask(&mut sender, request).await.status(), 200);
        }
    });
    assert_eq!(strict.targets().len(), 6);
}

/// Pieces of which requests are made that mean something to some reader.
fn piece() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "\r\n",
        "\n",
        "\r",
        " ",
        "\t",
        ":",
        ": ",
        ",",
        ";",
        "0",
        "5",
        "hello",
        "\0",
        "\u{b}",
        "_",
        "content-length",
        "Content-Length",
        "content_length",
        "transfer-encoding",
        "Transfer-Encoding",
        "chunked",
        "identity",
        "gzip",
        "host",
        "fleet.test",
        "x",
        "connection",
        "upgrade",
        "expect",
        "100-continue",
        "GET",
        "/smuggled",
        "HTTP/1.1",
        "trailer",
        "x-device-id",
        "forged",
        "0\r\n\r\n",
        "5\r\nhello\r\n",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_arrangement_of_pieces_reaches_the_upstream_ambiguously(
        head in proptest::collection::vec(piece(), 0..12),
        body in proptest::collection::vec(piece(), 0..6),
        post in any::<bool>(),
    ) {
        // One gateway for all cases: each has its own connection.
        static STRICT: std::sync::LazyLock<Strict> = std::sync::LazyLock::new(Strict::start);
        let method = if post { "POST" } else { "GET" };
        let request = format!(
            "{method} /first HTTP/1.1\r\n{HOST}{}\r\n\r\n{}",
            head.concat(),
            body.concat()
        );
        let mut connection = STRICT.connect();
        connection.send(&request);
        connection.half_close();
        while connection.try_response().is_ok() {}
        // What the device itself wrote as a further request is one; what it hid in a body or a field is none.
        let targets = STRICT.targets();
        let own = targets.iter().all(|target| target == "/first" || target == "/smuggled");
        assert!(own, "{request:?}: {targets:?}");
    }
}

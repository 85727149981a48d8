//! Fetching from a server that answers what a test tells it to.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;

use super::{FetchError, Fetched, HttpUrl, Settings, Validators, get, post};

const SETTINGS: Settings = Settings {
    connect_timeout: Duration::from_secs(20),
    total_timeout: Duration::from_secs(20),
    max_bytes: 100,
};

/// A server that gives one answer for each connection, in order, and hands the requests over.
struct Server {
    address: SocketAddr,
    requests: mpsc::Receiver<String>,
}

impl Server {
    fn new<const N: usize>(answers: [String; N]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = mpsc::channel();
        std::thread::spawn(move || {
            for answer in answers {
                let (mut tcp, _) = listener.accept().unwrap();
                let mut request = String::new();
                // A request ends with its head, or with the one body that these tests send.
                let end = |request: &str| match request.contains("content-length") {
                    true => request.ends_with("question"),
                    false => request.ends_with("\r\n\r\n"),
                };
                while !end(&request) {
                    let mut buffer = [0; 1024];
                    match tcp.read(&mut buffer).unwrap() {
                        0 => break,
                        n => request.push_str(std::str::from_utf8(&buffer[..n]).unwrap()),
                    }
                }
                let _ = sender.send(request);
                // The client may have read enough before it is all written.
                let _ = tcp.write_all(answer.as_bytes());
            }
        });
        Self { address, requests }
    }

    fn url(&self) -> HttpUrl {
        self.at("/list.crl")
    }

    fn at(&self, path: &str) -> HttpUrl {
        format!("http://{}{path}", self.address).parse().unwrap()
    }

    fn request(&self) -> String {
        self.requests.recv_timeout(Duration::from_secs(20)).unwrap()
    }
}

fn answer(status: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{fields}content-length: {length}\r\n\r\n{body}")
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

fn fetch(url: &HttpUrl) -> Result<Fetched, FetchError> {
    run(get(url, &Validators::default(), &SETTINGS))
}

fn body_of(fetched: Result<Fetched, FetchError>) -> String {
    match fetched.unwrap() {
        Fetched::Body { bytes, .. } => String::from_utf8(bytes.to_vec()).unwrap(),
        Fetched::NotModified => panic!("asked without validators"),
    }
}

#[test]
fn a_document_is_fetched_and_the_next_question_is_conditional() {
    let server = Server::new([
        answer(
            "200 OK",
            "ETag: \"v1\"\r\nLast-Modified: Sat, 21 Nov 2026 06:00:00 GMT\r\n",
            "the list",
        ),
        "HTTP/1.1 304 Not Modified\r\n\r\n".to_owned(),
    ]);
    let Fetched::Body { bytes, validators } = fetch(&server.url()).unwrap() else {
        panic!("asked without validators");
    };
    assert_eq!(&bytes[..], b"the list");
    let request = server.request();
    assert!(
        request.starts_with("GET /list.crl HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(
        request.contains(&format!("host: {}\r\n", server.address)),
        "{request}"
    );
    assert!(!request.contains("if-"), "{request}");

    let again = run(get(&server.url(), &validators, &SETTINGS)).unwrap();
    assert_eq!(again, Fetched::NotModified);
    let request = server.request();
    assert!(request.contains("if-none-match: \"v1\"\r\n"), "{request}");
    assert!(
        request.contains("if-modified-since: Sat, 21 Nov 2026 06:00:00 GMT\r\n"),
        "{request}"
    );
}

#[test]
fn a_body_is_read_however_it_is_framed() {
    for answer in [
        "HTTP/1.0 200 OK\r\n\r\nthe list",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nthe \r\n4\r\nlist\r\n0\r\n\r\n",
    ] {
        let server = Server::new([answer.to_owned()]);
        assert_eq!(body_of(fetch(&server.url())), "the list", "{answer}");
    }
}

#[test]
fn the_size_limit_holds_whatever_was_announced() {
    let long = "x".repeat(101);
    for answer in [
        answer("200 OK", "", &long),
        "HTTP/1.1 200 OK\r\ncontent-length: 9223372036854775807\r\n\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\n\r\n{long}"),
        format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10\r\n{}\r\n65\r\n{long}\r\n0\r\n\r\n",
            &long[..16]
        ),
    ] {
        let server = Server::new([answer]);
        let error = fetch(&server.url()).unwrap_err();
        assert!(matches!(error, FetchError::TooLarge(100)), "{error:?}");
    }
    let server = Server::new([format!("HTTP/1.1 200 OK\r\n\r\n{}", &long[..100])]);
    assert_eq!(body_of(fetch(&server.url())), long[..100]);
}

#[test]
fn what_breaks_off_is_not_taken_for_the_whole() {
    for answer in [
        "",
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "220 mail.example ESMTP\r\n",
    ] {
        let server = Server::new([answer.to_owned()]);
        let error = fetch(&server.url()).unwrap_err();
        assert!(matches!(error, FetchError::Broken(_)), "{answer}: {error}");
    }
}

#[test]
fn another_status_is_no_document() {
    for status in ["404 Not Found", "503 Later", "304 Not Modified", "206 Part"] {
        let server = Server::new([answer(status, "", "")]);
        let error = fetch(&server.url()).unwrap_err();
        assert!(matches!(error, FetchError::Status(_)), "{status}: {error}");
    }
}

#[test]
fn redirections_are_followed_so_far() {
    let step = |to: &str| answer("302 Found", &format!("location: {to}\r\n"), "");
    let server = Server::new([
        step("/1"),
        step("/2"),
        step("/3"),
        answer("200 OK", "", "x"),
    ]);
    assert_eq!(body_of(fetch(&server.url())), "x");
    for path in ["/list.crl", "/1", "/2", "/3"] {
        assert!(server.request().starts_with(&format!("GET {path} ")));
    }
    let server = Server::new([step("/1"), step("/1"), step("/1"), step("/1")]);
    let error = fetch(&server.url()).unwrap_err();
    assert!(matches!(error, FetchError::TooManyRedirects), "{error}");
    for location in ["https://a.example/", "file:///etc/passwd", "", "relative"] {
        let server = Server::new([step(location)]);
        let error = fetch(&server.url()).unwrap_err();
        assert!(
            matches!(error, FetchError::BadRedirect),
            "{location}: {error}"
        );
    }
    let server = Server::new([answer("302 Found", "", "")]);
    let error = fetch(&server.url()).unwrap_err();
    assert!(matches!(error, FetchError::BadRedirect), "{error}");
}

#[test]
fn a_question_is_posted_and_stays_a_question() {
    let ask = |server: &Server| {
        run(post(
            &server.at("/"),
            "application/ocsp-request",
            Bytes::from_static(b"question"),
            &SETTINGS,
        ))
    };
    let server = Server::new([
        answer("307 Elsewhere", "location: /b\r\n", ""),
        answer("200 OK", "", "answer"),
    ]);
    assert_eq!(&ask(&server).unwrap()[..], b"answer");
    for path in ["/", "/b"] {
        let request = server.request();
        assert!(
            request.starts_with(&format!("POST {path} HTTP/1.1\r\n")),
            "{request}"
        );
        assert!(
            request.contains("content-type: application/ocsp-request\r\n"),
            "{request}"
        );
        assert!(request.contains("content-length: 8\r\n"), "{request}");
    }
    let server = Server::new([answer("303 See Other", "location: /b\r\n", "")]);
    let error = ask(&server).unwrap_err();
    assert!(matches!(error, FetchError::Status(_)), "{error}");
}

#[test]
fn a_server_that_is_not_there_is_told_from_one_that_is_slow() {
    // An address at which no other test listens, when this one does no more.
    let listener = TcpListener::bind("127.0.0.78:0").unwrap();
    let url: HttpUrl = format!("http://{}/", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    let impatient = Settings {
        total_timeout: Duration::from_millis(20),
        ..SETTINGS
    };
    let error = run(get(&url, &Validators::default(), &impatient)).unwrap_err();
    assert!(matches!(error, FetchError::Timeout), "{error}");
    drop(listener);
    let error = fetch(&url).unwrap_err();
    assert!(matches!(error, FetchError::Unreachable(_)), "{error}");
    // A label of more than 63 characters cannot be asked for.
    let nowhere = format!("http://{}.invalid/", "a".repeat(64));
    let error = fetch(&nowhere.parse().unwrap()).unwrap_err();
    assert!(matches!(error, FetchError::NameNotResolved(_)), "{error}");
}

#[test]
fn labels_are_listed() {
    for error in [
        FetchError::NameNotResolved(std::io::ErrorKind::NotFound.into()),
        FetchError::Unreachable(std::io::ErrorKind::NotFound.into()),
        FetchError::Timeout,
        FetchError::Status(http::StatusCode::NOT_FOUND),
        FetchError::TooLarge(1),
        FetchError::TooManyRedirects,
        FetchError::BadRedirect,
    ] {
        assert!(FetchError::LABELS.contains(&error.label()), "{error}");
    }
}

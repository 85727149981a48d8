//! Sends the metrics to an OTLP collector: JSON over plain HTTP, every few seconds and once at the end, from a thread of its own.
//!
//! A collector runs on this machine or in its network; one that is reached by https is a local collector's business. What is not taken
//! is not sent again: the next request holds everything, since metrics are cumulative.

use std::io;
use std::str::FromStr;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::TcpStream;

use super::{Shared, otlp};

/// Time between two requests.
const INTERVAL: Duration = Duration::from_secs(5);
/// Time for one request and its answer; also for the last one, when the run is over.
const PATIENCE: Duration = Duration::from_secs(3);
/// The longest answer that is read, in bytes.
const LONGEST_ANSWER: usize = 64 * 1024;

/// Where metrics are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector {
    uri: Uri,
    host: String,
    port: u16,
}

/// Why a collector's address cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CollectorError {
    /// Not a URL.
    #[error("`{0}` is not a URL; write http://HOST:4318")]
    NotAUrl(String),
    /// Another scheme.
    #[error(
        "`{0}` is not http; metrics are sent in the clear, to a collector on this machine or in its network"
    )]
    NotHttp(String),
}

impl FromStr for Collector {
    type Err = CollectorError;

    /// Parses `http://HOST[:PORT][/PATH]`; without a path it is OTLP's `/v1/metrics`, without a port 4318.
    fn from_str(text: &str) -> Result<Collector, CollectorError> {
        let wrong = || CollectorError::NotAUrl(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        match uri.scheme_str() {
            Some("http") => {}
            Some(_) => return Err(CollectorError::NotHttp(text.to_owned())),
            None => return Err(wrong()),
        }
        let authority = uri.authority().ok_or_else(wrong)?;
        let port = match uri.port_u16() {
            Some(port) => port,
            None if authority.as_str() == authority.host() => 4318,
            None => return Err(wrong()),
        };
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        if host.is_empty() {
            return Err(wrong());
        }
        let path = match uri.path_and_query().map(|path| path.as_str()) {
            None | Some("" | "/") => "/v1/metrics",
            Some(path) => path,
        };
        let uri = path.parse().map_err(|_| wrong())?;
        Ok(Collector { uri, host, port })
    }
}

/// What became of the requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sent {
    /// Requests that the collector took.
    pub taken: u64,
    /// Requests that it did not take or that did not reach it.
    pub failed: u64,
    /// Why the last of those failed.
    pub last_error: Option<String>,
}

/// The thread that sends.
#[derive(Debug)]
pub struct Push {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<Sent>,
}

impl Push {
    /// Starts to send.
    ///
    /// # Errors
    ///
    /// There is no thread, or no runtime, to be had.
    pub fn start(collector: Collector, shared: Shared) -> io::Result<Push> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("otlp".to_owned())
            .spawn(move || {
                let since = since_epoch();
                let mut sent = Sent::default();
                loop {
                    // Once the run is over, or its owner is gone, everything is sent a last time.
                    let over =
                        stopped.recv_timeout(INTERVAL) != Err(mpsc::RecvTimeoutError::Timeout);
                    let body = otlp::request(&shared.families(), since, since_epoch()).to_string();
                    match runtime.block_on(send(&collector, body)) {
                        Ok(()) => sent.taken += 1,
                        Err(error) => {
                            sent.failed += 1;
                            sent.last_error = Some(error);
                        }
                    }
                    if over {
                        return sent;
                    }
                }
            })?;
        Ok(Push { stop, thread })
    }

    /// Sends what there is a last time, for a few seconds at most, and says what became of it all.
    pub fn finish(self) -> Sent {
        // It listens until it ends.
        let _ = self.stop.send(());
        self.thread.join().unwrap_or_default()
    }
}

fn since_epoch() -> Duration {
    // A clock before 1970 is the collector's to wonder about.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

async fn send(collector: &Collector, body: String) -> Result<(), String> {
    let exchange = async {
        let stream = TcpStream::connect((collector.host.as_str(), collector.port))
            .await
            .map_err(|error| error.to_string())?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        let request = request(collector, body).map_err(|error| error.to_string())?;
        let answering = async {
            let response = sender
                .send_request(request)
                .await
                .map_err(|error| error.to_string())?;
            let status = response.status();
            // What it says is of no interest, but a body that does not end is no answer.
            Limited::new(response.into_body(), LONGEST_ANSWER)
                .collect()
                .await
                .map_err(|error| error.to_string())?;
            match status.is_success() {
                true => Ok(()),
                false => Err(format!("the collector answered {status}")),
            }
        };
        tokio::select! {
            answer = answering => answer,
            // The connection must be driven for anything to come; that it ended says less than the answer.
            Err(error) = connection => Err(error.to_string()),
        }
    };
    tokio::time::timeout(PATIENCE, exchange)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")))
}

fn request(collector: &Collector, body: String) -> http::Result<Request<Full<Bytes>>> {
    let host = if collector.host.contains(':') {
        format!("[{}]:{}", collector.host, collector.port)
    } else {
        format!("{}:{}", collector.host, collector.port)
    };
    Request::builder()
        .method(Method::POST)
        .uri(collector.uri.clone())
        .header(HOST, host)
        .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .body(Full::from(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_an_http_address() {
        let collector: Collector = "http://[::1]".parse().unwrap();
        assert_eq!((collector.host.as_str(), collector.port), ("::1", 4318));
        assert_eq!(collector.uri, "/v1/metrics");
        let collector: Collector = "http://a:1/x".parse().unwrap();
        assert_eq!((collector.port, collector.uri.path()), (1, "/x"));
        for text in ["", "a", "a:1", "http://", "http://a:99999", "https://a"] {
            assert!(text.parse::<Collector>().is_err(), "{text}");
        }
    }
}

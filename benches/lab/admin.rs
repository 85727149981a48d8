//! Asking the gateway's admin listener for its metrics.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::counts::GatewayCounts;
use crate::exposition::Exposition;

const TIMEOUT: Duration = Duration::from_secs(5);
/// Time for connections that the devices have closed to be gone at the gateway too.
const SETTLE_PATIENCE: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(20);

/// The counters once no connection is open any more: only then is nothing left to be counted.
pub(crate) fn settled_counts(address: SocketAddr) -> anyhow::Result<GatewayCounts> {
    let until = Instant::now() + SETTLE_PATIENCE;
    loop {
        let page = metrics(address)?;
        let open = page.sum("gateway_connections_open", &[]);
        if open == 0.0 {
            return Ok(GatewayCounts::of(&page));
        }
        if Instant::now() > until {
            bail!(
                "the gateway still counts {open} open connections {} seconds after the devices closed theirs",
                SETTLE_PATIENCE.as_secs()
            );
        }
        std::thread::sleep(POLL);
    }
}

/// The page of metrics as it is now.
pub(crate) fn metrics(address: SocketAddr) -> anyhow::Result<Exposition> {
    let page = get(address, "/metrics").context("cannot read the gateway's metrics")?;
    Ok(Exposition::parse(&page))
}

fn get(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    body_of(&response)
        .map(str::to_owned)
        .ok_or_else(|| io::Error::other(format!("{path} was not answered with 200")))
}

fn body_of(response: &str) -> Option<&str> {
    let (head, body) = response.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 200 ").then_some(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_200_has_a_body_worth_reading() {
        assert_eq!(
            body_of("HTTP/1.1 200 OK\r\nA: b\r\n\r\nx 1\n"),
            Some("x 1\n")
        );
        assert_eq!(body_of("HTTP/1.1 503 Unavailable\r\n\r\nx"), None);
        assert_eq!(body_of("HTTP/1.1 200 OK\r\n"), None);
    }
}

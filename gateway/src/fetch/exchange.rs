//! One request and its answer on a connection of their own. It follows nothing and keeps nothing.

use std::net::SocketAddr;
use std::pin::pin;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{FetchError, HttpUrl, Settings};

/// An answer whose body came whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Sends `request` to the server of `url` and reads the answer to its end.
pub(super) async fn exchange(
    url: &HttpUrl,
    request: Request<Full<Bytes>>,
    settings: &Settings,
) -> Result<Answer, FetchError> {
    let tcp = connect(url, settings).await?;
    let (mut sender, connection) = http1::Builder::new()
        .max_headers(64)
        .handshake(TokioIo::new(tcp))
        .await?;
    let mut answer = pin!(async move {
        let (head, body) = sender.send_request(request).await?.into_parts();
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: read(body, settings.max_bytes).await?,
        })
    });
    // The connection moves the bytes. When it is done first, what it brought is still to be read.
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        _ = connection => answer.await,
    }
}

/// Connects to the first of the host's addresses that can be connected to.
async fn connect(url: &HttpUrl, settings: &Settings) -> Result<TcpStream, FetchError> {
    let looking_up = tokio::net::lookup_host(url.endpoint());
    let addresses: Vec<SocketAddr> = tokio::time::timeout(settings.connect_timeout, looking_up)
        .await
        .map_err(|_| FetchError::Timeout)?
        .map_err(FetchError::NameNotResolved)?
        .collect();
    let mut failure = FetchError::NameNotResolved(std::io::ErrorKind::NotFound.into());
    for address in addresses {
        let connecting = TcpStream::connect(address);
        match tokio::time::timeout(settings.connect_timeout, connecting).await {
            Ok(Ok(tcp)) => {
                tcp.set_nodelay(true).map_err(FetchError::Unreachable)?;
                return Ok(tcp);
            }
            Ok(Err(error)) => failure = FetchError::Unreachable(error),
            Err(_) => failure = FetchError::Timeout,
        }
    }
    Err(failure)
}

/// Reads a body of at most `limit` bytes. A length that is announced is believed when it is too much, and never when it is not.
async fn read(mut body: Incoming, limit: usize) -> Result<Bytes, FetchError> {
    let announced = body.size_hint().lower();
    if usize::try_from(announced).map_or(true, |announced| announced > limit) {
        return Err(FetchError::TooLarge(limit));
    }
    let mut content = BytesMut::new();
    while let Some(frame) = body.frame().await {
        // Trailers say nothing that matters here.
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        if data.len() > limit.saturating_sub(content.len()) {
            return Err(FetchError::TooLarge(limit));
        }
        content.extend_from_slice(&data);
    }
    Ok(content.freeze())
}

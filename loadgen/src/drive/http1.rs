//! One request and its response over HTTP/1.1.
//!
//! The library's connection is made for one exchange and taken apart after it, in the task of the attempt: its buffers
//! would otherwise be kept for as long as a device is connected, and a task of its own would cost more than the exchange.

use std::pin::pin;
use std::task::{Context, Poll};

use ::http::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::http::{self, Answer};
use super::kept::Listen;
use super::observed::Observed;
use super::payload::Payload;
use super::witness::Witness;

/// A stream between exchanges. What nobody asked for ends it.
#[derive(Debug)]
pub(crate) struct Resting(pub(crate) Observed);

impl Listen for Resting {
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.0.poll_heard(context)
    }
}

/// What an exchange leaves.
#[derive(Debug)]
pub(crate) struct Exchanged {
    /// What came back.
    pub(crate) answer: Answer,
    /// The stream, for the next exchange or for its goodbye.
    pub(crate) stream: Observed,
    /// Whether there can be a next one.
    pub(crate) persists: bool,
}

/// Sends `request` and reads the whole response. Dropped before its end, it closes the connection.
///
/// # Errors
///
/// The library's words; what happened to the stream has been observed. The connection is closed.
pub(crate) async fn exchange(
    stream: Observed,
    request: Request<Payload>,
    witness: Option<&mut Witness<'_>>,
) -> hyper::Result<Exchanged> {
    let (mut sender, mut connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut over = false;
    let answer = {
        let mut talk = pin!(async {
            let response = sender.send_request(request).await?;
            http::read(response, witness).await
        });
        std::future::poll_fn(|context| {
            if let Poll::Ready(result) = talk.as_mut().poll(context) {
                return Poll::Ready(result);
            }
            // How it ended is said to whoever waits for the response.
            over = over || connection.poll_without_shutdown(context).is_ready();
            talk.as_mut().poll(context)
        })
        .await?
    };
    // The library looks once more whether the server has closed, and whether this side is through.
    let persists = std::future::poll_fn(|context| {
        over = over || connection.poll_without_shutdown(context).is_ready();
        Poll::Ready(!over && sender.is_ready())
    })
    .await;
    let parts = connection.into_parts();
    Ok(Exchanged {
        answer,
        stream: parts.io.into_inner(),
        persists: persists && parts.read_buf.is_empty(),
    })
}

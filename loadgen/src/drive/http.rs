//! HTTP/1.1 and HTTP/2 on one connection, by the library's client.

use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinHandle;

use super::fault::Fault;
use super::http1::{self, Resting};
use super::kept::Kept;
use super::observed::Observed;
use super::payload::Payload;
use super::task;
use super::witness::Witness;

/// One HTTP connection. Dropping it closes it at once.
#[derive(Debug)]
pub(crate) enum Http {
    /// Between exchanges there is nothing but the stream.
    Http1 {
        /// Empty during an exchange too.
        kept: Kept<Resting>,
        /// The last response left room for another exchange.
        persists: bool,
    },
    /// HTTP/2 has state that must last, and a server may say something at any time.
    Http2 {
        /// Where requests go.
        sender: http2::SendRequest<Payload>,
        /// The library's side.
        driver: Driver,
    },
}

/// The task of the library's side of HTTP/2; it ends with the connection.
#[derive(Debug)]
pub(crate) struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The response's status.
    pub(crate) status: u16,
    /// Length of its body.
    pub(crate) bytes: u64,
}

/// Runs the library's HTTP/2 task on this thread.
#[derive(Debug, Clone, Copy)]
struct ThisThread;

impl<F> hyper::rt::Executor<F> for ThisThread
where
    F: Future + 'static,
{
    fn execute(&self, future: F) {
        task::spawn(async move {
            future.await;
        });
    }
}

impl Http {
    /// HTTP/1.1 on this stream.
    pub(crate) fn http1(stream: Observed) -> Http {
        Http::Http1 {
            kept: Kept::new(Resting(stream)),
            persists: true,
        }
    }

    /// HTTP/2 on this stream.
    pub(crate) async fn http2(stream: Observed) -> Result<Http, Fault> {
        let (sender, connection) = http2::Builder::new(ThisThread)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(fault)?;
        let driver = Driver(task::spawn(async move {
            // Why it ended was observed where its bytes pass.
            let _ = connection.await;
        }));
        Ok(Http::Http2 { sender, driver })
    }

    /// Whether another request can be sent.
    pub(crate) fn is_usable(&self) -> bool {
        match self {
            Http::Http1 { kept, persists } => *persists && kept.is_here(),
            Http::Http2 { sender, .. } => !sender.is_closed(),
        }
    }

    /// Nothing is to be sent for now; the server is still listened to.
    pub(crate) fn rest(&mut self) {
        match self {
            Http::Http1 { kept, .. } => kept.listen(),
            // The library's task does.
            Http::Http2 { .. } => {}
        }
    }

    /// Sends a request and reads the whole response, of which nothing is kept but what `witness` keeps. Dropped before its
    /// end, it closes an HTTP/1.1 connection.
    ///
    /// # Errors
    ///
    /// The connection failed, or what came is no HTTP; a body that is shorter than announced is one of the former.
    pub(crate) async fn exchange(
        &mut self,
        request: Request<Payload>,
        witness: Option<&mut Witness<'_>>,
    ) -> Result<Answer, Fault> {
        match self {
            Http::Http1 { kept, persists } => {
                let Resting(stream) = kept.take().ok_or(Fault::Stream)?;
                let exchanged = http1::exchange(stream, request, witness).await;
                let exchanged = exchanged.map_err(fault)?;
                *kept = Kept::new(Resting(exchanged.stream));
                *persists = exchanged.persists;
                Ok(exchanged.answer)
            }
            Http::Http2 { sender, .. } => {
                let answer = exchange_http2(sender, request, witness);
                answer.await.map_err(fault)
            }
        }
    }

    /// Says goodbye (HTTP/2 GOAWAY, TLS close_notify) and closes.
    pub(crate) async fn close(self) {
        match self {
            Http::Http1 { mut kept, .. } => {
                if let Some(Resting(mut stream)) = kept.take() {
                    // Whoever does not listen to a goodbye does not get it.
                    let _ = stream.shutdown().await;
                }
            }
            Http::Http2 { sender, mut driver } => {
                drop(sender);
                let _ = (&mut driver.0).await;
            }
        }
    }
}

async fn exchange_http2(
    sender: &mut http2::SendRequest<Payload>,
    request: Request<Payload>,
    witness: Option<&mut Witness<'_>>,
) -> hyper::Result<Answer> {
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    read(response, witness).await
}

/// Reads the whole response.
pub(super) async fn read(
    response: Response<Incoming>,
    mut witness: Option<&mut Witness<'_>>,
) -> hyper::Result<Answer> {
    let status = response.status().as_u16();
    if let Some(witness) = &mut witness {
        witness.head(response.headers());
    }
    let mut body = response.into_body();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        bytes += data.len() as u64;
        if let Some(witness) = &mut witness {
            witness.data(data);
        }
    }
    Ok(Answer { status, bytes })
}

/// The library reports a failed connection in its own words, sometimes to the wrong party.
fn fault(_: hyper::Error) -> Fault {
    Fault::Stream
}

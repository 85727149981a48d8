//! HTTP/1.1 and HTTP/2 on one connection, by the library's client.

use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;

use super::fault::Fault;
use super::observed::Observed;
use super::payload::Payload;
use super::witness::Witness;

/// Read buffer of an HTTP/1.1 connection in bytes: response heads are small, and idle devices are many.
const READ_BUFFER: usize = 4096;

/// One HTTP connection. Dropping it closes it at once.
#[derive(Debug)]
pub(crate) struct Http {
    sender: Sender,
    task: JoinHandle<()>,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Payload>),
    Http2(http2::SendRequest<Payload>),
    Closed,
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
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

impl Http {
    /// HTTP/1.1 on this stream.
    pub(crate) async fn http1(stream: Observed) -> Result<Http, Fault> {
        let (sender, connection) = http1::Builder::new()
            .read_buf_exact_size(Some(READ_BUFFER))
            .handshake(TokioIo::new(stream))
            .await
            .map_err(fault)?;
        let task = tokio::task::spawn_local(async move {
            // Why it ended was observed where its bytes pass.
            let _ = connection.await;
        });
        Ok(Http {
            sender: Sender::Http1(sender),
            task,
        })
    }

    /// HTTP/2 on this stream.
    pub(crate) async fn http2(stream: Observed) -> Result<Http, Fault> {
        let (sender, connection) = http2::Builder::new(ThisThread)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(fault)?;
        let task = tokio::task::spawn_local(async move {
            let _ = connection.await;
        });
        Ok(Http {
            sender: Sender::Http2(sender),
            task,
        })
    }

    /// Whether another request can be sent.
    pub(crate) fn is_usable(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => !sender.is_closed(),
            Sender::Http2(sender) => !sender.is_closed(),
            Sender::Closed => false,
        }
    }

    /// Sends a request and reads the whole response, of which nothing is kept but what `witness` keeps.
    ///
    /// # Errors
    ///
    /// The connection failed, or what came is no HTTP; a body that is shorter than announced is one of the former.
    pub(crate) async fn exchange(
        &mut self,
        request: Request<Payload>,
        mut witness: Option<&mut Witness<'_>>,
    ) -> Result<Answer, Fault> {
        let response = match &mut self.sender {
            Sender::Http1(sender) => match sender.ready().await {
                Ok(()) => sender.send_request(request).await,
                Err(error) => Err(error),
            },
            Sender::Http2(sender) => match sender.ready().await {
                Ok(()) => sender.send_request(request).await,
                Err(error) => Err(error),
            },
            Sender::Closed => return Err(Fault::Stream),
        };
        let response: Response<Incoming> = response.map_err(fault)?;
        let status = response.status().as_u16();
        if let Some(witness) = &mut witness {
            witness.head(response.headers());
        }
        let mut body = response.into_body();
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(fault)?;
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

    /// Says goodbye (HTTP/2 GOAWAY, TLS close_notify) and closes.
    pub(crate) async fn close(mut self) {
        self.sender = Sender::Closed;
        let _ = (&mut self.task).await;
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The library reports a failed connection in its own words, sometimes to the wrong party.
fn fault(_: hyper::Error) -> Fault {
    Fault::Stream
}

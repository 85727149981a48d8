//! Requests and responses on one connection, HTTP/1.1 or HTTP/2.

use std::rc::Rc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;

use super::observed::{Observation, Observed};
use super::open::OpenConnections;
use super::payload::Payload;
use crate::measure::{Attempt, Cause};
use crate::plan::{self, Activity, Exchange, Plan, Protocol, Say};

/// Read buffer of an HTTP/1.1 connection in bytes: response heads are small, and idle devices are many.
const READ_BUFFER: usize = 4096;
/// Longest wait for a connection to say goodbye.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// One open connection of one device. Dropping it closes it at once.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: Sender,
    task: JoinHandle<()>,
    pub(crate) observation: Rc<Observation>,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Payload>),
    Http2(http2::SendRequest<Payload>),
    Closed,
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

impl Connection {
    /// Takes over an encrypted stream.
    pub(crate) async fn start(
        protocol: Protocol,
        stream: Observed,
        observation: Rc<Observation>,
        open: &Rc<OpenConnections>,
    ) -> Result<Connection, Cause> {
        let io = TokioIo::new(stream);
        let open = open.enter();
        let (sender, task) = match protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::Builder::new()
                    .read_buf_exact_size(Some(READ_BUFFER))
                    .handshake(io)
                    .await
                    .map_err(|_| cause(&observation))?;
                let task = tokio::task::spawn_local(async move {
                    let _open = open;
                    // Why it ended was observed where its bytes pass.
                    let _ = connection.await;
                });
                (Sender::Http1(sender), task)
            }
            Protocol::H2 => {
                let (sender, connection) = http2::Builder::new(ThisThread)
                    .handshake(io)
                    .await
                    .map_err(|_| cause(&observation))?;
                let task = tokio::task::spawn_local(async move {
                    let _open = open;
                    let _ = connection.await;
                });
                (Sender::Http2(sender), task)
            }
            Protocol::Websocket | Protocol::Mqtt | Protocol::Mqtt5 | Protocol::Tls => {
                return Err(Cause::Protocol);
            }
        };
        Ok(Connection {
            sender,
            task,
            observation,
        })
    }

    /// Whether another request can be sent.
    pub(crate) fn is_usable(&self) -> bool {
        let closed = match &self.sender {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
            Sender::Closed => true,
        };
        !closed && self.observation.cause.get().is_none()
    }

    /// Copies what was observed since the attempt began.
    pub(crate) fn note(&self, attempt: &mut Attempt) {
        attempt.accepted = self.observation.accepted.get();
        attempt.first_byte = self.observation.first_byte.get();
        attempt.tickets_received = self.observation.tickets_received();
        attempt.bytes_sent = self.observation.bytes_sent.get();
        attempt.bytes_received = self.observation.bytes_received.get();
    }

    /// Sends a request and reads the whole response; returns its status.
    pub(crate) async fn exchange(&mut self, request: Request<Payload>) -> Result<u16, Cause> {
        let response = match &mut self.sender {
            Sender::Http1(sender) => match sender.ready().await {
                Ok(()) => sender.send_request(request).await,
                Err(error) => Err(error),
            },
            Sender::Http2(sender) => match sender.ready().await {
                Ok(()) => sender.send_request(request).await,
                Err(error) => Err(error),
            },
            Sender::Closed => return Err(Cause::Closed),
        };
        let response: Response<Incoming> = response.map_err(|_| cause(&self.observation))?;
        let status = response.status().as_u16();
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            frame.map_err(|_| cause(&self.observation))?;
        }
        Ok(status)
    }

    /// Says goodbye (HTTP/2 GOAWAY, TLS close_notify) and closes.
    pub(crate) async fn close(mut self) {
        self.sender = Sender::Closed;
        let _ = tokio::time::timeout(CLOSE_PATIENCE, &mut self.task).await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What was seen on the stream; if nothing was wrong there, the fault lies in the protocol above it.
fn cause(observation: &Observation) -> Cause {
    observation.cause.get().unwrap_or(Cause::Protocol)
}

/// The requests of a scenario, made once and copied cheaply.
#[derive(Debug)]
pub(crate) struct Requests {
    headers: HeaderMap,
    opening: Template,
    message: Template,
}

#[derive(Debug)]
struct Template {
    uri: Uri,
    send_bytes: u64,
}

impl Requests {
    /// What the activity requests; `None` if its target does not make a URI.
    pub(crate) fn new(plan: &Plan, activity: &Activity) -> Option<Requests> {
        let (Exchange::Http1(http) | Exchange::H2(http)) = &activity.exchange else {
            return None;
        };
        let authority = plan.target.authority();
        let mut headers = HeaderMap::new();
        headers.insert(
            header::USER_AGENT,
            HeaderValue::from_static(concat!("loadgen/", env!("CARGO_PKG_VERSION"))),
        );
        let protocol = activity.exchange.protocol();
        if protocol == Protocol::Http1 {
            headers.insert(header::HOST, HeaderValue::from_str(&authority).ok()?);
        }
        let template = |request: &plan::workload::exchange::Request| {
            let path = request.path.as_deref().unwrap_or(&plan.target.path);
            let uri = match protocol {
                Protocol::H2 => format!("https://{authority}{path}").parse(),
                _ => path.parse(),
            };
            Some(Template {
                uri: uri.ok()?,
                send_bytes: request.send_bytes,
            })
        };
        Some(Requests {
            headers,
            opening: template(&http.opening)?,
            message: template(&http.message)?,
        })
    }

    /// A POST where something is to be sent, else a GET.
    pub(crate) fn make(&self, say: Say) -> Request<Payload> {
        let template = match say {
            Say::Opening => &self.opening,
            Say::Message => &self.message,
        };
        let mut request = Request::new(Payload::new(template.send_bytes));
        if template.send_bytes > 0 {
            *request.method_mut() = Method::POST;
        }
        *request.uri_mut() = template.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

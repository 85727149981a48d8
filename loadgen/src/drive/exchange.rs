//! One open connection of a device, whatever is spoken on it.

use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};

use super::fault::Fault;
use super::http::Http;
use super::kept::{Kept, Listen};
use super::mqtt::Mqtt;
use super::observed::{Observation, Observed};
use super::requests::Requests;
use super::script::{Script, Speech};
use super::websocket::WebSocket;
use super::witness::Witness;
use crate::fleet::Device;
use crate::measure::{Attempt, Cause};
use crate::plan::{Close, Protocol, Say};

/// Longest wait for a connection to say goodbye.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);
/// A TLS 1.3 server that has said nothing for so long after the handshake, no ticket and no alert, has not refused.
const SILENCE: Duration = Duration::from_secs(1);

/// One open connection of one device. Dropping it closes it at once.
#[derive(Debug)]
pub(crate) struct Connection {
    talk: Talk,
    leaves: Close,
    pub(crate) observation: Rc<Observation>,
}

#[derive(Debug)]
enum Talk {
    /// The handshake has been made, and the protocol above has not begun.
    New(Box<Observed>),
    Http(Http),
    WebSocket(Kept<WebSocket<Observed>>),
    Mqtt(Kept<Mqtt<Observed>>),
    /// A device that says nothing.
    Silent(Kept<Observed>),
    Over,
}

impl Connection {
    /// Takes over an encrypted stream on which `script` is to be spoken.
    pub(crate) async fn start(script: &Script, stream: Observed) -> Result<Connection, Cause> {
        let observation = Rc::clone(stream.observation());
        let http = match script.protocol {
            Protocol::Http1 => Ok(Talk::Http(Http::http1(stream))),
            Protocol::H2 => Http::http2(stream).await.map(Talk::Http),
            Protocol::Websocket | Protocol::Mqtt | Protocol::Mqtt5 | Protocol::Tls => {
                Ok(Talk::New(Box::new(stream)))
            }
        };
        Ok(Connection {
            talk: http.map_err(|fault| fault.cause(&observation))?,
            leaves: script.close,
            observation,
        })
    }

    /// Whether it can be used again.
    pub(crate) fn is_usable(&self) -> bool {
        let open = match &self.talk {
            Talk::New(_) => true,
            Talk::Http(http) => http.is_usable(),
            Talk::WebSocket(kept) => kept.is_here(),
            Talk::Mqtt(kept) => kept.is_here(),
            Talk::Silent(kept) => kept.is_here(),
            Talk::Over => false,
        };
        open && self.observation.cause.get().is_none()
    }

    /// Nothing is to be said for now; the server is still listened to.
    pub(crate) fn rest(&mut self) {
        match &mut self.talk {
            Talk::WebSocket(kept) => kept.listen(),
            Talk::Mqtt(kept) => kept.listen(),
            Talk::Silent(kept) => kept.listen(),
            Talk::Http(http) => http.rest(),
            Talk::New(_) | Talk::Over => {}
        }
    }

    /// Copies what was observed since the attempt began.
    pub(crate) fn note(&self, attempt: &mut Attempt) {
        attempt.accepted = self.observation.accepted.get();
        attempt.first_byte = self.observation.first_byte.get();
        attempt.tickets_received = self.observation.tickets_received();
        attempt.bytes_sent = self.observation.bytes_sent.get();
        attempt.bytes_received = self.observation.bytes_received.get();
    }

    /// Says what the script has for this moment, and hears the answer. Dropped before its end, it closes the connection.
    ///
    /// # Errors
    ///
    /// Why there was no answer, or not the right one.
    pub(crate) async fn exchange(
        &mut self,
        script: &Script,
        device: &Device,
        say: Say,
    ) -> Result<(), Cause> {
        let talk = std::mem::replace(&mut self.talk, Talk::Over);
        let (talk, result) = match (talk, &script.speech) {
            (Talk::Http(mut http), Speech::Http(requests)) => {
                let result = request(&mut http, requests, device, say).await;
                (Talk::Http(http), result)
            }
            (talk, Speech::WebSocket(script)) => match websocket(talk, script, device).await {
                Ok(mut socket) => {
                    let result = socket.exchange(script).await;
                    (settle(socket, result, Talk::WebSocket), result)
                }
                Err(fault) => (Talk::Over, Err(fault)),
            },
            (talk, Speech::Mqtt(script)) => match mqtt(talk, script, device).await {
                Ok(mut client) => {
                    let result = client.exchange(script).await;
                    (settle(client, result, Talk::Mqtt), result)
                }
                Err(fault) => (Talk::Over, Err(fault)),
            },
            (Talk::New(stream), Speech::Silence { stays }) => {
                let leaves = (!stays).then_some(script.close);
                silence(*stream, leaves).await
            }
            (talk @ Talk::Silent(_), Speech::Silence { .. }) => (talk, Ok(())),
            (_, Speech::Http(_) | Speech::Silence { .. }) => (Talk::Over, Err(Fault::Stream)),
        };
        self.talk = talk;
        result.map_err(|fault| fault.cause(&self.observation))
    }

    /// Leaves as the script has it.
    pub(crate) async fn close(self) {
        let goodbye = async {
            self.observation.leaves.set(self.leaves);
            let says_goodbye = self.leaves == Close::Notify;
            match self.talk {
                Talk::Http(http) => http.close().await,
                Talk::WebSocket(mut kept) => match kept.take() {
                    Some(socket) if says_goodbye => socket.close().await,
                    Some(socket) => shut_down(socket.into_stream()).await,
                    None => {}
                },
                Talk::Mqtt(mut kept) => match kept.take() {
                    Some(client) if says_goodbye => client.close().await,
                    Some(client) => shut_down(client.into_stream()).await,
                    None => {}
                },
                Talk::Silent(mut kept) => {
                    if let Some(stream) = kept.take() {
                        shut_down(stream).await;
                    }
                }
                Talk::New(stream) => shut_down(*stream).await,
                Talk::Over => {}
            }
        };
        let _ = tokio::time::timeout(CLOSE_PATIENCE, goodbye).await;
    }
}

async fn request(
    http: &mut Http,
    requests: &Requests,
    device: &Device,
    say: Say,
) -> Result<(), Fault> {
    let mut witness = requests.echo.as_ref().map(Witness::new);
    let answer = http.exchange(requests.make(say), witness.as_mut()).await?;
    if !(200..=299).contains(&answer.status) {
        return Err(Fault::Said(Cause::Status(answer.status)));
    }
    if let Some(witness) = witness {
        let judged = witness.judge(device);
        judged.map_err(|fault| Fault::Said(Cause::Identity(fault)))?;
    }
    match requests.expected_bytes(say) {
        Some(expected) if expected != answer.bytes => Err(Fault::Said(Cause::WrongContent)),
        _ => Ok(()),
    }
}

async fn websocket(
    talk: Talk,
    script: &super::websocket::Script,
    device: &Device,
) -> Result<WebSocket<Observed>, Fault> {
    match talk {
        Talk::New(stream) => WebSocket::open(*stream, script, device.number).await,
        Talk::WebSocket(mut kept) => kept.take().ok_or(Fault::Stream),
        _ => Err(Fault::Stream),
    }
}

async fn mqtt(
    talk: Talk,
    script: &super::mqtt::Script,
    device: &Device,
) -> Result<Mqtt<Observed>, Fault> {
    match talk {
        Talk::New(stream) => Mqtt::open(*stream, script, &device.id(), device.number).await,
        Talk::Mqtt(mut kept) => kept.take().ok_or(Fault::Stream),
        _ => Err(Fault::Stream),
    }
}

/// Keeps what can be used again: after a refusal, or an answer that is not the right one, the protocol still stands.
fn settle<T: Listen + 'static>(
    connection: T,
    result: Result<(), Fault>,
    talk: impl FnOnce(Kept<T>) -> Talk,
) -> Talk {
    match result {
        Ok(()) | Err(Fault::Said(Cause::MqttReason(_) | Cause::WrongContent)) => {
            talk(Kept::new(connection))
        }
        Err(_) => Talk::Over,
    }
}

/// Finds out whether the server accepts a device that says nothing. In TLS 1.3 the device is through before the server has
/// looked at its certificate: a ticket says that it was accepted, an alert that it was not. A device that leaves in order says
/// so at once, and then the server's own goodbye tells as well; to one that stays, or leaves by RST, silence has to do.
async fn silence(mut stream: Observed, leaves: Option<Close>) -> (Talk, Result<(), Fault>) {
    if stream.is_tls12() {
        // There the server's last flight comes after it has checked the certificate.
        let now = Instant::now();
        stream.observation().accepted.set(Some(now));
        return (Talk::Silent(Kept::new(stream)), Ok(()));
    }
    let leaves_in_order = leaves.filter(|leaves| *leaves != Close::Reset);
    if let Some(leaves) = leaves_in_order {
        stream.observation().leaves.set(leaves);
        let _ = stream.shutdown().await;
    }
    let heard = std::future::poll_fn(|context| poll_accepted(&mut stream, context));
    let result = match leaves_in_order {
        Some(_) => match heard.await {
            Err(Cause::Closed) => {
                let now = Instant::now();
                stream.observation().accepted.set(Some(now));
                return (Talk::Over, Ok(()));
            }
            result => result,
        },
        None => tokio::time::timeout(SILENCE, heard).await.unwrap_or(Ok(())),
    };
    match result {
        Ok(()) => (Talk::Silent(Kept::new(stream)), Ok(())),
        Err(cause) => (Talk::Over, Err(Fault::Said(cause))),
    }
}

/// Ready at the first sign that the server has accepted the device, or when the connection has ended.
fn poll_accepted(stream: &mut Observed, context: &mut Context<'_>) -> Poll<Result<(), Cause>> {
    let ended = stream.poll_end(context);
    if stream.observation().accepted.get().is_some() {
        return Poll::Ready(Ok(()));
    }
    ready!(ended);
    Poll::Ready(Err(Fault::Stream.cause(stream.observation())))
}

async fn shut_down(mut stream: Observed) {
    // Whoever does not listen to a goodbye does not get it.
    let _ = stream.shutdown().await;
}

impl Listen for Observed {
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [0; 512];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = std::pin::Pin::new(&mut *self).poll_read(context, &mut buffer);
            if ready!(read).is_err() || buffer.filled().is_empty() {
                return Poll::Ready(());
            }
        }
    }
}

impl Listen for WebSocket<Observed> {
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<()> {
        WebSocket::poll_end(self, context).map(drop)
    }
}

impl Listen for Mqtt<Observed> {
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<()> {
        Mqtt::poll_end(self, context).map(drop)
    }
}

//! The server's side of what is spoken above TLS beside HTTP, with faults on demand.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{SinkExt as _, StreamExt as _};
use http::HeaderValue;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use mqtt_proto::{Pid, QosPid, v3, v5};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// What a WebSocket server does with messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Echo {
    /// Sends them back, and a ping before each.
    Faithful,
    /// Sends back something else.
    Wrong,
    /// Closes with this code.
    Close(u16),
    /// Ends the connection without a word.
    Drop,
}

/// What an MQTT broker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broker {
    /// Accepts everything, and sends each message back to whoever has subscribed.
    Accepts,
    /// Refuses the client with this code.
    Refuses(u8),
    /// Accepts the client, and never acknowledges a message.
    Forgets,
    /// Answers the first message with a packet larger than any client takes.
    Floods,
}

/// How connections ended, and what came before.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) messages: AtomicU64,
    pub(crate) pings: AtomicU64,
    pub(crate) disconnects: AtomicU64,
    pub(crate) close_notify: AtomicU64,
    pub(crate) fin: AtomicU64,
    pub(crate) reset: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Answers the subprotocol `telemetry.v1` to whoever asks for one.
pub(crate) async fn websocket(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    echo: Echo,
    seen: &Seen,
) {
    #[expect(clippy::result_large_err, reason = "the library's type")]
    let answer = |request: &server::Request, mut response: server::Response| {
        if request.headers().contains_key(SEC_WEBSOCKET_PROTOCOL) {
            let name = HeaderValue::from_static("telemetry.v1");
            response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, name);
        }
        Ok(response)
    };
    let Ok(mut socket) = accept_hdr_async(stream, answer).await else {
        return;
    };
    while let Some(Ok(message)) = socket.next().await {
        match (&message, echo) {
            (Message::Binary(_), Echo::Faithful) => {
                count(&seen.messages);
                let _ = socket.send(Message::Ping("still there?".into())).await;
                let _ = socket.send(message).await;
            }
            (Message::Binary(_), Echo::Wrong) => {
                let _ = socket.send(Message::Binary(vec![0; 9].into())).await;
            }
            (Message::Binary(_), Echo::Close(code)) => {
                let frame = CloseFrame {
                    code: code.into(),
                    reason: "as asked".into(),
                };
                let _ = socket.close(Some(frame)).await;
            }
            (Message::Binary(_), Echo::Drop) => return,
            (Message::Pong(_), _) => count(&seen.pings),
            (Message::Close(_), _) => count(&seen.disconnects),
            _ => {}
        }
    }
}

/// MQTT 3.1.1 or 5, as the client wants it.
pub(crate) async fn mqtt(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    broker: Broker,
    seen: &Seen,
) {
    let mut client = Client {
        is_v5: false,
        subscribed: false,
    };
    let mut came = Vec::new();
    loop {
        while let Some(length) = packet_length(&came) {
            let packet: Vec<u8> = came.drain(..length).collect();
            let answer = client.answer(&packet, broker, seen);
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
        let mut bytes = [0; 4096];
        match stream.read(&mut bytes).await {
            Ok(read @ 1..) => came.extend_from_slice(&bytes[..read]),
            _ => return,
        }
    }
}

/// The whole length of the packet that `bytes` begin with, once all of it is there.
fn packet_length(bytes: &[u8]) -> Option<usize> {
    let digits = bytes.iter().skip(1).position(|byte| byte & 0x80 == 0)? + 1;
    let remaining = bytes[1..=digits]
        .iter()
        .rev()
        .fold(0, |length, byte| (length << 7) | usize::from(byte & 0x7f));
    let length = 1 + digits + remaining;
    (bytes.len() >= length).then_some(length)
}

struct Client {
    is_v5: bool,
    subscribed: bool,
}

impl Client {
    fn answer(&mut self, packet: &[u8], broker: Broker, seen: &Seen) -> Vec<u8> {
        match packet[0] >> 4 {
            1 => {
                // Behind the protocol's name stands its level.
                self.is_v5 = packet[packet.windows(4).position(|w| w == b"MQTT").unwrap() + 4] == 5;
                let code = match broker {
                    Broker::Refuses(code) => code,
                    _ => 0,
                };
                if self.is_v5 {
                    vec![0x20, 3, 0, code, 0]
                } else {
                    vec![0x20, 2, 0, code]
                }
            }
            3 => {
                count(&seen.messages);
                self.publish(packet, broker)
            }
            // PUBREL is answered by PUBCOMP, PINGREQ by PINGRESP.
            6 => vec![0x70, 2, packet[2], packet[3]],
            12 => vec![0xd0, 0],
            8 => {
                self.subscribed = true;
                if self.is_v5 {
                    vec![0x90, 4, packet[2], packet[3], 0, 0]
                } else {
                    vec![0x90, 3, packet[2], packet[3], 0]
                }
            }
            14 => {
                count(&seen.disconnects);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn publish(&self, packet: &[u8], broker: Broker) -> Vec<u8> {
        let delivery = if self.is_v5 {
            match v5::Packet::decode(packet) {
                Ok(Some(v5::Packet::Publish(publish))) => publish.qos_pid,
                other => panic!("{other:?}"),
            }
        } else {
            match v3::Packet::decode(packet) {
                Ok(Some(v3::Packet::Publish(publish))) => publish.qos_pid,
                other => panic!("{other:?}"),
            }
        };
        match broker {
            Broker::Forgets => return Vec::new(),
            Broker::Floods => return vec![0x30, 0xff, 0xff, 0xff, 0x7f],
            Broker::Accepts | Broker::Refuses(_) => {}
        }
        let mut answer = Vec::new();
        if self.subscribed && delivery == QosPid::Level0 {
            answer.extend_from_slice(packet);
        }
        let acknowledge = |kind: u8, pid: Pid| {
            let [high, low] = pid.value().to_be_bytes();
            [kind, 2, high, low]
        };
        match delivery {
            QosPid::Level0 => {}
            QosPid::Level1(pid) => answer.extend(acknowledge(0x40, pid)),
            QosPid::Level2(pid) => answer.extend(acknowledge(0x50, pid)),
        }
        answer
    }
}

/// Answers everything with an empty response, and notes how the connection ends.
pub(crate) async fn end(mut stream: impl AsyncRead + AsyncWrite + Unpin, seen: &Seen) {
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes).await {
            Ok(0) => return count(&seen.close_notify),
            Ok(_) => {
                let response = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                stream.write_all(response).await.unwrap();
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return count(&seen.fin),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return count(&seen.reset),
            Err(error) => panic!("{error}"),
        }
    }
}

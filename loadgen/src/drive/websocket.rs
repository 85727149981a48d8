//! A WebSocket client (RFC 6455) on a stream that is there already.
//!
//! The codec is a library's. What is decided here is what a device sends, what must come back, and how much of it may come.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::{Sink as _, SinkExt as _, Stream as _, StreamExt as _};
use http::{HeaderValue, Request, header};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::fault::Fault;
use super::numbered::Numbered;
use crate::measure::Cause;
use crate::plan::Target;
use crate::plan::workload::exchange::WebSocket as Settings;

/// Bytes read at a time: idle devices are many, and each has its buffer.
const READ: usize = 4096;
/// What a message may have beyond what the device itself sends: servers greet.
const HEADROOM: usize = 64 * 1024;

/// What the devices of one scenario do, made once.
#[derive(Debug)]
pub(crate) struct Script {
    upgrade: Request<()>,
    configuration: WebSocketConfig,
    messages: u32,
    filler: Bytes,
    echo: bool,
}

/// An open WebSocket.
#[derive(Debug)]
pub(crate) struct WebSocket<S> {
    socket: WebSocketStream<S>,
    messages: Numbered,
}

impl Script {
    /// What devices with these settings do; `None` if `target` does not make a request.
    pub(crate) fn new(settings: &Settings, target: &Target) -> Option<Script> {
        let path = settings.path.as_deref().unwrap_or(&target.path);
        let authority = target.authority();
        let mut upgrade = Request::get(format!("wss://{authority}{path}"))
            .header(header::HOST, authority)
            .header(
                header::USER_AGENT,
                concat!("loadgen/", env!("CARGO_PKG_VERSION")),
            )
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13");
        if let Some(name) = &settings.subprotocol {
            upgrade = upgrade.header(header::SEC_WEBSOCKET_PROTOCOL, name);
        }
        let bytes = usize::try_from(settings.message_bytes).ok()?;
        let largest = Some(bytes + HEADROOM);
        Some(Script {
            upgrade: upgrade.body(()).ok()?,
            configuration: WebSocketConfig::default()
                .read_buffer_size(READ)
                .max_message_size(largest)
                .max_frame_size(largest),
            messages: settings.messages,
            filler: Bytes::from(vec![b'x'; bytes]),
            echo: settings.echo,
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Upgrades the connection: returns once the server has agreed.
    ///
    /// # Errors
    ///
    /// [`Cause::Status`] where it answers otherwise than with 101, [`Cause::Subprotocol`] where it wants another one.
    pub(crate) async fn open(
        stream: S,
        script: &Script,
        number: usize,
    ) -> Result<WebSocket<S>, Fault> {
        let mut request = script.upgrade.clone();
        let key =
            HeaderValue::try_from(generate_key()).map_err(|_| Fault::Said(Cause::Protocol))?;
        request.headers_mut().insert(header::SEC_WEBSOCKET_KEY, key);
        let opened = client_async_with_config(request, stream, Some(script.configuration));
        let (socket, _) = opened.await.map_err(fault)?;
        Ok(WebSocket {
            socket,
            messages: Numbered::new(number),
        })
    }

    /// Sends the script's messages, one after the other; with an echo each must come back first.
    ///
    /// # Errors
    ///
    /// [`Cause::WrongContent`] where another message comes back, [`Cause::WebSocketClose`] where the server closes.
    pub(crate) async fn exchange(&mut self, script: &Script) -> Result<(), Fault> {
        for _ in 0..script.messages {
            let message = if script.echo {
                self.messages.message(&script.filler)
            } else {
                script.filler.clone()
            };
            let sent = self.socket.send(Message::Binary(message.clone()));
            sent.await.map_err(fault)?;
            if script.echo && self.next().await? != Message::Binary(message) {
                return Err(Fault::Said(Cause::WrongContent));
            }
        }
        Ok(())
    }

    /// The next message with data; the library answers pings in passing.
    async fn next(&mut self) -> Result<Message, Fault> {
        std::future::poll_fn(|context| self.poll_message(context)).await
    }

    fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<Result<Message, Fault>> {
        loop {
            let message = ready!(Pin::new(&mut self.socket).poll_next(context));
            match message.transpose().map_err(fault)? {
                Some(Message::Ping(_) | Message::Pong(_)) => {}
                Some(Message::Close(frame)) => {
                    // The answer to it waits in the library; that the server does not take it changes nothing.
                    let _ = Pin::new(&mut self.socket).poll_flush(context);
                    let code = frame.map_or(CloseCode::Status, |frame| frame.code);
                    return Poll::Ready(Err(Fault::Said(Cause::WebSocketClose(code.into()))));
                }
                Some(message) => return Poll::Ready(Ok(message)),
                None => return Poll::Ready(Err(Fault::Stream)),
            }
        }
    }

    /// Answers pings while the device does nothing else, and lets messages pass. Ready when the connection has ended.
    pub(crate) fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<Fault> {
        loop {
            if let Err(fault) = ready!(self.poll_message(context)) {
                return Poll::Ready(fault);
            }
        }
    }

    /// The stream under it, to leave without a goodbye.
    pub(crate) fn into_stream(self) -> S {
        self.socket.into_inner()
    }

    /// Says goodbye, hears the server's, and closes.
    pub(crate) async fn close(mut self) {
        let goodbye = CloseFrame {
            code: CloseCode::Normal,
            reason: Default::default(),
        };
        if self.socket.close(Some(goodbye)).await.is_ok() {
            while let Some(Ok(_)) = self.socket.next().await {}
        }
        let _ = self.socket.get_mut().shutdown().await;
    }
}

fn fault(error: Error) -> Fault {
    Fault::Said(match error {
        Error::Io(_)
        | Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(
            ProtocolError::HandshakeIncomplete | ProtocolError::ResetWithoutClosingHandshake,
        ) => return Fault::Stream,
        Error::Http(response) => Cause::Status(response.status().as_u16()),
        Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(_)) => Cause::Subprotocol,
        Error::Capacity(_) => Cause::TooLarge,
        _ => Cause::Protocol,
    })
}

#[cfg(test)]
mod tests;

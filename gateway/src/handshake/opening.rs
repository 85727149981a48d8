//! A connection until its first turn: nothing but a socket and the hello that came over it, because in a storm most
//! connections come no further.
//!
//! It reads and waits; what is in a hello is for `tls::hello`, who is next for `admission`.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

use crate::handshake::{Failure, is_http, of_socket};
use crate::tls::hello::{ClientHello, FirstFlight, first_flight};

/// A connection that waits for its hello, or with it for a turn.
pub(super) struct Opening {
    tcp: TcpStream,
    received: Vec<u8>,
}

impl Opening {
    /// `received` was read already.
    pub(super) fn new(tcp: TcpStream, received: Vec<u8>) -> Self {
        Self { tcp, received }
    }

    /// Waits until a turn would bring the handshake on: a whole hello is there, or something that is none. Returns what
    /// `look` makes of the hello, if it can be read. Cancel safe.
    pub(super) async fn arrive<R>(
        &mut self,
        look: impl FnOnce(ClientHello<'_>) -> R,
    ) -> Result<Option<R>, Failure> {
        loop {
            match first_flight(&self.received) {
                FirstFlight::Incomplete => {}
                FirstFlight::Hello(body) => return Ok(ClientHello::parse(&body).map(look)),
                FirstFlight::Other => match is_http(&self.received) {
                    Some(true) => return Err(Failure::PlainHttp),
                    Some(false) => return Ok(None),
                    None => {}
                },
            }
            let received = poll_fn(|cx| self.poll_receive(cx)).await;
            if received.map_err(|error| of_socket(&error))? == 0 {
                return Err(Failure::Closed);
            }
        }
    }

    /// Waits until the device leaves. What it sends meanwhile is kept, up to a bound: who sends more is not watched any
    /// longer. Cancel safe.
    pub(super) async fn leaves(&mut self) {
        /// After a hello a device has nothing to say before we have answered.
        const ENOUGH: usize = 64 * 1024;
        while self.received.len() < ENOUGH {
            if let Ok(0) | Err(_) = poll_fn(|cx| self.poll_receive(cx)).await {
                return;
            }
        }
        std::future::pending().await
    }

    /// The socket, and what came over it.
    pub(super) fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.tcp, self.received)
    }

    /// Reads once. 0 is the end of the stream.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // Few hellos are longer, and those take a second read.
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut buffer = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut buffer))?;
        self.received.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

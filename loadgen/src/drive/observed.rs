//! A TLS stream that notes when the server is first heard, and why the stream failed.
//!
//! HTTP libraries report a failed connection in their own words, sometimes to the wrong party. What happened is best
//! seen here, where the bytes pass.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::counted::Counted;
use super::distant::Distant;
use super::failure;
use super::leaving::Leaving;
use super::open::OpenGuard;
use super::stream::TlsStream;
use crate::fleet::ticket::TicketSlot;
use crate::measure::Cause;
use crate::plan::Close;

/// What was seen on one connection; shared between the stream and the attempt that uses it.
#[derive(Debug)]
pub(crate) struct Observation {
    /// First sign of acceptance since [`Observation::begin`]: a session ticket or a byte.
    pub(crate) accepted: Cell<Option<Instant>>,
    /// First byte of data since [`Observation::begin`].
    pub(crate) first_byte: Cell<Option<Instant>>,
    /// Bytes sent on the TCP connection since [`Observation::begin`].
    pub(crate) bytes_sent: Cell<u64>,
    /// Bytes received on it since [`Observation::begin`].
    pub(crate) bytes_received: Cell<u64>,
    /// How the device leaves, once it does.
    pub(crate) leaves: Cell<Close>,
    /// Why the stream failed or ended.
    pub(crate) cause: Cell<Option<Cause>>,
    tickets: Arc<TicketSlot>,
    tickets_at_begin: Cell<u32>,
}

impl Observation {
    pub(crate) fn new(tickets: Arc<TicketSlot>) -> Rc<Observation> {
        Rc::new(Observation {
            accepted: Cell::new(None),
            first_byte: Cell::new(None),
            bytes_sent: Cell::new(0),
            bytes_received: Cell::new(0),
            leaves: Cell::new(Close::Notify),
            cause: Cell::new(None),
            tickets_at_begin: Cell::new(tickets.received()),
            tickets,
        })
    }

    /// A new attempt begins on the connection.
    pub(crate) fn begin(&self) {
        self.accepted.set(None);
        self.first_byte.set(None);
        self.bytes_sent.set(0);
        self.bytes_received.set(0);
        self.tickets_at_begin.set(self.tickets.received());
    }

    /// Tickets received since the attempt began.
    pub(crate) fn tickets_received(&self) -> u32 {
        self.tickets
            .received()
            .wrapping_sub(self.tickets_at_begin.get())
    }

    fn heard(&self, data: bool) {
        if self.first_byte.get().is_some() || (!data && self.accepted.get().is_some()) {
            return;
        }
        if !data && self.tickets_received() == 0 {
            return;
        }
        let now = Instant::now();
        if data {
            self.first_byte.set(Some(now));
        }
        if self.accepted.get().is_none() {
            self.accepted.set(Some(now));
        }
    }

    fn failed(&self, cause: Cause) {
        if self.cause.get().is_none() {
            self.cause.set(Some(cause));
        }
    }
}

/// The encrypted stream of one connection.
type Encrypted = TlsStream<Distant<Counted<Leaving>>>;

/// The stream of one connection, open until it is dropped.
#[derive(Debug)]
pub(crate) struct Observed {
    stream: Encrypted,
    observation: Rc<Observation>,
    _open: OpenGuard,
}

impl Observed {
    pub(crate) fn new(
        stream: Encrypted,
        observation: Rc<Observation>,
        open: OpenGuard,
    ) -> Observed {
        Observed {
            stream,
            observation,
            _open: open,
        }
    }

    /// What is observed on it.
    pub(crate) fn observation(&self) -> &Rc<Observation> {
        &self.observation
    }

    /// Whether TLS 1.2 was negotiated.
    pub(crate) fn is_tls12(&self) -> bool {
        self.stream.session().protocol_version() == Some(rustls::ProtocolVersion::TLSv1_2)
    }

    /// Takes what the server says to a device that is not reading: tickets, and its goodbye. Ready when there is data to
    /// read, and when the connection has ended.
    pub(crate) fn poll_heard(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match self.stream.poll_heard(context) {
            Poll::Pending => {
                self.observation.heard(false);
                return Poll::Pending;
            }
            Poll::Ready(Ok(())) if self.stream.has_data() => self.observation.heard(true),
            Poll::Ready(Ok(())) => self.observation.failed(Cause::Closed),
            Poll::Ready(Err(error)) => self.observation.failed(failure::cause_of(&error)),
        }
        Poll::Ready(())
    }

    fn write_failed(&mut self, context: &mut Context<'_>, error: &io::Error) {
        if let Some(words) = self.stream.last_words(context) {
            self.observation.failed(failure::cause_of(&words));
        }
        self.observation.failed(failure::cause_of(error));
    }

    fn note<T>(
        &mut self,
        context: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &result {
            self.write_failed(context, error);
        }
        result
    }
}

impl AsyncRead for Observed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        match &result {
            Poll::Ready(Ok(())) if buffer.filled().len() > filled => self.observation.heard(true),
            Poll::Ready(Ok(())) => self.observation.failed(Cause::Closed),
            Poll::Ready(Err(error)) => self.observation.failed(failure::cause_of(error)),
            Poll::Pending => self.observation.heard(false),
        }
        result
    }
}

impl AsyncWrite for Observed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(context, result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(context);
        self.note(context, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.note(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

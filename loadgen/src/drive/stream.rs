//! A TLS connection that holds no buffers while nothing moves.
//!
//! All connections of a thread read through one buffer; a connection keeps only the front of a record that has not wholly
//! arrived, what its user has not read yet, and what the network did not take. It decides no deadline and notes nothing:
//! see [`super::observed`].

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::ClientConfig;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::records::Records;

/// Bytes that are read from the network at a time: some whole records.
const READ: usize = 64 * 1024;
/// Bytes that are sealed and not yet sent, after which a writer has to wait.
const SEALED: usize = 64 * 1024;

thread_local! {
    /// Where all connections of the thread read into.
    static INCOMING: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// Where small pieces are put together, to be sealed as one.
    static GATHERED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The encrypted stream of one device over the stream `S`.
#[derive(Debug)]
pub(crate) struct TlsStream<S> {
    stream: S,
    records: Records,
    /// The front of a record that has not wholly arrived.
    incoming: Vec<u8>,
    /// Data that was not read yet, from `read` on.
    data: Vec<u8>,
    read: usize,
    /// The network has said that nothing more comes.
    ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream<S> {
    /// Performs the handshake: returns once the device's last flight has been written. In TLS 1.3 the server may still
    /// refuse.
    ///
    /// # Errors
    ///
    /// The network's; [`io::ErrorKind::UnexpectedEof`] where the server closed; a [`rustls::Error`] inside otherwise.
    pub(crate) async fn connect(
        stream: S,
        configuration: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> io::Result<TlsStream<S>> {
        let mut stream = TlsStream {
            stream,
            records: Records::new(configuration, name).map_err(invalid)?,
            incoming: Vec::new(),
            data: Vec::new(),
            read: 0,
            ended: false,
        };
        std::future::poll_fn(|context| stream.poll_handshake(context)).await?;
        Ok(stream)
    }

    fn poll_handshake(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let sent = self.poll_send(context);
            if let Poll::Ready(Err(error)) = sent {
                return Poll::Ready(Err(self.last_words(context).unwrap_or(error)));
            }
            if !self.records.connection().is_handshaking() {
                return sent;
            }
            // Also while something waits to be sent: the server may not read before it has sent all of its flight.
            ready!(self.poll_receive(context, &mut ReadBuf::new(&mut [])))?;
            if self.ended {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// What was negotiated.
    pub(crate) fn session(&self) -> &UnbufferedClientConnection {
        self.records.connection()
    }

    /// Whether there is data that was not read yet.
    pub(crate) fn has_data(&self) -> bool {
        self.read < self.data.len()
    }

    /// Takes what the server has sent without anybody to read it. Ready when there is data, at the end of the stream, and
    /// when it has failed; tickets and the like are used up.
    ///
    /// # Errors
    ///
    /// As for reading.
    pub(crate) fn poll_heard(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.has_data() && !self.records.server_closed() {
            if self.ended {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            ready!(self.poll_receive(context, &mut ReadBuf::new(&mut [])))?;
        }
        Poll::Ready(Ok(()))
    }

    /// After a failed write: what the server had said by then. One that refuses says why and closes; a write then fails
    /// before its words were read, and they say more than the failed write.
    pub(crate) fn last_words(&mut self, context: &mut Context<'_>) -> Option<io::Error> {
        match self.poll_heard(context) {
            Poll::Ready(Err(error)) => Some(error),
            Poll::Ready(Ok(())) if !self.has_data() => Some(io::ErrorKind::UnexpectedEof.into()),
            _ => None,
        }
    }

    /// Reads once from the network and decrypts, into `buffer` what fits and into `data` the rest.
    fn poll_receive(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(error) = self.records.failure() {
            return Poll::Ready(Err(invalid(error.clone())));
        }
        INCOMING.with_borrow_mut(|bytes| {
            let held = self.incoming.len();
            if bytes.len() < held + READ {
                bytes.resize(held + READ, 0);
            }
            let mut fresh = ReadBuf::new(bytes.get_mut(held..).unwrap_or_default());
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut fresh))?;
            let end = held + fresh.filled().len();
            self.ended = end == held;
            let arrived = bytes.get_mut(..end).unwrap_or_default();
            arrived.split_at_mut(held).0.copy_from_slice(&self.incoming);
            let data = &mut self.data;
            let used = self.records.receive(arrived, |received| {
                let fits = if data.is_empty() {
                    received.len().min(buffer.remaining())
                } else {
                    0
                };
                let (now, later) = received.split_at(fits);
                buffer.put_slice(now);
                data.extend_from_slice(later);
            });
            let left = used
                .as_ref()
                .map_or(&[][..], |used| arrived.get(*used..).unwrap_or_default());
            if left.is_empty() {
                self.incoming = Vec::new();
            } else {
                self.incoming.clear();
                self.incoming.extend_from_slice(left);
            }
            // The protocol's own answers, and its alert, go out if they can. Whether they did shows when data is sent.
            let _ = self.poll_send(context);
            Poll::Ready(used.map(drop).map_err(invalid))
        })
    }

    /// Gives out data that arrived before. Whether there was any.
    fn give(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let waiting = self.data.get(self.read..).unwrap_or_default();
        let length = waiting.len().min(buffer.remaining());
        if waiting.is_empty() {
            return false;
        }
        buffer.put_slice(waiting.get(..length).unwrap_or_default());
        self.read += length;
        if !self.has_data() {
            self.data = Vec::new();
            self.read = 0;
        }
        true
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.records.outgoing().is_empty() {
            let sent =
                ready!(Pin::new(&mut self.stream).poll_write(context, self.records.outgoing()))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.records.sent(sent);
        }
        Poll::Ready(Ok(()))
    }

    /// Seals `data` and sends what the network takes of it; the next flush waits for the rest.
    fn poll_seal(&mut self, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if self.records.outgoing().len() >= SEALED {
            ready!(self.poll_send(context))?;
        }
        let data = data.get(..SEALED).unwrap_or(data);
        self.records.seal(data, &mut self.incoming)?;
        match self.poll_send(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(data.len())),
        }
    }
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    /// The end of the stream is what the server says (close_notify); without that it is an error,
    /// [`io::ErrorKind::UnexpectedEof`].
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buffer.remaining();
        loop {
            if self.give(buffer) || buffer.remaining() < room || room == 0 {
                return Poll::Ready(Ok(()));
            }
            if self.records.server_closed() {
                return Poll::Ready(Ok(()));
            }
            if self.ended {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            ready!(self.poll_receive(context, buffer))?;
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_seal(context, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// Sends close_notify and the end of the TCP stream.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.records.close(&mut this.incoming);
        ready!(this.poll_send(context))?;
        Pin::new(&mut this.stream).poll_shutdown(context)
    }

    /// Head and body that fit into one record go as one.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut filled = slices.iter().filter(|slice| !slice.is_empty());
        match (filled.next(), filled.next()) {
            (None, _) => Poll::Ready(Ok(0)),
            (Some(only), None) => self.poll_seal(context, only),
            (Some(first), Some(_)) if first.len() >= SEALED => self.poll_seal(context, first),
            _ => GATHERED.with_borrow_mut(|gathered| {
                gathered.clear();
                for slice in slices {
                    let room = SEALED - gathered.len();
                    gathered.extend_from_slice(slice.get(..room).unwrap_or(slice));
                }
                self.poll_seal(context, gathered)
            }),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

#[cfg(test)]
pub(crate) mod tests;

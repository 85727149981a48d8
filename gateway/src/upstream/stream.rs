//! A connection's bytes, whichever way they travel: TCP, TLS over it, or a Unix socket.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

/// The bytes of one connection to an endpoint.
#[derive(Debug)]
pub enum Stream {
    /// In clear text.
    Tcp(TcpStream),
    /// Encrypted.
    Tls(Box<TlsStream<TcpStream>>),
    /// To a process on this machine.
    Unix(UnixStream),
}

impl Stream {
    /// Whether the peer, of whom nothing is expected, has neither closed the connection nor sent anything.
    ///
    /// No system call is needed as long as nothing has arrived.
    pub(super) fn standing(&mut self) -> Standing {
        let mut byte = [0];
        let read = match self {
            Self::Tcp(tcp) => tcp.try_read(&mut byte),
            Self::Unix(unix) => unix.try_read(&mut byte),
            Self::Tls(tls) => {
                // Tickets and key updates are taken in on the way.
                let mut context = Context::from_waker(Waker::noop());
                match pin!(tls.read(&mut byte)).poll(&mut context) {
                    Poll::Ready(read) => read,
                    Poll::Pending => return Standing::Quiet,
                }
            }
        };
        match read {
            Ok(0) => Standing::Closed,
            Ok(_) => Standing::Spoke,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Standing::Quiet,
            Err(_) => Standing::Closed,
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Self::Tls(tls) = self {
            // Says close_notify where that does not have to wait; the endpoint is told nothing that it has to know.
            let mut context = Context::from_waker(Waker::noop());
            let _ = Pin::new(tls).poll_shutdown(&mut context);
        }
    }
}

/// What an unused connection is found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Fit for a request.
    Quiet,
    /// Ended by the peer.
    Closed,
    /// The peer said something that nobody asked for.
    Spoke,
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buffer),
            Self::Unix(unix) => Pin::new(unix).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
            Self::Unix(unix) => Pin::new(unix).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write_vectored(cx, slices),
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, slices),
            Self::Unix(unix) => Pin::new(unix).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
            Self::Unix(unix) => Pin::new(unix).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
            Self::Unix(unix) => Pin::new(unix).poll_shutdown(cx),
        }
    }
}

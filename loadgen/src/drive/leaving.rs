//! The TCP connection of a device that may leave without a goodbye.
//!
//! Whatever is above says its goodbye when it is shut down: TLS a close_notify, HTTP/2 a GOAWAY. A device that leaves by FIN or
//! RST says none of it, so from then on nothing that is written gets out.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::observed::Observation;
use crate::plan::Close;

/// The TCP connection.
#[derive(Debug)]
pub(crate) struct Leaving {
    stream: TcpStream,
    observation: Rc<Observation>,
}

impl Leaving {
    pub(crate) fn new(stream: TcpStream, observation: Rc<Observation>) -> Leaving {
        Leaving {
            stream,
            observation,
        }
    }

    fn is_silent(&self) -> bool {
        self.observation.leaves.get() != Close::Notify
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if self.observation.leaves.get() == Close::Reset {
            // Zero linger: closing sends RST. If it fails the server sees an ordinary close.
            let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        }
    }
}

impl AsyncRead for Leaving {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Leaving {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_silent() {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.observation.leaves.get() == Close::Reset {
            // A FIN would go before the RST.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_silent() {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

//! A stream that counts the bytes which it carries, below TLS: what a connection costs a device that pays for its traffic.
//!
//! It counts what the application hands to TCP and takes from it. Headers of TCP and IP, retransmissions and the packets that
//! open and close a connection are the kernel's, and not seen here.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::observed::Observation;

/// The stream of one connection.
#[derive(Debug)]
pub(crate) struct Counted<S> {
    stream: S,
    observation: Rc<Observation>,
}

impl<S> Counted<S> {
    pub(crate) fn new(stream: S, observation: Rc<Observation>) -> Counted<S> {
        Counted {
            stream,
            observation,
        }
    }

    fn sent(&self, result: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = result {
            add(&self.observation.bytes_sent, *bytes);
        }
    }
}

fn add(counter: &std::cell::Cell<u64>, bytes: usize) {
    counter.set(counter.get() + bytes as u64);
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        add(
            &self.observation.bytes_received,
            buffer.filled().len() - filled,
        );
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.sent(&result);
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
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
        self.sent(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::fleet::ticket::TicketSlot;

    #[tokio::test]
    async fn what_passes_is_counted_until_the_next_attempt_begins() {
        let observation = Observation::new(Arc::new(TicketSlot::default()));
        let counts = || {
            (
                observation.bytes_sent.get(),
                observation.bytes_received.get(),
            )
        };
        // So narrow that writes are cut.
        let (near, mut far) = tokio::io::duplex(7);
        let mut near = Counted::new(near, Rc::clone(&observation));
        let device = async {
            near.write_all(&[0; 100]).await.unwrap();
            let slices = [io::IoSlice::new(&[0; 3]), io::IoSlice::new(&[0; 2])];
            let written = near.write_vectored(&slices).await.unwrap() as u64;
            near.shutdown().await.unwrap();
            let mut answer = Vec::new();
            near.read_to_end(&mut answer).await.unwrap();
            assert_eq!(answer.len(), 40);
            assert_eq!(counts(), (100 + written, 40));
        };
        let server = async {
            let mut request = Vec::new();
            far.read_to_end(&mut request).await.unwrap();
            far.write_all(&[0; 40]).await.unwrap();
            far.shutdown().await.unwrap();
            request.len() as u64
        };
        let ((), arrived) = tokio::join!(device, server);
        assert_eq!(counts(), (arrived, 40));
        observation.begin();
        assert_eq!(counts(), (0, 0));
    }
}

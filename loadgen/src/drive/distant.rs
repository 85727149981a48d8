//! A stream whose other end is as far away as the plan says.
//!
//! The whole round trip is put where bytes arrive: what the server sends can be read only so long after it has come, and
//! what the device sends leaves at once. To the server that is the same as half of it each way: it hears the device's
//! reaction to each of its flights one round trip later. Neither loss nor a limit of the rate is simulated, and packets
//! that are the kernel's own business (acknowledgements) do not travel.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// Bytes that may be on their way to the device; as with a real window, what is more waits at the server.
const WINDOW: usize = 256 * 1024;
/// Bytes that are taken from the network at a time.
const CHUNK: usize = 16 * 1024;

/// The stream of one connection.
#[derive(Debug)]
pub(crate) struct Distant<S> {
    stream: S,
    /// `None` where the device is here.
    way: Option<Box<Way>>,
}

/// What is on its way to the device.
#[derive(Debug)]
struct Way {
    round_trip: Duration,
    /// In the order in which they came.
    flights: VecDeque<Flight>,
    bytes: usize,
    /// The server has said its last.
    over: bool,
    timer: Pin<Box<Sleep>>,
}

#[derive(Debug)]
struct Flight {
    due: Instant,
    /// Empty for the end of the stream.
    what: io::Result<Bytes>,
}

impl<S> Distant<S> {
    /// Puts `round_trip` between the device and the other end of `stream`.
    pub(crate) fn new(stream: S, round_trip: Duration) -> Distant<S> {
        let way = (!round_trip.is_zero()).then(|| {
            Box::new(Way {
                round_trip,
                flights: VecDeque::new(),
                bytes: 0,
                over: false,
                timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            })
        });
        Distant { stream, way }
    }
}

impl Way {
    /// Notes everything that has come from the network by now; if nothing ended it, the network will wake the task.
    fn take_in<S: AsyncRead + Unpin>(&mut self, stream: &mut S, context: &mut Context<'_>) {
        let mut chunk = [0; CHUNK];
        while !self.over && self.bytes < WINDOW {
            let mut buffer = ReadBuf::new(&mut chunk);
            let what = match Pin::new(&mut *stream).poll_read(context, &mut buffer) {
                Poll::Pending => return,
                Poll::Ready(Ok(())) => Ok(Bytes::copy_from_slice(buffer.filled())),
                Poll::Ready(Err(error)) => Err(error),
            };
            let length = what.as_ref().map_or(0, Bytes::len);
            self.over = length == 0;
            self.bytes += length;
            self.flights.push_back(Flight {
                due: Instant::now() + self.round_trip,
                what,
            });
        }
    }

    /// Hands out what has arrived at the device.
    fn give_out(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let Some(first) = self.flights.front_mut() else {
                return Poll::Pending;
            };
            if first.due > Instant::now() {
                self.timer.as_mut().reset(first.due.into());
                ready!(self.timer.as_mut().poll(context));
                continue;
            }
            let Ok(bytes) = &mut first.what else {
                let failed = self.flights.pop_front().map(|flight| flight.what);
                return Poll::Ready(failed.unwrap_or(Ok(Bytes::new())).map(drop));
            };
            let length = bytes.len().min(buffer.remaining());
            buffer.put_slice(&bytes.split_to(length));
            // The end stays: whoever asks again is told again.
            if !bytes.has_remaining() && length > 0 {
                self.flights.pop_front();
            }
            self.bytes -= length;
            return Poll::Ready(Ok(()));
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Distant<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let Some(way) = &mut this.way else {
            return Pin::new(&mut this.stream).poll_read(context, buffer);
        };
        way.take_in(&mut this.stream, context);
        way.give_out(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Distant<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
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
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const FAR: Duration = Duration::from_millis(40);

    #[tokio::test]
    async fn each_flight_is_read_a_round_trip_after_it_came() {
        let (near, mut far) = tokio::io::duplex(1024);
        let mut near = Distant::new(near, FAR);
        let began = Instant::now();
        far.write_all(b"flight").await.unwrap();
        let mut read = [0; 3];
        for part in [b"fli", b"ght"] {
            near.read_exact(&mut read).await.unwrap();
            assert_eq!(&read, part);
            assert!(began.elapsed() >= FAR);
        }
        // What the device sends is not held up.
        near.write_all(b"answer").await.unwrap();
        let mut answer = [0; 6];
        far.read_exact(&mut answer).await.unwrap();
        let again = Instant::now();
        drop(far);
        assert_eq!(near.read(&mut read).await.unwrap(), 0);
        assert!(again.elapsed() >= FAR);
        assert_eq!(near.read(&mut read).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn nothing_is_lost_of_more_than_a_window() {
        let (near, mut far) = tokio::io::duplex(64 * 1024);
        let mut near = Distant::new(near, Duration::from_millis(1));
        let sent: Vec<u8> = (0..3 * WINDOW).map(|index| index as u8).collect();
        let copy = sent.clone();
        let writer = tokio::spawn(async move {
            far.write_all(&copy).await.unwrap();
        });
        let mut received = Vec::new();
        near.read_to_end(&mut received).await.unwrap();
        writer.await.unwrap();
        assert!(received == sent);
    }

    #[tokio::test]
    async fn a_device_that_is_here_reads_at_once() {
        let (near, mut far) = tokio::io::duplex(64);
        let mut near = Distant::new(near, Duration::ZERO);
        assert!(near.way.is_none());
        far.write_all(b"x").await.unwrap();
        assert_eq!(near.read_u8().await.unwrap(), b'x');
    }
}

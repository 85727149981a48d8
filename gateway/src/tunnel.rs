//! Bytes both ways between a device and an upstream, until both have said that they are done.
//!
//! A tunnel that is quiet holds no buffers: what arrives goes through one buffer of the thread, and only what the other
//! side does not take at once is kept, during which nothing more is read. Each direction ends on its own (half-close). It
//! reads nothing into the bytes, and decides nothing about who may have a tunnel.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::authorize::Denied;
use crate::clock;
use crate::live::Place;
use crate::tls::stream::TlsStream;

/// What is read at once: a TLS record.
const PIECE: usize = 16 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; PIECE]);
}

/// How a tunnel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Both sides said that they were done.
    Closed,
    /// Nothing moved for too long.
    Idle,
    /// The device is not to be served any more.
    Denied(Denied),
    /// The device's side broke.
    Device,
    /// The upstream's side broke.
    Upstream,
}

impl End {
    /// The metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Idle => "idle",
            Self::Denied(_) => "denied",
            Self::Device => "device_broke",
            Self::Upstream => "upstream_broke",
        }
    }
}

/// What moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// Bytes from the device to the upstream.
    pub to_upstream: u64,
    /// Bytes from the upstream to the device.
    pub to_device: u64,
}

/// Joins `device` and `upstream`. `ahead` was read from the upstream already and goes to the device first. Where the end is
/// not [`End::Closed`], the side that is still there sees a connection that breaks off, not one that ends in order.
pub(crate) async fn join<U: AsyncRead + AsyncWrite + Unpin>(
    device: TlsStream,
    mut upstream: U,
    ahead: Vec<u8>,
    place: &Place,
    idle_timeout: Duration,
) -> (End, Moved) {
    let mut device = TokioIo::new(device);
    let mut up = Direction::new(Vec::new());
    let mut down = Direction::new(ahead);
    let mut idle = Idle::new(idle_timeout);
    let end = std::future::poll_fn(|cx| {
        if let Poll::Ready(denied) = place.poll_denied(cx) {
            return Poll::Ready(End::Denied(denied));
        }
        let before = (up.moved, down.moved);
        let ended = match up.poll(cx, &mut device, &mut upstream) {
            Poll::Ready(Err(side)) => return Poll::Ready(side.end(End::Device, End::Upstream)),
            polled => polled.is_ready(),
        };
        let ended = match down.poll(cx, &mut upstream, &mut device) {
            Poll::Ready(Err(side)) => return Poll::Ready(side.end(End::Upstream, End::Device)),
            polled => polled.is_ready() && ended,
        };
        if ended {
            return Poll::Ready(End::Closed);
        }
        idle.poll(cx, before != (up.moved, down.moved))
            .map(|()| End::Idle)
    })
    .await;
    let moved = Moved {
        to_upstream: up.moved,
        to_device: down.moved,
    };
    (end, moved)
}

/// Which end of a direction broke.
#[derive(Debug, Clone, Copy)]
enum Side {
    Source,
    Sink,
}

impl Side {
    fn end(self, source: End, sink: End) -> End {
        match self {
            Self::Source => source,
            Self::Sink => sink,
        }
    }
}

/// How far a direction has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Open,
    /// The source has ended; the sink is to be told.
    Ending,
    Ended,
}

/// One direction.
struct Direction {
    flow: Flow,
    /// What the sink did not take, from `sent` on.
    kept: Vec<u8>,
    sent: usize,
    moved: u64,
}

impl Direction {
    fn new(kept: Vec<u8>) -> Self {
        Self {
            flow: Flow::Open,
            kept,
            sent: 0,
            moved: 0,
        }
    }

    /// Moves what can be moved; ready when the source has ended and the sink knows it.
    fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut R,
        sink: &mut W,
    ) -> Poll<Result<(), Side>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            ready!(self.poll_kept(cx, sink)).map_err(|_| Side::Sink)?;
            match self.flow {
                Flow::Ended => return Poll::Ready(Ok(())),
                Flow::Ending => {
                    ready!(Pin::new(&mut *sink).poll_flush(cx)).map_err(|_| Side::Sink)?;
                    ready!(Pin::new(&mut *sink).poll_shutdown(cx)).map_err(|_| Side::Sink)?;
                    self.flow = Flow::Ended;
                }
                Flow::Open => match self.poll_piece(cx, source, sink) {
                    Poll::Ready(Ok(0)) => self.flow = Flow::Ending,
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(side)) => return Poll::Ready(Err(side)),
                    Poll::Pending => {
                        // Nothing more for now: what was written must not wait for it.
                        let flushed = Pin::new(&mut *sink).poll_flush(cx);
                        return match flushed {
                            Poll::Ready(Err(_)) => Poll::Ready(Err(Side::Sink)),
                            _ => Poll::Pending,
                        };
                    }
                },
            }
        }
    }

    /// Sends what was kept.
    fn poll_kept<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut W,
    ) -> Poll<io::Result<()>> {
        while let Some(rest) = self.kept.get(self.sent..).filter(|rest| !rest.is_empty()) {
            let written = ready!(Pin::new(&mut *sink).poll_write(cx, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written;
            self.moved += written as u64;
        }
        self.kept = Vec::new();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    /// Reads a piece and writes as much of it as the sink takes. 0 is the end of the source.
    fn poll_piece<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut R,
        sink: &mut W,
    ) -> Poll<Result<usize, Side>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(&mut *source).poll_read(cx, &mut buffer)).map_err(|_| Side::Source)?;
            let piece = buffer.filled();
            if !piece.is_empty() {
                let written = match Pin::new(&mut *sink).poll_write(cx, piece) {
                    Poll::Ready(written) => written.map_err(|_| Side::Sink)?,
                    Poll::Pending => 0,
                };
                self.moved += written as u64;
                self.kept = piece.get(written..).unwrap_or_default().to_vec();
            }
            Poll::Ready(Ok(piece.len()))
        })
    }
}

/// The time since anything moved, with a timer that is touched rarely.
struct Idle {
    timeout: Duration,
    moved_at: Instant,
    timer: Pin<Box<tokio::time::Sleep>>,
}

impl Idle {
    fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            moved_at: clock::now(),
            timer: Box::pin(tokio::time::sleep(timeout)),
        }
    }

    /// Ready when nothing has moved for too long.
    fn poll(&mut self, cx: &mut Context<'_>, moved: bool) -> Poll<()> {
        if moved {
            self.moved_at = clock::now();
        }
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let due = self.moved_at + self.timeout;
            if clock::now() >= due {
                return Poll::Ready(());
            }
            self.timer
                .as_mut()
                .reset(tokio::time::Instant::from_std(due));
        }
    }
}

//! A request on its way out: its head, then its body as fast as the upstream takes it and no faster.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::Request;
use http::request::Parts;
use http_body::{Body as _, Frame};
use tokio::io::AsyncWrite as _;

use crate::forward::body::{RequestBody, UploadState};
use crate::upstream::Left;
use crate::upstream::http1::request::{self, Framing};
use crate::upstream::stream::Stream;

/// Pieces up to this size are copied behind what is to be written before them; larger ones are written from where they are.
const COPIED: usize = 4 * 1024;

/// How much is gathered before it is written.
const GATHERED: usize = 16 * 1024;

/// A request that is being sent.
pub(super) struct Upload {
    /// The head, and what of the body was read ahead: until the first byte of it is written, and without a body until there is
    /// a response.
    kept: Option<(Parts, Option<Frame<Bytes>>)>,
    /// Whether any byte of it was written.
    sent: bool,
    has_body: bool,
    /// What is still to come from the device.
    body: RequestBody,
    framing: Framing,
    left: u64,
    /// To be written, in this order.
    out: Vec<u8>,
    written: usize,
    piece: Bytes,
    tail: &'static [u8],
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    Complete,
    Failed,
}

/// Why an upload ended before its end.
pub(super) enum Stop {
    /// The upstream takes no more. It may have answered all the same.
    Write(io::Error),
    /// The device gave no more, or too much.
    Body(Box<dyn std::error::Error + Send + Sync>),
}

impl Upload {
    /// The upload of `request`, written by way of the buffer `out`.
    pub(super) fn new(request: Request<RequestBody>, mut out: Vec<u8>) -> Self {
        let framing = Framing::of(&request);
        out.clear();
        request::encode(&request, framing, &mut out);
        let (parts, body) = request.into_parts();
        Self {
            kept: Some((parts, None)),
            sent: false,
            has_body: framing != Framing::None,
            body,
            framing,
            left: match framing {
                Framing::Length(length) => length,
                Framing::None | Framing::Chunked => 0,
            },
            out,
            written: 0,
            piece: Bytes::new(),
            tail: b"",
            state: State::Running,
        }
    }

    /// Whether there is nothing more to be done.
    pub(super) fn is_over(&self) -> bool {
        self.state != State::Running
    }

    /// Whether nothing of the request was written.
    pub(super) fn is_unsent(&self) -> bool {
        !self.sent
    }

    /// Whether the request was sent whole.
    pub(super) fn is_complete(&self) -> bool {
        self.state == State::Complete
    }

    /// What became of the body so far.
    pub(super) fn progress(&self) -> Option<&UploadState> {
        self.body.state()
    }

    /// What is left of the request, of which there is no response.
    pub(super) fn into_left(self) -> Left<Request<RequestBody>> {
        let Some((parts, ahead)) = self.kept else {
            return Left::Nothing;
        };
        let mut body = self.body;
        if let Some(frame) = ahead {
            body.put_back(frame);
        }
        let request = Request::from_parts(parts, body);
        match self.sent {
            true => Left::Sent(request),
            false => Left::Unsent(request),
        }
    }

    /// There is a response: the request is not wanted back.
    pub(super) fn answered(&mut self) {
        self.kept = None;
    }

    /// The buffer, for the next request.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.out
    }

    /// Sends what there is.
    pub(super) fn poll(&mut self, io: &mut Stream, cx: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        let polled = self.poll_running(io, cx);
        match &polled {
            Poll::Ready(Ok(())) => self.state = State::Complete,
            Poll::Ready(Err(_)) => self.state = State::Failed,
            Poll::Pending => {}
        }
        polled
    }

    fn poll_running(&mut self, io: &mut Stream, cx: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        loop {
            let gathered = self.gather(cx).map_err(Stop::Body)?;
            ready!(self.poll_write(io, cx)).map_err(Stop::Write)?;
            match gathered {
                Gathered::Enough => {}
                Gathered::Everything => return Poll::Ready(Ok(())),
                Gathered::Waits => return Poll::Pending,
            }
        }
    }

    /// Takes from the body what is there, as far as it is worth a write.
    fn gather(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Result<Gathered, Box<dyn std::error::Error + Send + Sync>> {
        loop {
            if !self.piece.is_empty() || self.out.len() >= GATHERED {
                return Ok(Gathered::Enough);
            }
            if self.framing == Framing::None {
                return Ok(Gathered::Everything);
            }
            // One frame can be put back.
            if matches!(self.kept, Some((_, Some(_)))) {
                return Ok(Gathered::Enough);
            }
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return Ok(Gathered::Waits),
                Poll::Ready(frame) => frame.transpose()?,
            };
            if let (Some((_, ahead)), Some(frame)) = (&mut self.kept, &frame) {
                *ahead = Some(copy(frame));
            }
            let trailers = match frame.map(Frame::into_data) {
                Some(Ok(data)) => {
                    self.append(data)?;
                    continue;
                }
                Some(Err(frame)) => frame.into_trailers().ok(),
                None => None,
            };
            match self.framing {
                Framing::Chunked => request::last_chunk(trailers.as_ref(), &mut self.out),
                _ if self.left > 0 => return Err("it is shorter than it said".into()),
                _ => {}
            }
            self.framing = Framing::None;
        }
    }

    fn append(&mut self, data: Bytes) -> Result<(), &'static str> {
        if data.is_empty() {
            return Ok(());
        }
        if let Framing::Length(_) = self.framing {
            let left = self.left.checked_sub(data.len() as u64);
            self.left = left.ok_or("it is longer than it said")?;
            if self.left == 0 {
                self.framing = Framing::None;
            }
        } else {
            request::chunk_size(data.len(), &mut self.out);
            self.tail = b"\r\n";
        }
        if data.len() > COPIED {
            self.piece = data;
        } else {
            self.out.extend_from_slice(&data);
            self.out.extend_from_slice(self.tail);
            self.tail = b"";
        }
        Ok(())
    }

    fn poll_write(&mut self, io: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut io = Pin::new(io);
        loop {
            let out = self.out.get(self.written..).unwrap_or_default();
            let written = if self.piece.is_empty() && self.tail.is_empty() {
                if out.is_empty() {
                    break;
                }
                ready!(io.as_mut().poll_write(cx, out))?
            } else {
                let slices = [out, &self.piece, self.tail].map(IoSlice::new);
                ready!(io.as_mut().poll_write_vectored(cx, &slices))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent = true;
            if self.has_body {
                self.kept = None;
            }
            self.advance(written);
        }
        self.out.clear();
        self.written = 0;
        io.poll_flush(cx)
    }

    fn advance(&mut self, written: usize) {
        let of_out = written.min(self.out.len() - self.written);
        let of_piece = (written - of_out).min(self.piece.len());
        let of_tail = (written - of_out - of_piece).min(self.tail.len());
        self.written += of_out;
        self.piece.advance(of_piece);
        self.tail = self.tail.get(of_tail..).unwrap_or_default();
    }
}

enum Gathered {
    /// Worth a write.
    Enough,
    /// There is no more.
    Everything,
    /// The device is to send more.
    Waits,
}

fn copy(frame: &Frame<Bytes>) -> Frame<Bytes> {
    match (frame.data_ref(), frame.trailers_ref()) {
        (Some(data), _) => Frame::data(data.clone()),
        (None, trailers) => Frame::trailers(trailers.cloned().unwrap_or_default()),
    }
}

//! A response's body on its way in. It reads no further ahead than a buffer, and keeps the rest of the request going.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::upstream::http1::Exchange;
use crate::upstream::http1::chunked::{Chunked, Piece};
use crate::upstream::http1::response::Framing;
use crate::upstream::{Fault, UpstreamError};

/// A response's body that was not here whole when its head was.
pub(in crate::upstream) struct Download {
    /// `None` when the body is over.
    exchange: Option<Exchange>,
    decoder: Decoder,
    keep_alive: bool,
    /// What went wrong, until it is said.
    failure: Option<UpstreamError>,
}

/// What tells the end.
enum Decoder {
    Length(u64),
    Chunked(Chunked),
    Close,
}

impl Download {
    pub(super) fn new(exchange: Exchange, framing: Framing, keep_alive: bool) -> Self {
        Self {
            exchange: Some(exchange),
            decoder: match framing {
                Framing::Length(length) => Decoder::Length(length),
                Framing::Chunked => Decoder::Chunked(Chunked::default()),
                Framing::Close | Framing::Upgrade => Decoder::Close,
            },
            keep_alive,
            failure: None,
        }
    }

    pub(in crate::upstream) fn is_over(&self) -> bool {
        self.exchange.is_none() && self.failure.is_none()
    }

    pub(in crate::upstream) fn size_hint(&self) -> SizeHint {
        match self.decoder {
            Decoder::Length(left) => SizeHint::with_exact(left),
            Decoder::Chunked(_) | Decoder::Close => SizeHint::default(),
        }
    }

    pub(in crate::upstream) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        let Some(exchange) = &mut self.exchange else {
            return Poll::Ready(self.failure.take().map(Err));
        };
        // Where it fails, the response may still come whole; the connection is not used again.
        let _ = exchange.poll_upload(cx);
        loop {
            match self.decoder.take(exchange) {
                Ok(Some(Piece::Data(data))) => {
                    if matches!(self.decoder, Decoder::Length(0)) {
                        self.end();
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Ok(Some(Piece::End(trailers))) => {
                    self.end();
                    return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
                }
                Ok(None) => {}
                Err(fault) => return self.fail(fault, cx),
            }
            match ready!(exchange.connection.poll_read(cx)) {
                Ok(1..) => {}
                Ok(0) if matches!(self.decoder, Decoder::Close) => {
                    self.end();
                    return Poll::Ready(None);
                }
                end => return self.fail(Fault::ClosedInBody(end.err()), cx),
            }
        }
    }

    fn end(&mut self) {
        if let Some(exchange) = self.exchange.take() {
            exchange.release(self.keep_alive, None);
        }
    }

    /// Ends the body with `fault`, but says so only in the next turn: what came before is written to the device until then, and
    /// a reset would overtake it.
    fn fail(
        &mut self,
        fault: Fault,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        let error = UpstreamError::Broken(fault);
        if let Some(exchange) = self.exchange.take() {
            exchange.pool.failed(&error);
        }
        self.failure = Some(error);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Decoder {
    /// The next piece of what was read; `None` where more has to be read first.
    fn take(&mut self, exchange: &mut Exchange) -> Result<Option<Piece>, Fault> {
        let input = &mut exchange.connection.input;
        match self {
            Self::Chunked(chunked) => chunked.take(input),
            Self::Length(0) => Ok(Some(Piece::End(None))),
            _ if input.is_empty() => Ok(None),
            Self::Close => Ok(Some(Piece::Data(input.split().freeze()))),
            Self::Length(left) => {
                let count =
                    usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                *left -= count as u64;
                Ok(Some(Piece::Data(input.split_to(count).freeze())))
            }
        }
    }
}

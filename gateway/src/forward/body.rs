//! Bodies on their way through: streamed frame by frame with the back-pressure of the slower side, never held whole.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::clock;
use crate::forward::Exchange;
use crate::upstream::pool::Lease;

/// A request body on its way to an upstream, cut off where it passes the limit.
pub struct RequestBody {
    inner: Incoming,
    left: u64,
    state: Rc<UploadState>,
    /// Keeps the exchange going until the body has come.
    exchange: Option<Rc<Exchange>>,
}

/// What became of a request's body, as the one who waits for the response sees it.
#[derive(Debug, Default)]
pub struct UploadState {
    progress: Cell<Option<Instant>>,
    complete: Cell<bool>,
    too_large: Cell<bool>,
    awaited: Cell<bool>,
}

impl UploadState {
    /// Whether the whole body was passed on.
    pub fn is_complete(&self) -> bool {
        self.complete.get()
    }

    /// Whether it is the device that the upstream waits for, to send more of the body.
    pub fn is_awaited(&self) -> bool {
        self.awaited.get()
    }

    /// Whether the body was cut off because it passed the limit.
    pub fn is_too_large(&self) -> bool {
        self.too_large.get()
    }
}

/// The request body passed its limit.
#[derive(Debug, thiserror::Error)]
#[error("the request body is larger than the limit")]
pub struct TooLarge;

impl RequestBody {
    /// A body of at most `limit` bytes, of the request that `exchange` answers.
    pub fn new(inner: Incoming, limit: Option<u64>, exchange: &Rc<Exchange>) -> Self {
        let state = Rc::new(UploadState::default());
        state.complete.set(inner.is_end_stream());
        Self {
            exchange: (!inner.is_end_stream()).then(|| Rc::clone(exchange)),
            inner,
            left: limit.unwrap_or(u64::MAX),
            state,
        }
    }

    /// What becomes of it.
    pub fn state(&self) -> Rc<UploadState> {
        Rc::clone(&self.state)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(exchange) = &self.exchange
            && !self.state.is_complete()
        {
            exchange.origin.activity.leave_unread();
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        this.state.awaited.set(polled.is_pending());
        let Some(frame) = ready!(polled) else {
            this.state.complete.set(true);
            return Poll::Ready(None);
        };
        let frame = frame?;
        this.state.progress.set(Some(clock::now()));
        let length = frame.data_ref().map_or(0, Buf::remaining) as u64;
        if let Some(exchange) = &this.exchange {
            exchange.received.set(exchange.received.get() + length);
        }
        match this.left.checked_sub(length) {
            Some(left) => this.left = left,
            None => {
                this.state.too_large.set(true);
                return Poll::Ready(Some(Err(TooLarge.into())));
            }
        }
        this.state.complete.set(this.inner.is_end_stream());
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl UploadState {
    /// When the body moved last.
    pub fn progress(&self) -> Option<Instant> {
        self.progress.get()
    }
}

/// A response body on its way to a device: an upstream's, or a short text of the gateway's own.
pub struct ResponseBody {
    source: Source,
    /// Ends the exchange when the body is dropped, whichever way it ended.
    exchange: Rc<Exchange>,
}

enum Source {
    Upstream {
        body: Incoming,
        lease: Option<Lease>,
        upload: Rc<UploadState>,
    },
    Text(Option<Bytes>),
}

impl ResponseBody {
    pub(super) fn upstream(
        body: Incoming,
        lease: Lease,
        upload: Rc<UploadState>,
        exchange: Rc<Exchange>,
    ) -> Self {
        let mut source = Source::Upstream {
            body,
            lease: Some(lease),
            upload,
        };
        source.give_back_when_done();
        Self { source, exchange }
    }

    pub(super) fn text(text: &'static str, exchange: Rc<Exchange>) -> Self {
        Self {
            source: Source::Text(Some(Bytes::from_static(text.as_bytes()))),
            exchange,
        }
    }
}

impl Source {
    fn give_back_when_done(&mut self) {
        if let Self::Upstream {
            body,
            lease,
            upload,
        } = self
            && body.is_end_stream()
            && upload.is_complete()
            && let Some(lease) = lease.take()
        {
            lease.give_back();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let frame = match &mut this.source {
            Source::Text(text) => {
                let text = text.take();
                let length = text.as_ref().map_or(0, Bytes::len) as u64;
                this.exchange.sent.set(length + this.exchange.sent.get());
                return Poll::Ready(text.map(|text| Ok(Frame::data(text))));
            }
            Source::Upstream { body, .. } => ready!(Pin::new(body).poll_frame(cx)),
        };
        match &frame {
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, Buf::remaining) as u64;
                let sent = &this.exchange.sent;
                sent.set(sent.get() + length);
                this.source.give_back_when_done();
            }
            // The end of a chunked body is known only here.
            None => {
                if let Source::Upstream { lease, upload, .. } = &mut this.source
                    && upload.is_complete()
                    && let Some(lease) = lease.take()
                {
                    lease.give_back();
                }
            }
            Some(Err(_)) => {
                if let Some(observed) = this.exchange.observed.get() {
                    observed.failed("broken_off");
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Upstream { body, .. } => body.is_end_stream(),
            Source::Text(text) => text.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Upstream { body, .. } => body.size_hint(),
            Source::Text(text) => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
        }
    }
}

//! Bodies on their way through: streamed frame by frame with the back-pressure of the slower side, never held whole.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::clock;
use crate::forward::Exchange;
use crate::limits::pace::Pace;
use crate::upstream::pool::Lease;

/// A request body on its way to an upstream, cut off where it passes the limit.
pub struct RequestBody {
    inner: Incoming,
    left: u64,
    pace: Option<Box<Pace>>,
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
    response_timeout: Cell<Option<Duration>>,
}

impl UploadState {
    /// Whether the whole body was passed on.
    pub fn is_complete(&self) -> bool {
        self.complete.get()
    }

    /// How long the response may take, where its route says so.
    pub fn response_timeout(&self) -> Option<Duration> {
        self.response_timeout.get()
    }

    /// Says how long the response may take.
    pub fn set_response_timeout(&self, timeout: Option<Duration>) {
        self.response_timeout.set(timeout);
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
            pace: exchange.pace(),
            state,
        }
    }

    /// Changes the limit before anything has come.
    pub fn limit_to(&mut self, limit: Option<u64>) {
        self.left = limit.unwrap_or(u64::MAX);
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
        if let Some(pace) = &mut this.pace
            && pace.poll_ready(cx).is_pending()
        {
            // It is not the upstream that takes its time.
            this.state.awaited.set(true);
            return Poll::Pending;
        }
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
            exchange.origin.activity.body_moved(length as usize);
        }
        if let Some(pace) = &mut this.pace {
            pace.moved(length);
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
    pace: Option<Box<Pace>>,
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
        Self {
            source,
            pace: exchange.pace(),
            exchange,
        }
    }

    pub(super) fn text(text: &'static str, exchange: Rc<Exchange>) -> Self {
        Self {
            source: Source::Text(Some(Bytes::from_static(text.as_bytes()))),
            pace: None,
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
        if let Some(pace) = &mut this.pace {
            ready!(pace.poll_ready(cx));
        }
        let frame = match &mut this.source {
            Source::Text(text) => {
                return Poll::Ready(text.take().map(|text| Ok(Frame::data(text))));
            }
            Source::Upstream { body, .. } => ready!(Pin::new(body).poll_frame(cx)),
        };
        if let (Some(pace), Some(Ok(frame))) = (&mut this.pace, &frame) {
            pace.moved(frame.data_ref().map_or(0, Buf::remaining) as u64);
        }
        match &frame {
            Some(Ok(_)) => {
                this.exchange.origin.activity.body_moved(0);
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
            Some(Err(_)) => {}
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

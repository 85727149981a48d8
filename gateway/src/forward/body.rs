//! Bodies on their way through: streamed frame by frame with the back-pressure of the slower side, never held whole.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::clock;
use crate::forward::Exchange;
use crate::headers;
use crate::headers::token::Signer;
use crate::limits::pace::Pace;
use crate::upstream::UpstreamError;
use crate::upstream::body::UpstreamBody;

/// A request body on its way to an upstream, cut off where it passes the limit.
pub struct RequestBody {
    /// What the device sends; `None` is nothing.
    inner: Option<Incoming>,
    /// A frame that was taken and given back.
    unread: Option<Frame<Bytes>>,
    left: u64,
    /// `None` where there is no body.
    ongoing: Option<Ongoing>,
}

/// What a body has to do with that comes in pieces.
struct Ongoing {
    /// Bounds how fast it moves.
    pace: Option<Box<Pace>>,
    state: Rc<UploadState>,
    /// Keeps the exchange going until the body has come.
    exchange: Rc<Exchange>,
    /// Whose field must not be in the trailers either.
    signer: Option<Arc<Signer>>,
}

/// How long the response to a request may take, where its route says so.
#[derive(Debug, Clone, Copy)]
pub struct ResponseTimeout(pub Duration);

/// Marks a request whose device takes trailers in the response (RFC 9110, 6.5.1), which hop-by-hop fields say.
#[derive(Debug, Clone, Copy)]
pub struct AcceptsTrailers;

/// What became of a request's body, as the one who waits for the response sees it.
#[derive(Debug, Default)]
pub struct UploadState {
    progress: Cell<Option<Instant>>,
    complete: Cell<bool>,
    too_large: Cell<bool>,
    awaited: Cell<bool>,
}

impl UploadState {
    /// Whether the body was cut off because it passed the limit.
    pub fn is_too_large(&self) -> bool {
        self.too_large.get()
    }

    /// Since when the upstream is waited for, if that is later than `since`: the time starts anew with every piece of the
    /// body, and does not run while the device is to send more of it. A device that stalls is its own connection's concern.
    pub fn waiting_since(&self, since: Instant) -> Option<Instant> {
        match self.progress.get() {
            Some(last) if last > since => Some(last),
            _ if self.awaited.get() => Some(clock::now()),
            _ => None,
        }
    }
}

/// The request body passed its limit.
#[derive(Debug, thiserror::Error)]
#[error("the request body is larger than the limit")]
pub struct TooLarge;

impl RequestBody {
    /// A body of at most `limit` bytes, of the request that `exchange` answers. Its trailers lose what only the gateway says,
    /// `signer`'s field too.
    pub fn new(
        inner: Incoming,
        limit: Option<u64>,
        exchange: &Rc<Exchange>,
        signer: Option<&Arc<Signer>>,
    ) -> Self {
        if inner.is_end_stream() {
            return Self::empty();
        }
        Self {
            inner: Some(inner),
            unread: None,
            left: limit.unwrap_or(u64::MAX),
            ongoing: Some(Ongoing {
                state: Rc::default(),
                exchange: Rc::clone(exchange),
                signer: signer.cloned(),
                pace: exchange.pace(),
            }),
        }
    }

    /// No body.
    pub fn empty() -> Self {
        Self {
            inner: None,
            unread: None,
            left: 0,
            ongoing: None,
        }
    }

    /// What became of it so far; `None` where there is none.
    pub fn state(&self) -> Option<&UploadState> {
        self.ongoing.as_ref().map(|ongoing| &*ongoing.state)
    }

    /// What becomes of it, for one who gives it away.
    pub fn shared_state(&self) -> Option<Rc<UploadState>> {
        self.ongoing
            .as_ref()
            .map(|ongoing| Rc::clone(&ongoing.state))
    }

    /// Gives back the frame that was taken last, so that it is taken again. One at a time.
    pub fn put_back(&mut self, frame: Frame<Bytes>) {
        self.unread = Some(frame);
    }

    /// Changes the limit before anything has come.
    pub fn limit_to(&mut self, limit: Option<u64>) {
        self.left = limit.unwrap_or(u64::MAX);
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(ongoing) = &self.ongoing
            && !ongoing.state.complete.get()
        {
            ongoing.exchange.origin.activity.leave_unread();
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
        if let Some(frame) = this.unread.take() {
            return Poll::Ready(Some(Ok(frame)));
        }
        let (Some(inner), Some(ongoing)) = (&mut this.inner, &mut this.ongoing) else {
            return Poll::Ready(None);
        };
        let state = &ongoing.state;
        if let Some(pace) = &mut ongoing.pace
            && pace.poll_ready(cx).is_pending()
        {
            // It is not the upstream that takes its time.
            state.awaited.set(true);
            return Poll::Pending;
        }
        let polled = Pin::new(&mut *inner).poll_frame(cx);
        state.awaited.set(polled.is_pending());
        let Some(frame) = ready!(polled) else {
            state.complete.set(true);
            return Poll::Ready(None);
        };
        let mut frame = frame?;
        state.progress.set(Some(clock::now()));
        let length = frame.data_ref().map_or(0, Buf::remaining) as u64;
        ongoing.exchange.received(length);
        ongoing.exchange.origin.activity.body_moved(length as usize);
        if let Some(pace) = &mut ongoing.pace {
            pace.moved(length);
        }
        match this.left.checked_sub(length) {
            Some(left) => this.left = left,
            None => {
                state.too_large.set(true);
                return Poll::Ready(Some(Err(TooLarge.into())));
            }
        }
        if let Some(trailers) = frame.trailers_mut() {
            let signer = ongoing.signer.as_ref();
            let token = signer.map(|signer| &signer.settings().header);
            headers::rewrite_request_trailers(trailers, token);
        }
        state.complete.set(inner.is_end_stream());
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.unread.is_none() && self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let ahead = self.unread.as_ref().and_then(Frame::data_ref);
        let ahead = ahead.map_or(0, Bytes::len) as u64;
        let hint = self.inner.as_ref().map(Body::size_hint);
        match hint.map_or(Some(0), |hint| hint.exact()) {
            Some(exact) => SizeHint::with_exact(exact + ahead),
            None => SizeHint::default(),
        }
    }
}

/// A response body on its way to a device: an upstream's, or a short text of the gateway's own.
pub struct ResponseBody {
    source: Source,
    /// What is left of a piece that was too large for one frame.
    rest: Bytes,
    pace: Option<Box<Pace>>,
    /// Ends the exchange when the body is dropped, whichever way it ended.
    exchange: Rc<Exchange>,
}

enum Source {
    Upstream(UpstreamBody),
    Text(Option<Bytes>),
}

impl ResponseBody {
    pub(super) fn upstream(body: UpstreamBody, exchange: Rc<Exchange>) -> Self {
        Self {
            source: Source::Upstream(body),
            rest: Bytes::new(),
            pace: exchange.pace(),
            exchange,
        }
    }

    /// Nothing, as what follows is no body.
    pub(super) fn none(exchange: Rc<Exchange>) -> Self {
        Self {
            source: Source::Text(None),
            rest: Bytes::new(),
            pace: None,
            exchange,
        }
    }

    pub(super) fn text(text: &'static str, exchange: Rc<Exchange>) -> Self {
        Self {
            source: Source::Text(Some(Bytes::from_static(text.as_bytes()))),
            rest: Bytes::new(),
            pace: None,
            exchange,
        }
    }
}

impl ResponseBody {
    /// The next one of `rest`. With its header a frame of HTTP/2 then fills a TLS record, instead of one and a few bytes of
    /// another (RFC 9113, 4.1; RFC 8446, 5.1).
    fn piece(&mut self) -> Frame<Bytes> {
        const RECORD: usize = 16 * 1024;
        const FRAME_HEADER: usize = 9;
        let length = self.rest.len().min(RECORD - FRAME_HEADER);
        Frame::data(self.rest.split_to(length))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        let this = self.get_mut();
        if !this.rest.is_empty() {
            return Poll::Ready(Some(Ok(this.piece())));
        }
        if let Some(pace) = &mut this.pace {
            ready!(pace.poll_ready(cx));
        }
        match &mut this.source {
            Source::Upstream(body) => {
                let mut frame = ready!(Pin::new(body).poll_frame(cx));
                match &frame {
                    None => {}
                    Some(Ok(frame)) => {
                        this.exchange.origin.activity.body_moved(0);
                        let length = frame.data_ref().map_or(0, Buf::remaining);
                        this.exchange.sent(length as u64);
                    }
                    Some(Err(_)) => this.exchange.broke_off(),
                }
                if let Some(Ok(frame)) = &mut frame
                    && let Some(trailers) = frame.trailers_mut()
                {
                    headers::rewrite_response_trailers(trailers);
                }
                match frame.transpose()?.map(Frame::into_data) {
                    Some(Ok(data)) if this.exchange.origin.activity.is_multiplexed() => {
                        this.rest = data;
                        Poll::Ready(Some(Ok(this.piece())))
                    }
                    Some(Ok(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
                    Some(Err(trailers)) => Poll::Ready(Some(Ok(trailers))),
                    None => Poll::Ready(None),
                }
            }
            Source::Text(text) => {
                let text = text.take();
                let length = text.as_ref().map_or(0, Bytes::len);
                this.exchange.sent(length as u64);
                Poll::Ready(text.map(|text| Ok(Frame::data(text))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Upstream(body) => self.rest.is_empty() && body.is_end_stream(),
            Source::Text(text) => text.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Upstream(body) => {
                let (coming, rest) = (body.size_hint(), self.rest.len() as u64);
                let mut all = SizeHint::new();
                all.set_lower(coming.lower() + rest);
                if let Some(upper) = coming.upper() {
                    all.set_upper(upper + rest);
                }
                all
            }
            Source::Text(text) => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
        }
    }
}

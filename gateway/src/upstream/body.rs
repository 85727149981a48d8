//! A response's body as it comes from an upstream. When it is done its connection goes back to the pool.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::upstream::http1::{self, Download, Upgraded};
use crate::upstream::pool::Pool;
use crate::upstream::{Fault, UpstreamError, http2};

/// A response's body.
pub struct UpstreamBody(Kind);

enum Kind {
    /// All of it is here; the connection went back already.
    Whole(Bytes),
    Http1(Box<Download>),
    Http2 {
        body: Incoming,
        /// Until the body is done.
        ticket: Option<http2::Ticket>,
        pool: Rc<Pool>,
    },
    /// Another protocol follows.
    Upgraded(Box<http1::Connection>),
}

impl UpstreamBody {
    pub(super) fn whole(data: Bytes) -> Self {
        Self(Kind::Whole(data))
    }

    pub(super) fn http1(download: Download) -> Self {
        Self(Kind::Http1(Box::new(download)))
    }

    pub(super) fn http2(body: Incoming, ticket: http2::Ticket, pool: Rc<Pool>) -> Self {
        Self(Kind::Http2 {
            body,
            ticket: Some(ticket),
            pool,
        })
    }

    pub(super) fn upgraded(connection: Box<http1::Connection>) -> Self {
        Self(Kind::Upgraded(connection))
    }

    /// The connection behind a response with status 101; `None` behind any other.
    pub fn into_upgraded(self) -> Option<Upgraded> {
        match self.0 {
            Kind::Upgraded(connection) => Some(connection.into_upgraded()),
            _ => None,
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        match &mut self.get_mut().0 {
            Kind::Whole(data) if data.is_empty() => Poll::Ready(None),
            Kind::Whole(data) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(data))))),
            Kind::Http1(download) => download.poll_frame(cx),
            Kind::Upgraded(_) => Poll::Ready(None),
            Kind::Http2 { body, ticket, pool } => {
                let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
                if frame.is_none() || body.is_end_stream() {
                    *ticket = None;
                }
                Poll::Ready(frame.map(|frame| {
                    frame.map_err(|error| {
                        let error = UpstreamError::Broken(Fault::Http2(error));
                        pool.failed(&error);
                        error
                    })
                }))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(data) => data.is_empty(),
            Kind::Http1(download) => download.is_over(),
            Kind::Http2 { body, .. } => body.is_end_stream(),
            Kind::Upgraded(_) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(data) => SizeHint::with_exact(data.len() as u64),
            Kind::Http1(download) => download.size_hint(),
            Kind::Http2 { body, .. } => body.size_hint(),
            Kind::Upgraded(_) => SizeHint::with_exact(0),
        }
    }
}

impl std::fmt::Debug for UpstreamBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UpstreamBody")
    }
}

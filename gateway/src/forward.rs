//! One request: checked, routed, rewritten, sent to an upstream, and its response brought back.
//!
//! Everything that goes wrong has a status and a short plain body. It takes a [`Permit`], so it cannot be called for a
//! device that was not authorized; it decides neither who that is nor which upstream serves a path.

pub mod body;
mod exchange;
mod limited;
mod observed;
mod refused;
mod routed;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use http::header::{ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use tracing::Instrument as _;

use crate::authorize::{Denied, Permit};
use crate::clock;
use crate::headers::token::{Signer, TokenCache};
use crate::headers::{self, PeerHeaders, TokenField};
use crate::limits::Usage;
use crate::live::Place;
use crate::serve::activity::Activity;
use crate::upstream::body::UpstreamBody;
use crate::upstream::{Upgraded, UpstreamError};
use crate::worker::Worker;
use body::{AcceptsTrailers, RequestBody, ResponseBody, ResponseTimeout};
pub use exchange::Exchange;
use observed::Observed;
pub(crate) use observed::log_unanswerable;
use refused::Refused;

/// Bounds on a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The largest request body in bytes; `None` is no limit.
    pub max_request_body: Option<u64>,
}

/// What is the same for all requests of a connection.
pub struct Origin {
    /// The worker that serves it.
    pub worker: Rc<Worker>,
    /// The index of the listener that it came to.
    pub listener: usize,
    /// Proof that the device was authorized.
    pub permit: Permit,
    /// The connection's place among the worker's open ones.
    pub place: Place,
    /// What the device uses.
    pub usage: Usage,
    /// Header values of the connection.
    pub peer: PeerHeaders,
    /// The token that upstreams got last for this connection's device.
    pub token: TokenCache,
    /// What the connection is doing.
    pub activity: Rc<Activity>,
    /// The upstream's connection, when both sides have agreed to go on in another protocol.
    pub upgraded: Cell<Option<Box<Upgraded>>>,
}

impl Origin {
    /// The token that tells upstreams who the device is; `None` without a device, or where none could be made.
    fn token(&self, signer: &Arc<Signer>) -> Option<HeaderValue> {
        let device = self.permit.device()?;
        let now = clock::unix_seconds();
        self.token
            .token(signer, device, Some(&self.place.peer().trust_domain), now)
            .inspect_err(|error| tracing::warn!(%error, device = device.device_id(), "no token for the upstream"))
            .ok()
    }

    /// Says that the connection ends because its device is not to be served any more.
    pub(crate) fn ended(&self, denied: Denied) {
        let device = self.permit.device_id();
        tracing::info!(
            device,
            reason = denied.label(),
            "an open connection is ended: {denied}"
        );
    }
}

/// Answers `request`.
pub async fn forward(
    origin: Rc<Origin>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, std::convert::Infallible> {
    let exchange = Exchange::start(Rc::clone(&origin));
    let span = tracing::debug_span!(
        "request",
        device = origin.permit.device_id(),
        method = %request.method(),
        path = request.uri().path()
    );
    match answer(&origin, &exchange, request).instrument(span).await {
        Ok(mut response) => {
            headers::remove_hop_by_hop(response.headers_mut());
            exchange.status.set(Some(response.status()));
            *response.version_mut() = Version::HTTP_11;
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                headers::set_websocket(response.headers_mut());
                return Ok(response.map(|body| {
                    origin.upgraded.set(body.into_upgraded().map(Box::new));
                    ResponseBody::none(exchange)
                }));
            }
            Ok(response.map(|body| ResponseBody::upstream(body, exchange)))
        }
        Err(refused) => Ok(short(refused, exchange)),
    }
}

async fn answer(
    origin: &Origin,
    exchange: &Rc<Exchange>,
    request: Request<Incoming>,
) -> Result<Response<UpstreamBody>, Refused> {
    let snapshot = origin.worker.snapshot();
    if let Some(observed) = Observed::begin(snapshot.observing(), &request) {
        let _ = exchange.observed.set(observed);
    }
    let limit = snapshot.settings().forward.max_request_body;
    let device_limits = snapshot.device_limits(&origin.place.peer().trust_domain);
    exchange.bytes.set(device_limits.bytes);
    let request = request.map(|body| RequestBody::new(body, limit, exchange, snapshot.signer()));
    limited::start(exchange, device_limits)?;
    // HTTP/1.1 heads with more were not parsed; HTTP/2 has a bound on bytes only.
    if request.headers().len() > snapshot.settings().serve.max_request_headers {
        return Err(Refused::TooManyHeaders);
    }
    if request.method() == Method::CONNECT {
        return Err(Refused::Method);
    }
    let host = headers::check_head(request.version(), request.uri(), request.headers())
        .map_err(Refused::Malformed)?;
    // RFC 9110, 15.5.20: whoever may use this connection may not be allowed to use that host.
    let authority = host.as_ref().and_then(|host| host.to_str().ok());
    if !snapshot
        .domains()
        .is_host_of(&origin.place.peer().trust_domain, authority)
    {
        return Err(Refused::Misdirected);
    }
    let (mut head, mut body) = request.into_parts();
    let routed = routed::route(snapshot.router(), &origin.permit, &head, authority)?;
    limited::by_route(exchange, &routed)?;
    let limit = routed.limits().request_body.or(limit);
    body.limit_to(limit);
    routed::rewrite(&routed, &mut head);
    let response_timeout = routed.limits().response_timeout;
    let request = Request::from_parts(head, body);
    let upstream = origin
        .worker
        .upstream(&snapshot, &routed)
        .ok_or(Refused::NoRoute)?;
    let _ = exchange.upstream.set(Rc::clone(&upstream));
    let signer = snapshot.signer().cloned();
    drop(snapshot);
    if limit.is_some_and(|limit| declared_length(&request).is_some_and(|length| length > limit)) {
        return Err(Refused::BodyTooLarge);
    }
    let token = signer.as_ref().map(|signer| {
        let header = &signer.settings().header;
        (header, origin.token(signer))
    });
    let token = token.as_ref().map(|(name, value)| TokenField {
        name,
        value: value.as_ref(),
    });
    let switches = upstream.may_switch()
        && headers::asks_for_websocket(request.version(), request.method(), request.headers());
    let mut request = upstream_request(request, host, token, origin);
    if switches {
        headers::set_websocket(request.headers_mut());
    }
    if let Some(timeout) = response_timeout {
        request.extensions_mut().insert(ResponseTimeout(timeout));
    }
    if let Some(observed) = exchange.observed.get() {
        observed.write_trace(request.headers_mut());
    }
    let upload = request.body().shared_state();
    let affinity = origin.permit.device().map(|device| device.device_id());
    match upstream.send(request, affinity, exchange.started).await {
        // Not what was asked for, and no HTTP follows on that connection.
        Ok((response, _))
            if response.status() == StatusCode::SWITCHING_PROTOCOLS
                && !(switches && headers::is_websocket(response.headers())) =>
        {
            Err(Refused::Broken)
        }
        Ok((response, in_flight)) => {
            if let Some(observed) = exchange.observed.get() {
                observed.answered(in_flight.endpoint(), in_flight.connect_took());
            }
            let _ = exchange.in_flight.set(in_flight);
            Ok(response)
        }
        Err(error) => {
            if upload.is_some_and(|upload| upload.is_too_large()) {
                return Err(Refused::BodyTooLarge);
            }
            tracing::debug!(%error, device = origin.permit.device_id(), "no response from the upstream");
            Err(match error {
                UpstreamError::NoEndpoint
                | UpstreamError::Unreachable(_)
                | UpstreamError::QueueFull
                | UpstreamError::QueueTimeout => Refused::Unreachable,
                UpstreamError::ConnectTimeout
                | UpstreamError::ResponseTimeout
                | UpstreamError::RequestTimeout => Refused::Timeout,
                UpstreamError::Upload(_) => Refused::BodyCutOff,
                UpstreamError::Broken(_) | UpstreamError::Tls(_) => Refused::Broken,
            })
        }
    }
}

fn declared_length(request: &Request<RequestBody>) -> Option<u64> {
    request
        .headers()
        .get(CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// The request as the upstream gets it: origin form, HTTP/1.1, our header fields.
fn upstream_request(
    request: Request<RequestBody>,
    host: Option<HeaderValue>,
    token: Option<TokenField<'_>>,
    origin: &Origin,
) -> Request<RequestBody> {
    let (mut head, body) = request.into_parts();
    let accepts_trailers = headers::accepts_trailers(&head.headers);
    headers::rewrite_request(&mut head.headers, host, &origin.permit, &origin.peer, token);
    head.version = Version::HTTP_11;
    head.extensions.clear();
    if accepts_trailers {
        head.extensions.insert(AcceptsTrailers);
    }
    if head.uri.scheme().is_some() || head.uri.authority().is_some() {
        head.uri = head
            .uri
            .path_and_query()
            .cloned()
            .map_or_else(|| Uri::from_static("/"), Uri::from);
    }
    Request::from_parts(head, body)
}

fn short(refused: Refused, exchange: Rc<Exchange>) -> Response<ResponseBody> {
    let (status, text) = refused.answer();
    if let Some(observed) = exchange.observed.get() {
        observed.failed(refused.label());
    }
    exchange.status.set(Some(status));
    let mut response = Response::new(ResponseBody::text(text, exchange));
    *response.status_mut() = status;
    if let Some(allowed) = refused.allow() {
        response.headers_mut().insert(ALLOW, allowed.clone());
    }
    if let Some(seconds) = refused.retry_after() {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    if refused.ends_connection() {
        // On HTTP/2, where streams have their own bounds, hyper leaves it out.
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

//! Which path is answered how.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::json;

use super::head::Kept;
use super::websocket;

/// Bytes per frame of `/bytes/N`.
const CHUNK: usize = 16 * 1024;
static ZEROS: [u8; CHUNK] = [b'0'; CHUNK];

/// The path asks for no reply at all.
#[derive(Debug)]
pub(super) struct Reset;

impl fmt::Display for Reset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("reset as asked")
    }
}

impl std::error::Error for Reset {}

/// The bodies that are sent.
#[derive(Debug)]
pub(super) enum ReplyBody {
    Once(Option<Bytes>),
    Echo(Incoming),
    Zeros(u64),
}

/// The reply to a request.
pub(super) async fn to(
    request: Request<Incoming>,
    kept: &Kept,
) -> Result<Response<ReplyBody>, Reset> {
    let path = request.uri().path().to_owned();
    let (first, argument) = split(&path);
    let number = argument.parse::<u64>();
    Ok(match (first, number) {
        ("echo", _) => echo(request),
        ("sink", _) => sink(request).await,
        ("headers", _) => headers(&request, kept),
        ("delay", Ok(milliseconds)) => {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            text(StatusCode::OK, "ok\n")
        }
        ("status", Ok(code)) => u16::try_from(code)
            .ok()
            .and_then(|code| StatusCode::from_u16(code).ok())
            // An informational status is no final answer.
            .filter(|status| !status.is_informational())
            .map_or_else(
                || text(StatusCode::BAD_REQUEST, "no such status\n"),
                |status| text(status, "status as asked\n"),
            ),
        ("bytes", Ok(count)) => Response::new(ReplyBody::Zeros(count)),
        ("ws", _) => websocket::upgrade(&request)
            .unwrap_or_else(|| text(StatusCode::UPGRADE_REQUIRED, "only for WebSocket\n")),
        ("reset", _) => return Err(Reset),
        _ => text(StatusCode::OK, "ok\n"),
    })
}

fn split(path: &str) -> (&str, &str) {
    let path = path.strip_prefix('/').unwrap_or(path);
    path.split_once('/').unwrap_or((path, ""))
}

fn text(status: StatusCode, text: &'static str) -> Response<ReplyBody> {
    let bodiless = matches!(
        status,
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED | StatusCode::RESET_CONTENT
    );
    let body = (!bodiless).then(|| Bytes::from_static(text.as_bytes()));
    let mut response = Response::new(ReplyBody::Once(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

fn echo(request: Request<Incoming>) -> Response<ReplyBody> {
    let kind = request.headers().get(header::CONTENT_TYPE).cloned();
    let mut response = Response::new(ReplyBody::Echo(request.into_body()));
    if let Some(kind) = kind {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response
}

/// Reads the body to its end; one that breaks off is answered as far as it came, if anybody still listens.
async fn sink(request: Request<Incoming>) -> Response<ReplyBody> {
    let mut body = request.into_body();
    let mut length = 0;
    while let Some(Ok(frame)) = body.frame().await {
        length += frame.data_ref().map_or(0, Bytes::len);
    }
    let text = Bytes::from(format!("{length}\n"));
    Response::new(ReplyBody::Once(Some(text)))
}

/// The head as it was received: exact names and values, in order, duplicates kept.
fn headers(request: &Request<Incoming>, kept: &Kept) -> Response<ReplyBody> {
    let headers = kept.take_fields().unwrap_or_else(|| parsed_fields(request));
    let head = json!({
        "method": request.method().as_str(),
        "target": request.uri().to_string(),
        "version": format!("{:?}", request.version()),
        "headers": headers,
    });
    let mut response = Response::new(ReplyBody::Once(Some(Bytes::from(head.to_string()))));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

/// For a pipelined request, whose bytes were not kept.
fn parsed_fields(request: &Request<Incoming>) -> Vec<(String, String)> {
    let fields = request.headers().iter();
    fields
        .map(|(name, value)| {
            (
                name.to_string(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        .collect()
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut *self {
            ReplyBody::Once(body) => Poll::Ready(body.take().map(|bytes| Ok(Frame::data(bytes)))),
            ReplyBody::Echo(body) => Pin::new(body).poll_frame(context),
            ReplyBody::Zeros(0) => Poll::Ready(None),
            ReplyBody::Zeros(left) => {
                let length = usize::try_from(*left).unwrap_or(CHUNK).min(CHUNK);
                *left -= length as u64;
                let chunk = ZEROS.get(..length).unwrap_or(&ZEROS);
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(chunk)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ReplyBody::Once(body) => body.is_none(),
            ReplyBody::Echo(body) => body.is_end_stream(),
            ReplyBody::Zeros(left) => *left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ReplyBody::Once(body) => {
                SizeHint::with_exact(body.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            ReplyBody::Echo(body) => body.size_hint(),
            ReplyBody::Zeros(left) => SizeHint::with_exact(*left),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_split_into_name_and_argument() {
        assert_eq!(split("/delay/20"), ("delay", "20"));
        assert_eq!(split("/echo"), ("echo", ""));
        assert_eq!(split("/"), ("", ""));
    }
}

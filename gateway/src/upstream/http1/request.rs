//! A request's head as bytes: origin form, one framing, nothing that two readers could take differently.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Request};
use http_body::Body;

/// How the end of a request's body is told (RFC 9112, 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is no body.
    None,
    /// By its length.
    Length(u64),
    /// By the last chunk.
    Chunked,
}

impl Framing {
    /// The framing that fits `request`.
    pub(super) fn of<B: Body>(request: &Request<B>) -> Self {
        let body = request.body();
        if body.is_end_stream() {
            return Self::None;
        }
        body.size_hint().exact().map_or(Self::Chunked, Self::Length)
    }
}

/// Appends the head of `request`, whose body is framed by `framing`, to `out`.
pub(super) fn encode<B>(request: &Request<B>, framing: Framing, out: &mut Vec<u8>) {
    out.extend_from_slice(request.method().as_str().as_bytes());
    out.push(b' ');
    let target = request.uri().path_and_query();
    out.extend_from_slice(target.map_or("/", |target| target.as_str()).as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    fields(request.headers(), out);
    match framing {
        Framing::None if says_empty(request) => out.extend_from_slice(b"content-length: 0\r\n"),
        Framing::None => {}
        Framing::Length(length) => {
            out.extend_from_slice(b"content-length: ");
            decimal(length, out);
            out.extend_from_slice(b"\r\n");
        }
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    out.extend_from_slice(b"\r\n");
}

/// Whether an empty body is worth a word: where the device said so, and where the method leads one to expect a body (RFC 9110,
/// 8.6).
fn says_empty<B>(request: &Request<B>) -> bool {
    [Method::POST, Method::PUT, Method::PATCH].contains(request.method())
        || request.headers().contains_key(CONTENT_LENGTH)
}

/// Appends all fields but those that frame the message. Names and values hold nothing that ends a line: their types see to that.
fn fields(headers: &HeaderMap, out: &mut Vec<u8>) {
    for (name, value) in headers {
        if *name == CONTENT_LENGTH || *name == TRANSFER_ENCODING {
            continue;
        }
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends the last chunk with `trailers`, and the end of the message.
pub(super) fn last_chunk(trailers: Option<&HeaderMap>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    if let Some(trailers) = trailers {
        fields(trailers, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the line that begins a chunk of `length` bytes.
pub(super) fn chunk_size(length: usize, out: &mut Vec<u8>) {
    let digits = (usize::BITS - length.leading_zeros()).div_ceil(4).max(1);
    for digit in (0..digits).rev() {
        let nibble = (length >> (4 * digit)) & 0xf;
        out.push(b"0123456789abcdef".get(nibble).copied().unwrap_or(b'0'));
    }
    out.extend_from_slice(b"\r\n");
}

fn decimal(number: u64, out: &mut Vec<u8>) {
    let start = out.len();
    let mut left = number;
    loop {
        out.push(b'0' + (left % 10) as u8);
        left /= 10;
        if left == 0 {
            break;
        }
    }
    if let Some(digits) = out.get_mut(start..) {
        digits.reverse();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue, Request};
    use http_body_util::{Empty, Full};

    use super::{Framing, chunk_size, decimal, encode, last_chunk};

    fn text(request: &Request<Full<Bytes>>) -> String {
        let mut out = Vec::new();
        encode(request, Framing::of(request), &mut out);
        String::from_utf8(out).unwrap()
    }

    fn request(method: &str, body: &'static str) -> Request<Full<Bytes>> {
        Request::builder()
            .method(method)
            .uri("/a?b=c")
            .header("host", "h")
            .body(Full::from(body))
            .unwrap()
    }

    #[test]
    fn heads_are_exact() {
        assert_eq!(
            text(&request("GET", "")),
            "GET /a?b=c HTTP/1.1\r\nhost: h\r\n\r\n"
        );
        assert_eq!(
            text(&request("PUT", "hello, world")),
            "PUT /a?b=c HTTP/1.1\r\nhost: h\r\ncontent-length: 12\r\n\r\n"
        );
        assert_eq!(
            text(&request("POST", "")),
            "POST /a?b=c HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n"
        );
    }

    #[test]
    fn the_framing_is_the_body_s_own_whatever_the_fields_say() {
        let mut lying = request("POST", "five!");
        for (name, value) in [
            ("content-length", "7"),
            ("transfer-encoding", "gzip, chunked"),
        ] {
            lying
                .headers_mut()
                .append(name, HeaderValue::from_static(value));
        }
        assert_eq!(
            text(&lying),
            "POST /a?b=c HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\n"
        );
        let empty = Request::new(Empty::<Bytes>::new());
        assert_eq!(Framing::of(&empty), Framing::None);
    }

    #[test]
    fn numbers() {
        for number in [0, 9, 10, 1234, u64::MAX] {
            let mut out = b"x".to_vec();
            decimal(number, &mut out);
            assert_eq!(out, format!("x{number}").as_bytes());
        }
        for number in [0, 1, 15, 16, 0x1000, usize::MAX] {
            let mut out = Vec::new();
            chunk_size(number, &mut out);
            assert_eq!(out, format!("{number:x}\r\n").as_bytes());
        }
    }

    #[test]
    fn trailers_follow_the_last_chunk() {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        trailers.insert("content-length", HeaderValue::from_static("9"));
        let mut out = Vec::new();
        last_chunk(Some(&trailers), &mut out);
        assert_eq!(out, b"0\r\ngrpc-status: 0\r\n\r\n");
    }
}

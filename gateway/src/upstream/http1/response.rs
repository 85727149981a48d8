//! A response's head, read strictly: what two readers could take differently is an error, not a guess (RFC 9112, 11.1).

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::upstream::Fault;

/// The longest head, in bytes.
pub(super) const MAX_HEAD: usize = 64 * 1024;

/// The most fields in a head, and in the trailers of a body.
pub(super) const MAX_FIELDS: usize = 128;

/// What is known about the request, as far as the response's framing depends on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// It was HEAD.
    pub(super) head: bool,
    /// It asked to switch protocols.
    pub(super) upgrade: bool,
}

impl Asked {
    pub(super) fn of(method: &Method, headers: &HeaderMap) -> Self {
        Self {
            head: *method == Method::HEAD,
            upgrade: headers.contains_key(http::header::UPGRADE),
        }
    }
}

/// How the end of a response's body is told (RFC 9112, 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// By its length; zero where there is none.
    Length(u64),
    /// By the last chunk.
    Chunked,
    /// By the end of the connection.
    Close,
    /// It is none: another protocol follows.
    Upgrade,
}

/// A complete head.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) framing: Framing,
    /// Whether the connection may carry another request.
    pub(super) keep_alive: bool,
}

/// Takes a head from the start of `input`; `None` as long as it is not complete.
///
/// # Errors
/// What is wrong with it.
pub(super) fn take(input: &mut BytesMut, asked: Asked) -> Result<Option<Head>, Fault> {
    // httparse would skip empty lines.
    if input.first().is_some_and(|first| *first != b'H') {
        return Err(Fault::NotHttp);
    }
    let mut slots = [const { std::mem::MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let status = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut parsed, input, &mut slots)
        .map_err(|error| match error {
            httparse::Error::TooManyHeaders => Fault::HeadTooLarge,
            _ => Fault::NotHttp,
        })?;
    let httparse::Status::Complete(length) = status else {
        return match input.len() < MAX_HEAD {
            true => Ok(None),
            false => Err(Fault::HeadTooLarge),
        };
    };
    if length > MAX_HEAD {
        return Err(Fault::HeadTooLarge);
    }
    let status = parsed
        .code
        .and_then(|code| StatusCode::from_u16(code).ok())
        .filter(|status| status.as_u16() < 600)
        .ok_or(Fault::NotHttp)?;
    let is_http_10 = parsed.version == Some(0);
    // Where each field is, so that the values can share the bytes instead of copying them.
    let base = input.as_ptr() as usize;
    let mut places = [(0, 0, 0, 0); MAX_FIELDS];
    let count = parsed.headers.len();
    for (place, field) in places.iter_mut().zip(parsed.headers.iter()) {
        let name = field.name.as_ptr() as usize - base;
        let value = field.value.as_ptr() as usize - base;
        *place = (name, field.name.len(), value, field.value.len());
    }
    let bytes = input.split_to(length).freeze();
    if has_bare_line_feed(&bytes) {
        return Err(Fault::NotHttp);
    }
    let headers = headers(&bytes, places.iter().take(count))?;
    let framing = framing(status, is_http_10, &headers, asked)?;
    Ok(Some(Head {
        status,
        keep_alive: !is_http_10 && framing != Framing::Close && !says_close(&headers),
        framing,
        headers,
    }))
}

fn headers<'a>(
    bytes: &Bytes,
    places: impl ExactSizeIterator<Item = &'a (usize, usize, usize, usize)>,
) -> Result<HeaderMap, Fault> {
    let mut headers = HeaderMap::with_capacity(places.len());
    for &(name, name_length, value, value_length) in places {
        let name = bytes.get(name..name + name_length).ok_or(Fault::NotHttp)?;
        let name = HeaderName::from_bytes(name).map_err(|_| Fault::NotHttp)?;
        let value = match value_length {
            0 => HeaderValue::from_static(""),
            _ => HeaderValue::from_maybe_shared(bytes.slice(value..value + value_length))
                .map_err(|_| Fault::NotHttp)?,
        };
        headers.append(name, value);
    }
    Ok(headers)
}

/// A line ends with CR LF; that some readers accept LF alone is how they come to disagree.
pub(super) fn has_bare_line_feed(bytes: &[u8]) -> bool {
    let mut previous = 0;
    bytes.iter().any(|byte| {
        let bare = *byte == b'\n' && previous != b'\r';
        previous = *byte;
        bare
    })
}

fn framing(
    status: StatusCode,
    is_http_10: bool,
    headers: &HeaderMap,
    asked: Asked,
) -> Result<Framing, Fault> {
    let length = length(headers)?;
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    let chunked = match (encodings.next(), encodings.next()) {
        (None, _) => false,
        (Some(only), None)
            if !is_http_10
                && length.is_none()
                && only.as_bytes().eq_ignore_ascii_case(b"chunked") =>
        {
            true
        }
        _ => return Err(Fault::Framing),
    };
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return match asked.upgrade && !chunked && length.unwrap_or(0) == 0 {
            true => Ok(Framing::Upgrade),
            false => Err(Fault::Unasked),
        };
    }
    let bodiless = asked.head
        || status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED;
    Ok(match length {
        _ if bodiless => Framing::Length(0),
        _ if chunked => Framing::Chunked,
        Some(length) => Framing::Length(length),
        None => Framing::Close,
    })
}

/// The length that all `Content-Length` fields agree on.
fn length(headers: &HeaderMap) -> Result<Option<u64>, Fault> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = values.next() else {
        return Ok(None);
    };
    if values.any(|other| other != first) {
        return Err(Fault::Framing);
    }
    let digits = first.as_bytes();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Fault::Framing);
    }
    let digits = std::str::from_utf8(digits).map_err(|_| Fault::Framing)?;
    digits.parse().map(Some).map_err(|_| Fault::Framing)
}

fn says_close(headers: &HeaderMap) -> bool {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::{Asked, Framing, Head, MAX_FIELDS, MAX_HEAD, take};
    use crate::upstream::Fault;

    const GET: Asked = Asked {
        head: false,
        upgrade: false,
    };

    fn parse(text: &str, asked: Asked) -> Result<Option<Head>, &'static str> {
        take(&mut BytesMut::from(text), asked).map_err(|fault| fault.label())
    }

    fn framed(fields: &str) -> Result<(Framing, bool), &'static str> {
        let text = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
        parse(&text, GET).map(|head| {
            let head = head.unwrap();
            (head.framing, head.keep_alive)
        })
    }

    #[test]
    fn heads_are_taken_whole_and_what_follows_stays() {
        let text =
            b"HTTP/1.1 200 Fine\r\nContent-Length: 2\r\nX-Empty:\r\nx-a: 1\r\nX-A: 2\r\n\r\nok";
        for cut in 0..text.len() - 2 {
            assert!(
                take(&mut BytesMut::from(&text[..cut]), GET)
                    .unwrap()
                    .is_none(),
                "{cut}"
            );
        }
        let mut input = BytesMut::from(&text[..]);
        let head = take(&mut input, GET).unwrap().unwrap();
        assert_eq!((head.status.as_u16(), &input[..]), (200, &b"ok"[..]));
        assert_eq!((head.framing, head.keep_alive), (Framing::Length(2), true));
        assert_eq!(head.headers["x-empty"], "");
        let values: Vec<_> = head.headers.get_all("x-a").iter().collect();
        assert_eq!(values, ["1", "2"]);
    }

    #[test]
    fn one_framing_only() {
        assert_eq!(framed(""), Ok((Framing::Close, false)));
        assert_eq!(
            framed("content-length: 0\r\n"),
            Ok((Framing::Length(0), true))
        );
        assert_eq!(
            framed("content-length: 7\r\ncontent-length: 7\r\n"),
            Ok((Framing::Length(7), true))
        );
        assert_eq!(
            framed("transfer-encoding: Chunked\r\n"),
            Ok((Framing::Chunked, true))
        );
        for wrong in [
            "content-length: 7\r\ncontent-length: 8\r\n",
            "content-length: 7, 7\r\n",
            "content-length: +7\r\n",
            "content-length: -7\r\n",
            "content-length: 0x7\r\n",
            "content-length: 7 7\r\n",
            "content-length:\r\n",
            "content-length: 18446744073709551616\r\n",
            "content-length: 7\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: chunked\r\ncontent-length: 7\r\n",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: gzip, chunked\r\n",
            "transfer-encoding: chunked, chunked\r\n",
            "transfer-encoding: identity\r\n",
            "transfer-encoding: xchunked\r\n",
            "transfer-encoding:\r\n",
        ] {
            assert_eq!(framed(wrong), Err("framing"), "{wrong:?}");
        }
        let old = "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(parse(old, GET).unwrap_err(), "framing");
    }

    #[test]
    fn responses_without_a_body() {
        let head = Asked { head: true, ..GET };
        for (text, asked) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", head),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
                head,
            ),
            ("HTTP/1.1 204 No Content\r\n\r\n", GET),
            (
                "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n",
                GET,
            ),
            ("HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n", GET),
        ] {
            let head = parse(text, asked).unwrap().unwrap();
            assert_eq!(
                (head.framing, head.keep_alive),
                (Framing::Length(0), true),
                "{text:?}"
            );
        }
    }

    #[test]
    fn protocols_are_switched_only_where_that_was_asked_for() {
        let text = "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n";
        assert_eq!(parse(text, GET).unwrap_err(), "unasked");
        let asked = Asked {
            upgrade: true,
            ..GET
        };
        assert_eq!(
            parse(text, asked).unwrap().unwrap().framing,
            Framing::Upgrade
        );
    }

    #[test]
    fn connections_that_end_are_not_kept() {
        for fields in [
            "connection: close\r\n",
            "connection: x, Close\r\n",
            "connection: x\r\nconnection: close\r\n",
        ] {
            let fields = format!("{fields}content-length: 0\r\n");
            assert_eq!(framed(&fields), Ok((Framing::Length(0), false)));
        }
        let old = "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n";
        assert!(!parse(old, GET).unwrap().unwrap().keep_alive);
    }

    #[test]
    fn what_is_not_http_is_an_error() {
        for garbage in [
            "\r\nHTTP/1.1 200 OK\r\n\r\n",
            "SSH-2.0-x\r\n",
            "HTTP/2.0 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\n\n",
            "HTTP/1.1 200 OK\r\na: b\nc: d\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: b\rc: d\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n",
            "HTTP/1.1 200 OK\r\na : b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: \u{0}\r\n\r\n",
            "HTTP/1.1 99 Low\r\n\r\n",
            "HTTP/1.1 000 None\r\n\r\n",
            "HTTP/1.1 600 High\r\n\r\n",
            "HTTP/1.1 2000 Long\r\n\r\n",
        ] {
            assert_eq!(parse(garbage, GET).unwrap_err(), "not_http", "{garbage:?}");
        }
    }

    #[test]
    fn heads_are_bounded() {
        let long = format!("HTTP/1.1 200 OK\r\na: {}", "x".repeat(MAX_HEAD));
        assert_eq!(parse(&long, GET).unwrap_err(), "head_too_large");
        assert_eq!(
            parse(&format!("{long}\r\n\r\n"), GET).unwrap_err(),
            "head_too_large"
        );
        let fields = "a: b\r\n".repeat(MAX_FIELDS);
        assert!(framed(&fields).is_ok());
        assert_eq!(framed(&format!("{fields}a: b\r\n")), Err("head_too_large"));
    }

    #[test]
    fn label_is_that_of_the_fault() {
        assert_eq!(Fault::Framing.label(), "framing");
    }
}

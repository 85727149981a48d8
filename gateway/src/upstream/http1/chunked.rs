//! The chunked transfer coding (RFC 9112, 7.1), read strictly and without holding more than a line of it.

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::upstream::Fault;
use crate::upstream::http1::response::MAX_FIELDS;

/// The longest line that begins a chunk, extensions and all.
const MAX_SIZE_LINE: usize = 1024;

/// The longest trailer section.
const MAX_TRAILERS: usize = 16 * 1024;

/// Where in the body the next byte belongs.
#[derive(Debug, Default)]
pub(super) enum Chunked {
    /// Into a line with a chunk's size.
    #[default]
    Size,
    /// Into a chunk with so many bytes left.
    Data(u64),
    /// Into the line end after a chunk.
    DataEnd,
    /// Into the trailers.
    Trailers,
}

/// The next thing in a body.
#[derive(Debug)]
pub(super) enum Piece {
    Data(Bytes),
    /// The end, with the trailers that there may be.
    End(Option<HeaderMap>),
}

impl Chunked {
    /// Takes the next piece from `input`; `None` where there is not enough of it.
    ///
    /// # Errors
    /// It is no chunked body.
    pub(super) fn take(&mut self, input: &mut BytesMut) -> Result<Option<Piece>, Fault> {
        loop {
            match self {
                Self::Size => {
                    let Some((size, line)) = size(input)? else {
                        return Ok(None);
                    };
                    input.advance(line);
                    *self = match size {
                        0 => Self::Trailers,
                        size => Self::Data(size),
                    };
                }
                Self::Data(left) => {
                    if input.is_empty() {
                        return Ok(None);
                    }
                    let count =
                        usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                    *left -= count as u64;
                    if *left == 0 {
                        *self = Self::DataEnd;
                    }
                    return Ok(Some(Piece::Data(input.split_to(count).freeze())));
                }
                Self::DataEnd => {
                    match (input.first(), input.get(1)) {
                        (Some(b'\r'), Some(b'\n')) => input.advance(2),
                        (None, _) | (Some(b'\r'), None) => return Ok(None),
                        _ => return Err(Fault::Chunk),
                    }
                    *self = Self::Size;
                }
                Self::Trailers => return Ok(trailers(input)?.map(Piece::End)),
            }
        }
    }
}

/// The size that the line at the start of `input` says, and the length of the line; `None` as long as it has no end.
fn size(input: &[u8]) -> Result<Option<(u64, usize)>, Fault> {
    let line = input.get(..MAX_SIZE_LINE).unwrap_or(input);
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit());
    let digits = digits.count();
    let after = line.get(digits..).unwrap_or_default();
    // Sixteen digits hold every length; more could only be leading zeros, which serve nobody.
    if digits > 16 || (digits == 0 && !line.is_empty()) {
        return Err(Fault::Chunk);
    }
    match after.first() {
        None => return Ok(None),
        Some(b'\r' | b';' | b' ' | b'\t') => {}
        Some(_) => return Err(Fault::Chunk),
    }
    let Some(end) = after
        .iter()
        .position(|byte| *byte == b'\r' || *byte == b'\n')
    else {
        return match line.len() < MAX_SIZE_LINE {
            true => Ok(None),
            false => Err(Fault::Chunk),
        };
    };
    match (after.get(end), after.get(end + 1)) {
        (Some(b'\r'), Some(b'\n')) => {}
        (Some(b'\r'), None) if line.len() < MAX_SIZE_LINE => return Ok(None),
        _ => return Err(Fault::Chunk),
    }
    // White space counts only before an extension.
    let extension = after.get(..end).unwrap_or_default().trim_ascii_start();
    if end > 0 && extension.first() != Some(&b';') {
        return Err(Fault::Chunk);
    }
    let digits_text = line.get(..digits).unwrap_or_default();
    let size = std::str::from_utf8(digits_text)
        .ok()
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .ok_or(Fault::Chunk)?;
    Ok(Some((size, digits + end + 2)))
}

/// Takes the trailer section; `None` as long as it has no end.
fn trailers(input: &mut BytesMut) -> Result<Option<Option<HeaderMap>>, Fault> {
    match (input.first(), input.get(1)) {
        (Some(b'\r'), Some(b'\n')) => {
            input.advance(2);
            return Ok(Some(None));
        }
        (None, _) | (Some(b'\r'), None) => return Ok(None),
        _ => {}
    }
    let Some(end) = input.windows(4).position(|end| end == b"\r\n\r\n") else {
        return match input.len() < MAX_TRAILERS {
            true => Ok(None),
            false => Err(Fault::Chunk),
        };
    };
    if end + 4 > MAX_TRAILERS {
        return Err(Fault::Chunk);
    }
    let section = input.split_to(end + 4).freeze();
    let mut slots = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let parsed = httparse::parse_headers(&section, &mut slots).map_err(|_| Fault::Chunk)?;
    let httparse::Status::Complete((length, fields)) = parsed else {
        return Err(Fault::Chunk);
    };
    if length != section.len() || super::response::has_bare_line_feed(&section) {
        return Err(Fault::Chunk);
    }
    let mut trailers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Fault::Chunk)?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| Fault::Chunk)?;
        trailers.append(name, value);
    }
    Ok(Some(Some(trailers)))
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use http::HeaderMap;

    use super::{Chunked, MAX_SIZE_LINE, MAX_TRAILERS, Piece};

    /// A body, its trailers, and what follows it.
    type Decoded = (Vec<u8>, Option<HeaderMap>, Vec<u8>);

    /// What `text`, given in pieces of `step` bytes, decodes to; `None` for an end that never came.
    fn decode(text: &[u8], step: usize) -> Result<Option<Decoded>, &'static str> {
        let (mut chunked, mut input, mut body) = (Chunked::default(), BytesMut::new(), Vec::new());
        let mut pieces = text.chunks(step);
        loop {
            match chunked.take(&mut input).map_err(|fault| fault.label())? {
                Some(Piece::Data(data)) => body.extend_from_slice(&data),
                Some(Piece::End(trailers)) => {
                    let mut rest = input.to_vec();
                    pieces.for_each(|piece| rest.extend_from_slice(piece));
                    return Ok(Some((body, trailers, rest)));
                }
                None => match pieces.next() {
                    Some(piece) => input.extend_from_slice(piece),
                    None => return Ok(None),
                },
            }
        }
    }

    #[test]
    fn bodies_are_read_however_they_are_cut() {
        let text = b"5\r\nhello\r\n6;x=\"y\"\r\n world\r\n01 ; z\r\n!\r\n0\r\nGrpc-Status: 0\r\nx: y\r\n\r\nHTTP";
        for step in 1..text.len() {
            let (body, trailers, rest) = decode(text, step).unwrap().unwrap();
            assert_eq!((&body[..], &rest[..]), (&b"hello world!"[..], &b"HTTP"[..]));
            let trailers = trailers.unwrap();
            assert_eq!(
                (&trailers["grpc-status"], &trailers["x"]),
                (&"0".parse().unwrap(), &"y".parse().unwrap())
            );
        }
        let (body, trailers, rest) = decode(b"0\r\n\r\n", 1).unwrap().unwrap();
        assert!(body.is_empty() && trailers.is_none() && rest.is_empty());
    }

    #[test]
    fn what_is_no_chunked_body_is_an_error() {
        let long_line = format!("1;{}\r\n", "x".repeat(MAX_SIZE_LINE));
        let long_trailers = format!("0\r\na: {}\r\n\r\n", "x".repeat(MAX_TRAILERS));
        let many = format!("0\r\n{}\r\n", "a: b\r\n".repeat(200));
        for wrong in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "0x1\r\n",
            " 1\r\n",
            "1 \r\n",
            "1 1\r\n",
            "1\n",
            "1\rx",
            "1;a\nb\r\n",
            "00000000000000001\r\n",
            "10000000000000000\r\n",
            "1\r\nabc",
            "1\r\na\n0\r\n",
            "0\r\nno colon\r\n\r\n",
            "0\r\na: b\n\r\n\r\n",
            &long_line,
            &long_trailers,
            &many,
        ] {
            for step in [1, 7, wrong.len()] {
                assert_eq!(
                    decode(wrong.as_bytes(), step).unwrap_err(),
                    "chunk",
                    "{wrong:?}"
                );
            }
        }
    }

    #[test]
    fn what_is_cut_off_has_no_end() {
        for cut in [
            "",
            "5",
            "5\r",
            "5\r\n",
            "5\r\nhe",
            "5\r\nhello",
            "5\r\nhello\r\n",
            "0\r\n",
            "0\r\na: b\r\n",
        ] {
            assert!(decode(cut.as_bytes(), 1).unwrap().is_none(), "{cut:?}");
        }
    }
}

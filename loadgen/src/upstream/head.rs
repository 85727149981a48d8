//! Keeps the bytes of a request head for `/headers`: a parsed head has lost the names' case and the order of duplicates,
//! which are just what a test of a proxy wants to see.
//!
//! Looks only at the beginning of each read, so a pipelined request is not kept; nobody who asks for `/headers` pipelines.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A head larger than this is not kept.
const LARGEST_HEAD: usize = 256 * 1024;

/// The head that is being received, if it is one for `/headers`.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    bytes: Rc<RefCell<Vec<u8>>>,
}

impl Kept {
    /// The header fields as (name, value), exactly as received; `None` if no head was kept.
    pub(super) fn take_fields(&self) -> Option<Vec<(String, String)>> {
        let bytes = self.bytes.take();
        fields(&bytes)
    }

    fn saw(&self, bytes: &[u8]) {
        let mut kept = self.bytes.borrow_mut();
        if kept.is_empty() && !asks_for_headers(bytes) {
            return;
        }
        if kept.len() + bytes.len() <= LARGEST_HEAD {
            kept.extend_from_slice(bytes);
        }
    }
}

fn asks_for_headers(bytes: &[u8]) -> bool {
    let mut words = bytes.splitn(3, |byte| *byte == b' ');
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    !method.is_empty()
        && method.iter().all(u8::is_ascii_uppercase)
        && target.starts_with(b"/headers")
}

fn fields(bytes: &[u8]) -> Option<Vec<(String, String)>> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let text = String::from_utf8_lossy(bytes.get(..end)?).into_owned();
    text.split("\r\n")
        .skip(1)
        .map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
        })
        .collect()
}

/// A connection whose heads are kept where asked for.
#[derive(Debug)]
pub(super) struct Keeping {
    pub(super) stream: TcpStream,
    pub(super) kept: Kept,
}

impl AsyncRead for Keeping {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        if let Some(bytes) = buffer
            .filled()
            .get(before..)
            .filter(|bytes| !bytes.is_empty())
        {
            self.kept.saw(bytes);
        }
        result
    }
}

impl AsyncWrite for Keeping {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_heads_for_headers_are_kept_even_in_pieces() {
        let kept = Kept::default();
        kept.saw(b"GET /echo HTTP/1.1\r\n");
        assert_eq!(kept.take_fields(), None);
        kept.saw(b"GET /headers HTTP/1.1\r\nA: 1\r\nb");
        kept.saw(b":2 \r\n\r\nbody");
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            kept.take_fields(),
            Some(vec![pair("A", "1"), pair("b", "2")])
        );
        assert_eq!(kept.take_fields(), None);
    }
}

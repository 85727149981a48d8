//! The body of a request: as long as it is to be, and never in memory as a whole.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Bytes per frame.
const CHUNK: usize = 64 * 1024;
static LETTERS: [u8; CHUNK] = [b'x'; CHUNK];

/// So many bytes, still to be sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Payload {
    left: u64,
}

impl Payload {
    /// A body of this length.
    pub(crate) fn new(length: u64) -> Payload {
        Payload { left: length }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let length = usize::try_from(self.left).unwrap_or(CHUNK).min(CHUNK);
        self.left -= length as u64;
        let chunk = LETTERS.get(..length).unwrap_or(&LETTERS);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(chunk)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn a_body_has_its_length() {
        for length in [0, 1, CHUNK as u64, 3 * CHUNK as u64 + 7] {
            let body = Payload::new(length);
            assert_eq!(body.size_hint().exact(), Some(length));
            assert_eq!(body.is_end_stream(), length == 0);
            let whole = body.collect().await.unwrap().to_bytes();
            assert_eq!(whole.len() as u64, length);
        }
    }
}

//! Takes lengths and bytes off the front of a TLS structure (RFC 8446, 3). It knows no message.

/// What is left to read. Everything it gives is `None` where there is not enough.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn u16(&mut self) -> Option<usize> {
        self.number(2)
    }

    pub(super) fn u24(&mut self) -> Option<usize> {
        self.number(3)
    }

    fn number(&mut self, bytes: usize) -> Option<usize> {
        let bytes = self.take(bytes)?;
        Some(
            bytes
                .iter()
                .fold(0, |value, byte| (value << 8) | usize::from(*byte)),
        )
    }
}

//! Reads DER (X.690) piece by piece, without copying: definite lengths in their shortest form, one-byte tags.
//!
//! Knows no X.509, allocates nothing, and does not descend by itself, so that neither size nor nesting can hurt.

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const ENUMERATED: u8 = 0x0a;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;

/// The tag of `[number]` around a primitive value.
pub(super) const fn primitive(number: u8) -> u8 {
    0x80 | number
}

/// The tag of `[number]` around a constructed value.
pub(super) const fn constructed(number: u8) -> u8 {
    0xa0 | number
}

/// The bytes are not DER, or not what was expected at this place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// One value with its tag.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value<'a> {
    pub(super) tag: u8,
    pub(super) contents: &'a [u8],
    /// Tag and length included.
    pub(super) whole: &'a [u8],
}

/// What is left to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next value, whatever it is.
    pub(super) fn any(&mut self) -> Result<Value<'a>, Malformed> {
        let (&tag, after_tag) = self.rest.split_first().ok_or(Malformed)?;
        if tag & 0x1f == 0x1f {
            return Err(Malformed);
        }
        let (length, after_length) = length(after_tag)?;
        let (contents, rest) = after_length.split_at_checked(length).ok_or(Malformed)?;
        let whole = self
            .rest
            .get(..self.rest.len() - rest.len())
            .ok_or(Malformed)?;
        self.rest = rest;
        Ok(Value {
            tag,
            contents,
            whole,
        })
    }

    /// The next value, which must have this tag.
    pub(super) fn value(&mut self, tag: u8) -> Result<Value<'a>, Malformed> {
        match self.any()? {
            value if value.tag == tag => Ok(value),
            _ => Err(Malformed),
        }
    }

    /// The contents of the next value, which must have this tag.
    pub(super) fn contents(&mut self, tag: u8) -> Result<&'a [u8], Malformed> {
        self.value(tag).map(|value| value.contents)
    }

    /// The next value's contents if it has this tag.
    pub(super) fn optional(&mut self, tag: u8) -> Result<Option<&'a [u8]>, Malformed> {
        match self.rest.first() {
            Some(next) if *next == tag => self.contents(tag).map(Some),
            _ => Ok(None),
        }
    }

    /// Whether everything was read; trailing bytes are an error.
    pub(super) fn end(&self) -> Result<(), Malformed> {
        match self.is_empty() {
            true => Ok(()),
            false => Err(Malformed),
        }
    }
}

/// The one value that `bytes` consist of.
pub(super) fn only(bytes: &[u8], tag: u8) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new(bytes);
    let contents = reader.contents(tag)?;
    reader.end()?;
    Ok(contents)
}

/// A BOOLEAN's contents (X.690, 11.1).
pub(super) fn boolean(contents: &[u8]) -> Result<bool, Malformed> {
    match contents {
        [0xff] => Ok(true),
        [0x00] => Ok(false),
        _ => Err(Malformed),
    }
}

/// An INTEGER's contents as they are, if in shortest form (X.690, 8.3.2).
pub(super) fn integer(contents: &[u8]) -> Result<&[u8], Malformed> {
    match contents {
        [] => Err(Malformed),
        [0x00, next, ..] if next & 0x80 == 0 => Err(Malformed),
        [0xff, next, ..] if next & 0x80 != 0 => Err(Malformed),
        contents => Ok(contents),
    }
}

/// A BIT STRING's contents, if it is of whole bytes.
pub(super) fn bytes_of_bit_string(contents: &[u8]) -> Result<&[u8], Malformed> {
    match contents.split_first() {
        Some((0, bytes)) => Ok(bytes),
        _ => Err(Malformed),
    }
}

/// The length that `bytes` begin with, and what follows it. Four bytes of length are more than any list has.
fn length(bytes: &[u8]) -> Result<(usize, &[u8]), Malformed> {
    let (&first, rest) = bytes.split_first().ok_or(Malformed)?;
    if first < 0x80 {
        return Ok((usize::from(first), rest));
    }
    let count = usize::from(first & 0x7f);
    let (digits, rest) = rest.split_at_checked(count).ok_or(Malformed)?;
    let shortest = match digits {
        [only] => *only >= 0x80,
        [first, ..] => *first != 0 && digits.len() <= 4,
        [] => false,
    };
    if !shortest {
        return Err(Malformed);
    }
    let length = digits.iter().fold(0, |length: usize, digit| {
        (length << 8) | usize::from(*digit)
    });
    Ok((length, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    #[test]
    fn reads_values_and_refuses_what_is_not_der() {
        let mut reader = Reader::new(&[0x02, 0x01, 0x05, 0x04, 0x00]);
        assert_eq!(reader.contents(INTEGER), Ok(&[5][..]));
        assert_eq!(reader.optional(INTEGER), Ok(None));
        assert_eq!(reader.optional(OCTET_STRING), Ok(Some(&[][..])));
        assert_eq!(reader.end(), Ok(()));
        let bad: [&[u8]; 8] = [
            &[],
            &[0x02],
            &[0x02, 0x02, 0x00],
            &[0x02, 0x80, 0x00, 0x00],
            &[0x02, 0x81, 0x01, 0x05],
            &[0x02, 0x82, 0x00, 0x01, 0x05],
            &[0x1f, 0x01, 0x05],
            &[0x02, 0x85, 0x01, 0x00, 0x00, 0x00, 0x00],
        ];
        for bytes in bad {
            assert!(Reader::new(bytes).any().is_err(), "{bytes:x?}");
        }
    }

    #[test]
    fn integers_are_in_shortest_form() {
        assert!(integer(&[]).is_err());
        assert!(integer(&[0, 1]).is_err());
        assert!(integer(&[0xff, 0x80]).is_err());
        for good in [&[0][..], &[0, 0x80], &[0xff, 0x7f]] {
            assert_eq!(integer(good), Ok(good));
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_and_nothing_is_lost(bytes: Vec<u8>, tag in any::<u8>()) {
            let mut reader = Reader::new(&bytes);
            let mut read = 0;
            while let Ok(value) = reader.any() {
                read += value.whole.len();
            }
            assert!(read <= bytes.len());
            let _ = only(&bytes, tag);
        }
    }
}

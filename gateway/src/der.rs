//! Reads DER (X.690) piece by piece, without copying: definite lengths in their shortest form, one-byte tags. Writes the few
//! pieces that a question to a responder is made of.
//!
//! Knows no X.509, allocates nothing to read, and does not descend by itself, so that neither size nor nesting can hurt.

use x509_parser::prelude::asn1_rs::GeneralizedTime;

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const NULL: u8 = 0x05;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(crate) const ENUMERATED: u8 = 0x0a;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;

/// The tag of `[number]` around a primitive value.
pub(crate) const fn primitive(number: u8) -> u8 {
    0x80 | number
}

/// The tag of `[number]` around a constructed value.
pub(crate) const fn constructed(number: u8) -> u8 {
    0xa0 | number
}

/// The bytes are not DER, or not what was expected at this place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// One value with its tag.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value<'a> {
    pub(crate) tag: u8,
    pub(crate) contents: &'a [u8],
    /// Tag and length included.
    pub(crate) whole: &'a [u8],
}

/// What is left to read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// A reader of the one value that `bytes` consist of.
    pub(crate) fn only(bytes: &'a [u8], tag: u8) -> Result<Self, Malformed> {
        only(bytes, tag).map(Self::new)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next value, whatever it is.
    pub(crate) fn any(&mut self) -> Result<Value<'a>, Malformed> {
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
    pub(crate) fn value(&mut self, tag: u8) -> Result<Value<'a>, Malformed> {
        match self.any()? {
            value if value.tag == tag => Ok(value),
            _ => Err(Malformed),
        }
    }

    /// The contents of the next value, which must have this tag.
    pub(crate) fn contents(&mut self, tag: u8) -> Result<&'a [u8], Malformed> {
        self.value(tag).map(|value| value.contents)
    }

    /// The next value's contents if it has this tag.
    pub(crate) fn optional(&mut self, tag: u8) -> Result<Option<&'a [u8]>, Malformed> {
        match self.rest.first() {
            Some(next) if *next == tag => self.contents(tag).map(Some),
            _ => Ok(None),
        }
    }

    /// A reader of the next value, which must have this tag.
    pub(crate) fn inside(&mut self, tag: u8) -> Result<Self, Malformed> {
        self.contents(tag).map(Self::new)
    }

    /// The next value, which must be a bit string of whole bytes.
    pub(crate) fn bits(&mut self) -> Result<&'a [u8], Malformed> {
        self.contents(BIT_STRING).and_then(bytes_of_bit_string)
    }

    /// A time in the one form of RFC 5280, 4.1.2.5.2: whole seconds of UTC, here since the Unix epoch.
    pub(crate) fn time(&mut self) -> Result<u64, Malformed> {
        let text = self.contents(GENERALIZED_TIME)?;
        let [digits @ .., b'Z'] = text else {
            return Err(Malformed);
        };
        if digits.len() != 14 || !digits.iter().all(u8::is_ascii_digit) {
            return Err(Malformed);
        }
        let time = GeneralizedTime::from_bytes(text)
            .and_then(|time| time.utc_datetime())
            .map_err(|_| Malformed)?;
        u64::try_from(time.unix_timestamp()).map_err(|_| Malformed)
    }

    /// Whether everything was read; trailing bytes are an error.
    pub(crate) fn end(&self) -> Result<(), Malformed> {
        match self.is_empty() {
            true => Ok(()),
            false => Err(Malformed),
        }
    }
}

/// The one value that `bytes` consist of.
pub(crate) fn only(bytes: &[u8], tag: u8) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new(bytes);
    let contents = reader.contents(tag)?;
    reader.end()?;
    Ok(contents)
}

/// A BOOLEAN's contents (X.690, 11.1).
pub(crate) fn boolean(contents: &[u8]) -> Result<bool, Malformed> {
    match contents {
        [0xff] => Ok(true),
        [0x00] => Ok(false),
        _ => Err(Malformed),
    }
}

/// An INTEGER's contents as they are, if in shortest form (X.690, 8.3.2).
pub(crate) fn integer(contents: &[u8]) -> Result<&[u8], Malformed> {
    match contents {
        [] => Err(Malformed),
        [0x00, next, ..] if next & 0x80 == 0 => Err(Malformed),
        [0xff, next, ..] if next & 0x80 != 0 => Err(Malformed),
        contents => Ok(contents),
    }
}

/// A BIT STRING's contents, if it is of whole bytes.
pub(crate) fn bytes_of_bit_string(contents: &[u8]) -> Result<&[u8], Malformed> {
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

/// An element of tag `tag` that holds `parts` one after the other.
pub(crate) fn encode(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    let mut encoding = vec![tag];
    match u8::try_from(length) {
        Ok(short @ ..0x80) => encoding.push(short),
        _ => {
            let bytes = length.to_be_bytes();
            let significant = bytes.iter().skip_while(|byte| **byte == 0);
            // At most eight.
            encoding.push(0x80 | u8::try_from(significant.clone().count()).unwrap_or_default());
            encoding.extend(significant);
        }
    }
    for part in parts {
        encoding.extend_from_slice(part);
    }
    encoding
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

    #[test]
    fn what_is_written_is_read_again() {
        for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x10000] {
            let contents = vec![7; length];
            let encoding = encode(SEQUENCE, &[&encode(OCTET_STRING, &[&contents])]);
            let mut reader = Reader::new(only(&encoding, SEQUENCE).unwrap());
            assert_eq!(reader.contents(OCTET_STRING), Ok(&contents[..]), "{length}");
            assert_eq!(reader.end(), Ok(()));
        }
    }

    #[test]
    fn cut_off_or_padded_elements_are_malformed() {
        let encoding = encode(SEQUENCE, &[&encode(OCTET_STRING, &[&[7; 200]])]);
        for length in 0..encoding.len() {
            assert!(only(&encoding[..length], SEQUENCE).is_err(), "{length}");
        }
        let padded = [&encoding[..], &[0]].concat();
        assert!(only(&padded, SEQUENCE).is_err());
        assert!(
            only(&[0x30, 0x80, 0, 0], SEQUENCE).is_err(),
            "indefinite length"
        );
    }

    #[test]
    fn times_are_of_one_form() {
        for (text, time) in [
            ("20261121062000Z", Ok(1_795_242_000)),
            ("19700101000000Z", Ok(0)),
            ("19691231235959Z", Err(Malformed)),
            ("20261121062000.5Z", Err(Malformed)),
            ("20261121062000+0100", Err(Malformed)),
            ("202611210620Z", Err(Malformed)),
            ("20261121062000", Err(Malformed)),
            ("20261321062000Z", Err(Malformed)),
            ("20260230062000Z", Err(Malformed)),
            ("", Err(Malformed)),
        ] {
            let encoding = encode(GENERALIZED_TIME, &[text.as_bytes()]);
            assert_eq!(Reader::new(&encoding).time(), time, "{text}");
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

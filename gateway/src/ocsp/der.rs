//! The few pieces of DER (X.690) that OCSP messages are made of: reading element by element, and writing.
//!
//! Elements are found by the ASN.1 reader that the certificate parser has; here they get tags to expect and their bytes as
//! they stand, which is what a signature covers. It knows no message.

use x509_parser::prelude::asn1_rs::{Any, FromDer as _, GeneralizedTime};

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const NULL: u8 = 0x05;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const ENUMERATED: u8 = 0x0a;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;

/// The tag `[number]` of something primitive.
pub(super) const fn context(number: u8) -> u8 {
    0x80 | number
}

/// The tag `[number]` of something constructed, as every explicit one is.
pub(super) const fn explicit(number: u8) -> u8 {
    0xa0 | number
}

/// What was read is not what was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// An element: its tag, what is in it, and all of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) contents: &'a [u8],
    pub(super) encoding: &'a [u8],
}

/// Reads elements from the contents of another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(contents: &'a [u8]) -> Self {
        Self { rest: contents }
    }

    /// The one element of tag `tag` that `encoding` is.
    pub(super) fn only(encoding: &'a [u8], tag: u8) -> Result<Self, Malformed> {
        let mut reader = Self::new(encoding);
        let inner = reader.inside(tag)?;
        reader.end()?;
        Ok(inner)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Nothing more may come. Fields that a later version adds are an error: they could change the meaning.
    pub(super) fn end(self) -> Result<(), Malformed> {
        match self.rest {
            [] => Ok(()),
            _ => Err(Malformed),
        }
    }

    /// The next element, whatever it is.
    pub(super) fn any(&mut self) -> Result<Element<'a>, Malformed> {
        let tag = *self.rest.first().ok_or(Malformed)?;
        let (rest, element) = Any::from_der(self.rest).map_err(|_| Malformed)?;
        let length = self.rest.len().checked_sub(rest.len()).ok_or(Malformed)?;
        let encoding = self.rest.get(..length).ok_or(Malformed)?;
        self.rest = rest;
        Ok(Element {
            tag,
            contents: element.data,
            encoding,
        })
    }

    /// The contents of the next element, which must be of tag `tag`.
    pub(super) fn expect(&mut self, tag: u8) -> Result<&'a [u8], Malformed> {
        match self.any()? {
            element if element.tag == tag => Ok(element.contents),
            _ => Err(Malformed),
        }
    }

    /// The contents of the next element if it is of tag `tag`.
    pub(super) fn optional(&mut self, tag: u8) -> Result<Option<&'a [u8]>, Malformed> {
        match self.rest.first() {
            Some(next) if *next == tag => self.expect(tag).map(Some),
            _ => Ok(None),
        }
    }

    /// A reader of the next element, which must be of tag `tag`.
    pub(super) fn inside(&mut self, tag: u8) -> Result<Self, Malformed> {
        self.expect(tag).map(Self::new)
    }

    /// A bit string of whole bytes.
    pub(super) fn bits(&mut self) -> Result<&'a [u8], Malformed> {
        match self.expect(BIT_STRING)? {
            [0, bytes @ ..] => Ok(bytes),
            _ => Err(Malformed),
        }
    }

    /// A time in the one form of RFC 5280, 4.1.2.5.2: whole seconds of UTC, here since the Unix epoch.
    pub(super) fn time(&mut self) -> Result<u64, Malformed> {
        let text = self.expect(GENERALIZED_TIME)?;
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
}

/// An element of tag `tag` that holds `parts` one after the other.
pub(super) fn encode(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
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
    use super::{GENERALIZED_TIME, Malformed, OCTET_STRING, Reader, SEQUENCE, encode};

    #[test]
    fn what_is_written_is_read_again() {
        for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x10000] {
            let contents = vec![7; length];
            let encoding = encode(SEQUENCE, &[&encode(OCTET_STRING, &[&contents])]);
            let mut reader = Reader::only(&encoding, SEQUENCE).unwrap();
            assert_eq!(reader.expect(OCTET_STRING), Ok(&contents[..]), "{length}");
            assert_eq!(reader.end(), Ok(()));
        }
    }

    #[test]
    fn cut_off_or_padded_elements_are_malformed() {
        let encoding = encode(SEQUENCE, &[&encode(OCTET_STRING, &[&[7; 200]])]);
        for length in 0..encoding.len() {
            assert!(
                Reader::only(&encoding[..length], SEQUENCE).is_err(),
                "{length}"
            );
        }
        let padded = [&encoding[..], &[0]].concat();
        assert!(Reader::only(&padded, SEQUENCE).is_err());
        assert!(
            Reader::only(&[0x30, 0x80, 0, 0], SEQUENCE).is_err(),
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
}

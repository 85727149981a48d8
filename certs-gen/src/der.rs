//! A small DER writer (X.690), for the structures that rcgen does not write: delta lists, lists of a million entries,
//! and certificates that are wrong on purpose.
//!
//! Deliberately writes only, and knows nothing of what its values mean.

use time::OffsetDateTime;

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(crate) const ENUMERATED: u8 = 0x0a;
pub(crate) const UTF8_STRING: u8 = 0x0c;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// The tag `[number]`, constructed; `number` is at most 30.
pub(crate) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// The tag `[number]` of an implicitly tagged primitive; `number` is at most 30.
pub(crate) const fn context_primitive(number: u8) -> u8 {
    0x80 | number
}

/// One element: tag, length, contents.
pub(crate) fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(contents.len() + 10);
    push_element(&mut out, tag, contents);
    out
}

/// The same, at the end of `out`.
pub(crate) fn push_element(out: &mut Vec<u8>, tag: u8, contents: &[u8]) {
    out.push(tag);
    push_length(out, contents.len());
    out.extend_from_slice(contents);
}

fn push_length(out: &mut Vec<u8>, length: usize) {
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let bytes = length.to_be_bytes();
            let digits = without_leading_zeros(&bytes);
            // At most eight digits, so this cannot be cut.
            out.push(0x80 | digits.len() as u8);
            out.extend_from_slice(digits);
        }
    }
}

/// A SEQUENCE of elements that are written already.
pub(crate) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(SEQUENCE, &parts.concat())
}

/// An INTEGER that is not negative, from its big-endian bytes.
pub(crate) fn unsigned(bytes: &[u8]) -> Vec<u8> {
    let digits = without_leading_zeros(bytes);
    match digits.first() {
        None => element(INTEGER, &[0]),
        // A set sign bit would make it negative.
        Some(first) if first & 0x80 != 0 => element(INTEGER, &[&[0], digits].concat()),
        Some(_) => element(INTEGER, digits),
    }
}

/// An INTEGER from a number.
pub(crate) fn number(value: u64) -> Vec<u8> {
    unsigned(&value.to_be_bytes())
}

/// An OBJECT IDENTIFIER from its encoded arcs.
pub(crate) fn oid(arcs: &[u8]) -> Vec<u8> {
    element(OBJECT_IDENTIFIER, arcs)
}

/// A BIT STRING of whole bytes.
pub(crate) fn bit_string(bytes: &[u8]) -> Vec<u8> {
    element(BIT_STRING, &[&[0], bytes].concat())
}

/// A Time: UTCTime through the year 2049, GeneralizedTime after it (RFC 5280 section 4.1.2.5).
pub(crate) fn time(moment: OffsetDateTime) -> Vec<u8> {
    let utc = moment.to_offset(time::UtcOffset::UTC);
    let (year, rest) = (
        utc.year(),
        format!(
            "{:02}{:02}{:02}{:02}{:02}Z",
            u8::from(utc.month()),
            utc.day(),
            utc.hour(),
            utc.minute(),
            utc.second()
        ),
    );
    if (1950..2050).contains(&year) {
        element(UTC_TIME, format!("{:02}{rest}", year % 100).as_bytes())
    } else {
        element(GENERALIZED_TIME, format!("{year:04}{rest}").as_bytes())
    }
}

/// An Extension (RFC 5280 section 4.1) around a value that is written already.
pub(crate) fn extension(arcs: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    // FALSE is the default, and DER leaves defaults out.
    let flag = if critical {
        element(BOOLEAN, &[0xff])
    } else {
        Vec::new()
    };
    sequence(&[&oid(arcs), &flag, &element(OCTET_STRING, value)])
}

/// An authorityKeyIdentifier with nothing but the key identifier (RFC 5280 section 4.2.1.1).
pub(crate) fn authority_key_identifier(key_id: &[u8]) -> Vec<u8> {
    let value = sequence(&[&element(context_primitive(0), key_id)]);
    extension(b"\x55\x1d\x23", false, &value)
}

/// A number's big-endian bytes in their shortest form; none at all for zero.
pub(crate) fn without_leading_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use time::{Date, Month, OffsetDateTime};

    use super::{OCTET_STRING, element, extension, number, time, unsigned};

    #[test]
    fn lengths_in_each_form() {
        let head =
            |length: usize| element(OCTET_STRING, &vec![0; length])[1..6.min(length + 2)].to_vec();
        assert_eq!(head(3)[0], 3);
        assert_eq!(head(127)[0], 127);
        assert_eq!(head(128)[..2], [0x81, 128]);
        assert_eq!(head(256)[..3], [0x82, 1, 0]);
        assert_eq!(head(65_536)[..4], [0x83, 1, 0, 0]);
    }

    #[test]
    fn integers_are_short_and_positive() {
        assert_eq!(number(0), [2, 1, 0]);
        assert_eq!(number(127), [2, 1, 127]);
        assert_eq!(number(128), [2, 2, 0, 128]);
        assert_eq!(unsigned(&[0, 0, 0x7f, 1]), [2, 2, 0x7f, 1]);
        assert_eq!(unsigned(&[]), [2, 1, 0]);
    }

    #[test]
    fn times_change_their_form_in_2050() {
        let new_year = |year| -> OffsetDateTime {
            let date = Date::from_calendar_date(year, Month::January, 2).unwrap();
            date.with_hms(3, 4, 5).unwrap().assume_utc()
        };
        assert_eq!(time(new_year(2049)), b"\x17\x0d490102030405Z");
        assert_eq!(time(new_year(2050)), b"\x18\x0f20500102030405Z");
    }

    #[test]
    fn a_default_is_left_out() {
        let (critical, not) = (
            extension(b"\x55\x1d\x14", true, b""),
            extension(b"\x55\x1d\x14", false, b""),
        );
        assert_eq!(critical.len(), not.len() + 3);
    }
}

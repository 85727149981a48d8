//! Reads a CertificateList (RFC 5280, section 5) in place: nothing is copied, whatever its size.
//!
//! Checks the whole structure, every entry included, and refuses what this gateway cannot honour. It does not check the
//! signature: nothing here may be believed before [`verify_list`](super::verify_list) has.

use std::fmt;

use x509_parser::prelude::{ASN1Time, FromDer};
use x509_parser::x509::X509Name;

use super::error::ListError;
use super::reason::Reason;
use super::scope::Scope;
use crate::der::{self, Malformed, Reader, Value};

/// id-ce (2.5.29), below which the extensions of RFC 5280 are numbered.
const ID_CE: [u8; 2] = [0x55, 0x1d];
const CRL_NUMBER: u8 = 20;
const REASON_CODE: u8 = 21;
const DELTA_CRL_INDICATOR: u8 = 27;
const ISSUING_DISTRIBUTION_POINT: u8 = 28;
const CERTIFICATE_ISSUER: u8 = 29;
const AUTHORITY_KEY_IDENTIFIER: u8 = 35;

/// A list's number (RFC 5280, section 5.2.3): up to 20 bytes, big-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListNumber([u8; 20]);

impl ListNumber {
    fn from_extension(value: &[u8]) -> Result<Self, Malformed> {
        let digits = der::integer(der::only(value, der::INTEGER)?)?;
        if digits.first().is_some_and(|first| first & 0x80 != 0) {
            return Err(Malformed);
        }
        let digits = without_leading_zeros(digits);
        let mut number = [0; 20];
        if digits.len() > number.len() {
            return Err(Malformed);
        }
        for (to, from) in number.iter_mut().rev().zip(digits.iter().rev()) {
            *to = *from;
        }
        Ok(Self(number))
    }
}

impl fmt::Display for ListNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, low @ ..] = self.0;
        match [a, b, c, d] {
            [0, 0, 0, 0] => u128::from_be_bytes(low).fmt(formatter),
            high => write!(
                formatter,
                "0x{:x}{:032x}",
                u32::from_be_bytes(high),
                u128::from_be_bytes(low)
            ),
        }
    }
}

/// A list as it is written. Its signature is not checked.
#[derive(Debug)]
pub struct ParsedList<'a> {
    /// The signed part, header included.
    pub(super) signed: &'a [u8],
    /// Contents of the AlgorithmIdentifier, without its header.
    pub(super) algorithm: &'a [u8],
    pub(super) signature: &'a [u8],
    /// The Name, header included.
    pub(super) issuer: Value<'a>,
    pub(super) this_update: u64,
    pub(super) next_update: u64,
    pub(super) extensions: Extensions<'a>,
    entries: &'a [u8],
    count: usize,
}

/// The list's own extensions.
#[derive(Debug, Default)]
pub(super) struct Extensions<'a> {
    pub(super) number: Option<ListNumber>,
    /// The number of the full list to which this delta list adds.
    pub(super) base_number: Option<ListNumber>,
    pub(super) scope: Option<Scope>,
    pub(super) authority_key_id: Option<&'a [u8]>,
}

/// One revoked certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// As it is written: with a leading zero byte if need be.
    pub(super) serial: &'a [u8],
    pub(super) reason: Reason,
}

/// Reads and checks the structure of a list in DER.
///
/// # Errors
/// What is malformed, or cannot be honoured. Never one about the signature.
pub fn parse(der: &[u8]) -> Result<ParsedList<'_>, ListError> {
    let malformed = ListError::malformed;
    let list = der::only(der, der::SEQUENCE).map_err(malformed("not one DER sequence"))?;
    let mut list = Reader::new(list);
    let signed = list
        .value(der::SEQUENCE)
        .map_err(malformed("tbsCertList"))?;
    let algorithm = list
        .contents(der::SEQUENCE)
        .map_err(malformed("signatureAlgorithm"))?;
    let signature = list
        .contents(der::BIT_STRING)
        .and_then(der::bytes_of_bit_string)
        .map_err(malformed("signatureValue"))?;
    list.end().map_err(malformed("bytes after the signature"))?;

    let mut fields = Reader::new(signed.contents);
    let version = fields
        .optional(der::INTEGER)
        .map_err(malformed("version"))?;
    if !matches!(version, None | Some([1])) {
        return Err(ListError::Malformed("version"));
    }
    // RFC 5280, section 5.1.2.2: both places name the same algorithm.
    let inner = fields
        .contents(der::SEQUENCE)
        .map_err(malformed("signature"))?;
    if inner != algorithm {
        return Err(ListError::Malformed("two different signature algorithms"));
    }
    let issuer = fields.value(der::SEQUENCE).map_err(malformed("issuer"))?;
    let this_update = time(&mut fields)
        .and_then(|time| time.ok_or(Malformed))
        .map_err(malformed("thisUpdate"))?;
    let next_update = time(&mut fields)
        .map_err(malformed("nextUpdate"))?
        .ok_or(ListError::NoNextUpdate)?;
    let entries = fields
        .optional(der::SEQUENCE)
        .map_err(malformed("revokedCertificates"))?
        .unwrap_or_default();
    let extensions = fields
        .optional(der::constructed(0))
        .map_err(malformed("crlExtensions"))?;
    fields
        .end()
        .map_err(malformed("bytes after the extensions"))?;
    let extensions = match (extensions, version) {
        (Some(extensions), Some(_)) => list_extensions(extensions)?,
        (Some(_), None) => return Err(ListError::Malformed("extensions in version 1")),
        (None, _) => Extensions::default(),
    };
    let list = ParsedList {
        signed: signed.whole,
        algorithm,
        signature,
        issuer,
        this_update,
        next_update,
        count: count(entries, extensions.base_number.is_some())?,
        extensions,
        entries,
    };
    Ok(list)
}

impl<'a> ParsedList<'a> {
    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether it revokes nothing.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The issuer's name in words, fit for a log.
    pub fn issuer_name(&self) -> String {
        name_in_words(self.issuer.whole)
    }

    /// All entries. `parse` went through them all, so none is malformed.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry<'a>> {
        let mut reader = Reader::new(self.entries);
        std::iter::from_fn(move || match reader.is_empty() {
            true => None,
            false => entry(&mut reader).ok(),
        })
    }
}

/// A Name (header included) in words, without control characters.
pub(super) fn name_in_words(name: &[u8]) -> String {
    X509Name::from_der(name).map_or_else(
        |_| "an unreadable name".to_owned(),
        |(_, name)| name.to_string().escape_debug().to_string(),
    )
}

pub(super) fn without_leading_zeros(mut digits: &[u8]) -> &[u8] {
    while let Some((0, rest)) = digits.split_first() {
        digits = rest;
    }
    digits
}

fn count(entries: &[u8], delta: bool) -> Result<usize, ListError> {
    let mut reader = Reader::new(entries);
    let mut count = 0;
    while !reader.is_empty() {
        if entry(&mut reader)?.reason == Reason::RemoveFromList && !delta {
            return Err(ListError::RemovalInFullList);
        }
        count += 1;
    }
    Ok(count)
}

fn entry<'a>(reader: &mut Reader<'a>) -> Result<Entry<'a>, ListError> {
    let malformed = ListError::malformed("an entry");
    let mut fields = Reader::new(reader.contents(der::SEQUENCE).map_err(&malformed)?);
    let serial = fields
        .contents(der::INTEGER)
        .and_then(der::integer)
        .map_err(&malformed)?;
    // When it was revoked changes nothing.
    let date = fields.any().map_err(&malformed)?;
    if !is_time(&date) {
        return Err(malformed(Malformed));
    }
    let reason = match fields.optional(der::SEQUENCE).map_err(&malformed)? {
        Some(extensions) => entry_extensions(extensions)?,
        None => Reason::Unspecified,
    };
    fields.end().map_err(&malformed)?;
    Ok(Entry { serial, reason })
}

fn entry_extensions(extensions: &[u8]) -> Result<Reason, ListError> {
    let malformed = ListError::malformed("an entry's extension");
    let mut reader = Reader::new(extensions);
    let mut reason = None;
    while !reader.is_empty() {
        let extension = Extension::read(&mut reader).map_err(&malformed)?;
        match extension.number() {
            Some(REASON_CODE) => {
                let code = der::only(extension.value, der::ENUMERATED).map_err(&malformed)?;
                once(&mut reason, Reason::from_code(code).map_err(&malformed)?)?;
            }
            Some(CERTIFICATE_ISSUER) => return Err(ListError::Indirect),
            _ => extension.ignore()?,
        }
    }
    Ok(reason.unwrap_or(Reason::Unspecified))
}

fn list_extensions(contents: &[u8]) -> Result<Extensions<'_>, ListError> {
    let malformed = ListError::malformed("an extension");
    let mut reader = Reader::new(der::only(contents, der::SEQUENCE).map_err(&malformed)?);
    let mut found = Extensions::default();
    while !reader.is_empty() {
        let extension = Extension::read(&mut reader).map_err(&malformed)?;
        let value = extension.value;
        match extension.number() {
            Some(CRL_NUMBER) => {
                let number = ListNumber::from_extension(value);
                once(
                    &mut found.number,
                    number.map_err(ListError::malformed("cRLNumber"))?,
                )?;
            }
            Some(DELTA_CRL_INDICATOR) => {
                let number = ListNumber::from_extension(value);
                let number = number.map_err(ListError::malformed("deltaCRLIndicator"))?;
                once(&mut found.base_number, number)?;
            }
            Some(ISSUING_DISTRIBUTION_POINT) => {
                once(&mut found.scope, Scope::from_extension(value)?)?;
            }
            Some(AUTHORITY_KEY_IDENTIFIER) => {
                let fields = der::only(value, der::SEQUENCE)
                    .and_then(|fields| Reader::new(fields).optional(der::primitive(0)))
                    .map_err(ListError::malformed("authorityKeyIdentifier"))?;
                if let Some(id) = fields {
                    once(&mut found.authority_key_id, id)?;
                }
            }
            _ => extension.ignore()?,
        }
    }
    if found.base_number.is_some() && found.number.is_none() {
        return Err(ListError::Malformed("a delta list without a number"));
    }
    Ok(found)
}

/// An extension may appear once (RFC 5280, section 4.2).
fn once<T>(place: &mut Option<T>, value: T) -> Result<(), ListError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(ListError::Malformed("an extension appears twice")),
    }
}

struct Extension<'a> {
    id: &'a [u8],
    critical: bool,
    value: &'a [u8],
}

impl<'a> Extension<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let mut fields = Reader::new(reader.contents(der::SEQUENCE)?);
        let id = fields.contents(der::OBJECT_IDENTIFIER)?;
        let critical = fields
            .optional(der::BOOLEAN)?
            .map_or(Ok(false), der::boolean)?;
        let value = fields.contents(der::OCTET_STRING)?;
        fields.end()?;
        Ok(Self {
            id,
            critical,
            value,
        })
    }

    /// Its number below id-ce.
    fn number(&self) -> Option<u8> {
        match self.id.strip_prefix(&ID_CE)? {
            [number] => Some(*number),
            _ => None,
        }
    }

    /// Unknown extensions may be ignored unless they are critical (RFC 5280, section 5.2).
    fn ignore(&self) -> Result<(), ListError> {
        match self.critical {
            false => Ok(()),
            true => Err(ListError::CriticalExtension(
                x509_parser::asn1_rs::Oid::new(self.id.into()).to_id_string(),
            )),
        }
    }
}

/// The next field as seconds since the Unix epoch, if it is a time.
fn time(reader: &mut Reader<'_>) -> Result<Option<u64>, Malformed> {
    let mut ahead = *reader;
    match ahead.any() {
        Ok(value) if value.tag == der::UTC_TIME || value.tag == der::GENERALIZED_TIME => {
            *reader = ahead;
            if !is_time(&value) {
                return Err(Malformed);
            }
            let (_, time) = ASN1Time::from_der(value.whole).map_err(|_| Malformed)?;
            u64::try_from(time.timestamp())
                .map(Some)
                .map_err(|_| Malformed)
        }
        _ => Ok(None),
    }
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ` (RFC 5280, section 4.1.2.5).
fn is_time(value: &Value<'_>) -> bool {
    let length = match value.tag {
        der::UTC_TIME => 13,
        der::GENERALIZED_TIME => 15,
        _ => return false,
    };
    match value.contents.split_last() {
        Some((b'Z', digits)) => digits.len() + 1 == length && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

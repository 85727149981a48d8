//! A look at a ClientHello before the TLS library sees it: is it whole, which server does it name, does it bring a ticket?
//!
//! What it finds decides the order in which handshakes are started, and nothing else. It checks no more than it needs, and
//! trusts nothing: what it cannot read goes to rustls like everything else, which says what is wrong with it.

use std::borrow::Cow;

use crate::tls::reader::Reader;

/// What the first bytes of a connection are.
#[derive(Debug, PartialEq, Eq)]
pub enum FirstFlight<'a> {
    /// The front of what may become a ClientHello.
    Incomplete,
    /// A whole ClientHello message, without its header.
    Hello(Cow<'a, [u8]>),
    /// Nothing that is understood here.
    Other,
}

/// What a ClientHello says of which session it would resume.
#[derive(Debug, PartialEq, Eq, Default)]
pub struct ClientHello<'a> {
    /// The server that it asks for (RFC 6066, 3), spelled as it is there.
    pub server_name: Option<&'a str>,
    /// The first pre-shared key's identity (RFC 8446, 4.2.11), or the session ticket of TLS 1.2 (RFC 5077, 3.2).
    pub ticket: Option<&'a [u8]>,
}

/// The longest hello that is waited for. The hybrid key shares of today make two kilobytes.
const MAX_HELLO: usize = 16 * 1024;
/// A hello may come in several records; nobody sends it in more than a few.
const MAX_RECORDS: usize = 16;
/// RFC 8446, 5.1.
const MAX_RECORD: usize = 16 * 1024;

const HANDSHAKE_RECORD: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: usize = 0;
const HOST_NAME: u8 = 0;
const SESSION_TICKET: usize = 35;
const PRE_SHARED_KEY: usize = 41;

/// Looks at everything that came on a connection so far.
pub fn first_flight(received: &[u8]) -> FirstFlight<'_> {
    let mut records = Reader(received);
    let mut message = Cow::Borrowed(&[][..]);
    for _ in 0..MAX_RECORDS {
        match records.0.first() {
            None => return FirstFlight::Incomplete,
            Some(&HANDSHAKE_RECORD) => {}
            Some(_) => return FirstFlight::Other,
        }
        let Some(header) = records.take(5) else {
            return FirstFlight::Incomplete;
        };
        let Some(length) = Reader(header.get(3..).unwrap_or_default()).u16() else {
            return FirstFlight::Other;
        };
        if length == 0 || length > MAX_RECORD {
            return FirstFlight::Other;
        }
        let arrived = length.min(records.0.len());
        let fragment = records.take(arrived).unwrap_or_default();
        if message.is_empty() {
            message = Cow::Borrowed(fragment);
        } else {
            message.to_mut().extend_from_slice(fragment);
        }
        match whole_hello(&message) {
            Some(Ok(end)) => return FirstFlight::Hello(body(message, end)),
            Some(Err(NotAHello)) => return FirstFlight::Other,
            None if arrived < length => return FirstFlight::Incomplete,
            None => {}
        }
    }
    FirstFlight::Other
}

struct NotAHello;

/// Where the ClientHello that `message` starts with ends; `None` while it is not all there.
fn whole_hello(message: &[u8]) -> Option<Result<usize, NotAHello>> {
    let mut reader = Reader(message);
    if reader.byte()? != CLIENT_HELLO {
        return Some(Err(NotAHello));
    }
    let end = HEADER + reader.u24()?;
    if end > MAX_HELLO {
        return Some(Err(NotAHello));
    }
    (message.len() >= end).then_some(Ok(end))
}

/// Of a handshake message: type and length.
const HEADER: usize = 4;

fn body(message: Cow<'_, [u8]>, end: usize) -> Cow<'_, [u8]> {
    match message {
        Cow::Borrowed(message) => Cow::Borrowed(message.get(HEADER..end).unwrap_or_default()),
        Cow::Owned(mut message) => {
            message.truncate(end);
            message.drain(..HEADER.min(end));
            Cow::Owned(message)
        }
    }
}

impl<'a> ClientHello<'a> {
    /// Reads the body of a ClientHello (RFC 8446, 4.1.2). `None` where it is not laid out as one.
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(body);
        // Version and random.
        reader.take(2 + 32)?;
        let session = reader.byte()?;
        reader.take(usize::from(session))?;
        let suites = reader.u16()?;
        reader.take(suites)?;
        let compressions = reader.byte()?;
        reader.take(usize::from(compressions))?;
        let mut hello = Self::default();
        if reader.0.is_empty() {
            return Some(hello);
        }
        let length = reader.u16()?;
        let mut extensions = Reader(reader.take(length)?);
        let mut session_ticket = None;
        while !extensions.0.is_empty() {
            let kind = extensions.u16()?;
            let length = extensions.u16()?;
            let content = extensions.take(length)?;
            match kind {
                SERVER_NAME => hello.server_name = server_name(content),
                SESSION_TICKET if !content.is_empty() => session_ticket = Some(content),
                PRE_SHARED_KEY => hello.ticket = first_identity(content),
                _ => {}
            }
        }
        hello.ticket = hello.ticket.or(session_ticket);
        Some(hello)
    }
}

fn server_name(content: &[u8]) -> Option<&str> {
    let mut reader = Reader(content);
    let length = reader.u16()?;
    let mut list = Reader(reader.take(length)?);
    if list.byte()? != HOST_NAME {
        return None;
    }
    let length = list.u16()?;
    std::str::from_utf8(list.take(length)?).ok()
}

fn first_identity(content: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader(content);
    let length = reader.u16()?;
    let mut identities = Reader(reader.take(length)?);
    let length = identities.u16()?;
    identities.take(length)
}

#[cfg(test)]
mod tests;

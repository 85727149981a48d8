//! What crosses between the two sides of the proxy as header fields: hop-by-hop fields go, every inbound copy of an
//! identity field goes, ours are set.
//!
//! Pure: no connection, no clock. It does not route, and it does not parse HTTP; hyper has done that.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST, HeaderMap, HeaderName,
    HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Uri, Version};

use crate::authorize::Permit;
use crate::identity::{Identified, hex};
use crate::verify::VerifiedChain;

mod host;
pub mod token;

const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
const CLIENT_CERT_CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");
const X_FORWARDED_CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
const X_DEVICE_ID: HeaderName = HeaderName::from_static("x-device-id");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Which of the optional identity headers are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settings {
    /// Send `Client-Cert-Chain` (RFC 9440) as well.
    pub client_cert_chain: bool,
    /// Send `Forwarded` (RFC 7239) as well.
    pub forwarded: bool,
}

/// The identity header values of one device, encoded once per verified chain.
#[derive(Debug, Default)]
pub struct IdentityHeaders {
    client_cert: Option<HeaderValue>,
    client_cert_chain: Option<HeaderValue>,
    forwarded_client_cert: Option<HeaderValue>,
    device_id: Option<HeaderValue>,
}

impl IdentityHeaders {
    /// The end entity's DER encoding.
    pub fn end_entity(&self) -> Option<Vec<u8>> {
        let value = self.client_cert.as_ref()?.to_str().ok()?;
        STANDARD.decode(value.trim_matches(':')).ok()
    }

    /// Encodes the values for `identified`, whose certificates are in `chain`.
    pub(crate) fn prepare(
        identified: &Identified,
        chain: &VerifiedChain,
        settings: Settings,
    ) -> Self {
        Self {
            client_cert: value(&byte_sequence(chain.end_entity())),
            client_cert_chain: settings
                .client_cert_chain
                .then(|| chain_value(chain))
                .flatten(),
            forwarded_client_cert: value(&forwarded_client_cert(identified)),
            device_id: value(identified.device_id()),
        }
    }

    /// The issuer's name, read again out of the end entity: for an operator, who asks rarely.
    pub(crate) fn issuer_name(&self) -> Option<String> {
        let der = self.end_entity()?;
        let (_, certificate) = x509_parser::parse_x509_certificate(&der).ok()?;
        Some(certificate.issuer().to_string())
    }
}

/// Header values that are the same for every request of one connection.
#[derive(Debug)]
pub struct PeerHeaders {
    forwarded_for: Option<HeaderValue>,
    forwarded: Option<HeaderValue>,
}

impl PeerHeaders {
    /// Encodes the values for a device at `peer`.
    pub fn prepare(peer: SocketAddr, settings: Settings) -> Self {
        let address = peer.ip().to_canonical();
        let node = if address.is_ipv6() {
            format!("\"[{address}]\"")
        } else {
            address.to_string()
        };
        Self {
            forwarded_for: value(&address.to_string()),
            forwarded: settings
                .forwarded
                .then(|| value(&format!("for={node};proto=https")))
                .flatten(),
        }
    }
}

/// Why a request head is not forwarded. All of these are ways to make two readers disagree about where a request ends
/// or whom it is for (RFC 9112, 11.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// `Transfer-Encoding` is anything but exactly `chunked`, or comes with HTTP/1.0.
    #[error("transfer-encoding must be exactly chunked")]
    TransferEncoding,
    /// Both framings, or `Content-Length` more than once.
    #[error("ambiguous length")]
    AmbiguousLength,
    /// The target is no path (RFC 9112, 3.2.1).
    #[error("the target must be a path")]
    Target,
    /// No `Host`, more than one, or one that is not an authority.
    #[error("exactly one valid host is needed")]
    Host,
}

/// Checks that `head` has one framing and one authority, and returns that authority as the `Host` for the upstream.
/// `None` is an HTTP/1.0 request without a host.
///
/// # Errors
/// What is ambiguous.
pub fn check_head(
    version: Version,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Option<HeaderValue>, Malformed> {
    check_framing(version, headers)?;
    // An asterisk, which OPTIONS may have, is taken for a path that no route has.
    if !uri.path().starts_with('/') && uri.path() != "*" && uri.scheme().is_none() {
        return Err(Malformed::Target);
    }
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Malformed::Host);
    }
    // RFC 9112, 3.2.2: the authority of an absolute-form target replaces Host. RFC 9113, 8.3.1: so does :authority.
    if let Some(authority) = uri.authority() {
        let named = authority.as_str();
        if !host::is_authority(named)
            || (version == Version::HTTP_2 && host.is_some_and(|host| host != named))
        {
            return Err(Malformed::Host);
        }
        return HeaderValue::from_str(named)
            .map(Some)
            .map_err(|_| Malformed::Host);
    }
    match host {
        Some(host) if is_authority(host) => Ok(Some(host.clone())),
        Some(_) => Err(Malformed::Host),
        None if version == Version::HTTP_10 => Ok(None),
        None => Err(Malformed::Host),
    }
}

fn check_framing(version: Version, headers: &HeaderMap) -> Result<(), Malformed> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let has_length = lengths.next().is_some();
    if lengths.next().is_some() {
        return Err(Malformed::AmbiguousLength);
    }
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(encoding) = encodings.next() {
        if has_length {
            return Err(Malformed::AmbiguousLength);
        }
        let exact = encoding.as_bytes().eq_ignore_ascii_case(b"chunked");
        if !exact || encodings.next().is_some() || version != Version::HTTP_11 {
            return Err(Malformed::TransferEncoding);
        }
    }
    Ok(())
}

fn is_authority(host: &HeaderValue) -> bool {
    host.to_str().is_ok_and(host::is_authority)
}

/// The token's field in a request to the upstream, where tokens are sent.
#[derive(Debug, Clone, Copy)]
pub struct TokenField<'a> {
    /// As configured. Inbound copies of it are removed, whether or not there is a value.
    pub name: &'a HeaderName,
    /// The token; `None` where none could be made.
    pub value: Option<&'a HeaderValue>,
}

/// Turns a device's request fields into the upstream's: removes hop-by-hop fields and every inbound copy (in any
/// spelling that an upstream might fold together) of a field that the gateway vouches for, then sets those.
pub fn rewrite_request(
    headers: &mut HeaderMap,
    host: Option<HeaderValue>,
    permit: &Permit,
    peer: &PeerHeaders,
    token: Option<TokenField<'_>>,
) {
    remove_hop_by_hop(headers);
    remove_where(headers, |name| {
        vouched_for(name) || token.is_some_and(|token| folds_into(name, token.name))
    });
    join_cookies(headers);
    // The gateway answers 100-continue itself, when the upstream's side is ready to take the body.
    headers.remove(EXPECT);
    let nobody = IdentityHeaders::default();
    let identity = permit.device().map_or(&nobody, |device| device.headers());
    let ours = [
        (HOST, &host),
        (CLIENT_CERT, &identity.client_cert),
        (CLIENT_CERT_CHAIN, &identity.client_cert_chain),
        (X_FORWARDED_CLIENT_CERT, &identity.forwarded_client_cert),
        (X_DEVICE_ID, &identity.device_id),
        (X_FORWARDED_FOR, &peer.forwarded_for),
        (FORWARDED, &peer.forwarded),
    ];
    for (name, value) in ours {
        if let Some(value) = value {
            headers.insert(name, value.clone());
        }
    }
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("https"));
    if let Some(TokenField {
        name,
        value: Some(value),
    }) = token
    {
        headers.insert(name, value.clone());
    }
}

/// Removes from a request's trailers what must not come behind a head (RFC 9110, 6.5.1): what frames or routes the message,
/// what concerns one hop only, what only the gateway says, and the `token`'s field. Some servers merge trailers into the head.
pub fn rewrite_request_trailers(trailers: &mut HeaderMap, token: Option<&HeaderName>) {
    remove_where(trailers, |name| {
        has_another_meaning(name) || token.is_some_and(|token| folds_into(name, token))
    });
}

/// Removes from a response's trailers what frames the message or concerns one hop only.
pub fn rewrite_response_trailers(trailers: &mut HeaderMap) {
    remove_where(trailers, |name| {
        hop_by_hop(name) || [CONNECTION, CONTENT_LENGTH, HOST].contains(name)
    });
}

fn remove_where(headers: &mut HeaderMap, unwanted: impl Fn(&HeaderName) -> bool) {
    let names: Vec<HeaderName> = headers
        .keys()
        .filter(|name| unwanted(name))
        .cloned()
        .collect();
    for name in names {
        headers.remove(name);
    }
}

/// Whether a request says that its device takes trailers in the response.
pub fn accepts_trailers(headers: &HeaderMap) -> bool {
    headers
        .get_all(TE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// HTTP/2 may split cookies into several fields, and outside of it there must be one (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(COOKIE).iter();
    if let (Some(first), Some(_)) = (cookies.next(), cookies.next()) {
        let mut joined = first.as_bytes().to_vec();
        for cookie in headers.get_all(COOKIE).iter().skip(1) {
            joined.extend_from_slice(b"; ");
            joined.extend_from_slice(cookie.as_bytes());
        }
        if let Ok(joined) = HeaderValue::from_bytes(&joined) {
            headers.insert(COOKIE, joined);
        }
    }
}

/// Whether a request asks for WebSocket (RFC 6455, 4.1), the one protocol that connections may switch to. Asking for another
/// (`h2c`, say) is a request that two readers could end at different places, and goes on without it.
pub fn asks_for_websocket(version: Version, method: &Method, headers: &HeaderMap) -> bool {
    version == Version::HTTP_11
        && *method == Method::GET
        && is_websocket(headers)
        && !headers.contains_key(TRANSFER_ENCODING)
        && !headers.contains_key(CONTENT_LENGTH)
        && headers.get_all(CONNECTION).iter().any(|value| {
            let mut options = value.as_bytes().split(|byte| *byte == b',');
            options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
        })
}

/// Whether `Upgrade` names WebSocket and nothing else.
pub fn is_websocket(headers: &HeaderMap) -> bool {
    let mut protocols = headers.get_all(UPGRADE).iter();
    let first = protocols.next();
    first.is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && protocols.next().is_none()
}

/// Says that the message is about switching to WebSocket. For a head whose hop-by-hop fields were removed.
pub fn set_websocket(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// Removes the fields that concern one hop only (RFC 9110, 7.6.1), and those that `Connection` names.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|token| token.trim().parse().ok())
            // Framing stays what it was: an option that names it would change where the message ends.
            .filter(|name| *name != CONTENT_LENGTH && *name != HOST)
            .collect();
        for name in named {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
    }
    remove_where(headers, hop_by_hop);
}

fn hop_by_hop(name: &HeaderName) -> bool {
    *name == TRANSFER_ENCODING
        || *name == TE
        || *name == TRAILER
        || *name == UPGRADE
        || matches!(
            name.as_str(),
            "keep-alive" | "proxy-connection" | "proxy-authorization" | "http2-settings"
        )
}

/// Whether an upstream may take `name` for something that only the gateway can say, once it has folded the name.
fn vouched_for(name: &HeaderName) -> bool {
    let name = name.as_str();
    if name.bytes().all(|byte| folded(byte) == byte) {
        return is_vouched_name(name);
    }
    let folded: String = name.bytes().map(folded).map(char::from).collect();
    is_vouched_name(&folded)
        || matches!(
            folded.as_str(),
            "content-length" | "transfer-encoding" | "host"
        )
}

/// Whether an upstream may take `name` for `other`.
fn folds_into(name: &HeaderName, other: &HeaderName) -> bool {
    let (name, other) = (name.as_str().bytes(), other.as_str().bytes());
    name.map(folded).eq(other.map(folded))
}

/// What is neither letter nor digit counts as a hyphen: CGI and its like hand fields on as variables, in whose names (RFC
/// 3875, 4.1.18) some servers turn hyphens and underscores into an underscore, and others every such character.
fn folded(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() {
        byte
    } else {
        b'-'
    }
}

/// Whether a request to the upstream needs `name` for something else than the device's token.
fn has_another_meaning(name: &HeaderName) -> bool {
    vouched_for(name)
        || hop_by_hop(name)
        || [CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST].contains(name)
}

fn is_vouched_name(name: &str) -> bool {
    matches!(
        name,
        "client-cert"
            | "client-cert-chain"
            | "x-forwarded-client-cert"
            | "x-device-id"
            | "x-forwarded-for"
            | "x-forwarded-proto"
            | "x-forwarded-host"
            | "x-forwarded-port"
            | "x-real-ip"
            | "forwarded"
    )
}

fn value(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(text).ok()
}

/// An RFC 8941 byte sequence, as RFC 9440 wants certificates.
fn byte_sequence(der: &[u8]) -> String {
    format!(":{}:", STANDARD.encode(der))
}

/// RFC 9440, 2.3: the certificates after the end entity, in TLS order.
fn chain_value(chain: &VerifiedChain) -> Option<HeaderValue> {
    let list: Vec<String> = chain
        .intermediates()
        .iter()
        .map(|der| byte_sequence(der))
        .collect();
    if list.is_empty() {
        None
    } else {
        value(&list.join(", "))
    }
}

/// Envoy's `X-Forwarded-Client-Cert` element.
fn forwarded_client_cert(identified: &Identified) -> String {
    let mut element = format!(
        "Hash={};Subject={}",
        hex(identified.fingerprint()),
        quoted(identified.subject())
    );
    let lists = [("URI", identified.uris()), ("DNS", identified.dns_names())];
    for (key, names) in lists {
        for name in names {
            element.push_str(&format!(";{key}={}", quoted_where_needed(name)));
        }
    }
    element
}

fn quoted_where_needed(text: &str) -> String {
    let plain =
        |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b',' | b';' | b'=' | b'"' | b'\\');
    if text.bytes().all(plain) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// A quoted string in which every byte that cannot stand in one is percent-encoded.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b' '..=b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests;

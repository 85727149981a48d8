//! What may stand in `Host` or `:authority`: a name or an address, and perhaps a port, that every reader takes for the same.
//!
//! Pure, and stricter than RFC 3986, 3.2, which allows names that no DNS has and that upstreams read differently. It does
//! not say which trust domain a host belongs to.

use std::net::Ipv6Addr;

/// Whether `text` is a DNS name (underscores are allowed, as many networks have them), an IPv4 address, or an IPv6 address in
/// brackets; then perhaps a port.
pub(super) fn is_authority(text: &str) -> bool {
    match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']').is_some_and(|(address, port)| {
            address.parse::<Ipv6Addr>().is_ok()
                && port.strip_prefix(':').map_or(port.is_empty(), is_port)
        }),
        None => match text.split_once(':') {
            Some((name, port)) => is_name(name) && is_port(port),
            None => is_name(text),
        },
    }
}

/// An IPv4 address is a name by its form. One trailing dot is the DNS's root.
fn is_name(text: &str) -> bool {
    let in_label = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    text.strip_suffix('.')
        .unwrap_or(text)
        .split('.')
        .all(|label| !label.is_empty() && label.bytes().all(in_label))
}

/// It may be empty (RFC 3986, 3.2.3).
fn is_port(text: &str) -> bool {
    text.is_empty()
        || (text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::is_authority;

    #[test]
    fn names_and_addresses_with_and_without_a_port() {
        for text in [
            "a",
            "gate.plant-7.example",
            "GATE.example.",
            "my_gate.local:8443",
            "xn--bcher-kva.example",
            "127.0.0.1:80",
            "a:",
            "[::1]",
            "[2001:db8::1]:8443",
        ] {
            assert!(is_authority(text), "{text}");
        }
    }

    #[test]
    fn what_two_readers_may_read_differently_is_none() {
        for text in [
            "",
            ".",
            ":80",
            "a..b",
            "a..",
            ".a",
            "a,b",
            "a;b",
            "a=",
            "a b",
            "a/b",
            "a@b",
            "a%2eb",
            "*.a",
            "\u{e9}.a",
            "a:b",
            "a:80:81",
            "a:+80",
            "a:65536",
            "::1",
            "[a]",
            "[::1",
            "[::1]a",
            "[::1]:a",
            "[fe80::1%25lo]",
        ] {
            assert!(!is_authority(text), "{text}");
        }
    }
}

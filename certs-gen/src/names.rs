//! The names that certificates carry: device ids, server names, SPIFFE trust domains; and what is well-formed.
//!
//! Pure functions on text. Deliberately does no look-ups and no internationalization: names are ASCII as in the
//! certificate (RFC 5280 section 4.2.1.6).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The longest common name that X.520 allows, in characters.
pub const LONGEST_COMMON_NAME: usize = 64;

/// A name under which a server is reached: a DNS name (a leading `*.` is allowed) or an IP address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerName {
    /// A DNS name, lower case.
    Dns(String),
    /// An IP address.
    Ip(IpAddr),
}

impl FromStr for ServerName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Ip(address));
        }
        let name = text.to_ascii_lowercase();
        let without_wildcard = name.strip_prefix("*.").unwrap_or(&name);
        if is_dns_name(without_wildcard) {
            Ok(Self::Dns(name))
        } else {
            Err(format!("{text:?} is neither a DNS name nor an IP address"))
        }
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => formatter.write_str(name),
            Self::Ip(address) => address.fmt(formatter),
        }
    }
}

/// Whether `name` is a DNS name in preferred syntax (RFC 1034 section 3.5; labels may start with a digit), without
/// wildcard, without trailing dot.
pub fn is_dns_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

/// Whether `id` may name a device: 1 to 64 ASCII letters, digits, `-`, `_`, `.` or `:`, the first a letter or digit.
/// All of these may stand in a common name and a URN without escaping (and, but for the colon, in a SPIFFE path).
pub fn is_device_id(id: &str) -> bool {
    id.len() <= LONGEST_COMMON_NAME
        && id.starts_with(|first: char| first.is_ascii_alphanumeric())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
}

/// Whether `domain` may be a SPIFFE trust domain: lower-case letters, digits, `.`, `-`, `_` (SPIFFE-ID section 2.1).
pub fn is_spiffe_domain(domain: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    (1..=255).contains(&domain.len()) && domain.bytes().all(allowed)
}

/// The URI that names a device in its certificate: `urn:device:ID`, or `spiffe://DOMAIN/ID`.
pub fn device_uri(id: &str, spiffe_domain: Option<&str>) -> String {
    match spiffe_domain {
        Some(domain) => format!("spiffe://{domain}/{id}"),
        None => format!("urn:device:{id}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{ServerName, device_uri, is_device_id, is_dns_name, is_spiffe_domain};

    #[test]
    fn server_names() {
        let parse = |text: &str| text.parse::<ServerName>();
        assert_eq!(
            parse("LocalHost").unwrap(),
            ServerName::Dns("localhost".into())
        );
        assert_eq!(
            parse("*.plant-7.example").unwrap(),
            ServerName::Dns("*.plant-7.example".into())
        );
        assert!(matches!(parse("::1").unwrap(), ServerName::Ip(_)));
        for bad in [
            "",
            "a b",
            "*",
            "*.",
            "a.*.b",
            "-a",
            "a-",
            "a..b",
            "a.",
            "münchen",
            &"a".repeat(64),
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
        assert!(!is_dns_name(&vec!["abc"; 64].join(".")));
    }

    #[test]
    fn device_ids() {
        for good in ["device-000042", "a", "00:1b:44:11:3a:b7", "Pump_7.north"] {
            assert!(is_device_id(good), "{good:?}");
        }
        for bad in [
            "",
            "-a",
            "a b",
            "*",
            "a/b",
            "../x",
            "a\n",
            "é",
            &"a".repeat(65),
        ] {
            assert!(!is_device_id(bad), "{bad:?}");
        }
    }

    #[test]
    fn spiffe() {
        assert!(is_spiffe_domain("plant-7.example"));
        for bad in ["", "Plant", "a/b", "a:1", &"a".repeat(256)] {
            assert!(!is_spiffe_domain(bad), "{bad:?}");
        }
        assert_eq!(device_uri("d", None), "urn:device:d");
        assert_eq!(device_uri("d", Some("x.example")), "spiffe://x.example/d");
    }
}

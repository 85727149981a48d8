//! Which trust domain a server name belongs to. The one place that compares names: for the handshake's server name and
//! for a request's authority alike.
//!
//! Pure. Names are compared without regard to case and without a trailing dot (RFC 6066, 3; RFC 4343); an exact name goes
//! before a wildcard, and a wildcard stands for exactly one whole label (RFC 9525, 6.3).

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use rustls::pki_types::DnsName;

/// A server name as configured: a DNS name, or `*.` before one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NamePattern(String);

/// Why a text is no server name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is neither a DNS name nor \"*.\" before one")]
pub struct BadName(String);

impl FromStr for NamePattern {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let name = normal(text).into_owned();
        let rest = name.strip_prefix("*.").unwrap_or(&name);
        // A dot that is still there would be a second one, and keep the name from ever being looked up.
        match DnsName::try_from(rest) {
            Ok(_) if !rest.ends_with('.') => Ok(Self(name)),
            _ => Err(BadName(text.to_owned())),
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The names of all trust domains; what no name matches belongs to the first, the default.
#[derive(Debug, Default)]
pub struct Names {
    exact: HashMap<String, usize>,
    /// By what follows the `*.`.
    wildcard: HashMap<String, usize>,
}

impl Names {
    /// The names in `domains`, each with the index of its domain. The first claim to a name counts.
    pub fn new<'a>(domains: impl IntoIterator<Item = (usize, &'a NamePattern)>) -> Self {
        let mut names = Self::default();
        for (domain, NamePattern(pattern)) in domains {
            let (names, key) = match pattern.strip_prefix("*.") {
                Some(rest) => (&mut names.wildcard, rest),
                None => (&mut names.exact, pattern.as_str()),
            };
            names.entry(key.to_owned()).or_insert(domain);
        }
        names
    }

    /// The index of the domain that `name` belongs to; 0, the default, for no name and for an unknown one.
    pub fn lookup(&self, name: Option<&str>) -> usize {
        let Some(name) = name else { return 0 };
        if self.exact.is_empty() && self.wildcard.is_empty() {
            return 0;
        }
        let name = normal(name);
        let wildcard = || {
            let (label, rest) = name.split_once('.')?;
            (!label.is_empty())
                .then(|| self.wildcard.get(rest))
                .flatten()
        };
        self.exact
            .get(name.as_ref())
            .or_else(wildcard)
            .copied()
            .unwrap_or(0)
    }
}

/// Lower case, without one trailing dot.
fn normal(name: &str) -> Cow<'_, str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

#[cfg(test)]
mod tests {
    use super::{NamePattern, Names};

    fn names(list: &[(usize, &str)]) -> Names {
        let list: Vec<(usize, NamePattern)> = list
            .iter()
            .map(|(domain, name)| (*domain, name.parse().unwrap()))
            .collect();
        Names::new(list.iter().map(|(domain, name)| (*domain, name)))
    }

    #[test]
    fn exact_goes_before_wildcard_and_unknown_is_the_default() {
        let names = names(&[
            (1, "*.plant-7.example"),
            (2, "gate.plant-7.example"),
            (3, "plant-7.example"),
        ]);
        assert_eq!(names.lookup(Some("a.plant-7.example")), 1);
        assert_eq!(names.lookup(Some("gate.plant-7.example")), 2);
        assert_eq!(names.lookup(Some("plant-7.example")), 3);
        for other in ["other.example", "xplant-7.example", "", ".", "127.0.0.1"] {
            assert_eq!(names.lookup(Some(other)), 0, "{other:?}");
        }
        assert_eq!(names.lookup(None), 0);
    }

    #[test]
    fn case_and_a_trailing_dot_make_no_difference() {
        let names = names(&[(1, "Gate.Example."), (2, "*.WILD.example")]);
        for name in ["gate.example", "GATE.EXAMPLE", "gate.example."] {
            assert_eq!(names.lookup(Some(name)), 1, "{name}");
        }
        assert_eq!(names.lookup(Some("A.wild.EXAMPLE.")), 2);
        assert_eq!(
            names.lookup(Some("gate.example..")),
            0,
            "two dots are no name"
        );
    }

    #[test]
    fn a_wildcard_is_one_whole_label() {
        let names = names(&[(1, "*.example")]);
        assert_eq!(names.lookup(Some("a.example")), 1);
        for other in ["a.b.example", ".example", "example", "a.example.org"] {
            assert_eq!(names.lookup(Some(other)), 0, "{other:?}");
        }
    }

    #[test]
    fn odd_patterns_are_refused() {
        for text in [
            "",
            "*",
            "*.",
            "a*.example",
            "a.*.example",
            "-a.example",
            "a b",
            "é.example",
            "a.example..",
        ] {
            assert!(text.parse::<NamePattern>().is_err(), "{text:?}");
        }
    }
}

//! What the authorities of a fleet are called: the stems of their files.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The name of an authority of a fleet: `trust-anchor`, `policy-01`, `intermediate-00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum AuthorityName {
    /// The trust anchor.
    TrustAnchor,
    /// A policy layer; they count from 1, next to the trust anchor.
    Policy(usize),
    /// An issuing intermediate; they count from 0.
    Intermediate(usize),
}

impl fmt::Display for AuthorityName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TrustAnchor => formatter.write_str("trust-anchor"),
            Self::Policy(layer) => write!(formatter, "policy-{layer:02}"),
            Self::Intermediate(number) => write!(formatter, "intermediate-{number:02}"),
        }
    }
}

impl FromStr for AuthorityName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |prefix: &str| text.strip_prefix(prefix)?.parse().ok();
        let name = if text == "trust-anchor" {
            Some(Self::TrustAnchor)
        } else {
            let policy = || number("policy-").map(Self::Policy);
            number("intermediate-")
                .map(Self::Intermediate)
                .or_else(policy)
        };
        // One spelling each, so that a name can be compared and be the stem of a file.
        name.filter(|name| name.to_string() == text).ok_or_else(|| {
            format!(
                "{text:?} names no authority; names are trust-anchor, policy-01, intermediate-00"
            )
        })
    }
}

impl From<AuthorityName> for String {
    fn from(name: AuthorityName) -> Self {
        name.to_string()
    }
}

impl TryFrom<String> for AuthorityName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::AuthorityName;

    #[test]
    fn names_have_one_spelling() {
        for name in [
            "trust-anchor",
            "policy-01",
            "intermediate-00",
            "intermediate-99",
        ] {
            assert_eq!(name.parse::<AuthorityName>().unwrap().to_string(), name);
        }
        for bad in [
            "",
            "intermediate",
            "intermediate-0",
            "intermediate-000",
            "policy-+1",
            "Trust-Anchor",
        ] {
            assert!(bad.parse::<AuthorityName>().is_err(), "{bad:?}");
        }
    }
}

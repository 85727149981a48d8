//! Which part of a certificate is the device's id: a source, and optionally a pattern that the text must match.

use regex_lite::{Regex, RegexBuilder};

/// Where a device's id is taken from, and how.
#[derive(Debug, Clone, Default)]
pub struct Rule {
    /// The part of the certificate.
    pub source: Source,
    /// What the text must look like. Alternative names that do not are no candidates.
    pub pattern: Option<Pattern>,
}

/// The part of an end entity that holds the device's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Source {
    /// The subject's one common name.
    #[default]
    CommonName,
    /// The one subject alternative name that is a URI; SPIFFE IDs are checked by their own rules.
    SanUri,
    /// The one subject alternative name that is a DNS name, in lower case.
    SanDns,
    /// The serial number in lower-case hex, without leading zero bytes. Unique only under one issuing authority.
    Serial,
    /// SHA-256 of the certificate in lower-case hex. A renewed certificate is another device.
    Fingerprint,
}

/// A regular expression that a whole text must match. A group called `id` picks the device's id out of it.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

/// The longest pattern, in bytes.
const MAX_PATTERN: usize = 1024;

/// The most memory of a compiled pattern, in bytes.
const MAX_COMPILED: usize = 256 * 1024;

/// Why a pattern cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PatternError {
    /// Longer than 1024 bytes.
    #[error("the pattern is longer than {MAX_PATTERN} bytes")]
    TooLong,
    /// Not a regular expression, or too large a one.
    #[error("not a usable regular expression: {0}")]
    Syntax(#[from] regex_lite::Error),
}

impl Pattern {
    /// Compiles `pattern`. Matching takes time linear in the text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(pattern: &str) -> Result<Self, PatternError> {
        if pattern.len() > MAX_PATTERN {
            return Err(PatternError::TooLong);
        }
        let compile = |text: &str| RegexBuilder::new(text).size_limit(MAX_COMPILED).build();
        // By itself first: what closes our group early would escape the anchors.
        compile(pattern)?;
        Ok(Self(compile(&format!(r"\A(?:{pattern})\z"))?))
    }

    /// The id in `text`: what the group `id` matched, or all of it. `None` when the text does not match.
    pub fn id_of<'t>(&self, text: &'t str) -> Option<&'t str> {
        let captures = self.0.captures(text)?;
        if self.0.capture_names().flatten().any(|name| name == "id") {
            captures.name("id").map(|group| group.as_str())
        } else {
            Some(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Pattern, PatternError};

    fn id<'t>(pattern: &str, text: &'t str) -> Option<&'t str> {
        Pattern::new(pattern).unwrap().id_of(text)
    }

    #[test]
    fn the_whole_text_must_match() {
        assert_eq!(id("device-[0-9]+", "device-7"), Some("device-7"));
        for text in ["xdevice-7", "device-7x", "device-7\n", "a device-7"] {
            assert_eq!(id("device-[0-9]+", text), None, "{text:?}");
        }
        assert_eq!(
            id("a|ab", "ab"),
            Some("ab"),
            "a later branch that matches all"
        );
        assert_eq!(id("(?m)^a$", "a\nb"), None);
    }

    #[test]
    fn a_group_called_id_picks_the_id() {
        let pattern = "urn:plant:(?P<id>[a-z0-9-]+):.*";
        assert_eq!(id(pattern, "urn:plant:press-7:2026"), Some("press-7"));
        assert_eq!(
            id("(?P<id>a)|b", "b"),
            None,
            "a group that took no part is no id"
        );
    }

    #[test]
    fn bad_patterns_are_refused() {
        for pattern in ["(", "a)|(?:b", "[", "(?x)a #", "(a{1000}){1000}"] {
            assert!(
                matches!(Pattern::new(pattern), Err(PatternError::Syntax(_))),
                "{pattern}"
            );
        }
        assert!(matches!(
            Pattern::new(&"a".repeat(1025)),
            Err(PatternError::TooLong)
        ));
    }
}

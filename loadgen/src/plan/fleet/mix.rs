//! Kinds of keys by share: `p256:80,ed25519:10,rsa2048:10`.

use std::fmt;
use std::str::FromStr;

use certs_gen::key::KeyKind;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::place;

/// 2^64 divided by the plastic number: with the step of [`super::bad`] it fills the square evenly, so that every fault
/// meets every kind of key.
const STEP: u64 = 0xC13F_A9A9_02A6_328F;

/// Kinds of keys, each with its share of the devices; never empty.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct KeyMix {
    parts: Vec<(KeyKind, f64)>,
}

/// Why text is no mix of keys.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "`{text}` is not a mix of keys ({wrong}); write one kind, or shares of several, such as p256:80,ed25519:10,rsa2048:10, of {}",
    KeyKind::ALL.map(KeyKind::name).join(", ")
)]
pub struct KeyMixError {
    text: String,
    wrong: String,
}

impl KeyMix {
    /// The kinds with their shares, which need not add up to anything in particular.
    pub fn parts(&self) -> &[(KeyKind, f64)] {
        &self.parts
    }

    /// The kind of device `number`'s key.
    pub fn of(&self, number: usize, seed: u64) -> KeyKind {
        let total: f64 = self.parts.iter().map(|(_, share)| share).sum();
        let at = place(number, STEP, seed) as f64 / (u64::MAX as f64) * total;
        let mut end = 0.0;
        self.parts
            .iter()
            .find(|(_, share)| {
                end += share;
                at < end
            })
            .or(self.parts.last())
            .map_or_else(KeyKind::default, |(kind, _)| *kind)
    }
}

impl Default for KeyMix {
    /// P-256 throughout.
    fn default() -> KeyMix {
        KeyMix {
            parts: vec![(KeyKind::P256, 1.0)],
        }
    }
}

impl FromStr for KeyMix {
    type Err = KeyMixError;

    fn from_str(text: &str) -> Result<KeyMix, KeyMixError> {
        let error = |wrong: String| KeyMixError {
            text: text.to_owned(),
            wrong,
        };
        let mut parts: Vec<(KeyKind, f64)> = Vec::new();
        for part in text.split(',').map(str::trim) {
            let (name, share) = part.split_once(':').unwrap_or((part, "1"));
            let kind: KeyKind = name
                .trim()
                .parse()
                .map_err(|_| error(format!("`{name}` is no kind of key")))?;
            let share: f64 = share
                .trim()
                .trim_end_matches('%')
                .parse()
                .ok()
                .filter(|share: &f64| share.is_finite() && *share > 0.0 && *share <= 1e6)
                .ok_or_else(|| error(format!("`{share}` is no share of more than nothing")))?;
            if parts.iter().any(|(other, _)| *other == kind) {
                return Err(error(format!("{kind} stands there twice")));
            }
            parts.push((kind, share));
        }
        Ok(KeyMix { parts })
    }
}

impl fmt::Display for KeyMix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (kind, share)) in self.parts.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(formatter, "{comma}{kind}:{share}")?;
        }
        Ok(())
    }
}

impl From<KeyMix> for String {
    fn from(mix: KeyMix) -> String {
        mix.to_string()
    }
}

impl TryFrom<String> for KeyMix {
    type Error = KeyMixError;

    fn try_from(text: String) -> Result<KeyMix, KeyMixError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_met_in_the_whole_and_in_every_part() {
        let mix: KeyMix = "p256:80,ed25519:10,rsa2048:10".parse().unwrap();
        for (first, stride) in [(0, 1), (1, 2), (5, 7)] {
            let kinds: Vec<_> = (first..)
                .step_by(stride)
                .take(1000)
                .map(|number| mix.of(number, 1))
                .collect();
            let count = |kind| kinds.iter().filter(|found| **found == kind).count();
            assert!((790..=810).contains(&count(KeyKind::P256)), "{stride}");
            assert!((90..=110).contains(&count(KeyKind::Ed25519)), "{stride}");
            assert!((90..=110).contains(&count(KeyKind::Rsa2048)), "{stride}");
        }
    }

    #[test]
    fn one_kind_needs_no_share_and_text_comes_back() {
        let one: KeyMix = "ed25519".parse().unwrap();
        assert!((0..100).all(|number| one.of(number, 7) == KeyKind::Ed25519));
        let mix: KeyMix = "p256:80%, p384:2.5".parse().unwrap();
        assert_eq!(mix.to_string(), "p256:80,p384:2.5");
        assert_eq!(mix.to_string().parse::<KeyMix>().unwrap(), mix);
    }

    #[test]
    fn nonsense_is_refused_with_the_kinds_there_are() {
        for text in [
            "",
            "p256,",
            "p257",
            "p256:0",
            "p256:-1",
            "p256:NaN",
            "p256:inf",
            "p256:x",
            "p256:1,p256:2",
        ] {
            let error = text.parse::<KeyMix>().unwrap_err().to_string();
            assert!(error.contains("rsa2048"), "{text}: {error}");
        }
    }
}

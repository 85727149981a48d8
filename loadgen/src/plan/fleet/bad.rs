//! Shares of devices that are bad on purpose: `expired:1%,untrusted:0.5%`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::place;

/// 2^64 divided by the square of the plastic number.
const STEP: u64 = 0x91E1_0DA5_C79E_7B1D;

/// Names of faults, each with its share (0 to 1) of all devices; may be empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct BadShares {
    parts: Vec<(String, f64)>,
}

/// Why text is no list of bad shares.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{text}` is not a list of bad shares ({wrong}); write one like expired:1%,untrusted:0.5%")]
pub struct BadSharesError {
    text: String,
    wrong: String,
}

impl BadShares {
    /// The faults with their shares (0 to 1) of all devices.
    pub fn parts(&self) -> &[(String, f64)] {
        &self.parts
    }

    /// Whether all devices are good.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Which of [`BadShares::parts`] device `number` has; `None`: it is a good one.
    pub fn of(&self, number: usize, seed: u64) -> Option<usize> {
        let at = place(number, STEP, seed) as f64 / (u64::MAX as f64);
        let mut end = 0.0;
        self.parts.iter().position(|(_, share)| {
            end += share;
            at < end
        })
    }
}

impl FromStr for BadShares {
    type Err = BadSharesError;

    fn from_str(text: &str) -> Result<BadShares, BadSharesError> {
        let error = |wrong: String| BadSharesError {
            text: text.to_owned(),
            wrong,
        };
        if text.trim().is_empty() {
            return Ok(BadShares::default());
        }
        let mut parts: Vec<(String, f64)> = Vec::new();
        for part in text.split(',').map(str::trim) {
            let (name, share) = part
                .split_once(':')
                .ok_or_else(|| error(format!("`{part}` has no share")))?;
            let name = name.trim();
            let is_name =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            if name.is_empty() || !name.bytes().all(is_name) {
                return Err(error(format!("`{name}` is no fault's name")));
            }
            let percent: f64 = share
                .trim()
                .strip_suffix('%')
                .and_then(|number| number.trim().parse().ok())
                .filter(|percent: &f64| *percent > 0.0 && *percent <= 100.0)
                .ok_or_else(|| error(format!("`{share}` is no share of up to 100%")))?;
            if parts.iter().any(|(other, _)| other == name) {
                return Err(error(format!("{name} stands there twice")));
            }
            parts.push((name.to_owned(), percent / 100.0));
        }
        // A hair more than all is a matter of rounding.
        if parts.iter().map(|(_, share)| share).sum::<f64>() > 1.0 + 1e-9 {
            return Err(error("more than 100% together".to_owned()));
        }
        Ok(BadShares { parts })
    }
}

impl fmt::Display for BadShares {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, share)) in self.parts.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(formatter, "{comma}{name}:{}%", share * 100.0)?;
        }
        Ok(())
    }
}

impl From<BadShares> for String {
    fn from(shares: BadShares) -> String {
        shares.to_string()
    }
}

impl TryFrom<String> for BadShares {
    type Error = BadSharesError;

    fn try_from(text: String) -> Result<BadShares, BadSharesError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_met_and_independent_of_the_keys() {
        let bad: BadShares = "expired:1%,untrusted:10%".parse().unwrap();
        let mix: super::super::KeyMix = "p256:50,ed25519:50".parse().unwrap();
        for seed in [1, 2, 99] {
            let faults: Vec<_> = (0..10_000).map(|number| bad.of(number, seed)).collect();
            let count = |fault| faults.iter().filter(|found| **found == fault).count();
            assert!((95..=105).contains(&count(Some(0))), "{}", count(Some(0)));
            assert!((990..=1010).contains(&count(Some(1))));
            let both = (0..10_000)
                .filter(|number| {
                    bad.of(*number, seed) == Some(1) && mix.of(*number, seed).name() == "p256"
                })
                .count();
            assert!((450..=550).contains(&both), "{both}");
        }
    }

    #[test]
    fn text_comes_back() {
        let bad: BadShares = "expired:1%, untrusted:0.5 %".parse().unwrap();
        assert_eq!(bad.to_string(), "expired:1%,untrusted:0.5%");
        assert_eq!("".parse::<BadShares>().unwrap(), BadShares::default());
        let all: BadShares = "expired:100%".parse().unwrap();
        assert!((0..100).all(|number| all.of(number, 3) == Some(0)));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "expired",
            "expired:1",
            "expired:0%",
            "expired:-1%",
            "expired:NaN%",
            "expired:101%",
            "a:60%,b:60%",
            "a:1%,a:1%",
            "A:1%",
            ":1%",
            "a:1%,",
        ] {
            assert!(text.parse::<BadShares>().is_err(), "{text}");
        }
    }
}

//! `--start-at TIME`: when the load begins, so that several machines begin together.
//!
//! A moment of the wall clock, because that is what machines have in common. This module reads no clock.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A moment of the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct StartAt(SystemTime);

/// Why a time cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "`{0}` is not a time; write it like 2026-11-21T18:00:00Z (RFC 3339, with its offset), or in seconds since 1970 as `date +%s` prints them"
)]
pub struct StartAtError(String);

impl StartAt {
    /// How far it lies after `now`.
    ///
    /// # Errors
    ///
    /// How far it has passed.
    pub fn after(self, now: SystemTime) -> Result<Duration, Duration> {
        self.0.duration_since(now).map_err(|error| error.duration())
    }
}

impl FromStr for StartAt {
    type Err = StartAtError;

    fn from_str(text: &str) -> Result<StartAt, StartAtError> {
        let wrong = || StartAtError(text.to_owned());
        if text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
        {
            let seconds: f64 = text.parse().map_err(|_| wrong())?;
            return Duration::try_from_secs_f64(seconds)
                .ok()
                .and_then(|since| UNIX_EPOCH.checked_add(since))
                // What RFC 3339 can write down again: years of four digits.
                .filter(|time| *time < UNIX_EPOCH + Duration::from_secs(253_402_300_800))
                .map(StartAt)
                .ok_or_else(wrong);
        }
        OffsetDateTime::parse(text, &Rfc3339)
            .map(|time| StartAt(time.into()))
            .map_err(|_| wrong())
    }
}

impl fmt::Display for StartAt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = OffsetDateTime::from(self.0).format(&Rfc3339);
        formatter.write_str(&text.map_err(|_| fmt::Error)?)
    }
}

impl From<StartAt> for String {
    fn from(time: StartAt) -> String {
        time.to_string()
    }
}

impl TryFrom<String> for StartAt {
    type Error = StartAtError;

    fn try_from(text: String) -> Result<StartAt, StartAtError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_writing_mean_the_same() {
        let written: StartAt = "2026-11-21T18:00:00Z".parse().unwrap();
        assert_eq!("1795284000".parse(), Ok(written));
        assert_eq!("2026-11-21T19:00:00+01:00".parse(), Ok(written));
        assert_eq!(written.to_string(), "2026-11-21T18:00:00Z");
        assert_eq!(written.to_string().parse(), Ok(written));
        let half: StartAt = "1795284000.5".parse().unwrap();
        assert_eq!(half.after(written.0), Ok(Duration::from_millis(500)));
        assert_eq!(written.after(half.0), Err(Duration::from_millis(500)));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for wrong in [
            "",
            "soon",
            "18:00",
            "2026-11-21T18:00:00",
            "1e9",
            "1.2.3",
            "-5",
            "99999999999999",
        ] {
            let complaint = wrong.parse::<StartAt>().unwrap_err().to_string();
            assert!(complaint.contains("RFC 3339"), "{complaint}");
        }
    }
}

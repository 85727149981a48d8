//! Durations and sizes as people write them: `500ms`, `30s`, `5m`; `256`, `64KiB`, `1GiB`.
//!
//! For values that stand both in a plan file and in a saved result. A size is saved as its number of bytes.

/// A duration, for `#[serde(with = "written::duration")]`.
pub mod duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Longer than any run, and short enough for clocks to reckon with.
    const LONGEST: Duration = Duration::from_secs(10_000 * 24 * 3600);

    /// Reads `500ms`, `30s`, `5m`.
    ///
    /// # Errors
    ///
    /// Says how a duration is written, or how long it can be.
    pub fn parse(text: &str) -> Result<Duration, String> {
        let duration = humantime::parse_duration(text)
            .map_err(|_| format!("`{text}` is not a duration; write 500ms, 30s or 5m"))?;
        if duration > LONGEST {
            return Err(format!("{text} is too long: 10000days at the most"));
        }
        Ok(duration)
    }

    /// Writes the duration so that [`parse`] reads the same.
    ///
    /// # Errors
    ///
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*duration))
    }

    /// Reads what [`parse`] takes.
    ///
    /// # Errors
    ///
    /// Those of [`parse`].
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).map_err(D::Error::custom)
    }

    /// The same where there may be none.
    pub mod optional {
        use std::time::Duration;

        use serde::{Deserialize, Deserializer, Serializer, de::Error};

        /// Writes the duration, or `null`.
        ///
        /// # Errors
        ///
        /// Those of the serializer.
        pub fn serialize<S: Serializer>(
            duration: &Option<Duration>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match duration {
                Some(duration) => super::serialize(duration, serializer),
                None => serializer.serialize_none(),
            }
        }

        /// Reads a duration, or `null`.
        ///
        /// # Errors
        ///
        /// Those of [`parse`](super::parse).
        pub fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<Duration>, D::Error> {
            Option::<String>::deserialize(deserializer)?
                .map(|text| super::parse(&text).map_err(D::Error::custom))
                .transpose()
        }
    }
}

/// So many in a second.
pub mod rate {
    /// The highest rate that is taken.
    const HIGHEST: f64 = 1e7;

    /// Reads `2000/s` and `120/m`, as a rate per second.
    ///
    /// # Errors
    ///
    /// Says how a rate is written.
    pub fn parse(text: &str) -> Result<f64, String> {
        let wrong = || format!("`{text}` is not a rate; write 2000/s");
        let (number, unit) = text.split_once('/').unwrap_or((text, "s"));
        let per_second = match unit {
            "s" => 1.0,
            "m" | "min" => 1.0 / 60.0,
            _ => return Err(wrong()),
        };
        let rate = number.parse::<f64>().map_err(|_| wrong())? * per_second;
        if rate.is_finite() && rate > 0.0 && rate <= HIGHEST {
            Ok(rate)
        } else {
            Err(format!(
                "`{text}` must be more than nothing and at most 10000000/s"
            ))
        }
    }
}

/// A number of bytes, for `#[serde(with = "written::size")]`.
pub mod size {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// The largest size that is taken.
    const LARGEST: u64 = 64 << 30;

    /// Reads `256`, `64KiB`, `1MiB`, `1GiB`.
    ///
    /// # Errors
    ///
    /// Says how a size is written.
    pub fn parse(text: &str) -> Result<u64, String> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let factor = match text.get(digits.len()..) {
            Some("" | "B") => 1,
            Some("KiB") => 1 << 10,
            Some("MiB") => 1 << 20,
            Some("GiB") => 1 << 30,
            _ => {
                return Err(format!(
                    "`{text}` is not a size; write 256, 64KiB, 1MiB or 1GiB"
                ));
            }
        };
        digits
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(factor))
            .filter(|bytes| *bytes <= LARGEST)
            .ok_or_else(|| format!("`{text}` is not a size of at most 64GiB"))
    }

    /// Writes the number of bytes.
    ///
    /// # Errors
    ///
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(bytes: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(*bytes)
    }

    /// Reads a number of bytes, or what [`parse`] takes.
    ///
    /// # Errors
    ///
    /// Those of [`parse`].
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let written = Written::deserialize(deserializer)?;
        match written {
            Written::Bytes(bytes) => parse(&bytes.to_string()),
            Written::Text(text) => parse(&text),
        }
        .map_err(D::Error::custom)
    }

    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a size such as 256, \"64KiB\" or \"1MiB\"")]
    enum Written {
        Bytes(u64),
        Text(String),
    }

    /// The same where there may be none.
    pub mod optional {
        use serde::{Deserialize, Deserializer, Serialize, Serializer};

        /// Writes the number of bytes, or `null`.
        ///
        /// # Errors
        ///
        /// Those of the serializer.
        pub fn serialize<S: Serializer>(
            bytes: &Option<u64>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            bytes.serialize(serializer)
        }

        /// Reads a size, or `null`.
        ///
        /// # Errors
        ///
        /// Those of [`parse`](super::parse).
        pub fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<u64>, D::Error> {
            #[derive(Deserialize)]
            #[serde(transparent)]
            struct Size(#[serde(with = "super")] u64);
            Ok(Option::<Size>::deserialize(deserializer)?.map(|Size(bytes)| bytes))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Values {
        #[serde(with = "duration")]
        every: Duration,
        #[serde(default, with = "duration::optional")]
        hold: Option<Duration>,
        #[serde(with = "size")]
        bytes: u64,
        #[serde(default, with = "size::optional")]
        expect: Option<u64>,
    }

    #[test]
    fn what_is_written_is_read_back() {
        let text =
            r#"{"every": "1m 30s 5ms", "hold": "12h", "bytes": "64KiB", "expect": 70000000000}"#;
        let error = serde_json::from_str::<Values>(text).unwrap_err();
        assert!(error.to_string().contains("64GiB"), "{error}");
        let values = Values {
            every: Duration::from_millis(90_005),
            hold: Some(Duration::from_secs(12 * 3600)),
            bytes: 65_536,
            expect: Some(7),
        };
        let text = text.replace("70000000000", "7");
        assert_eq!(serde_json::from_str::<Values>(&text).unwrap(), values);
        let json = serde_json::to_string(&values).unwrap();
        assert_eq!(serde_json::from_str::<Values>(&json).unwrap(), values);
        let none = serde_json::from_str::<Values>(r#"{"every": "5s", "bytes": 0}"#).unwrap();
        assert_eq!((none.hold, none.expect), (None, None));
    }

    #[test]
    fn garbage_is_refused_with_an_example() {
        for text in ["", "x", "-1s", "5", "5 parsecs"] {
            assert!(duration::parse(text).unwrap_err().contains("30s"), "{text}");
        }
        for text in ["10001days", "18446744073709551615s", "500years"] {
            assert!(duration::parse(text).unwrap_err().contains("10000days"));
        }
        assert!(duration::parse("10000days").is_ok());
        for text in ["", "x", "-1", "1GB", "65GiB", "99999999999999999999"] {
            assert!(size::parse(text).is_err(), "{text}");
        }
        let error = serde_json::from_str::<Values>(r#"{"every": "5s", "bytes": -1}"#).unwrap_err();
        assert!(error.to_string().contains("64KiB"), "{error}");
    }
}

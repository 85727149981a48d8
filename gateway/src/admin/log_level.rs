//! `/log-level`: which logs are written, changed while the gateway runs.
//!
//! It holds the words of the filter; what they do to the logs is up to whoever made them. A restart forgets it.

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

type Set = Box<dyn Fn(EnvFilter) -> Result<(), String>>;

/// The filter of the logs, as `--log-level` writes it.
pub struct LogLevel {
    words: Mutex<String>,
    set: Set,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Level {
    level: String,
}

impl LogLevel {
    /// The filter `words`, which `set` replaces.
    pub fn new(words: &str, set: Set) -> Self {
        Self {
            words: Mutex::new(words.to_owned()),
            set,
        }
    }

    pub(super) fn get(&self) -> Level {
        let level = self.words.lock().clone();
        Level { level }
    }

    /// Puts the filter that a request's body names into force.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub(super) fn put(&self, body: &[u8]) -> Result<Level, String> {
        let level: Level = serde_json::from_slice(body)
            .map_err(|error| format!("the body must be {{\"level\": …}}: {error}"))?;
        let filter = EnvFilter::builder().parse(&level.level);
        (self.set)(filter.map_err(|error| error.to_string())?)?;
        self.words.lock().clone_from(&level.level);
        tracing::warn!(
            level = level.level,
            "an administrator has changed the log level"
        );
        Ok(level)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::LogLevel;

    #[test]
    fn a_filter_is_put_into_force_or_refused() {
        let set = Rc::new(Cell::new(0));
        let counted = Rc::clone(&set);
        let level = LogLevel::new(
            "info",
            Box::new(move |_| {
                counted.set(counted.get() + 1);
                Ok(())
            }),
        );
        for wrong in [
            &b""[..],
            b"{}",
            b"\"debug\"",
            br#"{"level": "info,,=x=y"}"#,
            br#"{"level": "info", "for": "1h"}"#,
        ] {
            assert!(
                level.put(wrong).is_err(),
                "{}",
                String::from_utf8_lossy(wrong)
            );
        }
        assert_eq!((set.get(), level.get().level.as_str()), (0, "info"));
        level.put(br#"{"level": "info,gateway=debug"}"#).unwrap();
        assert_eq!(
            (set.get(), level.get().level.as_str()),
            (1, "info,gateway=debug")
        );
    }
}

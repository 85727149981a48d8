//! Reads `[admission]`: how the queue for handshakes decides in a storm.

use std::time::Duration;

use crate::admission::patience::Bounds;
use crate::admission::queue::Settings;
use crate::config::section::Section;

/// `handshake_timeout` ends a handshake whatever the queue decides.
pub(super) fn read(mut section: Section<'_>, handshake_timeout: Duration) -> Settings {
    let assumed = handshake_timeout / 2;
    let patience = Bounds {
        min: section.duration("patience_min", Duration::from_millis(500).min(assumed)),
        max: section.duration("patience_max", assumed),
    };
    if patience.max > handshake_timeout {
        section.error(
            "patience_max",
            "it is longer than timeouts.handshake, which would end the handshake first",
        );
    }
    if patience.min > patience.max {
        section.error(
            "patience_min",
            "it is longer than patience_max, which is half of timeouts.handshake if it is not set",
        );
    }
    let settings = Settings {
        newest_first_after: section.duration("newest_first_after", Duration::from_millis(250)),
        patience,
    };
    section.finish();
    settings
}

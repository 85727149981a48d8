//! What can be wrong with an activity; each names the key.

use std::time::Duration;

use thiserror::Error;

/// Why an activity cannot be performed.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ActivityError {
    /// A share outside 0 to 1.
    #[error("`{key}` is {value} and must be a share from 0 to 1")]
    Share {
        /// The key.
        key: &'static str,
        /// What it is.
        value: f64,
    },
    /// Telemetry without time for it.
    #[error("`telemetry` goes out while a connection is held: say with `hold` for how long")]
    TelemetryWithoutHold,
    /// No time between messages.
    #[error("`telemetry.every` must be longer than nothing")]
    NoInterval,
    /// More jitter than time between messages.
    #[error("`telemetry.jitter` must not be longer than `telemetry.every`")]
    Jitter,
    /// Telemetry in a protocol without messages.
    #[error(
        "there is no `telemetry` in a connection that only makes its handshake (`protocol = \"tls\"`)"
    )]
    NothingToSay,
    /// Not a path.
    #[error("`{key}`: the path `{path}` must begin with `/` and contain no spaces")]
    Path {
        /// The key.
        key: &'static str,
        /// What it is.
        path: String,
    },
    /// A message that would fill the memory.
    #[error("`{key}`: {bytes} bytes are more than a message may have, 16MiB")]
    TooLarge {
        /// The key.
        key: &'static str,
        /// What it is.
        bytes: u64,
    },
    /// A WebSocket exchange without messages.
    #[error("`messages` must be at least 1")]
    NoMessages,
    /// Not the name of a subprotocol.
    #[error("`subprotocol`: `{0}` is not a name that a header can carry")]
    Subprotocol(String),
    /// Not a keep-alive of MQTT.
    #[error("`keep_alive`: {0:?} is not a whole number of seconds up to 65535s")]
    KeepAlive(Duration),
    /// Not a topic.
    #[error("`{key}`: `{topic}` is not a topic that can be published to")]
    Topic {
        /// The key.
        key: &'static str,
        /// What it is.
        topic: String,
    },
    /// Not a topic filter.
    #[error("`subscribe`: `{0}` is not a topic filter")]
    Filter(String),
    /// No such quality of service.
    #[error("`qos` is {0} and must be 0, 1 or 2")]
    Qos(u8),
    /// Waiting for a message that cannot come.
    #[error(
        "`echo` waits for the device's own message: `subscribe` must match the topic of `publish`"
    )]
    NoEcho,
}

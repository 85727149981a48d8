//! What each arrival does, as plain data: one mechanism for every mode, so that one loop drives them all.

pub mod error;
pub mod exchange;
pub mod telemetry;
mod topic;

use std::fmt;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use super::arrival::{Share, random_of_share};
use super::{Protocol, written};
pub use error::ActivityError;
pub use exchange::Exchange;
pub use telemetry::{Telemetry, TelemetryTimes};

/// Share of the arrivals in mixed mode that are telemetry on an open connection.
const MIXED_TELEMETRY: f64 = 0.70;
/// Share that reconnects with a ticket; the rest reconnects with a full handshake.
const MIXED_RESUMED: f64 = 0.25;

/// Names of ready activities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Each attempt: connect, full handshake, one GET, close.
    Full,
    /// Each attempt: connect, handshake with the device's newest ticket, one GET, close.
    Resume,
    /// Each attempt: one POST on the device's open connection.
    Telemetry,
    /// 70 % telemetry, 25 % reconnections with a ticket, 5 % full reconnections; connections stay open.
    Mixed,
    /// Connections are opened beforehand, one GET each, and then held.
    Idle,
}

/// What an arrival's device does: come to a connection, say something, stay for a while, leave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Activity {
    /// Share (0 to 1) of the arrivals that use the connection which the device has kept open. With any, every device connects
    /// once before the load, and connections stay open after an attempt.
    pub reuse: f64,
    /// Share (0 to 1) of the new connections that offer the device's newest ticket; the others make a full handshake.
    pub resume_ratio: f64,
    /// What is said.
    pub exchange: Exchange,
    /// How long the connection is held after the first exchange.
    #[serde(with = "written::duration::optional")]
    pub hold: Option<Duration>,
    /// What it is used for meanwhile.
    pub telemetry: Option<Telemetry>,
    /// How the device leaves.
    pub close: Close,
}

/// How a device ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Close {
    /// In order: the protocol's goodbye (GOAWAY, a close frame, DISCONNECT), close_notify (RFC 8446 section 6.1), FIN.
    #[default]
    Notify,
    /// FIN alone, as from a device that knows no better: to TLS the data has been truncated.
    Fin,
    /// RST, as from a device that has lost its state.
    Reset,
}

/// One thing that a device does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Action {
    /// How it comes to a connection.
    pub connect: Connect,
    /// Whether the connection stays open for later actions.
    pub keep_open: bool,
    /// What it says.
    pub say: Say,
}

/// How a device comes to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connect {
    /// The open one; without one, a new one with the ticket if there is one.
    IfNeeded,
    /// A new one, offering the device's newest ticket.
    Resumed,
    /// A new one, offering nothing.
    Full,
}

/// Which of an exchange's parts; they differ in HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Say {
    /// What a device says when it has come.
    Opening,
    /// What it says on a connection that it has: its telemetry.
    Message,
}

impl Mode {
    /// The activity of this name, with what devices usually say in `protocol` and telemetry of `payload_bytes`.
    pub fn activity(self, protocol: Protocol, payload_bytes: u64) -> Activity {
        let (reuse, resume_ratio) = match self {
            Mode::Full => (0.0, 0.0),
            Mode::Resume => (0.0, 1.0),
            Mode::Telemetry | Mode::Idle => (1.0, 0.0),
            Mode::Mixed => (MIXED_TELEMETRY, MIXED_RESUMED / (1.0 - MIXED_TELEMETRY)),
        };
        Activity {
            reuse,
            resume_ratio,
            exchange: Exchange::usual(protocol, payload_bytes),
            ..Activity::default()
        }
    }
}

impl Default for Activity {
    /// Connect with a full handshake, one GET, close in order.
    fn default() -> Activity {
        Activity {
            reuse: 0.0,
            resume_ratio: 0.0,
            exchange: Exchange::Http1(exchange::Http::default()),
            hold: None,
            telemetry: None,
            close: Close::default(),
        }
    }
}

impl Activity {
    /// What each device does once before the load begins: obtain a ticket, open a connection, or nothing.
    pub fn preparation(&self) -> Option<Action> {
        (self.keeps_open() || self.resume_ratio > 0.0).then(|| Action {
            connect: Connect::Full,
            keep_open: self.keeps_open(),
            say: Say::Opening,
        })
    }

    /// Whether devices keep a connection between their attempts.
    pub fn keeps_open(&self) -> bool {
        self.reuse > 0.0
    }

    /// Everything that is wrong with it; each names the key.
    pub fn errors(&self) -> Vec<ActivityError> {
        let mut errors = Vec::new();
        for (key, value) in [("reuse", self.reuse), ("resume_ratio", self.resume_ratio)] {
            if !(0.0..=1.0).contains(&value) {
                errors.push(ActivityError::Share { key, value });
            }
        }
        if let Some(telemetry) = self.telemetry {
            telemetry.errors(&mut errors);
            if self.hold.is_none() {
                errors.push(ActivityError::TelemetryWithoutHold);
            }
            if self.exchange.protocol() == Protocol::Tls {
                errors.push(ActivityError::NothingToSay);
            }
        }
        self.exchange.errors(&mut errors);
        errors
    }
}

/// In words, for a report.
impl fmt::Display for Activity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| (share * 1000.0).round() / 10.0;
        write!(formatter, "{}, ", self.exchange.protocol().name())?;
        if self.reuse >= 1.0 {
            formatter.write_str("open connections")?;
        } else {
            if self.reuse > 0.0 {
                write!(formatter, "{} % on open connections, ", percent(self.reuse))?;
            }
            write!(
                formatter,
                "new connections ({} % with a ticket)",
                percent(self.resume_ratio)
            )?;
        }
        if let Some(hold) = self.hold {
            write!(formatter, ", held for {}", humantime::format_duration(hold))?;
        }
        if let Some(telemetry) = self.telemetry {
            let every = humantime::format_duration(telemetry.every);
            write!(formatter, " with a message every {every}")?;
        }
        formatter.write_str(match self.close {
            Close::Notify => "",
            Close::Fin => ", left by FIN alone",
            Close::Reset => ", left by RST",
        })
    }
}

/// What one share's arrivals do, in order; endless.
#[derive(Debug)]
pub struct Actions {
    reuse: f64,
    resume_ratio: f64,
    random: StdRng,
}

impl Actions {
    /// The actions of one share.
    pub fn new(activity: &Activity, seed: u64, share: Share) -> Actions {
        Actions {
            reuse: activity.reuse,
            resume_ratio: activity.resume_ratio,
            random: random_of_share(!seed, share),
        }
    }

    /// The next arrival's action.
    pub fn draw(&mut self) -> Action {
        // A draw lies in 0 to 1 without the 1: a share of 0 is never met, one of 1 always.
        let (reuse, resume): (f64, f64) = self.random.random();
        let connect = if reuse < self.reuse {
            Connect::IfNeeded
        } else if resume < self.resume_ratio {
            Connect::Resumed
        } else {
            Connect::Full
        };
        Action {
            connect,
            keep_open: self.reuse > 0.0,
            say: match connect {
                Connect::IfNeeded => Say::Message,
                Connect::Resumed | Connect::Full => Say::Opening,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::exchange::{Mqtt, Publication, Qos, Subscription, WebSocket};
    use super::*;

    const WHOLE: Share = Share { index: 0, of: 1 };

    fn drawn(activity: &Activity) -> Vec<Action> {
        let mut actions = Actions::new(activity, 3, WHOLE);
        (0..10_000).map(|_| actions.draw()).collect()
    }

    fn count(actions: &[Action], wanted: Connect) -> usize {
        actions.iter().filter(|a| a.connect == wanted).count()
    }

    #[test]
    fn mixed_shares_are_as_documented_and_seeded() {
        let mixed = Mode::Mixed.activity(Protocol::Http1, 256);
        let actions = drawn(&mixed);
        assert!((6_800..7_200).contains(&count(&actions, Connect::IfNeeded)));
        assert!((2_300..2_700).contains(&count(&actions, Connect::Resumed)));
        assert!((400..600).contains(&count(&actions, Connect::Full)));
        assert_eq!(actions, drawn(&mixed));
    }

    #[test]
    fn a_ratio_says_how_many_resume() {
        let mut activity = Mode::Full.activity(Protocol::Http1, 256);
        assert_eq!(count(&drawn(&activity), Connect::Full), 10_000);
        assert_eq!(activity.preparation(), None);
        activity.resume_ratio = 0.8;
        let resumed = count(&drawn(&activity), Connect::Resumed);
        assert!((7_800..8_200).contains(&resumed), "{resumed}");
        assert!(!activity.preparation().unwrap().keep_open);
        let resume = Mode::Resume.activity(Protocol::Http1, 256);
        assert_eq!(count(&drawn(&resume), Connect::Resumed), 10_000);
    }

    #[test]
    fn modes_that_connect_close_and_say_what_opens() {
        for mode in [Mode::Full, Mode::Resume] {
            let actions = drawn(&mode.activity(Protocol::H2, 9));
            assert!(
                actions
                    .iter()
                    .all(|a| !a.keep_open && a.say == Say::Opening)
            );
        }
        let telemetry = Mode::Telemetry.activity(Protocol::H2, 9);
        assert!(
            drawn(&telemetry)
                .iter()
                .all(|a| a.keep_open && a.say == Say::Message)
        );
        assert!(telemetry.preparation().unwrap().keep_open);
    }

    #[test]
    fn an_activity_survives_json_and_short_forms_are_filled_in() {
        for protocol in Protocol::ALL {
            let mut activity = Mode::Mixed.activity(protocol, 100);
            activity.hold = Some(Duration::from_secs(90));
            activity.telemetry = Some(Telemetry {
                every: Duration::from_secs(10),
                jitter: Duration::from_millis(500),
            });
            activity.close = Close::Reset;
            let json = serde_json::to_string(&activity).unwrap();
            assert_eq!(serde_json::from_str::<Activity>(&json).unwrap(), activity);
            assert_eq!(activity.exchange.protocol(), protocol);
        }
        let short = r#"{"exchange": {"protocol": "mqtt5", "publish": {"topic": "t", "bytes": "1KiB", "qos": 2}},
                        "hold": "5m"}"#;
        let activity: Activity = serde_json::from_str(short).unwrap();
        let Exchange::Mqtt5(mqtt) = &activity.exchange else {
            panic!("{activity:?}");
        };
        let publish = mqtt.publish.as_ref().unwrap();
        assert_eq!((publish.bytes, publish.qos), (1024, Qos::ExactlyOnce));
        assert_eq!(mqtt.client_id, "{device}");
        assert_eq!(activity.errors(), []);
    }

    #[test]
    fn a_report_says_what_devices_do() {
        let mut activity = Mode::Mixed.activity(Protocol::Mqtt5, 1);
        assert_eq!(
            activity.to_string(),
            "MQTT 5, 70 % on open connections, new connections (83.3 % with a ticket)"
        );
        activity = Mode::Full.activity(Protocol::Websocket, 1);
        activity.hold = Some(Duration::from_secs(300));
        activity.telemetry = Some(Telemetry {
            every: Duration::from_secs(10),
            jitter: Duration::ZERO,
        });
        activity.close = Close::Reset;
        assert_eq!(
            activity.to_string(),
            "WebSocket, new connections (0 % with a ticket), held for 5m with a message every 10s, left by RST"
        );
    }

    #[test]
    fn unknown_keys_are_refused() {
        for text in [
            r#"{"resume": 1}"#,
            r#"{"exchange": {"protocol": "h3"}}"#,
            r#"{"exchange": {"protocol": "tls", "path": "/"}}"#,
            r#"{"exchange": {"protocol": "http1", "opening": {"body": 3}}}"#,
            r#"{"exchange": {"protocol": "mqtt", "messages": 3}}"#,
            r#"{"exchange": {"protocol": "mqtt", "publish": {"topic": "t", "qos": 3}}}"#,
            r#"{"telemetry": {"every": "soon"}}"#,
        ] {
            assert!(serde_json::from_str::<Activity>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let activity = Activity {
            reuse: 1.5,
            resume_ratio: f64::NAN,
            exchange: Exchange::Mqtt(Mqtt {
                keep_alive: Duration::from_millis(1500),
                will: Some(Publication {
                    topic: "a/#".to_owned(),
                    bytes: 17 << 20,
                    qos: Qos::default(),
                }),
                subscribe: Some(Subscription {
                    filter: "a#".to_owned(),
                    qos: Qos::default(),
                }),
                echo: true,
                ..Mqtt::default()
            }),
            telemetry: Some(Telemetry {
                every: Duration::from_secs(1),
                jitter: Duration::from_secs(2),
            }),
            ..Activity::default()
        };
        let said: Vec<_> = activity.errors().iter().map(ToString::to_string).collect();
        for key in [
            "reuse",
            "resume_ratio",
            "jitter",
            "hold",
            "keep_alive",
            "a/#",
            "16MiB",
            "a#",
            "echo",
        ] {
            assert!(
                said.iter().any(|text| text.contains(key)),
                "{key}: {said:?}"
            );
        }
        assert_eq!(said.len(), 9, "{said:?}");
        let websocket = Activity {
            exchange: Exchange::Websocket(WebSocket {
                path: Some("chat".to_owned()),
                subprotocol: Some("a b".to_owned()),
                messages: 0,
                ..WebSocket::default()
            }),
            ..Activity::default()
        };
        assert_eq!(websocket.errors().len(), 3);
    }
}

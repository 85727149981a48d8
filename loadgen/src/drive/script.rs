//! What the devices of one scenario say, made once and used by every attempt.

use super::requests::Requests;
use super::{mqtt, websocket};
use crate::plan::{Activity, Close, Exchange, IdentityEcho, Protocol, Target};

/// What the devices of one scenario say, and how they leave.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) protocol: Protocol,
    pub(crate) close: Close,
    pub(crate) speech: Speech,
}

/// What is said, by protocol.
#[derive(Debug)]
pub(crate) enum Speech {
    Http(Requests),
    WebSocket(websocket::Script),
    Mqtt(mqtt::Script),
    /// Nothing: with whether the device stays after its handshake.
    Silence {
        stays: bool,
    },
}

impl Script {
    /// What the activity says to `target`, and where HTTP's answers say for whom the server takes the device; `None` if the target does
    /// not make a URI.
    pub(crate) fn new(
        activity: &Activity,
        target: &Target,
        echo: Option<&IdentityEcho>,
    ) -> Option<Script> {
        let protocol = activity.exchange.protocol();
        let speech = match &activity.exchange {
            Exchange::Http1(http) | Exchange::H2(http) => {
                Speech::Http(Requests::new(protocol, http, target, echo)?)
            }
            Exchange::Websocket(settings) => {
                Speech::WebSocket(websocket::Script::new(settings, target)?)
            }
            Exchange::Mqtt(settings) => {
                Speech::Mqtt(mqtt::Script::new(mqtt::Version::V311, settings))
            }
            Exchange::Mqtt5(settings) => {
                Speech::Mqtt(mqtt::Script::new(mqtt::Version::V5, settings))
            }
            Exchange::Tls {} => Speech::Silence {
                stays: activity.keeps_open() || activity.hold.is_some(),
            },
        };
        Some(Script {
            protocol,
            close: activity.close,
            speech,
        })
    }

    /// Whether each good answer is held against the device's certificate.
    pub(crate) fn verifies_identity(&self) -> bool {
        matches!(&self.speech, Speech::Http(requests) if requests.echo.is_some())
    }
}

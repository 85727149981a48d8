//! What is spoken on a connection: the protocol, and what a device says in it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::{Protocol, written};
use super::error::ActivityError;
use super::topic;

/// The largest WebSocket message or MQTT payload: both are built in memory.
const LARGEST_MESSAGE: u64 = 16 << 20;
/// MQTT counts keep-alive seconds in 16 bits (MQTT 5 section 3.1.2.10).
const LONGEST_KEEP_ALIVE: Duration = Duration::from_secs(65_535);

/// The protocol, and what a device says in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "protocol", rename_all = "snake_case", deny_unknown_fields)]
pub enum Exchange {
    /// HTTP/1.1.
    Http1(Http),
    /// HTTP/2.
    H2(Http),
    /// WebSocket (RFC 6455), by upgrade of an HTTP/1.1 connection.
    Websocket(WebSocket),
    /// MQTT 3.1.1.
    Mqtt(Mqtt),
    /// MQTT 5.
    Mqtt5(Mqtt),
    /// Nothing: the handshake is all there is.
    Tls {},
}

/// HTTP requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// On a connection that the device opened because it was to open one.
    pub opening: Request,
    /// On the connection that it has: its telemetry.
    pub message: Request,
}

/// One HTTP request, and what its answer must be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Request {
    /// Path with its query; `None` means the target's.
    pub path: Option<String>,
    /// Length of the body: with one it is a POST, without a GET.
    #[serde(with = "written::size")]
    pub send_bytes: u64,
    /// Length which the answer's body must have; `None` takes any.
    #[serde(with = "written::size::optional")]
    pub expect_bytes: Option<u64>,
}

/// Messages on a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebSocket {
    /// Path of the upgrade with its query; `None` means the target's.
    pub path: Option<String>,
    /// Offered, and then required of the server (`Sec-WebSocket-Protocol`).
    pub subprotocol: Option<String>,
    /// Messages per attempt, one after the other.
    pub messages: u32,
    /// Length of each; they are binary.
    #[serde(with = "written::size")]
    pub message_bytes: u64,
    /// Each message must come back as it was sent before the next is sent.
    pub echo: bool,
}

/// An MQTT client. In all of its texts `{device}` stands for the device's id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mqtt {
    /// The client identifier.
    pub client_id: String,
    /// The user name, for brokers that want one beside the certificate.
    pub username: Option<String>,
    /// How long the client may be silent, in whole seconds; nothing means for ever.
    #[serde(with = "written::duration")]
    pub keep_alive: Duration,
    /// Whether the broker forgets an earlier session (Clean Session, Clean Start).
    pub clean_start: bool,
    /// What the broker publishes when the device is lost.
    pub will: Option<Publication>,
    /// Subscribed to as soon as the broker has accepted the client.
    pub subscribe: Option<Subscription>,
    /// Published in every attempt.
    pub publish: Option<Publication>,
    /// An attempt is complete when its own message has come back by the subscription.
    pub echo: bool,
}

/// A subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subscription {
    /// Topic filter.
    pub filter: String,
    /// Greatest quality of service wanted.
    #[serde(default)]
    pub qos: Qos,
}

/// A message to publish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publication {
    /// Topic.
    pub topic: String,
    /// Length of the payload.
    #[serde(default = "usual_bytes", with = "written::size")]
    pub bytes: u64,
    /// Quality of service.
    #[serde(default)]
    pub qos: Qos,
}

/// Quality of service of MQTT, written 0, 1 or 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Qos {
    /// 0, at most once: done when it is sent.
    #[default]
    AtMostOnce,
    /// 1, at least once: done with PUBACK.
    AtLeastOnce,
    /// 2, exactly once: done with PUBCOMP.
    ExactlyOnce,
}

fn usual_bytes() -> u64 {
    256
}

impl Default for Http {
    fn default() -> Http {
        Http {
            opening: Request::default(),
            message: Request {
                send_bytes: usual_bytes(),
                ..Request::default()
            },
        }
    }
}

impl Default for WebSocket {
    fn default() -> WebSocket {
        WebSocket {
            path: None,
            subprotocol: None,
            messages: 1,
            message_bytes: usual_bytes(),
            echo: true,
        }
    }
}

impl Default for Mqtt {
    fn default() -> Mqtt {
        Mqtt {
            client_id: "{device}".to_owned(),
            username: None,
            keep_alive: Duration::from_secs(60),
            clean_start: true,
            will: None,
            subscribe: None,
            publish: Some(Publication {
                topic: "devices/{device}/telemetry".to_owned(),
                bytes: usual_bytes(),
                qos: Qos::default(),
            }),
            echo: false,
        }
    }
}

impl Exchange {
    /// Whether a connection that was opened for the one serves the other as well: nothing that was agreed on then differs.
    pub fn opens_like(&self, other: &Exchange) -> bool {
        match (self, other) {
            (Exchange::Websocket(one), Exchange::Websocket(other)) => {
                (&one.path, &one.subprotocol) == (&other.path, &other.subprotocol)
            }
            (Exchange::Mqtt(one), Exchange::Mqtt(other))
            | (Exchange::Mqtt5(one), Exchange::Mqtt5(other)) => {
                let opening = |client: &Mqtt| Mqtt {
                    publish: None,
                    echo: false,
                    ..client.clone()
                };
                opening(one) == opening(other)
            }
            _ => self.protocol() == other.protocol(),
        }
    }

    /// What devices usually say in `protocol`, with messages of this length.
    pub fn usual(protocol: Protocol, bytes: u64) -> Exchange {
        let http = || Http {
            message: Request {
                send_bytes: bytes,
                ..Request::default()
            },
            ..Http::default()
        };
        let mqtt = || {
            let mut mqtt = Mqtt::default();
            if let Some(publish) = &mut mqtt.publish {
                publish.bytes = bytes;
            }
            mqtt
        };
        match protocol {
            Protocol::Http1 => Exchange::Http1(http()),
            Protocol::H2 => Exchange::H2(http()),
            Protocol::Websocket => Exchange::Websocket(WebSocket {
                message_bytes: bytes,
                ..WebSocket::default()
            }),
            Protocol::Mqtt => Exchange::Mqtt(mqtt()),
            Protocol::Mqtt5 => Exchange::Mqtt5(mqtt()),
            Protocol::Tls => Exchange::Tls {},
        }
    }

    /// What is spoken.
    pub fn protocol(&self) -> Protocol {
        match self {
            Exchange::Http1(_) => Protocol::Http1,
            Exchange::H2(_) => Protocol::H2,
            Exchange::Websocket(_) => Protocol::Websocket,
            Exchange::Mqtt(_) => Protocol::Mqtt,
            Exchange::Mqtt5(_) => Protocol::Mqtt5,
            Exchange::Tls {} => Protocol::Tls,
        }
    }

    /// Everything that is wrong with it.
    pub(super) fn errors(&self, errors: &mut Vec<ActivityError>) {
        match self {
            Exchange::Http1(http) | Exchange::H2(http) => {
                check_path("opening.path", http.opening.path.as_deref(), errors);
                check_path("message.path", http.message.path.as_deref(), errors);
            }
            Exchange::Websocket(websocket) => websocket.errors(errors),
            Exchange::Mqtt(mqtt) | Exchange::Mqtt5(mqtt) => mqtt.errors(errors),
            Exchange::Tls {} => {}
        }
    }
}

fn check_path(key: &'static str, path: Option<&str>, errors: &mut Vec<ActivityError>) {
    if let Some(path) = path
        && !(path.starts_with('/') && path.parse::<http::uri::PathAndQuery>().is_ok())
    {
        errors.push(ActivityError::Path {
            key,
            path: path.to_owned(),
        });
    }
}

fn check_bytes(key: &'static str, bytes: u64, errors: &mut Vec<ActivityError>) {
    if bytes > LARGEST_MESSAGE {
        errors.push(ActivityError::TooLarge { key, bytes });
    }
}

impl WebSocket {
    fn errors(&self, errors: &mut Vec<ActivityError>) {
        check_path("path", self.path.as_deref(), errors);
        check_bytes("message_bytes", self.message_bytes, errors);
        if self.messages == 0 {
            errors.push(ActivityError::NoMessages);
        }
        // A token (RFC 9110 section 5.6.2), as every header name is one.
        if let Some(name) = &self.subprotocol
            && http::HeaderName::from_bytes(name.as_bytes()).is_err()
        {
            errors.push(ActivityError::Subprotocol(name.clone()));
        }
    }
}

impl Mqtt {
    fn errors(&self, errors: &mut Vec<ActivityError>) {
        if self.keep_alive > LONGEST_KEEP_ALIVE || self.keep_alive.subsec_nanos() > 0 {
            errors.push(ActivityError::KeepAlive(self.keep_alive));
        }
        for (key, publication) in [("will", &self.will), ("publish", &self.publish)] {
            let Some(publication) = publication else {
                continue;
            };
            if !topic::is_name(&publication.topic) {
                errors.push(ActivityError::Topic {
                    key,
                    topic: publication.topic.clone(),
                });
            }
            check_bytes(key, publication.bytes, errors);
        }
        if let Some(subscription) = &self.subscribe
            && !topic::is_filter(&subscription.filter)
        {
            errors.push(ActivityError::Filter(subscription.filter.clone()));
        }
        let comes_back = match (&self.publish, &self.subscribe) {
            (Some(publish), Some(subscribe)) => topic::matches(&subscribe.filter, &publish.topic),
            _ => false,
        };
        if self.echo && !comes_back {
            errors.push(ActivityError::NoEcho);
        }
    }
}

impl From<Qos> for u8 {
    fn from(qos: Qos) -> u8 {
        match qos {
            Qos::AtMostOnce => 0,
            Qos::AtLeastOnce => 1,
            Qos::ExactlyOnce => 2,
        }
    }
}

impl TryFrom<u8> for Qos {
    type Error = ActivityError;

    fn try_from(level: u8) -> Result<Qos, ActivityError> {
        match level {
            0 => Ok(Qos::AtMostOnce),
            1 => Ok(Qos::AtLeastOnce),
            2 => Ok(Qos::ExactlyOnce),
            _ => Err(ActivityError::Qos(level)),
        }
    }
}

//! What a device does, as flags.

use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use loadgen::plan::workload::exchange::{Http, Mqtt, Publication, Qos, Subscription, WebSocket};
use loadgen::plan::{self, Activity, Exchange, Telemetry};

use super::value::{self, Close, Mode, Protocol};

/// What each device does on its connection.
#[derive(Debug, Args)]
pub(crate) struct ActivityArguments {
    /// What each attempt does.
    #[arg(long, value_enum, default_value = "full")]
    pub(crate) mode: Mode,
    /// Size of a telemetry body, a WebSocket message or an MQTT payload.
    #[arg(long, value_name = "BYTES", value_parser = value::size, default_value = "256")]
    payload: usize,
    /// What is spoken inside TLS.
    #[arg(long, value_enum, default_value = "http1")]
    protocol: Protocol,
    /// Share of the new connections that resume with the device's ticket, 0 to 1 [default: as --mode has it].
    #[arg(long, value_name = "RATIO", value_parser = value::ratio)]
    resume_ratio: Option<f64>,
    /// Hold the connection so long after the first exchange.
    #[arg(long, value_name = "TIME", value_parser = value::positive_duration)]
    hold: Option<Duration>,
    /// Telemetry so often while it is held, each device at its own moment.
    #[arg(long, value_name = "TIME", value_parser = value::positive_duration, requires = "hold")]
    telemetry_every: Option<Duration>,
    /// Each of these messages is late by up to this.
    #[arg(long, value_name = "TIME", value_parser = value::duration, requires = "telemetry_every")]
    telemetry_jitter: Option<Duration>,
    /// How a device leaves.
    #[arg(long, value_enum, default_value = "notify")]
    close: Close,
    /// HTTP: the first request of a connection is a POST of so many bytes.
    #[arg(long, value_name = "BYTES", value_parser = value::size)]
    upload: Option<usize>,
    /// HTTP: an answer with a body of another length has failed.
    #[arg(long, value_name = "BYTES", value_parser = value::size)]
    expect_bytes: Option<usize>,
    #[command(flatten)]
    websocket: WebSocketArguments,
    #[command(flatten)]
    mqtt: MqttArguments,
}

/// Only for WebSocket.
#[derive(Debug, Args)]
#[command(next_help_heading = "WebSocket (--protocol websocket)")]
struct WebSocketArguments {
    /// Subprotocol to offer, and to insist on.
    #[arg(long, value_name = "NAME")]
    ws_subprotocol: Option<String>,
    /// Messages per attempt [default: 1].
    #[arg(long, value_name = "N", value_parser = value::at_least_one::<u32>)]
    ws_messages: Option<u32>,
    /// Do not wait for each message to come back.
    #[arg(long)]
    ws_no_echo: bool,
}

/// Only for MQTT.
#[derive(Debug, Args)]
#[command(next_help_heading = "MQTT (--protocol mqtt, mqtt5); {device} stands for the device's id")]
struct MqttArguments {
    /// Topic to publish to [default: devices/{device}/telemetry].
    #[arg(long, value_name = "TOPIC")]
    mqtt_topic: Option<String>,
    /// Quality of service of what is published and subscribed to: 0, 1, 2 [default: 0].
    #[arg(long, value_name = "QOS", value_parser = value::qos)]
    mqtt_qos: Option<Qos>,
    /// Subscribe to this filter once connected.
    #[arg(long, value_name = "FILTER")]
    mqtt_subscribe: Option<String>,
    /// An attempt is done when its own message has come back by the subscription.
    #[arg(long)]
    mqtt_echo: bool,
    /// Connect and subscribe only.
    #[arg(long, conflicts_with_all = ["mqtt_topic", "mqtt_echo"])]
    mqtt_no_publish: bool,
    /// Keep-alive; 0s for none [default: 60s].
    #[arg(long, value_name = "TIME", value_parser = value::duration)]
    mqtt_keep_alive: Option<Duration>,
    /// Client identifier [default: {device}].
    #[arg(long, value_name = "TEXT")]
    mqtt_client_id: Option<String>,
    /// User name, for brokers that want one beside the certificate.
    #[arg(long, value_name = "TEXT")]
    mqtt_username: Option<String>,
    /// Topic of the will, published by the broker when the device is lost.
    #[arg(long, value_name = "TOPIC")]
    mqtt_will: Option<String>,
    /// Ask the broker to go on with the device's earlier session.
    #[arg(long)]
    mqtt_keep_session: bool,
}

/// What `ActivityError` calls by its key, and which flag sets it.
const FLAGS: [(&str, &str); 13] = [
    ("`telemetry.every`", "--telemetry-every"),
    ("`telemetry.jitter`", "--telemetry-jitter"),
    ("`telemetry`", "--telemetry-every"),
    ("`hold`", "--hold"),
    ("`resume_ratio`", "--resume-ratio"),
    ("`message_bytes`", "--payload"),
    ("`messages`", "--ws-messages"),
    ("`subprotocol`", "--ws-subprotocol"),
    ("`keep_alive`", "--mqtt-keep-alive"),
    ("`will`", "--mqtt-will"),
    ("`publish`", "--mqtt-topic"),
    ("`subscribe`", "--mqtt-subscribe"),
    ("`echo`", "--mqtt-echo"),
];

impl ActivityArguments {
    /// The activity that the flags describe.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, naming the flags.
    pub(crate) fn activity(&self) -> anyhow::Result<Activity> {
        self.activity_in(self.mode)
    }

    /// The same in another mode.
    pub(crate) fn activity_in(&self, mode: Mode) -> anyhow::Result<Activity> {
        let protocol: plan::Protocol = self.protocol.into();
        let mut activity = plan::Mode::from(mode).activity(protocol, self.payload as u64);
        if let Some(share) = self.resume_ratio {
            activity.resume_ratio = share;
        }
        activity.hold = self.hold;
        activity.telemetry = self.telemetry_every.map(|every| Telemetry {
            every,
            jitter: self.telemetry_jitter.unwrap_or_default(),
        });
        activity.close = self.close.into();
        match &mut activity.exchange {
            Exchange::Http1(http) | Exchange::H2(http) => self.fill_http(http),
            Exchange::Websocket(websocket) => self.websocket.fill(websocket),
            Exchange::Mqtt(mqtt) | Exchange::Mqtt5(mqtt) => self.mqtt.fill(mqtt),
            Exchange::Tls {} => {}
        }
        let mut wrong = self.flags_of_other_protocols(protocol);
        if mode == Mode::Idle && self.hold.is_some() {
            wrong.push(
                "--mode idle holds its connections for all of --duration: leave --hold out, or say \
                 --connections instead of --mode idle"
                    .to_owned(),
            );
        }
        for error in activity.errors() {
            let mut text = error.to_string();
            for (key, flag) in FLAGS {
                text = text.replace(key, flag);
            }
            wrong.push(text);
        }
        if wrong.is_empty() {
            Ok(activity)
        } else {
            Err(anyhow!(wrong.join("\n")))
        }
    }

    fn fill_http(&self, http: &mut Http) {
        if let Some(bytes) = self.upload {
            http.opening.send_bytes = bytes as u64;
        }
        let expected = self.expect_bytes.map(|bytes| bytes as u64);
        http.opening.expect_bytes = expected;
        http.message.expect_bytes = expected;
    }

    fn flags_of_other_protocols(&self, protocol: plan::Protocol) -> Vec<String> {
        use plan::Protocol::{H2, Http1, Mqtt, Mqtt5, Websocket};
        let (websocket, mqtt) = (&self.websocket, &self.mqtt);
        let given = [
            (self.upload.is_some(), "--upload", &[Http1, H2][..]),
            (self.expect_bytes.is_some(), "--expect-bytes", &[Http1, H2]),
            (
                websocket.ws_subprotocol.is_some(),
                "--ws-subprotocol",
                &[Websocket],
            ),
            (
                websocket.ws_messages.is_some(),
                "--ws-messages",
                &[Websocket],
            ),
            (websocket.ws_no_echo, "--ws-no-echo", &[Websocket]),
            (mqtt.mqtt_topic.is_some(), "--mqtt-topic", &[Mqtt, Mqtt5]),
            (mqtt.mqtt_qos.is_some(), "--mqtt-qos", &[Mqtt, Mqtt5]),
            (
                mqtt.mqtt_subscribe.is_some(),
                "--mqtt-subscribe",
                &[Mqtt, Mqtt5],
            ),
            (mqtt.mqtt_echo, "--mqtt-echo", &[Mqtt, Mqtt5]),
            (mqtt.mqtt_no_publish, "--mqtt-no-publish", &[Mqtt, Mqtt5]),
            (
                mqtt.mqtt_keep_alive.is_some(),
                "--mqtt-keep-alive",
                &[Mqtt, Mqtt5],
            ),
            (
                mqtt.mqtt_client_id.is_some(),
                "--mqtt-client-id",
                &[Mqtt, Mqtt5],
            ),
            (
                mqtt.mqtt_username.is_some(),
                "--mqtt-username",
                &[Mqtt, Mqtt5],
            ),
            (mqtt.mqtt_will.is_some(), "--mqtt-will", &[Mqtt, Mqtt5]),
            (
                mqtt.mqtt_keep_session,
                "--mqtt-keep-session",
                &[Mqtt, Mqtt5],
            ),
        ];
        given
            .iter()
            .filter(|(given, _, of)| *given && !of.contains(&protocol))
            .map(|(_, flag, _)| {
                let name = protocol.name();
                format!("{flag} means nothing in {name}: leave it out, or choose its --protocol")
            })
            .collect()
    }
}

impl WebSocketArguments {
    fn fill(&self, websocket: &mut WebSocket) {
        websocket.subprotocol.clone_from(&self.ws_subprotocol);
        websocket.messages = self.ws_messages.unwrap_or(websocket.messages);
        websocket.echo = !self.ws_no_echo;
    }
}

impl MqttArguments {
    fn fill(&self, mqtt: &mut Mqtt) {
        let qos = self.mqtt_qos.unwrap_or_default();
        if let Some(publish) = &mut mqtt.publish {
            publish.qos = qos;
            if let Some(topic) = &self.mqtt_topic {
                publish.topic.clone_from(topic);
            }
        }
        mqtt.will = self.mqtt_will.as_ref().map(|topic| Publication {
            topic: topic.clone(),
            bytes: mqtt.publish.as_ref().map_or(0, |publish| publish.bytes),
            qos,
        });
        if self.mqtt_no_publish {
            mqtt.publish = None;
        }
        mqtt.subscribe = self.mqtt_subscribe.as_ref().map(|filter| Subscription {
            filter: filter.clone(),
            qos,
        });
        mqtt.echo = self.mqtt_echo;
        mqtt.keep_alive = self.mqtt_keep_alive.unwrap_or(mqtt.keep_alive);
        if let Some(id) = &self.mqtt_client_id {
            mqtt.client_id.clone_from(id);
        }
        mqtt.username.clone_from(&self.mqtt_username);
        mqtt.clean_start = !self.mqtt_keep_session;
    }
}

//! A client against a server that is written here packet by packet.

use mqtt_proto::{QoS, v3, v5};
use tokio::io::{AsyncReadExt as _, DuplexStream};

use super::*;
use crate::plan::workload::exchange::{Publication, Subscription};

fn settings(qos: Qos, echo: bool) -> Settings {
    Settings {
        publish: Some(Publication {
            topic: "devices/{device}/up".to_owned(),
            bytes: 300,
            qos,
        }),
        subscribe: echo.then(|| Subscription {
            filter: "devices/{device}/#".to_owned(),
            qos,
        }),
        echo,
        ..Settings::default()
    }
}

/// The server's end.
struct Broker {
    stream: DuplexStream,
    version: Version,
    came: Vec<u8>,
}

impl Broker {
    async fn bytes(&mut self) -> Vec<u8> {
        loop {
            if let Ok(Some(length)) = packet::length(&self.came)
                && self.came.len() >= length
            {
                return self.came.drain(..length).collect();
            }
            let mut bytes = [0; 100];
            let read = self.stream.read(&mut bytes).await.unwrap();
            assert!(read > 0, "the client has left");
            self.came.extend_from_slice(&bytes[..read]);
        }
    }

    async fn v5(&mut self) -> v5::Packet {
        v5::Packet::decode(&self.bytes().await).unwrap().unwrap()
    }

    async fn send(&mut self, packet: impl AsRef<[u8]>) {
        self.stream.write_all(packet.as_ref()).await.unwrap();
    }

    /// CONNECT, and SUBSCRIBE where the client wants to, in either version.
    async fn accept(&mut self, subscribes: bool) {
        let connect = self.bytes().await;
        assert_eq!(connect[0], 0x10);
        match self.version {
            Version::V311 => self.send([0x20, 2, 0, 0]).await,
            Version::V5 => self.send([0x20, 3, 0, 0, 0]).await,
        }
        if subscribes {
            let subscribe = self.bytes().await;
            assert_eq!(subscribe[0], 0x82);
            match self.version {
                Version::V311 => self.send([0x90, 3, subscribe[2], subscribe[3], 1]).await,
                Version::V5 => self.send([0x90, 4, subscribe[2], subscribe[3], 0, 1]).await,
            }
        }
    }

    async fn publish(&mut self, topic: &str, payload: &Bytes, delivery: QosPid) {
        let topic = TopicName::try_from(topic).unwrap();
        let packet = self.version.publish(&topic, payload.clone(), delivery);
        self.send(packet.unwrap()).await;
    }
}

fn pair(version: Version) -> (DuplexStream, Broker) {
    // So narrow that packets are cut.
    let (near, far) = tokio::io::duplex(37);
    let broker = Broker {
        stream: far,
        version,
        came: Vec::new(),
    };
    (near, broker)
}

const VERSIONS: [Version; 2] = [Version::V311, Version::V5];

#[tokio::test]
async fn a_message_is_delivered_as_its_quality_demands() {
    for version in VERSIONS {
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let (near, mut broker) = pair(version);
            let script = Script::new(version, &settings(qos, false));
            let client = async {
                let mut client = Mqtt::open(near, &script, "device-7", 7).await.unwrap();
                client.exchange(&script).await.unwrap();
                client.exchange(&script).await.unwrap();
                client.close().await;
            };
            let server = async {
                broker.accept(false).await;
                for number in 1..=2 {
                    let bytes = broker.bytes().await;
                    let Incoming::Publish {
                        topic,
                        payload,
                        delivery,
                    } = version.decode(&bytes).unwrap()
                    else {
                        panic!("{bytes:?}");
                    };
                    assert_eq!((&*topic, payload.len()), ("devices/device-7/up", 300));
                    let pid = delivery.pid();
                    assert_eq!(
                        pid.map(Pid::value),
                        (qos > Qos::AtMostOnce).then_some(number)
                    );
                    if let Some(answer) = version.acknowledge(delivery).unwrap() {
                        broker.send(answer).await;
                    }
                    if let (Qos::ExactlyOnce, Some(pid)) = (qos, pid) {
                        assert_eq!(broker.bytes().await[0], 0x62);
                        broker.send(version.complete(pid).unwrap()).await;
                    }
                }
                assert_eq!(broker.bytes().await[0], 0xe0);
                assert_eq!(broker.stream.read(&mut [0]).await.unwrap(), 0);
            };
            tokio::join!(client, server);
        }
    }
}

#[tokio::test]
async fn an_echo_is_the_device_s_own_message_and_every_delivery_is_acknowledged() {
    for version in VERSIONS {
        let (near, mut broker) = pair(version);
        let script = Script::new(version, &settings(Qos::AtLeastOnce, true));
        let client = async {
            let mut client = Mqtt::open(near, &script, "d", 0).await.unwrap();
            client.exchange(&script).await.unwrap();
            client.exchange(&script).await
        };
        let server = async {
            broker.accept(true).await;
            let pid = Pid::try_from(9).unwrap();
            // Somebody else's message, and our own before its acknowledgement.
            let published = broker.bytes().await;
            let Incoming::Publish {
                payload, delivery, ..
            } = version.decode(&published).unwrap()
            else {
                panic!("{published:?}");
            };
            broker
                .publish("devices/d/down", &Bytes::from_static(b"x"), QosPid::Level0)
                .await;
            broker
                .publish("devices/d/up", &payload, QosPid::Level1(pid))
                .await;
            let acknowledged = broker.bytes().await;
            assert_eq!(version.decode(&acknowledged), Ok(Incoming::Puback(pid, 0)));
            broker
                .send(version.acknowledge(delivery).unwrap().unwrap())
                .await;
            // The same again in answer to the second message, which is another.
            broker.bytes().await;
            broker
                .publish("devices/d/up", &payload, QosPid::Level0)
                .await;
        };
        let (result, ()) = tokio::join!(client, server);
        assert_eq!(result, Err(Fault::Said(Cause::WrongContent)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_keeps_its_reason() {
    let refused = |version, answer: &'static [u8], subscribes| async move {
        let (near, mut broker) = pair(version);
        let script = Script::new(version, &settings(Qos::AtLeastOnce, subscribes));
        let client = async {
            let mut client = Mqtt::open(near, &script, "d", 0).await?;
            client.exchange(&script).await
        };
        let server = async {
            if answer[0] == 0x20 {
                broker.bytes().await;
            } else if answer[0] == 0x90 {
                broker.accept(false).await;
                broker.bytes().await;
            } else {
                broker.accept(subscribes).await;
                broker.bytes().await;
            }
            broker.send(answer).await;
        };
        let (result, ()) = tokio::join!(client, server);
        let Err(Fault::Said(cause)) = result else {
            panic!("{result:?}");
        };
        cause
    };
    let v3_connack = refused(Version::V311, &[0x20, 2, 0, 5], false).await;
    assert_eq!(v3_connack, Cause::MqttReason(5));
    let v5_connack = refused(Version::V5, &[0x20, 3, 0, 0x87, 0], false).await;
    assert_eq!(v5_connack, Cause::MqttReason(0x87));
    let v3_suback = refused(Version::V311, &[0x90, 3, 0, 1, 0x80], true).await;
    assert_eq!(v3_suback, Cause::MqttReason(0x80));
    let v5_suback = refused(Version::V5, &[0x90, 4, 0, 1, 0, 0x8f], true).await;
    assert_eq!(v5_suback, Cause::MqttReason(0x8f));
    let v5_puback = refused(Version::V5, &[0x40, 3, 0, 1, 0x97], false).await;
    assert_eq!(v5_puback, Cause::MqttReason(0x97));
    let v5_disconnect = refused(Version::V5, &[0xe0, 1, 0x8e], false).await;
    assert_eq!(v5_disconnect, Cause::MqttReason(0x8e));
    // An acknowledgement of something that was never sent, and what only a client says.
    for nonsense in [&[0x40, 2, 0, 9][..], &[0xc0, 0], &[0xff, 0]] {
        assert_eq!(refused(Version::V5, nonsense, false).await, Cause::Protocol);
    }
}

#[tokio::test]
async fn a_packet_beyond_all_reason_is_refused_by_its_header() {
    for version in VERSIONS {
        let (near, mut broker) = pair(version);
        let script = Script::new(version, &settings(Qos::AtLeastOnce, false));
        let client = async {
            let mut client = Mqtt::open(near, &script, "d", 0).await.unwrap();
            let result = client.exchange(&script).await;
            (result, client.link.incoming.capacity())
        };
        let server = async {
            broker.accept(false).await;
            broker.bytes().await;
            broker.send([0x30, 0xff, 0xff, 0xff, 0x7f]).await;
        };
        let ((result, kept), ()) = tokio::join!(client, server);
        assert_eq!(result, Err(Fault::Said(Cause::TooLarge)));
        assert!(kept <= 2 * READ, "{kept}");
    }
}

#[tokio::test]
async fn what_the_client_says_of_itself_is_as_set() {
    let (near, mut broker) = pair(Version::V5);
    let mut settings = settings(Qos::AtMostOnce, false);
    settings.client_id = "fleet-{device}".to_owned();
    settings.username = Some("{device}".to_owned());
    settings.keep_alive = Duration::from_secs(90);
    settings.clean_start = false;
    settings.will = Some(Publication {
        topic: "devices/{device}/gone".to_owned(),
        bytes: 3,
        qos: Qos::AtLeastOnce,
    });
    let script = Script::new(Version::V5, &settings);
    let client = Mqtt::open(near, &script, "d1", 0);
    let server = async {
        let v5::Packet::Connect(connect) = broker.v5().await else {
            panic!("no CONNECT");
        };
        broker.send([0x20, 3, 0, 0, 0]).await;
        connect
    };
    let (client, connect) = tokio::join!(client, server);
    client.unwrap();
    assert_eq!((&*connect.client_id, connect.keep_alive), ("fleet-d1", 90));
    assert_eq!(connect.username.as_deref(), Some("d1"));
    assert!(!connect.clean_start);
    assert_eq!(connect.properties.session_expiry_interval, Some(u32::MAX));
    let will = connect.last_will.unwrap();
    assert_eq!(
        (&*will.topic_name, will.qos),
        ("devices/d1/gone", QoS::Level1)
    );
    assert_eq!(&will.payload[..], b"xxx");
    assert!(connect.properties.max_packet_size.unwrap() > 300);

    let (near, mut broker) = pair(Version::V311);
    let script = Script::new(Version::V311, &settings);
    let client = Mqtt::open(near, &script, "d1", 0);
    let server = async {
        let bytes = broker.bytes().await;
        broker.send([0x20, 2, 0, 0]).await;
        v3::Packet::decode(&bytes).unwrap().unwrap()
    };
    let (client, connect) = tokio::join!(client, server);
    client.unwrap();
    let v3::Packet::Connect(connect) = connect else {
        panic!("{connect:?}");
    };
    assert!(!connect.clean_session && connect.last_will.is_some());
}

#[tokio::test(start_paused = true)]
async fn an_idle_client_is_kept_alive_and_notices_a_dead_server() {
    for version in VERSIONS {
        let (near, mut broker) = pair(version);
        let mut settings = settings(Qos::AtMostOnce, false);
        settings.keep_alive = Duration::from_secs(20);
        let script = Script::new(version, &settings);
        let client = async {
            let mut client = Mqtt::open(near, &script, "d", 0).await.unwrap();
            std::future::poll_fn(|context| client.poll_end(context)).await
        };
        let server = async {
            broker.accept(false).await;
            let connected = Instant::now();
            for round in 1..=3 {
                assert_eq!(broker.bytes().await, [0xc0, 0]);
                assert_eq!(connected.elapsed().as_secs(), 20 * round);
                broker.send([0xd0, 0]).await;
            }
            // Other packets do not stand for the answer.
            assert_eq!(broker.bytes().await, [0xc0, 0]);
            broker.publish("a", &Bytes::new(), QosPid::Level0).await;
            broker
        };
        let began = Instant::now();
        let (end, _broker) = tokio::join!(client, server);
        assert_eq!(end, Fault::Said(Cause::Timeout));
        assert_eq!(began.elapsed().as_secs(), 100);
    }
}

#[tokio::test(start_paused = true)]
async fn the_server_s_keep_alive_goes_before_the_client_s() {
    let (near, mut broker) = pair(Version::V5);
    let script = Script::new(Version::V5, &settings(Qos::AtMostOnce, false));
    let client = async {
        let mut client = Mqtt::open(near, &script, "d", 0).await.unwrap();
        std::future::poll_fn(|context| client.poll_end(context)).await
    };
    let server = async {
        broker.bytes().await;
        broker.send([0x20, 6, 0, 0, 3, 0x13, 0, 5]).await;
        let connected = Instant::now();
        assert_eq!(broker.bytes().await, [0xc0, 0]);
        assert_eq!(connected.elapsed().as_secs(), 5);
        drop(broker);
    };
    let (end, ()) = tokio::join!(client, server);
    assert_eq!(end, Fault::Stream);
}

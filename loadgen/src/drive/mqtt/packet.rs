//! Packets of MQTT 3.1.1 and MQTT 5 behind one face: what a device sends, and what it can be sent.
//!
//! The codec is a library's; what is decided here is only which of its packets and fields a device uses.

use bytes::Bytes;
use mqtt_proto::{Error, Pid, QoS, QosPid, TopicFilter, TopicName, VarBytes, v3, v5};

use crate::plan::workload::exchange::Qos;

/// Most bytes of a packet's fixed header: its kind, and its length in up to four.
const LONGEST_HEADER: usize = 5;

/// What SUBACK says in MQTT 3.1.1 where it refuses (section 3.9.3).
const FAILURE: u8 = 0x80;

/// The version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// MQTT 3.1.1.
    V311,
    /// MQTT 5.
    V5,
}

/// What a client introduces itself with.
#[derive(Debug)]
pub(super) struct Greeting {
    pub(super) client_id: String,
    pub(super) username: Option<String>,
    /// Seconds; 0 for no keep-alive.
    pub(super) keep_alive: u16,
    pub(super) clean_start: bool,
    pub(super) will: Option<(TopicName, Bytes, Qos)>,
    /// Larger packets are not taken; only MQTT 5 can say so.
    pub(super) largest_packet: u32,
}

/// What a server can send to a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    Connack {
        reason: u8,
        /// The keep-alive that the server wants instead.
        keep_alive: Option<u16>,
    },
    Publish {
        topic: TopicName,
        payload: Bytes,
        delivery: QosPid,
    },
    Puback(Pid, u8),
    Pubrec(Pid, u8),
    Pubrel(Pid),
    Pubcomp(Pid, u8),
    Suback(Pid, u8),
    Pingresp,
    Disconnect(u8),
}

/// Not a packet of the protocol, or none that a server may send.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl From<Error> for Malformed {
    fn from(_: Error) -> Malformed {
        Malformed
    }
}

impl From<v5::ErrorV5> for Malformed {
    fn from(_: v5::ErrorV5) -> Malformed {
        Malformed
    }
}

/// The whole length of the packet that `bytes` begin with; `None` while that cannot be told.
pub(super) fn length(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    let mut remaining = 0;
    for (index, byte) in bytes.iter().enumerate().take(LONGEST_HEADER).skip(1) {
        remaining |= usize::from(byte & 0x7f) << (7 * (index - 1));
        if byte & 0x80 == 0 {
            return Ok(Some(index + 1 + remaining));
        }
    }
    if bytes.len() < LONGEST_HEADER {
        Ok(None)
    } else {
        Err(Malformed)
    }
}

impl Version {
    /// CONNECT.
    pub(super) fn connect(self, greeting: &Greeting) -> Result<VarBytes, Malformed> {
        let client_id = greeting.client_id.as_str().into();
        let username = greeting.username.as_deref().map(Into::into);
        let keep_alive = greeting.keep_alive;
        let encoded = match self {
            Version::V311 => {
                let mut connect = v3::Connect::new(client_id, keep_alive);
                connect.clean_session = greeting.clean_start;
                connect.username = username;
                connect.last_will = greeting
                    .will
                    .clone()
                    .map(|(topic, payload, qos)| v3::LastWill::new(level(qos), topic, payload));
                v3::Packet::Connect(connect).encode()
            }
            Version::V5 => {
                let mut connect = v5::Connect::new(client_id, keep_alive);
                connect.clean_start = greeting.clean_start;
                connect.username = username;
                // As long as MQTT 3.1.1 has it; without, a session ends with its connection.
                connect.properties.session_expiry_interval =
                    (!greeting.clean_start).then_some(u32::MAX);
                connect.properties.max_packet_size = Some(greeting.largest_packet);
                connect.last_will = greeting
                    .will
                    .clone()
                    .map(|(topic, payload, qos)| v5::LastWill::new(level(qos), topic, payload));
                v5::Packet::Connect(connect).encode()
            }
        };
        Ok(encoded?)
    }

    /// PUBLISH.
    pub(super) fn publish(
        self,
        topic: &TopicName,
        payload: Bytes,
        delivery: QosPid,
    ) -> Result<VarBytes, Malformed> {
        let topic = topic.clone();
        let encoded = match self {
            Version::V311 => {
                v3::Packet::Publish(v3::Publish::new(delivery, topic, payload)).encode()
            }
            Version::V5 => v5::Packet::Publish(v5::Publish::new(delivery, topic, payload)).encode(),
        };
        Ok(encoded?)
    }

    /// SUBSCRIBE.
    pub(super) fn subscribe(self, pid: Pid, filter: &str, qos: Qos) -> Result<VarBytes, Malformed> {
        let filter = TopicFilter::try_from(filter)?;
        let encoded = match self {
            Version::V311 => {
                let subscribe = v3::Subscribe::new(pid, vec![(filter, level(qos))]);
                v3::Packet::Subscribe(subscribe).encode()
            }
            Version::V5 => {
                let options = v5::SubscriptionOptions::new(level(qos));
                let subscribe = v5::Subscribe::new(pid, vec![(filter, options)]);
                v5::Packet::Subscribe(subscribe).encode()
            }
        };
        Ok(encoded?)
    }

    /// PUBACK or PUBREC: the answer to a message of this delivery; `None` where none is due.
    pub(super) fn acknowledge(self, delivery: QosPid) -> Result<Option<VarBytes>, Malformed> {
        let encoded = match (self, delivery) {
            (_, QosPid::Level0) => return Ok(None),
            (Version::V311, QosPid::Level1(pid)) => v3::Packet::Puback(pid).encode(),
            (Version::V311, QosPid::Level2(pid)) => v3::Packet::Pubrec(pid).encode(),
            (Version::V5, QosPid::Level1(pid)) => {
                v5::Packet::Puback(v5::Puback::new_success(pid)).encode()
            }
            (Version::V5, QosPid::Level2(pid)) => {
                v5::Packet::Pubrec(v5::Pubrec::new_success(pid)).encode()
            }
        };
        Ok(Some(encoded?))
    }

    /// PUBREL: the answer to PUBREC.
    pub(super) fn release(self, pid: Pid) -> Result<VarBytes, Malformed> {
        let encoded = match self {
            Version::V311 => v3::Packet::Pubrel(pid).encode(),
            Version::V5 => v5::Packet::Pubrel(v5::Pubrel::new_success(pid)).encode(),
        };
        Ok(encoded?)
    }

    /// PUBCOMP: the answer to PUBREL.
    pub(super) fn complete(self, pid: Pid) -> Result<VarBytes, Malformed> {
        let encoded = match self {
            Version::V311 => v3::Packet::Pubcomp(pid).encode(),
            Version::V5 => v5::Packet::Pubcomp(v5::Pubcomp::new_success(pid)).encode(),
        };
        Ok(encoded?)
    }

    /// PINGREQ, the same in both.
    pub(super) fn ping(self) -> Result<VarBytes, Malformed> {
        Ok(v3::Packet::Pingreq.encode()?)
    }

    /// DISCONNECT, with nothing wrong.
    pub(super) fn disconnect(self) -> Result<VarBytes, Malformed> {
        let encoded = match self {
            Version::V311 => v3::Packet::Disconnect.encode(),
            Version::V5 => v5::Packet::Disconnect(v5::Disconnect::new_normal()).encode(),
        };
        Ok(encoded?)
    }

    /// Reads one packet: `bytes` are all of it, as [`length`] has it.
    pub(super) fn decode(self, bytes: &[u8]) -> Result<Incoming, Malformed> {
        match self {
            Version::V311 => decode_v3(bytes),
            Version::V5 => decode_v5(bytes),
        }
    }
}

fn decode_v3(bytes: &[u8]) -> Result<Incoming, Malformed> {
    Ok(match v3::Packet::decode(bytes)?.ok_or(Malformed)? {
        v3::Packet::Connack(connack) => Incoming::Connack {
            reason: connack.code as u8,
            keep_alive: None,
        },
        v3::Packet::Publish(publish) => Incoming::Publish {
            topic: publish.topic_name,
            payload: publish.payload,
            delivery: publish.qos_pid,
        },
        v3::Packet::Puback(pid) => Incoming::Puback(pid, 0),
        v3::Packet::Pubrec(pid) => Incoming::Pubrec(pid, 0),
        v3::Packet::Pubrel(pid) => Incoming::Pubrel(pid),
        v3::Packet::Pubcomp(pid) => Incoming::Pubcomp(pid, 0),
        v3::Packet::Suback(suback) => {
            let reason = match suback.topics.first().ok_or(Malformed)? {
                v3::SubscribeReturnCode::Failure => FAILURE,
                v3::SubscribeReturnCode::MaxLevel0
                | v3::SubscribeReturnCode::MaxLevel1
                | v3::SubscribeReturnCode::MaxLevel2 => 0,
            };
            Incoming::Suback(suback.pid, reason)
        }
        v3::Packet::Pingresp => Incoming::Pingresp,
        _ => return Err(Malformed),
    })
}

fn decode_v5(bytes: &[u8]) -> Result<Incoming, Malformed> {
    Ok(match v5::Packet::decode(bytes)?.ok_or(Malformed)? {
        v5::Packet::Connack(connack) => Incoming::Connack {
            reason: connack.reason_code as u8,
            keep_alive: connack.properties.server_keep_alive,
        },
        v5::Packet::Publish(publish) => Incoming::Publish {
            topic: publish.topic_name,
            payload: publish.payload,
            delivery: publish.qos_pid,
        },
        v5::Packet::Puback(puback) => Incoming::Puback(puback.pid, puback.reason_code as u8),
        v5::Packet::Pubrec(pubrec) => Incoming::Pubrec(pubrec.pid, pubrec.reason_code as u8),
        v5::Packet::Pubrel(pubrel) => Incoming::Pubrel(pubrel.pid),
        v5::Packet::Pubcomp(pubcomp) => Incoming::Pubcomp(pubcomp.pid, pubcomp.reason_code as u8),
        v5::Packet::Suback(suback) => {
            let code = suback.topics.first().ok_or(Malformed)?;
            Incoming::Suback(suback.pid, *code as u8)
        }
        v5::Packet::Pingresp => Incoming::Pingresp,
        v5::Packet::Disconnect(disconnect) => Incoming::Disconnect(disconnect.reason_code as u8),
        _ => return Err(Malformed),
    })
}

fn level(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::Level0,
        Qos::AtLeastOnce => QoS::Level1,
        Qos::ExactlyOnce => QoS::Level2,
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn a_length_is_told_as_soon_as_it_can_be() {
        assert_eq!(length(&[]), Ok(None));
        assert_eq!(length(&[0x30]), Ok(None));
        assert_eq!(length(&[0x30, 0x00]), Ok(Some(2)));
        assert_eq!(length(&[0x30, 0x80]), Ok(None));
        assert_eq!(length(&[0x30, 0x80, 0x01, 9]), Ok(Some(3 + 128)));
        assert_eq!(
            length(&[0x30, 0xff, 0xff, 0xff, 0x7f]),
            Ok(Some(5 + 268_435_455))
        );
        assert_eq!(length(&[0x30, 0xff, 0xff, 0xff, 0xff]), Err(Malformed));
    }

    #[test]
    fn what_is_encoded_has_its_length_and_is_read_back() {
        let topic = TopicName::try_from("a/b").unwrap();
        let pid = Pid::try_from(7).unwrap();
        for version in [Version::V311, Version::V5] {
            let payload = Bytes::from(vec![b'x'; 200]);
            for delivery in [QosPid::Level0, QosPid::Level1(pid), QosPid::Level2(pid)] {
                let bytes = version.publish(&topic, payload.clone(), delivery).unwrap();
                assert_eq!(length(bytes.as_ref()), Ok(Some(bytes.as_ref().len())));
                let expected = Incoming::Publish {
                    topic: topic.clone(),
                    payload: payload.clone(),
                    delivery,
                };
                assert_eq!(version.decode(bytes.as_ref()), Ok(expected));
            }
            let ack = version.acknowledge(QosPid::Level1(pid)).unwrap().unwrap();
            assert_eq!(version.decode(ack.as_ref()), Ok(Incoming::Puback(pid, 0)));
            let received = version.acknowledge(QosPid::Level2(pid)).unwrap().unwrap();
            assert_eq!(
                version.decode(received.as_ref()),
                Ok(Incoming::Pubrec(pid, 0))
            );
            assert!(version.acknowledge(QosPid::Level0).unwrap().is_none());
            // What only a client sends is not taken from a server.
            for bytes in [
                version.ping().unwrap(),
                version.subscribe(pid, "#", Qos::default()).unwrap(),
            ] {
                assert_eq!(version.decode(bytes.as_ref()), Err(Malformed));
            }
        }
    }

    #[test]
    fn reasons_are_kept_as_they_came() {
        let refused = [0x20, 0x02, 0x00, 0x05];
        let expected = Incoming::Connack {
            reason: 5,
            keep_alive: None,
        };
        assert_eq!(Version::V311.decode(&refused), Ok(expected));
        let refused = [0x20, 0x06, 0x00, 0x87, 0x03, 0x13, 0x00, 0x1e];
        let expected = Incoming::Connack {
            reason: 0x87,
            keep_alive: Some(30),
        };
        assert_eq!(Version::V5.decode(&refused), Ok(expected));
        assert_eq!(
            Version::V5.decode(&[0xe0, 0x01, 0x8b]),
            Ok(Incoming::Disconnect(0x8b))
        );
        let pid = Pid::try_from(1).unwrap();
        assert_eq!(
            Version::V311.decode(&[0x90, 0x03, 0x00, 0x01, 0x80]),
            Ok(Incoming::Suback(pid, 0x80))
        );
    }

    #[test]
    fn hostile_bytes_are_refused_and_nothing_worse() {
        let mut random = StdRng::seed_from_u64(9);
        for _ in 0..200_000 {
            let mut bytes: Vec<u8> = (0..random.random_range(2..40))
                .map(|_| random.random())
                .collect();
            // Mostly as a server's packets begin, with their true length.
            let rest = u8::try_from(bytes.len() - 2).unwrap();
            if let [_, length, ..] = bytes.as_mut_slice() {
                *length = rest;
            }
            for version in [Version::V311, Version::V5] {
                let _ = version.decode(&bytes);
            }
        }
    }
}

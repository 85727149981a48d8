//! An MQTT client on a stream that is there already: CONNECT, a subscription, messages of each quality of service, keep-alive.
//!
//! It knows no deadline (the attempt has one), never connects again by itself, and keeps nothing for a session that is to
//! outlive the connection.

mod packet;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use mqtt_proto::{Pid, QosPid, TopicName, VarBytes};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::fault::Fault;
use super::numbered::Numbered;
use crate::measure::Cause;
use crate::plan::workload::exchange::{Mqtt as Settings, Qos};
pub(crate) use packet::Version;
use packet::{Greeting, Incoming, Malformed};

/// Bytes read at a time.
const READ: usize = 4096;
/// What a packet may have beside a payload as large as our own: topic and properties.
const HEADROOM: u64 = 128 * 1024;
/// Reasons from here on are refusals (MQTT 5 section 2.4); so is the one of SUBACK in MQTT 3.1.1.
const FIRST_REFUSAL: u8 = 0x80;
/// Stands for the device's id in settings.
const DEVICE: &str = "{device}";

/// What the clients of one scenario do, made once.
#[derive(Debug)]
pub(crate) struct Script {
    version: Version,
    settings: Settings,
    payload: Bytes,
    will: Bytes,
    /// Whether nobody else has the topic to which a device publishes.
    own_topic: bool,
    largest_packet: usize,
}

/// A client whose server has accepted it.
#[derive(Debug)]
pub(crate) struct Mqtt<S> {
    link: Link<S>,
    publish_to: Option<TopicName>,
    messages: Numbered,
    next_pid: Pid,
}

/// The packets of one connection.
#[derive(Debug)]
struct Link<S> {
    stream: S,
    version: Version,
    /// What has come and is not a whole packet yet.
    incoming: Vec<u8>,
    /// What is to be sent, from `sent` on.
    outgoing: Vec<u8>,
    sent: usize,
    keep_alive: Option<KeepAlive>,
    largest_packet: usize,
}

#[derive(Debug)]
struct KeepAlive {
    period: Duration,
    timer: Pin<Box<Sleep>>,
    /// A PINGREQ has not been answered yet.
    asked: bool,
}

impl From<Malformed> for Fault {
    fn from(_: Malformed) -> Fault {
        Fault::Said(Cause::Protocol)
    }
}

impl Script {
    /// What clients with these settings do.
    pub(crate) fn new(version: Version, settings: &Settings) -> Script {
        let filler = |bytes: u64| Bytes::from(vec![b'x'; usize::try_from(bytes).unwrap_or(0)]);
        let payload = settings.publish.as_ref().map_or(0, |publish| publish.bytes);
        Script {
            version,
            payload: filler(payload),
            will: filler(settings.will.as_ref().map_or(0, |will| will.bytes)),
            own_topic: settings
                .publish
                .as_ref()
                .is_some_and(|publish| publish.topic.contains(DEVICE)),
            largest_packet: usize::try_from(payload + HEADROOM).unwrap_or(usize::MAX),
            settings: settings.clone(),
        }
    }

    fn greeting(&self, device: &str) -> Result<Greeting, Malformed> {
        let settings = &self.settings;
        let will = match &settings.will {
            Some(will) => Some((topic(&will.topic, device)?, self.will.clone(), will.qos)),
            None => None,
        };
        Ok(Greeting {
            client_id: settings.client_id.replace(DEVICE, device),
            username: settings
                .username
                .as_ref()
                .map(|name| name.replace(DEVICE, device)),
            keep_alive: u16::try_from(settings.keep_alive.as_secs()).unwrap_or(u16::MAX),
            clean_start: settings.clean_start,
            will,
            largest_packet: u32::try_from(self.largest_packet).unwrap_or(u32::MAX),
        })
    }
}

fn topic(pattern: &str, device: &str) -> Result<TopicName, Malformed> {
    Ok(TopicName::try_from(
        pattern.replace(DEVICE, device).as_str(),
    )?)
}

impl<S: AsyncRead + AsyncWrite + Unpin> Mqtt<S> {
    /// Connects and subscribes: returns once the server has accepted both.
    ///
    /// # Errors
    ///
    /// The server's reason where it refuses.
    pub(crate) async fn open(
        stream: S,
        script: &Script,
        device: &str,
        number: usize,
    ) -> Result<Mqtt<S>, Fault> {
        let greeting = script.greeting(device)?;
        let mut link = Link {
            stream,
            version: script.version,
            incoming: Vec::new(),
            outgoing: Vec::new(),
            sent: 0,
            keep_alive: None,
            largest_packet: script.largest_packet,
        };
        link.send(script.version.connect(&greeting)?);
        let Incoming::Connack { reason, keep_alive } = link.receive().await? else {
            return Err(Fault::Said(Cause::Protocol));
        };
        if reason != 0 {
            return Err(Fault::Said(Cause::MqttReason(reason)));
        }
        link.keep_alive(keep_alive.unwrap_or(greeting.keep_alive));
        let publish = script.settings.publish.as_ref();
        let mut client = Mqtt {
            link,
            publish_to: match publish {
                Some(publish) => Some(topic(&publish.topic, device)?),
                None => None,
            },
            messages: Numbered::new(number),
            next_pid: Pid::default(),
        };
        client.subscribe(script, device).await?;
        Ok(client)
    }

    async fn subscribe(&mut self, script: &Script, device: &str) -> Result<(), Fault> {
        let Some(subscription) = &script.settings.subscribe else {
            return Ok(());
        };
        let filter = subscription.filter.replace(DEVICE, device);
        let pid = self.take_pid();
        let subscribe = script.version.subscribe(pid, &filter, subscription.qos)?;
        self.link.send(subscribe);
        loop {
            match self.link.receive().await? {
                Incoming::Suback(of, reason) if of == pid => return accepted(reason),
                // Retained messages may come before the answer.
                other => self.take(other)?,
            }
        }
    }

    /// Publishes one message as the script says, and waits until it is delivered.
    ///
    /// # Errors
    ///
    /// The server's reason where it refuses; [`Cause::WrongContent`] where another message than the device's own comes back.
    pub(crate) async fn exchange(&mut self, script: &Script) -> Result<(), Fault> {
        let (Some(publish), Some(topic)) = (&script.settings.publish, self.publish_to.clone())
        else {
            return Ok(());
        };
        let echo = script.settings.echo;
        let payload = if echo {
            self.messages.message(&script.payload)
        } else {
            script.payload.clone()
        };
        let delivery = match publish.qos {
            Qos::AtMostOnce => QosPid::Level0,
            Qos::AtLeastOnce => QosPid::Level1(self.take_pid()),
            Qos::ExactlyOnce => QosPid::Level2(self.take_pid()),
        };
        let packet = script.version.publish(&topic, payload.clone(), delivery)?;
        self.link.send(packet);
        let mut delivered = delivery == QosPid::Level0;
        let mut came_back = !echo;
        while !(delivered && came_back) {
            match self.link.receive().await? {
                Incoming::Puback(pid, reason) if delivery == QosPid::Level1(pid) => {
                    accepted(reason)?;
                    delivered = true;
                }
                Incoming::Pubrec(pid, reason) if delivery == QosPid::Level2(pid) => {
                    accepted(reason)?;
                    self.link.send(script.version.release(pid)?);
                }
                Incoming::Pubcomp(pid, reason) if delivery == QosPid::Level2(pid) => {
                    accepted(reason)?;
                    delivered = true;
                }
                Incoming::Publish {
                    topic: from,
                    payload: came,
                    delivery,
                } => {
                    self.link.acknowledge(delivery)?;
                    if came == payload && from == topic {
                        came_back = true;
                    } else if echo && from == topic && script.own_topic {
                        return Err(Fault::Said(Cause::WrongContent));
                    }
                }
                other => self.take(other)?,
            }
        }
        self.link.flush().await
    }

    /// Answers what comes while the device does nothing else, and keeps the connection alive. Ready when it has ended.
    pub(crate) fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<Fault> {
        loop {
            let taken = match ready!(self.link.poll_receive(context)) {
                Ok(incoming) => self.take(incoming),
                Err(fault) => Err(fault),
            };
            if let Err(fault) = taken {
                return Poll::Ready(fault);
            }
        }
    }

    /// Says goodbye and closes.
    pub(crate) async fn close(mut self) {
        if let Ok(disconnect) = self.link.version.disconnect() {
            self.link.send(disconnect);
        }
        // Whoever does not listen to a goodbye does not get it.
        let _ = self.link.flush().await;
        let _ = self.link.stream.shutdown().await;
    }

    /// The stream under it, to leave without a goodbye.
    pub(crate) fn into_stream(self) -> S {
        self.link.stream
    }

    /// Deals with what can come at any time.
    fn take(&mut self, incoming: Incoming) -> Result<(), Fault> {
        match incoming {
            Incoming::Publish { delivery, .. } => self.link.acknowledge(delivery),
            Incoming::Pubrel(pid) => {
                let complete = self.link.version.complete(pid)?;
                self.link.send(complete);
                Ok(())
            }
            Incoming::Disconnect(reason) if reason >= FIRST_REFUSAL => {
                Err(Fault::Said(Cause::MqttReason(reason)))
            }
            Incoming::Disconnect(_) => Err(Fault::Said(Cause::Closed)),
            _ => Err(Fault::Said(Cause::Protocol)),
        }
    }

    fn take_pid(&mut self) -> Pid {
        let pid = self.next_pid;
        self.next_pid += 1;
        pid
    }
}

fn accepted(reason: u8) -> Result<(), Fault> {
    if reason < FIRST_REFUSAL {
        Ok(())
    } else {
        Err(Fault::Said(Cause::MqttReason(reason)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    /// Puts a packet behind what is to be sent; it goes out with the next [`Link::receive`] or [`Link::flush`].
    fn send(&mut self, packet: VarBytes) {
        match packet {
            VarBytes::Dynamic(bytes) if self.outgoing.is_empty() => self.outgoing = bytes,
            packet => self.outgoing.extend_from_slice(packet.as_ref()),
        }
        if let Some(keep_alive) = &mut self.keep_alive {
            keep_alive.restart();
        }
    }

    fn acknowledge(&mut self, delivery: QosPid) -> Result<(), Fault> {
        if let Some(packet) = self.version.acknowledge(delivery)? {
            self.send(packet);
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Fault> {
        std::future::poll_fn(|context| self.poll_flush(context)).await
    }

    async fn receive(&mut self) -> Result<Incoming, Fault> {
        std::future::poll_fn(|context| self.poll_receive(context)).await
    }

    fn keep_alive(&mut self, seconds: u16) {
        let period = Duration::from_secs(seconds.into());
        self.keep_alive = (seconds > 0).then(|| KeepAlive {
            period,
            timer: Box::pin(tokio::time::sleep(period)),
            asked: false,
        });
    }

    /// Sends what is to be sent, and returns the next packet that is not about keeping the connection alive.
    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<Result<Incoming, Fault>> {
        loop {
            // What cannot be sent now does not keep from reading: the server may be waiting for that.
            if let Poll::Ready(Err(fault)) = self.poll_flush(context) {
                return Poll::Ready(Err(fault));
            }
            match self.next_packet()? {
                Some(Incoming::Pingresp) => {
                    if let Some(keep_alive) = &mut self.keep_alive {
                        keep_alive.asked = false;
                    }
                    continue;
                }
                Some(incoming) => return Poll::Ready(Ok(incoming)),
                None => {}
            }
            if self.poll_ping(context)? {
                continue;
            }
            ready!(self.poll_read(context))?;
        }
    }

    /// Whether a PINGREQ has been put out.
    fn poll_ping(&mut self, context: &mut Context<'_>) -> Result<bool, Fault> {
        let Some(keep_alive) = &mut self.keep_alive else {
            return Ok(false);
        };
        if keep_alive.timer.as_mut().poll(context).is_pending() {
            return Ok(false);
        }
        if keep_alive.asked {
            return Err(Fault::Said(Cause::Timeout));
        }
        keep_alive.asked = true;
        let ping = self.version.ping()?;
        self.send(ping);
        Ok(true)
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let mut bytes = [0; READ];
        let mut buffer = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer)).map_err(stream)?;
        if buffer.filled().is_empty() {
            return Poll::Ready(Err(Fault::Stream));
        }
        self.incoming.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        while let Some(rest @ [_, ..]) = self.outgoing.get(self.sent..) {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, rest));
            match written.map_err(stream)? {
                0 => return Poll::Ready(Err(Fault::Stream)),
                written => self.sent += written,
            }
        }
        // An idle device keeps no buffer.
        self.outgoing = Vec::new();
        self.sent = 0;
        Pin::new(&mut self.stream)
            .poll_flush(context)
            .map_err(stream)
    }

    /// Takes one whole packet from what has come.
    fn next_packet(&mut self) -> Result<Option<Incoming>, Fault> {
        let Some(length) = packet::length(&self.incoming)? else {
            return Ok(None);
        };
        if length > self.largest_packet {
            return Err(Fault::Said(Cause::TooLarge));
        }
        let Some(bytes) = self.incoming.get(..length) else {
            return Ok(None);
        };
        let packet = self.version.decode(bytes)?;
        self.incoming.drain(..length);
        if self.incoming.is_empty() {
            self.incoming = Vec::new();
        }
        Ok(Some(packet))
    }
}

fn stream(_: io::Error) -> Fault {
    Fault::Stream
}

impl KeepAlive {
    fn restart(&mut self) {
        let next = Instant::now() + self.period;
        self.timer.as_mut().reset(next);
    }
}

#[cfg(test)]
mod tests;

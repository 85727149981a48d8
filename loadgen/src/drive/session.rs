//! A device that stays for a while: after the exchange that it came for it holds its connection, and sends its telemetry.
//!
//! Each message is an attempt of its own, with an intended start that the plan alone decides. A device whose connection was
//! lost opens another one with its next message, as devices do.

use std::time::Instant;

use super::attempt::Order;
use super::shard::Shard;
use crate::plan::{Action, Connect, Say};

impl Shard {
    /// Holds the connection that `order` has left open, as long as the activity says, and closes it then if the device
    /// `leaves`.
    pub(crate) async fn stay(&self, order: &Order, leaves: bool) {
        let activity = &order.cast.scenario.activity;
        let (Some(hold), Some(device)) = (activity.hold, self.devices.get(order.device)) else {
            return;
        };
        if activity.telemetry.is_none() && !self.is_held(order.device) {
            return;
        }
        let begin = Instant::now();
        let until = begin + hold;
        let end = self.end_of(&order.cast).filter(|end| *end < until);
        let leave = end.unwrap_or(until);
        let mut messages = activity.telemetry.map(|telemetry| {
            let seed = order.cast.seed;
            telemetry.times(seed, device.number, begin.duration_since(self.epoch))
        });
        loop {
            let message = messages.as_mut().and_then(Iterator::next);
            let message = message
                .map(|time| self.epoch + time)
                .filter(|time| *time < leave);
            let interrupted = tokio::select! {
                () = tokio::time::sleep_until(message.unwrap_or(leave).into()) => false,
                () = self.interrupted() => true,
            };
            match message {
                // What is still open is closed, and counted until then, with all that is held.
                _ if interrupted => return,
                None if end.is_some() => return,
                None => break,
                Some(intended) => self.send_message(order, intended).await,
            }
        }
        if leaves && let Some(connection) = self.take_held(order.device) {
            connection.close().await;
        }
    }

    async fn send_message(&self, order: &Order, intended: Instant) {
        let message = Order {
            cast: std::rc::Rc::clone(&order.cast),
            device: order.device,
            action: Action {
                connect: Connect::IfNeeded,
                keep_open: true,
                say: Say::Message,
            },
            intended,
            measured: self.is_measured(intended),
        };
        self.attempt_once(&message).await;
    }
}

//! Each device once, at its time: what a change does to a whole fleet.

use std::io;
use std::rc::Rc;

use super::Load;
use crate::drive::alarm::Alarm;
use crate::drive::shard::{Fatal, Message, Shard};
use crate::drive::task;
use crate::plan::{Action, Connect, Say, Spread};

/// What happens to a device before it comes back.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change {
    /// Nothing: its ticket was taken from it before.
    None,
    /// It gets another identity.
    Identity,
}

impl Load {
    /// Takes the tickets from all devices, and lets each come back for a full handshake.
    pub(super) async fn without_tickets(self, returns: Spread) -> io::Result<()> {
        tokio::time::sleep_until(self.begin.into()).await;
        for slot in &self.cast.slots {
            if let Some(device) = self.shard.devices.get(*slot) {
                device.tickets.forget();
            }
        }
        self.once_each(returns, Change::None).await
    }

    /// A full handshake of each device at its time, on a new connection.
    pub(super) async fn once_each(self, spread: Spread, change: Change) -> io::Result<()> {
        let alarm = Alarm::new()?;
        let times = spread.times(self.cast.devices as u64, self.cast.seed, self.cast.share);
        let action = Action {
            connect: Connect::Full,
            keep_open: self.cast.scenario.activity.keeps_open(),
            say: Say::Opening,
        };
        let mut tasks = Vec::new();
        for (slot, time) in self.cast.slots.iter().zip(times) {
            let intended = self.begin + time;
            alarm.until(intended).await?;
            if self.shard.stopping.get() {
                break;
            }
            let order = self.order(*slot, action, intended);
            let shard = Rc::clone(&self.shard);
            tasks.push(task::spawn(async move {
                // Another scenario may be busy with it; its intended start remains.
                shard.claim(order.device).await;
                if shard.stopping.get() {
                    shard.release_claim(order.device);
                    return;
                }
                if let Change::Identity = change {
                    shard.renew(order.device);
                }
                shard.attempt_claimed(&order).await;
                shard.release_claim(order.device);
            }));
        }
        for task in tasks {
            let _ = task.await;
        }
        Ok(())
    }
}

impl Shard {
    /// Gives a device its next identity.
    fn renew(&self, slot: usize) {
        let Some(device) = self.devices.get(slot) else {
            return;
        };
        let generation = {
            let mut renewals = self.renewals.borrow_mut();
            let renewals = renewals.entry(slot).or_insert(0);
            *renewals += 1;
            *renewals
        };
        match self.fleet.identity(device.number, generation) {
            Ok(identity) => {
                device.renew(identity);
                device.tickets.forget();
            }
            Err(error) => {
                self.stopping.set(true);
                self.tell(Message::Fatal(Fatal::Renewal(error)));
            }
        }
    }
}

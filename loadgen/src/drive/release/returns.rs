//! A reconnect storm: all connections are lost in one instant, and each device returns by its own back-off.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::rc::Rc;
use std::time::Instant;

use tokio::sync::Notify;

use super::Load;
use crate::drive::alarm::Alarm;
use crate::drive::task;
use crate::measure::Returns;
use crate::plan::{Action, Actions, Connect, ReconnectStorm, Say};

/// A device that is to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    at: Instant,
    device: usize,
    /// Failures so far.
    failures: u32,
    /// When its connection was lost.
    lost: Instant,
}

/// What the tasks of one storm share.
struct Storm {
    load: Load,
    settings: ReconnectStorm,
    actions: RefCell<Actions>,
    turns: RefCell<BinaryHeap<Reverse<Turn>>>,
    /// Devices that are not back and have not given up.
    away: Cell<usize>,
    /// There is another turn, or one device fewer away.
    changed: Notify,
}

impl Load {
    pub(super) async fn storm(self, settings: ReconnectStorm) -> io::Result<()> {
        tokio::time::sleep_until(self.begin.into()).await;
        let storm = Rc::new(Storm {
            settings,
            actions: RefCell::new(self.cast.actions()),
            turns: RefCell::default(),
            away: Cell::new(self.cast.slots.len()),
            changed: Notify::new(),
            load: self,
        });
        storm.drop_all();
        storm.bring_back().await
    }
}

impl Storm {
    /// Every device loses its connection; one that is busy, as soon as it has done what it does.
    fn drop_all(self: &Rc<Self>) {
        let cast = &self.load.cast;
        let first = self.settings.first;
        let times = first.times(cast.devices as u64, cast.seed, cast.share);
        for (&device, time) in cast.slots.iter().zip(times) {
            let at = self.load.begin + time;
            if self.load.shard.try_claim(device) {
                self.lose(device, at);
                continue;
            }
            let storm = Rc::clone(self);
            task::spawn(async move {
                let shard = &storm.load.shard;
                shard.claim(device).await;
                if shard.stopping.get() {
                    shard.release_claim(device);
                } else {
                    storm.lose(device, at.max(Instant::now()));
                }
            });
        }
    }

    fn lose(&self, device: usize, at: Instant) {
        // Without a goodbye, as when the network goes.
        drop(self.load.shard.take_held(device));
        self.count(|returns| returns.dropped += 1);
        self.add(Turn {
            at,
            device,
            failures: 0,
            lost: Instant::now(),
        });
    }

    fn add(&self, turn: Turn) {
        self.turns.borrow_mut().push(Reverse(turn));
        self.changed.notify_one();
    }

    /// Lets each device try at its time, until all are back or the scenario ends.
    async fn bring_back(self: &Rc<Self>) -> io::Result<()> {
        let alarm = Alarm::new()?;
        let shard = &self.load.shard;
        while self.away.get() > 0 && !shard.stopping.get() {
            let now = Instant::now();
            if self.load.is_over(now) {
                break;
            }
            let next = self.turns.borrow().peek().map(|Reverse(turn)| turn.at);
            if next.is_some_and(|at| at <= now) {
                let turn = self.turns.borrow_mut().pop();
                if let Some(Reverse(turn)) = turn {
                    task::spawn(Rc::clone(self).attempt(turn));
                }
                continue;
            }
            let wait = [next, self.load.end].into_iter().flatten().min();
            let changed = self.changed.notified();
            match wait {
                Some(wait) => tokio::select! {
                    woken = alarm.until(wait) => woken?,
                    () = changed => {}
                },
                None => changed.await,
            }
        }
        Ok(())
    }

    async fn attempt(self: Rc<Self>, turn: Turn) {
        let shard = &self.load.shard;
        if turn.failures > 0 {
            self.count(|returns| returns.retries += 1);
        }
        let drawn = self.actions.borrow_mut().draw();
        let action = Action {
            connect: match drawn.connect {
                // There is none to use.
                Connect::IfNeeded => Connect::Resumed,
                connect => connect,
            },
            keep_open: true,
            say: Say::Opening,
        };
        let order = self.load.order(turn.device, action, turn.at);
        if shard.attempt_claimed(&order).await {
            self.count(|returns| returns.back(turn.lost.elapsed()));
            shard.release_claim(turn.device);
            self.one_less();
            return;
        }
        let failures = turn.failures + 1;
        let cast = &self.load.cast;
        let number = shard.devices.get(turn.device).map(|device| device.number);
        let wait = number.and_then(|number| self.settings.wait(cast.seed, number, failures));
        match wait {
            Some(wait) => self.add(Turn {
                at: Instant::now() + wait,
                failures,
                ..turn
            }),
            // It stays claimed: who gave up does nothing any more.
            None => {
                self.count(|returns| returns.gave_up += 1);
                self.one_less();
            }
        }
    }

    fn one_less(&self) {
        self.away.set(self.away.get() - 1);
        self.changed.notify_one();
    }

    fn count(&self, count: impl FnOnce(&mut Returns)) {
        if let Some(returns) = self.load.cast.returns.borrow_mut().as_mut() {
            count(returns);
        }
    }
}

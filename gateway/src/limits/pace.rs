//! A body at the pace that its device may have: what is too fast waits, and nothing is cut.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use metrics::Counter;
use tokio::time::Sleep;

use super::device::Device;
use super::{Limits, Usage};
use crate::clock;
use crate::rate::Rate;

/// Paces one body. All bodies of a device share what it may move.
pub struct Pace {
    limits: Arc<Limits>,
    device: Arc<Device>,
    rate: Rate,
    timer: Option<Pin<Box<Sleep>>>,
    /// Counts the body when it has to wait for the first time.
    waits: Option<Counter>,
}

impl Usage {
    /// The pace of a body, counted by `waits` if it has to wait; `None` where the device may be as fast as it can.
    pub fn pace(&self, rate: Option<Rate>, waits: &Counter) -> Option<Box<Pace>> {
        Some(Box::new(Pace {
            limits: Arc::clone(&self.limits),
            rate: rate?,
            device: Arc::clone(self.device.as_ref()?),
            timer: None,
            waits: Some(waits.clone()),
        }))
    }
}

impl Pace {
    /// Ready when the next piece may move.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(timer) = &mut self.timer {
                ready!(timer.as_mut().poll(cx));
                self.timer = None;
            }
            let now = clock::now();
            let wait = self.device.wait(self.rate, self.limits.nanoseconds(now));
            if wait.is_zero() {
                return Poll::Ready(());
            }
            if let Some(waits) = self.waits.take() {
                waits.increment(1);
            }
            let until = tokio::time::Instant::from_std(now + wait);
            self.timer = Some(Box::pin(tokio::time::sleep_until(until)));
        }
    }

    /// A piece moved.
    pub fn moved(&mut self, bytes: u64) {
        let now = self.limits.nanoseconds(clock::now());
        self.device.moved(self.rate, bytes, now);
    }
}

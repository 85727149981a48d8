//! Tells the connections of one worker that it is time to end.

use std::cell::Cell;

use tokio::sync::Notify;

/// A worker's drain: not started, or started for good.
#[derive(Debug, Default)]
pub struct Drain {
    started: Cell<bool>,
    notify: Notify,
}

impl Drain {
    /// Starts the drain and wakes everybody who waits for it.
    pub fn start(&self) {
        self.started.set(true);
        self.notify.notify_waiters();
    }

    /// Ready once the drain has started.
    pub async fn started(&self) {
        // The waiter is enrolled before the flag is looked at; both happen on the worker's one thread.
        let notified = self.notify.notified();
        if !self.started.get() {
            notified.await;
        }
    }
}

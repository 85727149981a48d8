//! Asking a run to stop early. Who asks (a signal, a test, a user interface) is not this crate's business.

use tokio::sync::watch;

/// The run's side: has a stop been requested?
#[derive(Debug, Clone)]
pub struct Stop {
    receiver: watch::Receiver<bool>,
}

/// The caller's side.
#[derive(Debug, Clone)]
pub struct StopHandle {
    sender: watch::Sender<bool>,
}

/// A stop signal and its handle. Dropping the handle means that nobody will ask.
pub fn stop_channel() -> (StopHandle, Stop) {
    let (sender, receiver) = watch::channel(false);
    (StopHandle { sender }, Stop { receiver })
}

impl StopHandle {
    /// Asks the run to stop: attempts in flight get two more seconds, and the result is marked as partial.
    pub fn stop(&self) {
        self.sender.send_replace(true);
    }
}

impl Stop {
    /// A signal that never comes.
    pub fn never() -> Stop {
        stop_channel().1
    }

    /// Whether a stop has been requested.
    pub fn is_requested(&self) -> bool {
        *self.receiver.borrow()
    }

    pub(crate) fn receiver(self) -> watch::Receiver<bool> {
        self.receiver
    }
}

//! One attempt of one device, from its start to its one outcome.

use std::rc::Rc;
use std::time::Instant;

use tokio::time::timeout_at;

use super::exchange::Connection;
use super::observed::Observation;
use super::shard::Shard;
use crate::measure::{Attempt, Cause, Failure};
use crate::plan::{Action, Connect};

impl Shard {
    /// Performs `action` with the device in slot `index`, records it and frees the device.
    pub(crate) async fn attempt(
        self: Rc<Self>,
        index: usize,
        action: Action,
        intended: Instant,
        measured: bool,
    ) {
        let mut attempt = Attempt::start(intended, measured);
        self.started(&attempt);
        let held = self.take_held(index);
        let (connection, outcome) = self.perform(index, action, held, &mut attempt).await;
        self.finished(&attempt, outcome);
        match connection {
            Some(connection) if action.keep_open && connection.is_usable() => {
                self.hold(index, connection)
            }
            Some(connection) if outcome.is_ok() => connection.close().await,
            // After a failure there is nobody to say goodbye to.
            _ => {}
        }
        self.give_back(index);
    }

    async fn perform(
        &self,
        index: usize,
        action: Action,
        held: Option<Connection>,
        attempt: &mut Attempt,
    ) -> (Option<Connection>, Result<(), Failure>) {
        let deadline = attempt.started + self.timeout;
        let gives_up = self.patience.map(|patience| attempt.intended + patience);
        // Until it has connected it cannot have been accepted: whichever ends first ends the attempt.
        let (until, late) = match gives_up {
            Some(gives_up) if gives_up < deadline => (gives_up, Cause::GaveUp),
            _ => (deadline, Cause::Timeout),
        };
        let connecting = self.connection(index, action.connect, held, attempt);
        let mut connection = match timeout_at(until.into(), connecting).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(cause)) => return (None, Err(failure(cause, attempt))),
            Err(_) => return (None, Err(failure(late, attempt))),
        };
        let observation = Rc::clone(&connection.observation);
        let exchange = connection.exchange(self.requests.make(action.say));
        let exchange = timeout_at(deadline.into(), exchange);
        let result = tokio::select! {
            result = exchange => result.unwrap_or(Err(Cause::Timeout)),
            () = gave_up(&observation, gives_up) => Err(Cause::GaveUp),
        };
        connection.note(attempt);
        let outcome = match result {
            Ok(200..=299) => Ok(()),
            Ok(status) => Err(failure(Cause::Status(status), attempt)),
            Err(cause) => Err(failure(cause, attempt)),
        };
        let answered = result.is_ok();
        if answered {
            attempt.done = Some(Instant::now());
        }
        (answered.then_some(connection), outcome)
    }

    async fn connection(
        &self,
        index: usize,
        connect: Connect,
        held: Option<Connection>,
        attempt: &mut Attempt,
    ) -> Result<Connection, Cause> {
        match held {
            Some(held) if connect == Connect::IfNeeded && held.is_usable() => {
                held.observation.begin();
                return Ok(held);
            }
            Some(held) => held.close().await,
            None => {}
        }
        let Some(device) = self.devices.get(index) else {
            return Err(Cause::Abandoned);
        };
        self.connector
            .connect(device, connect != Connect::Full, attempt)
            .await
    }
}

/// Returns when a device that gives up at `when` does so: it has not been accepted by then.
async fn gave_up(observation: &Observation, when: Option<Instant>) {
    if let Some(when) = when {
        tokio::time::sleep_until(when.into()).await;
        if observation.accepted.get().is_none() {
            return;
        }
    }
    std::future::pending().await
}

fn failure(cause: Cause, attempt: &Attempt) -> Failure {
    Failure {
        cause,
        moment: attempt.moment(),
    }
}

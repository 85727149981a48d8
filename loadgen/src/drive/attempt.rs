//! One attempt of one device, from its start to its one outcome.

use std::rc::Rc;
use std::time::Instant;

use tokio::time::timeout_at;

use super::cast::Cast;
use super::exchange::Connection;
use super::observed::Observation;
use super::shard::Shard;
use crate::measure::{Attempt, Cause, Failure};
use crate::plan::{Action, Connect};

/// What one device is to do, and when.
pub(crate) struct Order {
    /// The scenario that wants it.
    pub(crate) cast: Rc<Cast>,
    /// The device, as a slot of the shard.
    pub(crate) device: usize,
    pub(crate) action: Action,
    /// When the plan wants it to start.
    pub(crate) intended: Instant,
    /// Whether it belongs to the measured window.
    pub(crate) measured: bool,
}

impl Shard {
    /// Performs an order with the device that took its turn, stays as long as the activity says, and frees the device.
    pub(crate) async fn attempt(self: Rc<Self>, order: Order) {
        let (cast, device) = (Rc::clone(&order.cast), order.device);
        self.session(order).await;
        self.give_back(&cast, device);
    }

    /// The same for a claimed device, which stays claimed.
    pub(crate) async fn session_claimed(&self, order: Order) {
        self.begin_claimed();
        self.session(order).await;
        self.end_claimed();
    }

    async fn session(&self, mut order: Order) {
        let leaves = !order.action.keep_open;
        order.action.keep_open |= order.cast.scenario.activity.hold.is_some();
        self.attempt_once(&order).await;
        self.stay(&order, leaves).await;
    }

    /// One attempt of a claimed device; returns whether it went well.
    pub(crate) async fn attempt_claimed(&self, order: &Order) -> bool {
        self.begin_claimed();
        let ok = self.attempt_once(order).await;
        self.end_claimed();
        ok
    }

    /// One attempt, recorded; returns whether it went well. The device is not freed, and its connection is held if it is to be
    /// used later.
    pub(crate) async fn attempt_once(&self, order: &Order) -> bool {
        let mut attempt = Attempt::start(order.intended, order.measured);
        attempt.fault = self.fault_to_be_refused(order.device);
        self.started(&order.cast, &attempt);
        let held = self.take_held(order.device);
        let (connection, outcome) = self.perform(order, held, &mut attempt).await;
        self.finished(&order.cast, &attempt, outcome);
        match connection {
            Some(connection) if order.action.keep_open && connection.is_usable() => {
                self.hold(order.device, connection)
            }
            Some(connection) if outcome.is_ok() => connection.close().await,
            // After a failure there is nobody to say goodbye to.
            _ => {}
        }
        outcome.is_ok()
    }

    async fn perform(
        &self,
        order: &Order,
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
        let connecting = self.connection(order, held, attempt);
        let mut connection = match timeout_at(until.into(), connecting).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(cause)) => return (None, Err(failure(cause, attempt))),
            Err(_) => return (None, Err(failure(late, attempt))),
        };
        let Some(device) = self.devices.get(order.device) else {
            return (None, Err(failure(Cause::Abandoned, attempt)));
        };
        let observation = Rc::clone(&connection.observation);
        let exchange = connection.exchange(&order.cast.script, device, order.action.say);
        let exchange = timeout_at(deadline.into(), exchange);
        let result = tokio::select! {
            result = exchange => result.unwrap_or(Err(Cause::Timeout)),
            () = gave_up(&observation, gives_up) => Err(Cause::GaveUp),
        };
        connection.note(attempt);
        if order.cast.script.verifies_identity() {
            attempt.identity = match result {
                Err(Cause::Identity(fault)) => Some(Err(fault)),
                Ok(()) => Some(Ok(())),
                Err(_) => None,
            };
        }
        if result.is_ok() {
            attempt.done = Some(Instant::now());
        }
        // After an answer that is not the right one the connection may be as good as before.
        (
            Some(connection).filter(|connection| connection.is_usable() || result.is_ok()),
            result.map_err(|cause| failure(cause, attempt)),
        )
    }

    async fn connection(
        &self,
        order: &Order,
        held: Option<Connection>,
        attempt: &mut Attempt,
    ) -> Result<Connection, Cause> {
        let connect = order.action.connect;
        match held {
            Some(held) if connect == Connect::IfNeeded && held.is_usable() => {
                held.observation.begin();
                attempt.on_open_connection = true;
                return Ok(held);
            }
            Some(held) => held.close().await,
            None => {}
        }
        let Some(device) = self.devices.get(order.device) else {
            return Err(Cause::Abandoned);
        };
        let script = &order.cast.script;
        self.connector
            .connect(device, script, connect != Connect::Full, attempt)
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

//! One shard: a thread with its own runtime, devices and recorder. Nothing on its hot path is shared with another.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::budget::Budget;
use super::cast::Cast;
use super::connect::Connector;
use super::exchange::Connection;
use super::open::OpenConnections;
use super::thread_time::{CoreShare, ThreadTime};
use crate::fleet::{Device, Fleet, FleetError};
use crate::measure::outcome::{NO_APPLICATION_PROTOCOL, PROTOCOL_VERSION};
use crate::measure::{Attempt, Cause, Failure, Moment, ScenarioSamples, Second};
use crate::plan::{Action, Plan};

/// Time for the goodbyes of all held connections together.
const FAREWELL: Duration = Duration::from_secs(5);

/// What a shard tells the controller.
#[derive(Debug)]
pub(crate) enum Message {
    /// Devices are loaded and prepared; load may begin. With the number of devices that could not be prepared.
    Ready {
        /// Devices whose preparation failed.
        unprepared: u64,
    },
    /// The run cannot go on.
    Fatal(Fatal),
    /// One second has passed.
    Second(Box<Second>),
    /// The window has ended and every attempt has its outcome; connections are still open.
    Drained {
        /// Connections open.
        open: u64,
        /// When the last scenario had released all that it was to.
        released: Instant,
        /// What the shard's thread got of a core in the window.
        core: CoreShare,
    },
    /// All connections are closed; with the samples of each scenario.
    Finished(Vec<ScenarioSamples>),
}

/// Why there is no point in going on.
#[derive(Debug)]
pub(crate) enum Fatal {
    /// The runtime or its timer could not be made.
    Io(std::io::Error),
    /// A device's next identity cannot be had.
    Renewal(FleetError),
    /// The first connection failed in a way that only the operator can mend.
    First(Cause),
    /// A part of the shard is missing from now on.
    Panicked,
}

/// What the tasks of one shard share in one round. An attempt that outlives its round belongs to that still.
pub(crate) struct Shard {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) devices: Rc<Vec<Device>>,
    pub(crate) connector: Rc<Connector>,
    pub(crate) timeout: Duration,
    pub(crate) patience: Option<Duration>,
    pub(crate) open: Rc<OpenConnections>,
    held: RefCell<Vec<Option<Connection>>>,
    budget: RefCell<Budget>,
    /// The scenarios, in the plan's order.
    pub(crate) casts: Vec<Rc<Cast>>,
    second: RefCell<Second>,
    /// When the current second began, and the thread's time then.
    second_began: Cell<(Instant, ThreadTime)>,
    /// Nothing is in flight any more.
    idle: Notify,
    /// A device has become free.
    freed: Notify,
    /// Who waits for a device that is busy.
    claims: RefCell<HashMap<usize, Rc<Notify>>>,
    /// How often devices have got a new identity.
    pub(crate) renewals: RefCell<HashMap<usize, u32>>,
    /// Nothing more is to be released.
    pub(crate) stopping: Cell<bool>,
    /// Where devices count the times of their telemetry from.
    pub(crate) epoch: Instant,
    /// When the measured window begins, once that is known.
    pub(crate) window_start: Cell<Option<Instant>>,
    /// The run has been stopped from outside.
    interrupt: watch::Sender<bool>,
    connected_once: Cell<bool>,
    messages: mpsc::Sender<Message>,
}

impl Shard {
    pub(crate) fn new(
        fleet: Arc<Fleet>,
        devices: Rc<Vec<Device>>,
        connector: Rc<Connector>,
        casts: Vec<Rc<Cast>>,
        plan: &Plan,
        messages: mpsc::Sender<Message>,
    ) -> Shard {
        let mut budget = Budget::new(devices.len());
        for cast in &casts {
            budget.add_scenario(&cast.slots, cast.max_in_flight());
        }
        Shard {
            held: RefCell::new(devices.iter().map(|_| None).collect()),
            budget: RefCell::new(budget),
            fleet,
            devices,
            open: Rc::clone(&connector.open),
            connector,
            timeout: plan.timeout,
            patience: plan.patience,
            casts,
            second: RefCell::new(Second::new(0)),
            second_began: Cell::new((Instant::now(), ThreadTime::now())),
            idle: Notify::new(),
            freed: Notify::new(),
            claims: RefCell::default(),
            renewals: RefCell::default(),
            stopping: Cell::new(false),
            epoch: Instant::now(),
            window_start: Cell::new(None),
            interrupt: watch::Sender::new(false),
            connected_once: Cell::new(false),
            messages,
        }
    }

    /// Takes over what an earlier round has left: its connections, and that the target is right. Connections of devices
    /// that have no part in this round are closed.
    pub(crate) async fn inherit(&self, earlier: &Shard) {
        self.connected_once.set(earlier.connected_once.get());
        let mut left = earlier.held.take();
        for device in self.casts.iter().flat_map(|cast| &cast.slots) {
            if let Some(connection) = left.get_mut(*device).and_then(Option::take) {
                self.hold(*device, connection);
            }
        }
        close_all(left).await;
    }

    /// Tells the controller. If it has gone there is nobody left to tell.
    pub(crate) fn tell(&self, message: Message) {
        let _ = self.messages.send(message);
    }

    /// The device whose turn it is in the scenario, if one may take it now.
    pub(crate) fn take_device(&self, cast: &Cast) -> Option<usize> {
        self.budget.borrow_mut().take(cast.number)
    }

    /// The same, once there is one.
    pub(crate) async fn wait_for_device(&self, cast: &Cast) -> usize {
        loop {
            // A device that is freed between the look and the wait wakes this too: nothing is awaited between them.
            if let Some(device) = self.take_device(cast) {
                return device;
            }
            self.freed.notified().await;
        }
    }

    pub(crate) fn give_back(&self, cast: &Cast, device: usize) {
        self.budget.borrow_mut().give_back(cast.number, device);
        self.is_free(device);
        self.look_whether_idle();
    }

    /// Takes this very device, unless it is busy.
    pub(crate) fn try_claim(&self, device: usize) -> bool {
        self.budget.borrow_mut().claim(device)
    }

    /// Takes it as soon as it has done what it does.
    pub(crate) async fn claim(&self, device: usize) {
        while !self.try_claim(device) {
            let free = Rc::clone(self.claims.borrow_mut().entry(device).or_default());
            free.notified().await;
        }
    }

    pub(crate) fn release_claim(&self, device: usize) {
        self.budget.borrow_mut().release_claim(device);
        self.is_free(device);
    }

    pub(crate) fn begin_claimed(&self) {
        self.budget.borrow_mut().begin_claimed();
    }

    pub(crate) fn end_claimed(&self) {
        self.budget.borrow_mut().end_claimed();
        self.look_whether_idle();
    }

    fn is_free(&self, device: usize) {
        self.freed.notify_waiters();
        let mut claims = self.claims.borrow_mut();
        if !claims.is_empty()
            && let Some(waiting) = claims.remove(&device)
        {
            waiting.notify_waiters();
        }
    }

    fn look_whether_idle(&self) {
        if self.budget.borrow().in_flight() == 0 {
            self.idle.notify_waiters();
        }
    }

    /// Every attempt has its outcome, or the patience is over.
    pub(crate) async fn drain(&self, patience: Duration) {
        let everything_done = async {
            loop {
                let notified = self.idle.notified();
                if self.budget.borrow().in_flight() == 0 {
                    return;
                }
                notified.await;
            }
        };
        if tokio::time::timeout(patience, everything_done)
            .await
            .is_err()
        {
            for cast in &self.casts {
                cast.recorder.borrow_mut().abandon(Failure {
                    cause: Cause::Abandoned,
                    moment: Moment::Response,
                });
            }
        }
    }

    /// The fault of the device in slot `index`, if the server has to refuse it.
    pub(crate) fn fault_to_be_refused(&self, index: usize) -> Option<u16> {
        let refusal = self.devices.get(index)?.to_be_refused?;
        Some(refusal.fault)
    }

    /// Stops from outside: nothing more is released, and devices that hold a connection hold it no longer.
    pub(crate) fn interrupt(&self) {
        self.stopping.set(true);
        self.interrupt.send_replace(true);
    }

    /// Returns once the run has been stopped from outside.
    pub(crate) async fn interrupted(&self) {
        // It cannot fail: the sender is here.
        let _ = self.interrupt.subscribe().wait_for(|stop| *stop).await;
    }

    /// Whether something that is to start at `instant` belongs to the measured window.
    pub(crate) fn is_measured(&self, instant: Instant) -> bool {
        self.window_start
            .get()
            .is_some_and(|start| instant >= start)
    }

    /// When the scenario ends, if time ends it.
    pub(crate) fn end_of(&self, cast: &Cast) -> Option<Instant> {
        Some(self.window_start.get()? + cast.scenario.end()?)
    }

    pub(crate) fn started(&self, cast: &Cast, attempt: &Attempt) {
        let lag = attempt.started.saturating_duration_since(attempt.intended);
        cast.recorder.borrow_mut().start(attempt.measured, lag);
        self.second.borrow_mut().start(lag);
    }

    pub(crate) fn finished(&self, cast: &Cast, attempt: &Attempt, outcome: Result<(), Failure>) {
        cast.recorder.borrow_mut().finish(attempt, outcome);
        self.second.borrow_mut().finish(attempt, outcome);
        self.judge_first(outcome);
    }

    /// The very first outcome tells whether the run makes sense at all.
    fn judge_first(&self, outcome: Result<(), Failure>) {
        if self.connected_once.replace(true) {
            return;
        }
        if let Err(Failure { cause, .. }) = outcome
            && only_the_operator_can_mend(cause)
        {
            self.stopping.set(true);
            self.tell(Message::Fatal(Fatal::First(cause)));
        }
    }

    pub(crate) fn overflow(&self, cast: &Cast, measured: bool) {
        cast.recorder.borrow_mut().overflow(measured);
        self.second.borrow_mut().overflow();
    }

    /// The load begins: what the preparation did is not of its first second.
    pub(crate) fn begin_series(&self) {
        self.second.replace(Second::new(0));
        self.second_began.set((Instant::now(), ThreadTime::now()));
    }

    /// Hands over one second of the series and begins the next. Which one it is follows from those before, not from the time:
    /// the last one may be handed over at the very moment at which it ends.
    pub(crate) fn close_second(&self) {
        let next = Second::new(self.second.borrow().index + 1);
        let mut second = self.second.replace(next);
        second.open = self.open.count();
        let (then, time) = self
            .second_began
            .replace((Instant::now(), ThreadTime::now()));
        second.busiest_shard = time.shares_since(then).running;
        self.tell(Message::Second(Box::new(second)));
    }

    /// Whether the device already has what `preparation` would give it: an open connection, which came with all of it, or
    /// a ticket where that is enough.
    pub(crate) fn is_prepared(&self, device: usize, preparation: Action) -> bool {
        let has_ticket = |device: &Device| device.tickets.has_ticket();
        if !preparation.keep_open && self.devices.get(device).is_some_and(has_ticket) {
            return true;
        }
        self.is_held(device)
    }

    /// Whether the device has a connection that can be used.
    pub(crate) fn is_held(&self, device: usize) -> bool {
        let held = self.held.borrow();
        let open = held.get(device).and_then(Option::as_ref);
        open.is_some_and(Connection::is_usable)
    }

    pub(crate) fn take_held(&self, index: usize) -> Option<Connection> {
        self.held.borrow_mut().get_mut(index)?.take()
    }

    pub(crate) fn hold(&self, index: usize, mut connection: Connection) {
        connection.rest();
        if let Some(slot) = self.held.borrow_mut().get_mut(index) {
            *slot = Some(connection);
        }
    }

    /// Closes the held connections, each with its goodbye; a server that does not listen is left waiting.
    pub(crate) async fn close_held(&self) {
        close_all(self.held.take()).await;
    }

    pub(crate) fn failed_before(&self) -> u64 {
        let failed = |cast: &Rc<Cast>| cast.recorder.borrow().before.counts.failed;
        self.casts.iter().map(failed).sum()
    }

    /// The samples of each scenario, in the plan's order.
    pub(crate) fn take_samples(&self) -> Vec<ScenarioSamples> {
        self.casts.iter().map(|cast| cast.take_samples()).collect()
    }
}

async fn close_all(held: Vec<Option<Connection>>) {
    let goodbyes = async {
        for connection in held.into_iter().flatten() {
            connection.close().await;
        }
    };
    // What is not closed by then is closed by being dropped.
    let _ = tokio::time::timeout(FAREWELL, goodbyes).await;
}

/// Whether every later attempt must fail in the same way.
fn only_the_operator_can_mend(cause: Cause) -> bool {
    match cause {
        Cause::ConnectRefused | Cause::Unreachable | Cause::RefusedServer(_) | Cause::Local(_) => {
            true
        }
        Cause::Refused(alert) => alert == NO_APPLICATION_PROTOCOL || alert == PROTOCOL_VERSION,
        _ => false,
    }
}

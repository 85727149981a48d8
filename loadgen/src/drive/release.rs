//! Releasing attempts on one shard: preparation, warm-up and the measured window, each scenario as its executor says.

mod arrivals;
mod once;
mod returns;
mod workers;

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use once::Change;

use super::attempt::Order;
use super::cast::Cast;
use super::round::Round;
use super::shard::{Message, Shard};
use super::task;
use super::thread_time::ThreadTime;
use crate::plan::{Action, Executor, Plan};

/// Attempts in flight per shard while devices are prepared.
const PREPARATION_CONNECTIONS: usize = 32;
/// Patience with attempts in flight after a stop from outside.
const STOPPED_PATIENCE: Duration = Duration::from_secs(2);

/// What the controller has decided. A round is `Prepare`, `Run`, `Collect`; rounds follow each other until `Close`.
#[derive(Debug, Clone)]
pub(crate) enum Stage {
    /// Wait for the first round.
    Open,
    /// Prepare what this round needs and is not there yet.
    Prepare(Arc<Round>),
    /// Load begins at this instant.
    Run(Instant),
    /// Hand over the samples; connections stay open.
    Collect,
    /// Close the connections: there is no further round.
    Close,
}

/// The next stage that is `wanted`; `None` once the controller has gone.
pub(crate) async fn next_stage(
    stage: &mut watch::Receiver<Stage>,
    wanted: impl FnMut(&Stage) -> bool,
) -> Option<Stage> {
    Some(stage.wait_for(wanted).await.ok()?.clone())
}

/// Performs one round on the shard, from preparation to its samples.
pub(crate) async fn round(
    shard: &Rc<Shard>,
    plan: &Plan,
    stage: &mut watch::Receiver<Stage>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut flag = task::spawn({
        let shard = Rc::clone(shard);
        let mut controller = stage.clone();
        async move {
            tokio::select! {
                // Otherwise nobody is left who could ask for a stop.
                Ok(_) = stop.wait_for(|stop| *stop) => {}
                // Another shard has failed, and nobody waits for this one's samples.
                Err(_) = controller.wait_for(|_| false) => {}
                else => std::future::pending().await,
            }
            shard.interrupt();
        }
    });
    prepare(shard).await;
    shard.tell(Message::Ready {
        unprepared: shard.failed_before(),
    });
    let Some(Stage::Run(origin)) = next_stage(stage, |stage| matches!(stage, Stage::Run(_))).await
    else {
        return Ok(());
    };

    shard.begin_series();
    let window_start = origin + plan.warmup;
    shard.window_start.set(Some(window_start));
    let at_start = Rc::new(Cell::new(ThreadTime::now()));
    let clock = task::spawn(tick(Rc::clone(shard), origin));
    let mark = task::spawn({
        let at_start = Rc::clone(&at_start);
        async move {
            tokio::time::sleep_until(window_start.into()).await;
            at_start.set(ThreadTime::now());
        }
    });
    let released = async {
        let scenarios: Vec<_> = shard
            .casts
            .iter()
            .map(|cast| Load::new(shard, cast, origin, window_start))
            .map(|load| task::spawn(load.release()))
            .collect();
        for scenario in scenarios {
            // Nobody cancels it, and of a panic the controller knows.
            if let Ok(released) = scenario.await {
                released?;
            }
        }
        Ok::<_, io::Error>(())
    };
    let stopped = tokio::select! {
        result = released => { result?; shard.stopping.get() }
        _ = &mut flag => true,
    };
    flag.abort();
    let released = Instant::now();
    shard.stopping.set(true);
    let patience = if stopped {
        STOPPED_PATIENCE
    } else {
        // Each attempt in flight has its own timeout, and what is done so many times is done wholly: all are through by then.
        let holds = shard.casts.iter().map(|cast| &cast.scenario);
        let holds = holds.filter(|scenario| scenario.end().is_none());
        let longest = holds.filter_map(|scenario| scenario.activity.hold).max();
        plan.timeout + longest.unwrap_or_default() + Duration::from_secs(1)
    };
    shard.drain(patience).await;
    // From here on nothing counts: what was abandoned and has its outcome all the same must not have two.
    let samples = shard.take_samples();
    clock.abort();
    mark.abort();
    shard.close_second();
    shard.tell(Message::Drained {
        open: shard.open.count(),
        released,
        core: at_start.get().shares_since(window_start),
    });
    next_stage(stage, |stage| matches!(stage, Stage::Collect)).await;
    shard.tell(Message::Finished(samples));
    Ok(())
}

/// Each device once for each scenario that needs it: a ticket, or an open connection.
async fn prepare(shard: &Rc<Shard>) {
    for cast in &shard.casts {
        let scenario = &cast.scenario;
        let Some(action) = scenario.executor.preparation(&scenario.activity) else {
            continue;
        };
        let next = Rc::new(Cell::new(0));
        let workers = PREPARATION_CONNECTIONS.min(cast.slots.len());
        let tasks: Vec<_> = (0..workers)
            .map(|_| Preparation {
                shard: Rc::clone(shard),
                cast: Rc::clone(cast),
                action,
                next: Rc::clone(&next),
            })
            .map(|preparation| task::spawn(preparation.work()))
            .collect();
        for task in tasks {
            // A task ends with the last device; it cannot be cancelled by anybody else.
            let _ = task.await;
        }
    }
}

/// One of the parallel workers that prepare a scenario's devices.
struct Preparation {
    shard: Rc<Shard>,
    cast: Rc<Cast>,
    action: Action,
    next: Rc<Cell<usize>>,
}

impl Preparation {
    async fn work(self) {
        while !self.shard.stopping.get() {
            let number = self.next.replace(self.next.get() + 1);
            let Some(&device) = self.cast.slots.get(number) else {
                return;
            };
            if self.shard.is_prepared(device, self.action) {
                continue;
            }
            let order = Order {
                cast: Rc::clone(&self.cast),
                device,
                action: self.action,
                intended: Instant::now(),
                measured: false,
            };
            self.shard.attempt_once(&order).await;
        }
    }
}

async fn tick(shard: Rc<Shard>, origin: Instant) {
    for seconds in 1.. {
        tokio::time::sleep_until((origin + Duration::from_secs(seconds)).into()).await;
        shard.close_second();
    }
}

/// One scenario's load on this shard.
struct Load {
    shard: Rc<Shard>,
    cast: Rc<Cast>,
    /// The scenario's own zero.
    begin: Instant,
    window_start: Instant,
    /// From then on it releases nothing.
    end: Option<Instant>,
}

impl Load {
    fn new(shard: &Rc<Shard>, cast: &Rc<Cast>, origin: Instant, window_start: Instant) -> Load {
        let scenario = &cast.scenario;
        Load {
            shard: Rc::clone(shard),
            cast: Rc::clone(cast),
            begin: if scenario.runs_in_warmup() {
                origin
            } else {
                window_start + scenario.start
            },
            window_start,
            end: scenario.latest_end().map(|end| window_start + end),
        }
    }

    async fn release(self) -> io::Result<()> {
        let cast = Rc::clone(&self.cast);
        match &cast.scenario.executor {
            Executor::ConstantArrivalRate(constant) => {
                let times = constant.arrival_times(cast.seed, cast.share);
                self.on_schedule(times, constant.until.count()).await
            }
            Executor::ConstantDevices(constant) => {
                let devices = constant.devices_of(cast.share);
                let attempts = constant.attempts_of(cast.share);
                self.in_parallel(devices, attempts).await;
                Ok(())
            }
            Executor::RampingArrivalRate(ramping) => {
                let times = ramping.arrival_times(cast.seed, cast.share);
                self.on_schedule(times, None).await
            }
            Executor::RampingDevices(ramping) => {
                self.in_changing_number(ramping.steps(cast.share)).await;
                Ok(())
            }
            Executor::PerDeviceIterations(each) => {
                self.each_device(each.iterations).await;
                Ok(())
            }
            Executor::ReconnectStorm(storm) => self.storm(*storm).await,
            Executor::TicketExpiryWave(wave) => self.without_tickets(wave.returns).await,
            Executor::RotateCertificates(rotation) => {
                self.once_each(rotation.changes, Change::Identity).await
            }
            Executor::Hold(_) => {
                if let Some(end) = self.end {
                    tokio::time::sleep_until(end.into()).await;
                }
                Ok(())
            }
        }
    }

    /// Whether something that is to start at `instant` comes after the scenario's end.
    fn is_over(&self, instant: Instant) -> bool {
        self.end.is_some_and(|end| instant >= end)
    }

    /// Whether something that is to start at `instant` is measured.
    fn is_measured(&self, instant: Instant) -> bool {
        instant >= self.window_start
    }

    fn order(&self, device: usize, action: Action, intended: Instant) -> Order {
        Order {
            cast: Rc::clone(&self.cast),
            device,
            action,
            intended,
            measured: self.is_measured(intended),
        }
    }
}

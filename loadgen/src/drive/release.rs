//! Releasing attempts on one shard: preparation, warm-up and the measured window, open model or closed.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::alarm::Alarm;
use super::shard::{Message, Shard};
use super::thread_time::ThreadTime;
use crate::plan::{Action, Actions, ArrivalTimes, Limit, Pace, Plan, Share, part_of};

/// Attempts in flight per shard while devices are prepared.
const PREPARATION_CONNECTIONS: usize = 32;
/// Patience with attempts in flight after a stop from outside.
const STOPPED_PATIENCE: Duration = Duration::from_secs(2);

/// What the controller has decided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Stage {
    /// Load and prepare the devices.
    Prepare,
    /// Load begins at this instant.
    Run(Instant),
    /// Close the connections and hand over the samples.
    Close,
}

/// What one shard has to do and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Orders {
    pub(crate) share: Share,
    pub(crate) connections: usize,
    /// Measured attempts of this shard, where the plan says how many.
    pub(crate) quota: Option<u64>,
}

impl Orders {
    pub(crate) fn new(plan: &Plan, share: Share) -> Orders {
        let part = |total: u64| part_of(total, share.index, share.of);
        Orders {
            share,
            connections: match plan.pace {
                Pace::Closed { connections } => {
                    usize::try_from(part(connections as u64)).unwrap_or(usize::MAX)
                }
                Pace::Open { .. } | Pace::Hold => 0,
            },
            quota: match plan.limit {
                Limit::Count(count) => Some(part(count)),
                Limit::DurationSeconds(_) => None,
            },
        }
    }
}

/// Runs the shard from preparation to its last message.
pub(crate) async fn run(
    shard: Rc<Shard>,
    plan: &Plan,
    orders: Orders,
    mut stage: watch::Receiver<Stage>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let flag = tokio::task::spawn_local({
        let shard = Rc::clone(&shard);
        async move {
            // An error means that nobody is left who could ask for a stop.
            if stop.wait_for(|stop| *stop).await.is_ok() {
                shard.stopping.set(true);
            } else {
                std::future::pending::<()>().await;
            }
        }
    });
    prepare(&shard, plan).await;
    shard.tell(Message::Ready {
        unprepared: shard.failed_before(),
    });
    let Ok(Stage::Run(origin)) = stage
        .wait_for(|stage| *stage != Stage::Prepare)
        .await
        .map(|stage| *stage)
    else {
        return Ok(());
    };

    shard.begin_series();
    let window_start = origin + plan.warmup;
    let at_start = Rc::new(Cell::new(ThreadTime::now()));
    let clock = tokio::task::spawn_local(tick(Rc::clone(&shard), origin));
    let mark = tokio::task::spawn_local({
        let at_start = Rc::clone(&at_start);
        async move {
            tokio::time::sleep_until(window_start.into()).await;
            at_start.set(ThreadTime::now());
        }
    });
    let load = Load {
        plan,
        orders,
        origin,
        window_start,
        window_end: match plan.limit {
            Limit::DurationSeconds(duration) => Some(window_start + duration),
            Limit::Count(_) => None,
        },
    };
    let stopped = tokio::select! {
        result = load.release(&shard) => { result?; shard.stopping.get() }
        _ = flag => true,
    };
    shard.stopping.set(true);
    let patience = if stopped {
        STOPPED_PATIENCE
    } else {
        // Each attempt in flight has its own timeout: all are done by then.
        plan.timeout + Duration::from_secs(1)
    };
    shard.drain(patience).await;
    clock.abort();
    mark.abort();
    shard.close_second(origin.elapsed().as_secs());
    shard.tell(Message::Drained {
        open: shard.open.count(),
        core: at_start.get().shares_since(window_start),
    });
    if stage.wait_for(|stage| *stage == Stage::Close).await.is_ok() {
        shard.close_held().await;
    }
    shard.tell(Message::Finished(Box::new(shard.take_recorder())));
    Ok(())
}

/// Each device once: a ticket, or an open connection, as the mode needs it.
async fn prepare(shard: &Rc<Shard>, plan: &Plan) {
    let Some(action) = plan.activity().preparation() else {
        return;
    };
    let next = Rc::new(Cell::new(0));
    let workers = PREPARATION_CONNECTIONS.min(shard.devices.len());
    let tasks: Vec<_> = (0..workers)
        .map(|_| tokio::task::spawn_local(prepare_next(Rc::clone(shard), action, Rc::clone(&next))))
        .collect();
    for task in tasks {
        // A task ends with the last device; it cannot be cancelled by anybody else.
        let _ = task.await;
    }
}

async fn prepare_next(shard: Rc<Shard>, action: Action, next: Rc<Cell<usize>>) {
    while next.replace(next.get() + 1) < shard.devices.len() && !shard.stopping.get() {
        let Some(index) = shard.take_device() else {
            return;
        };
        Rc::clone(&shard)
            .attempt(index, action, Instant::now(), false)
            .await;
    }
}

async fn tick(shard: Rc<Shard>, origin: Instant) {
    for index in 0.. {
        tokio::time::sleep_until((origin + Duration::from_secs(index + 1)).into()).await;
        shard.close_second(index);
    }
}

struct Load<'plan> {
    plan: &'plan Plan,
    orders: Orders,
    origin: Instant,
    window_start: Instant,
    window_end: Option<Instant>,
}

impl Load<'_> {
    async fn release(&self, shard: &Rc<Shard>) -> io::Result<()> {
        match self.plan.pace {
            Pace::Open {
                rate_per_second,
                pattern,
            } => {
                let times =
                    ArrivalTimes::new(pattern, rate_per_second, self.plan.seed, self.orders.share);
                self.open_model(shard, times).await
            }
            Pace::Closed { .. } => {
                self.closed_model(shard).await;
                Ok(())
            }
            Pace::Hold => {
                if let Some(end) = self.window_end {
                    tokio::time::sleep_until(end.into()).await;
                }
                Ok(())
            }
        }
    }

    /// Attempts start when the schedule says so.
    async fn open_model(&self, shard: &Rc<Shard>, times: ArrivalTimes) -> io::Result<()> {
        let alarm = Alarm::new()?;
        let mut actions = Actions::new(&self.plan.activity(), self.plan.seed, self.orders.share);
        let mut quota = self.orders.quota;
        for time in times {
            let intended = self.origin + time;
            let measured = intended >= self.window_start;
            if self.window_end.is_some_and(|end| intended >= end) || (measured && quota == Some(0))
            {
                break;
            }
            alarm.until(intended).await?;
            if shard.stopping.get() {
                break;
            }
            if let Some(quota) = quota.as_mut().filter(|_| measured) {
                *quota -= 1;
            }
            let action = actions.draw();
            match shard.take_device() {
                Some(index) => {
                    tokio::task::spawn_local(
                        Rc::clone(shard).attempt(index, action, intended, measured),
                    );
                }
                None => shard.overflow(measured),
            }
        }
        Ok(())
    }

    /// So many attempts at a time, each begun as soon as one is done.
    async fn closed_model(&self, shard: &Rc<Shard>) {
        let actions = Rc::new(RefCell::new(Actions::new(
            &self.plan.activity(),
            self.plan.seed,
            self.orders.share,
        )));
        let quota = Rc::new(Cell::new(self.orders.quota));
        let workers: Vec<_> = (0..self.orders.connections)
            .map(|_| {
                let worker = Worker {
                    shard: Rc::clone(shard),
                    actions: Rc::clone(&actions),
                    quota: Rc::clone(&quota),
                    origin: self.origin,
                    window_start: self.window_start,
                    window_end: self.window_end,
                };
                tokio::task::spawn_local(worker.work())
            })
            .collect();
        for worker in workers {
            let _ = worker.await;
        }
    }
}

/// One of the parallel workers of the closed model.
struct Worker {
    shard: Rc<Shard>,
    actions: Rc<RefCell<Actions>>,
    quota: Rc<Cell<Option<u64>>>,
    origin: Instant,
    window_start: Instant,
    window_end: Option<Instant>,
}

impl Worker {
    async fn work(self) {
        tokio::time::sleep_until(self.origin.into()).await;
        while !self.shard.stopping.get() {
            let now = Instant::now();
            let measured = now >= self.window_start;
            if self.window_end.is_some_and(|end| now >= end) || (measured && !self.take_quota()) {
                return;
            }
            let Some(index) = self.shard.take_device() else {
                return;
            };
            let action = self.actions.borrow_mut().draw();
            Rc::clone(&self.shard)
                .attempt(index, action, now, measured)
                .await;
        }
    }

    fn take_quota(&self) -> bool {
        match self.quota.get() {
            Some(0) => false,
            Some(left) => {
                self.quota.set(Some(left - 1));
                true
            }
            None => true,
        }
    }
}

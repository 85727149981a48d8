//! How the connections of one worker end when the process does: each in its turn, told before it is closed.
//!
//! A connection's turn has two times. From the first on its device is told: `Connection: close` with the next HTTP/1.1
//! response, GOAWAY on HTTP/2. At the second an HTTP/1.1 connection on which nothing was asked since is closed. Turns are
//! spread, so that a fleet does not come back all at once. When the grace period is over, the worker ends whatever is left.

use std::cell::{Cell, OnceCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::clock;

/// How connections end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How long they may take, all together.
    pub grace: Duration,
    /// How long the gateway goes on as before after it has said that it is not ready.
    pub delay: Duration,
    /// How many connections are told to end in a second; without it, as few as half of the grace period allows.
    pub pace: Option<u32>,
}

/// What a worker is told.
#[derive(Debug, Clone, Default)]
pub enum Stop {
    /// To go on.
    #[default]
    No,
    /// To end.
    Now(Arc<Ending>),
}

/// How a worker is to end.
#[derive(Debug)]
pub struct Ending {
    /// How long its connections may take.
    pub grace: Duration,
    /// How many of this worker's connections are told to end in a second, if that was said.
    pub pace: Option<f64>,
    /// For each listener, whether another process accepts what waits in the kernel's queue.
    pub lives_on: Vec<bool>,
}

/// A worker's drain: not started, or started for good.
#[derive(Debug, Default)]
pub struct Drain {
    schedule: OnceCell<Schedule>,
    turns: Cell<usize>,
    notify: Notify,
}

impl Drain {
    /// Starts the drain of `connections` and wakes everybody who waits for it.
    pub fn start(&self, ending: &Ending, connections: usize) {
        let _ = self
            .schedule
            .set(Schedule::new(ending, connections, clock::now()));
        self.notify.notify_waiters();
    }

    /// Ready once the drain has started.
    pub async fn started(&self) {
        // The waiter is enrolled before the flag is looked at; both happen on the worker's one thread.
        let notified = self.notify.notified();
        if self.schedule.get().is_none() {
            notified.await;
        }
    }

    /// The part that a connection has in it, now or later.
    pub fn leave(&self) -> Leave<'_> {
        Leave {
            drain: self,
            turn: Cell::new(None),
        }
    }
}

/// One connection's part in the drain.
#[derive(Debug)]
pub struct Leave<'a> {
    drain: &'a Drain,
    turn: Cell<Option<Turn>>,
}

impl Leave<'_> {
    /// Whether the device is to be told that the connection ends.
    pub fn is_told(&self) -> bool {
        self.turn().is_some_and(|turn| turn.told <= clock::now())
    }

    /// Ready when the device is to be told that the connection ends.
    pub async fn told(&self) {
        self.at(|turn| turn.told).await;
    }

    /// Ready when the connection is to be closed if nothing is asked on it.
    pub async fn due(&self) {
        self.at(|turn| turn.due).await;
    }

    async fn at(&self, time: impl Fn(Turn) -> Instant) {
        self.drain.started().await;
        if let Some(turn) = self.turn() {
            // Boxed, because nearly all of a connection's life it is not there.
            Box::pin(tokio::time::sleep_until(time(turn).into())).await;
        }
    }

    /// Turns are given to connections as they ask, once the drain has started.
    fn turn(&self) -> Option<Turn> {
        let schedule = self.drain.schedule.get()?;
        let turn = self.turn.get().unwrap_or_else(|| {
            let number = self.drain.turns.get();
            self.drain.turns.set(number + 1);
            schedule.turn(number)
        });
        self.turn.set(Some(turn));
        Some(turn)
    }
}

/// When a connection's device is told, and when the connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Turn {
    told: Instant,
    due: Instant,
}

/// Everybody's turns.
#[derive(Debug)]
struct Schedule {
    start: Instant,
    connections: usize,
    spread: Duration,
    notice: Duration,
}

impl Schedule {
    fn new(ending: &Ending, connections: usize, start: Instant) -> Self {
        // The last quarter is for answers that take long.
        let longest = ending.grace / 2;
        let spread = match ending.pace {
            Some(pace) => Duration::try_from_secs_f64(connections as f64 / pace)
                .unwrap_or(longest)
                .min(longest),
            None => longest,
        };
        Self {
            start,
            connections: connections.max(1),
            spread,
            notice: ending.grace / 4,
        }
    }

    /// The turn number `number`, from 0. Connections that came after the start are told at the end.
    fn turn(&self, number: usize) -> Turn {
        let share = number.min(self.connections) as f64 / self.connections as f64;
        let told = self.start + self.spread.mul_f64(share);
        Turn {
            told,
            due: told + self.notice,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Drain, Ending, Schedule};
    use crate::clock;

    fn ending(grace: u64, pace: Option<f64>) -> Ending {
        Ending {
            grace: Duration::from_secs(grace),
            pace,
            lives_on: Vec::new(),
        }
    }

    #[test]
    fn turns_are_spread_over_half_of_the_grace_period_and_closed_a_quarter_later() {
        let start = clock::now();
        let schedule = Schedule::new(&ending(40, None), 100, start);
        let at = |number| {
            let turn = schedule.turn(number);
            (
                (turn.told - start).as_secs_f64(),
                (turn.due - start).as_secs_f64(),
            )
        };
        assert_eq!(at(0), (0.0, 10.0));
        assert_eq!(at(50), (10.0, 20.0));
        assert_eq!(at(100), (20.0, 30.0));
        assert_eq!(at(1000), (20.0, 30.0), "who came late");
    }

    #[test]
    fn a_pace_is_kept_as_long_as_the_grace_period_allows() {
        let start = clock::now();
        let told = |pace, number| {
            let schedule = Schedule::new(&ending(40, Some(pace)), 100, start);
            (schedule.turn(number).told - start).as_secs_f64()
        };
        assert_eq!((told(50.0, 50), told(50.0, 100)), (1.0, 2.0));
        assert_eq!((told(1.0, 50), told(1.0, 100)), (10.0, 20.0));
        assert_eq!(told(f64::MIN_POSITIVE, 100), 20.0);
    }

    #[test]
    fn nobody_is_told_before_the_drain_and_everybody_has_one_turn() {
        let drain = Drain::default();
        let (first, second) = (drain.leave(), drain.leave());
        assert!(!first.is_told() && !second.is_told());
        drain.start(&ending(3600, None), 2);
        assert!(first.is_told(), "the first turn comes at once");
        assert!(!second.is_told() && first.is_told());
        assert_eq!(drain.turns.get(), 2);
    }
}

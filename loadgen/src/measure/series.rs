//! One entry per second of load: each shard closes its second and hands it over; the controller adds them up.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::attempt::{Attempt, HandshakeKind};
use super::outcome::{Failure, Outcome};
use super::recorder::Handshakes;

/// What happened in one second.
#[derive(Debug, Clone)]
pub struct Second {
    /// Seconds since the load began (warm-up included).
    pub index: u64,
    /// Arrivals that the plan asked for.
    pub intended: u64,
    /// Attempts begun.
    pub started: u64,
    /// Attempts completed well.
    pub ok: u64,
    /// Attempts of devices that had to be refused, and were.
    pub refused_as_expected: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Arrivals that found no free device.
    pub overflow: u64,
    /// Connections open at its end.
    pub open: u64,
    /// Handshakes that the server accepted, by kind.
    pub handshakes: Handshakes,
    /// Failures, by kind.
    pub failures: BTreeMap<Failure, u64>,
    /// Longest schedule lag of the attempts begun in it.
    pub lag: Duration,
    /// Share of a core that the busiest shard used.
    pub busiest_shard: f64,
    /// Response times of the attempts completed in it, in microseconds, two significant digits.
    pub response: Histogram<u32>,
}

impl Second {
    /// An empty second.
    pub fn new(index: u64) -> Second {
        #[expect(
            clippy::expect_used,
            reason = "the bounds are constants which the library accepts"
        )]
        let response = Histogram::new_with_bounds(1, 3_600_000_000, 2).expect("constant bounds");
        Second {
            index,
            intended: 0,
            started: 0,
            ok: 0,
            refused_as_expected: 0,
            failed: 0,
            overflow: 0,
            open: 0,
            handshakes: Handshakes::default(),
            failures: BTreeMap::new(),
            lag: Duration::ZERO,
            busiest_shard: 0.0,
            response,
        }
    }

    /// An attempt begins, `lag` after its intended start.
    pub fn start(&mut self, lag: Duration) {
        self.intended += 1;
        self.started += 1;
        self.lag = self.lag.max(lag);
    }

    /// An arrival found no free device.
    pub fn overflow(&mut self) {
        self.intended += 1;
        self.overflow += 1;
    }

    /// An attempt has its outcome.
    pub fn finish(&mut self, attempt: &Attempt, outcome: Result<(), Failure>) {
        match attempt.judge(outcome) {
            Outcome::Ok => {
                self.ok += 1;
                if let Some(response) = attempt.response_time() {
                    self.record(response);
                }
            }
            Outcome::RefusedAsExpected => self.refused_as_expected += 1,
            Outcome::Failed(failure) => {
                self.failed += 1;
                *self.failures.entry(failure).or_default() += 1;
            }
        }
        if attempt.accepted.is_some() {
            match attempt.handshake {
                Some(HandshakeKind::Full) => self.handshakes.full += 1,
                Some(HandshakeKind::FullHrr) => self.handshakes.full_hrr += 1,
                Some(HandshakeKind::Resumed) => self.handshakes.resumed += 1,
                None => {}
            }
        }
    }

    /// Records the response time of a completed attempt.
    fn record(&mut self, response: Duration) {
        let microseconds = u64::try_from(response.as_micros()).unwrap_or(u64::MAX);
        self.response.saturating_record(microseconds.max(1));
    }

    fn merge(&mut self, other: &Second) {
        self.intended += other.intended;
        self.started += other.started;
        self.ok += other.ok;
        self.refused_as_expected += other.refused_as_expected;
        self.failed += other.failed;
        self.overflow += other.overflow;
        self.open += other.open;
        self.handshakes += other.handshakes;
        for (failure, count) in &other.failures {
            *self.failures.entry(*failure).or_default() += count;
        }
        self.lag = self.lag.max(other.lag);
        self.busiest_shard = self.busiest_shard.max(other.busiest_shard);
        // Cannot fail: both have the same bounds.
        let _ = self.response.add(&other.response);
    }
}

/// The seconds of all shards.
#[derive(Debug, Default)]
pub struct Series {
    seconds: BTreeMap<u64, (Second, usize)>,
}

impl Series {
    /// Adds one shard's second; returns the sum once all `shards` have handed theirs over.
    pub fn add(&mut self, second: Second, shards: usize) -> Option<&Second> {
        let index = second.index;
        let entry = self
            .seconds
            .entry(index)
            .and_modify(|(sum, _)| sum.merge(&second))
            .or_insert((second, 0));
        entry.1 += 1;
        (entry.1 == shards).then_some(&entry.0)
    }

    /// All seconds, in order.
    pub fn into_seconds(self) -> Vec<Second> {
        self.seconds
            .into_values()
            .map(|(second, _)| second)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_complete_when_every_shard_has_handed_it_over() {
        let mut series = Series::default();
        let mut second = Second::new(0);
        second.ok = 2;
        second.record(Duration::from_millis(3));
        assert!(series.add(second.clone(), 2).is_none());
        assert!(series.add(Second::new(1), 2).is_none());
        let sum = series.add(second, 2).unwrap();
        assert_eq!((sum.ok, sum.response.len()), (4, 2));
        assert_eq!(series.into_seconds().len(), 2);
    }
}

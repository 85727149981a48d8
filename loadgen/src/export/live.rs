//! The seconds of a run added up as they come, and the last few of them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::measure::Second;
use crate::measure::recorder::Handshakes;

/// Seconds over which recent quantiles and rates are taken.
const RECENT: usize = 5;
/// Seconds of which the rate is remembered, for a curve.
const CURVE: usize = 40;
/// Upper bounds of the histogram for others, in seconds.
pub const BOUNDS: [f64; 17] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0,
];

/// What is known of a run that goes on.
#[derive(Debug, Default)]
pub struct Live {
    /// Seconds of load that are complete.
    pub seconds: u64,
    /// Arrivals that the plan asked for.
    pub intended: u64,
    /// Attempts begun.
    pub started: u64,
    /// Attempts completed well.
    pub ok: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Arrivals not sent.
    pub overflow: u64,
    /// Connections open.
    pub open: u64,
    /// Handshakes that the server accepted.
    pub handshakes: Handshakes,
    /// Failures by class and by what was awaited.
    pub failures: BTreeMap<(&'static str, &'static str), u64>,
    /// Response times: how many lie within each of [`BOUNDS`] and not within the one before; the last are those beyond.
    pub buckets: [u64; BOUNDS.len() + 1],
    /// Sum of the response times in seconds.
    pub response_sum: f64,
    /// Longest schedule lag in the last second.
    pub lag: Duration,
    /// Share of a core that the busiest shard used in the last second.
    pub busiest_shard: f64,
    /// Completed in each of the last seconds, the newest last.
    pub curve: VecDeque<u64>,
    recent: VecDeque<Second>,
}

/// The last few seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recent {
    /// How many they are.
    pub seconds: usize,
    /// Arrivals per second that the plan asked for.
    pub intended_per_second: f64,
    /// Completed per second.
    pub ok_per_second: f64,
    /// Median response time in microseconds; `None` where nothing was completed.
    pub p50: Option<f64>,
    /// 99th percentile, likewise.
    pub p99: Option<f64>,
}

impl Live {
    /// Another second has passed.
    pub fn add(&mut self, second: &Second) {
        self.seconds = self.seconds.max(second.index + 1);
        self.intended += second.intended;
        self.started += second.started;
        self.ok += second.ok;
        self.failed += second.failed;
        self.overflow += second.overflow;
        self.open = second.open;
        self.handshakes += second.handshakes;
        for (failure, count) in &second.failures {
            let kind = (failure.cause.class(), failure.moment.name());
            *self.failures.entry(kind).or_default() += count;
        }
        for value in second.response.iter_recorded() {
            let seconds = value.value_iterated_to() as f64 / 1e6;
            let count = value.count_since_last_iteration();
            let bucket = BOUNDS.partition_point(|bound| *bound < seconds);
            if let Some(bucket) = self.buckets.get_mut(bucket) {
                *bucket += count;
            }
            self.response_sum += seconds * count as f64;
        }
        self.lag = second.lag;
        self.busiest_shard = second.busiest_shard;
        remember(&mut self.curve, second.ok, CURVE);
        remember(&mut self.recent, second.clone(), RECENT);
    }

    /// The last few seconds; `None` before the first.
    pub fn recent(&self) -> Option<Recent> {
        let mut response: Option<Histogram<u32>> = None;
        for second in &self.recent {
            match &mut response {
                // Cannot fail: all seconds have the same bounds.
                Some(sum) => {
                    let _ = sum.add(&second.response);
                }
                None => response = Some(second.response.clone()),
            }
        }
        let response = response?;
        let seconds = self.recent.len();
        let per_second = |of: fn(&Second) -> u64| {
            self.recent.iter().map(of).sum::<u64>() as f64 / seconds as f64
        };
        let quantile =
            |quantile| (!response.is_empty()).then(|| response.value_at_quantile(quantile) as f64);
        Some(Recent {
            seconds,
            intended_per_second: per_second(|second| second.intended),
            ok_per_second: per_second(|second| second.ok),
            p50: quantile(0.5),
            p99: quantile(0.99),
        })
    }
}

fn remember<T>(queue: &mut VecDeque<T>, item: T, most: usize) {
    if queue.len() == most {
        queue.pop_front();
    }
    queue.push_back(item);
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::measure::{Attempt, Cause, Failure, HandshakeKind, Moment};

    /// A second with three attempts, of which one failed.
    pub(crate) fn second(index: u64) -> Second {
        let mut second = Second::new(index);
        let mut attempt = Attempt::start(std::time::Instant::now(), true);
        attempt.intended = attempt.started;
        attempt.accepted = Some(attempt.started);
        attempt.handshake = Some(HandshakeKind::Resumed);
        for milliseconds in [3, 70] {
            attempt.done = Some(attempt.started + Duration::from_millis(milliseconds));
            second.start(Duration::from_millis(1));
            second.finish(&attempt, Ok(()));
        }
        attempt.accepted = None;
        second.start(Duration::ZERO);
        let failure = Failure {
            cause: Cause::Refused(48),
            moment: Moment::FirstByte,
        };
        second.finish(&attempt, Err(failure));
        second.overflow();
        second.open = 7;
        second
    }

    #[test]
    fn seconds_add_up() {
        let mut live = Live::default();
        assert!(live.recent().is_none());
        (0..20).for_each(|index| live.add(&second(index)));
        assert_eq!((live.seconds, live.intended, live.ok), (20, 80, 40));
        assert_eq!((live.failed, live.overflow, live.open), (20, 20, 7));
        assert_eq!(live.handshakes.resumed, 40);
        assert_eq!(live.failures[&("refused", "first_byte")], 20);
        assert_eq!(live.buckets.iter().sum::<u64>(), 40);
        assert_eq!((live.buckets[5], live.buckets[9]), (20, 20));
        let recent = live.recent().unwrap();
        assert_eq!((recent.seconds, recent.ok_per_second), (5, 2.0));
        assert!((2_900.0..3_100.0).contains(&recent.p50.unwrap()));
        assert!((69_000.0..71_500.0).contains(&recent.p99.unwrap()));
    }
}

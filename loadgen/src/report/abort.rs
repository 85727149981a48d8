//! Thresholds that end a run as soon as they fail: judged once a second by what has been measured so far.

use std::time::Duration;

use crate::measure::Second;
use crate::measure::recorder::new_histogram;
use crate::plan::threshold::Subject;
use crate::plan::{Plan, Threshold};
use hdrhistogram::Histogram;

/// What has been measured so far, and what it must satisfy.
#[derive(Debug)]
pub struct Abort {
    thresholds: Vec<Threshold>,
    warmup: Duration,
    seconds: u64,
    intended: u64,
    ok: u64,
    lost: u64,
    response: Histogram<u64>,
    fired: Option<String>,
}

impl Abort {
    /// Of the plan's thresholds those that end it.
    pub fn new(plan: &Plan) -> Abort {
        let ends = |threshold: &&Threshold| threshold.abort_on_fail.is_some();
        Abort {
            thresholds: plan.thresholds.iter().filter(ends).cloned().collect(),
            warmup: plan.warmup,
            seconds: 0,
            intended: 0,
            ok: 0,
            lost: 0,
            response: new_histogram(),
            fired: None,
        }
    }

    /// Adds a second of the load; returns whether the run is to end, which it says once.
    pub fn look(&mut self, second: &Second) -> bool {
        let measured = Duration::from_secs(second.index) >= self.warmup;
        if self.thresholds.is_empty() || !measured || self.fired.is_some() {
            return false;
        }
        self.seconds += 1;
        self.intended += second.intended;
        self.ok += second.ok;
        self.lost += second.failed + second.overflow;
        for value in second.response.iter_recorded() {
            let times = value.count_at_value().into();
            self.response
                .saturating_record_n(value.value_iterated_to(), times);
        }
        let passed = Duration::from_secs(self.seconds);
        let failed = self.thresholds.iter().find(|threshold| {
            threshold.abort_on_fail.is_some_and(|delay| passed >= delay)
                && self
                    .value(threshold)
                    .is_some_and(|value| !threshold.holds(value))
        });
        self.fired = failed.map(Threshold::to_string);
        self.fired.is_some()
    }

    /// The threshold that ended the run.
    pub fn fired(&self) -> Option<&str> {
        self.fired.as_deref()
    }

    /// `None` while nothing can be said about it.
    fn value(&self, threshold: &Threshold) -> Option<f64> {
        match threshold.subject {
            Subject::ResponseTime(quantile) => (!self.response.is_empty())
                .then(|| self.response.value_at_quantile(quantile) as f64 / 1e3),
            Subject::ErrorRate => {
                (self.intended > 0).then(|| self.lost as f64 / self.intended as f64)
            }
            Subject::Rate => Some(self.ok as f64 / self.seconds as f64),
            Subject::Metric(..) | Subject::Count(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Target;

    fn second(index: u64, ok: u64, failed: u64, milliseconds: u64) -> Second {
        let mut second = Second::new(index);
        second.intended = ok + failed;
        (second.ok, second.failed) = (ok, failed);
        for _ in 0..ok {
            second.response.saturating_record(milliseconds * 1000);
        }
        second
    }

    fn abort(text: &str, delay: u64) -> Abort {
        let target = Target::parse("https://127.0.0.1:1").unwrap();
        let mut plan = Plan::new(target, "pki");
        plan.warmup = Duration::from_secs(1);
        let threshold: Threshold = text.parse().unwrap();
        let ends = threshold.clone().aborting_after(Duration::from_secs(delay));
        plan.thresholds = vec![threshold, ends];
        Abort::new(&plan)
    }

    #[test]
    fn a_run_ends_in_the_second_in_which_it_fails() {
        let mut slow = abort("p99<50ms", 0);
        // What is bad in the warm-up does not count.
        assert!(!slow.look(&second(0, 10, 0, 900)));
        assert!(!slow.look(&second(1, 100, 0, 10)));
        assert!(slow.look(&second(2, 100, 0, 80)));
        assert_eq!(slow.fired(), Some("p99<50ms"));
        assert!(!slow.look(&second(3, 100, 0, 80)));
    }

    #[test]
    fn not_before_its_time_and_by_all_that_was_measured() {
        let mut errors = abort("error_rate<10%", 3);
        assert!(!errors.look(&second(1, 1, 9, 1)));
        assert!(!errors.look(&second(2, 1000, 0, 1)));
        assert!(!errors.look(&second(3, 1000, 0, 1)));
        assert!(errors.look(&second(4, 0, 1000, 1)));
    }
}

//! A quantity that changes in stages, each time linearly, and what it adds up to over time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::seconds;

/// One stage: from the value that the stage before reached to `target`, linearly.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// The value at its end.
    pub target: f64,
    /// Its length in seconds; none is a jump.
    #[serde(with = "seconds", rename = "duration_seconds")]
    pub duration: Duration,
}

/// The stages, one after another.
#[derive(Debug, Clone, PartialEq)]
pub struct Ramp {
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Segment {
    /// Seconds from the ramp's begin to this stage's.
    begin: f64,
    seconds: f64,
    from: f64,
    to: f64,
    /// The integral up to this stage's begin, and up to its end.
    before: f64,
    after: f64,
}

/// The length of all stages together.
pub fn duration_of(stages: &[Stage]) -> Duration {
    stages.iter().map(|stage| stage.duration).sum()
}

impl Ramp {
    /// Stages from the value `start`.
    pub fn new(start: f64, stages: &[Stage]) -> Ramp {
        let (mut begin, mut from, mut before) = (0.0, start, 0.0);
        let segments = stages
            .iter()
            .map(|stage| {
                let seconds = stage.duration.as_secs_f64();
                let after = before + seconds * (from + stage.target) / 2.0;
                let segment = Segment {
                    begin,
                    seconds,
                    from,
                    to: stage.target,
                    before,
                    after,
                };
                (begin, from, before) = (begin + seconds, stage.target, after);
                segment
            })
            .collect();
        Ramp { segments }
    }

    /// The integral over all stages: how many arrivals a rate makes.
    pub fn total(&self) -> f64 {
        self.segments.last().map_or(0.0, |segment| segment.after)
    }

    /// The time in seconds from which on the integral exceeds `amount`; `None` if it never does.
    pub fn time_of(&self, amount: f64) -> Option<f64> {
        let at = self
            .segments
            .partition_point(|segment| segment.after <= amount + ROUNDING * amount.max(1.0));
        let segment = self.segments.get(at)?;
        let missing = (amount - segment.before).max(0.0);
        let slope = (segment.to - segment.from) / segment.seconds;
        // The root of `from t + slope t²/2 = missing`, in the form that loses no digits where the slope is small.
        let root = (segment.from * segment.from + 2.0 * slope * missing).max(0.0);
        let speed = segment.from + root.sqrt();
        let into = if missing > 0.0 {
            2.0 * missing / speed
        } else {
            0.0
        };
        Some(segment.begin + into.min(segment.seconds))
    }
}

/// By how much of itself an integral may be off: an arrival due exactly at the end of the last stage is not one more.
const ROUNDING: f64 = 1e-12;

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(seconds: f64, target: f64) -> Stage {
        Stage {
            target,
            duration: Duration::from_secs_f64(seconds),
        }
    }

    fn arrivals(ramp: &Ramp) -> Vec<f64> {
        (0..)
            .map_while(|count| ramp.time_of(f64::from(count)))
            .collect()
    }

    #[test]
    fn a_ramp_releases_what_its_integral_says() {
        for (start, stages, wanted) in [
            (0.0, vec![stage(10.0, 100.0)], 500),
            (100.0, vec![stage(10.0, 100.0)], 1000),
            (
                50.0,
                vec![stage(2.0, 150.0), stage(4.0, 150.0), stage(2.0, 0.0)],
                950,
            ),
            (
                0.0,
                vec![stage(0.0, 30.0), stage(1.0, 30.0), stage(3.0, 0.0)],
                75,
            ),
            (0.0, vec![stage(5.0, 0.0)], 0),
            (0.0, vec![], 0),
        ] {
            let ramp = Ramp::new(start, &stages);
            let times = arrivals(&ramp);
            assert_eq!(times.len(), wanted, "{stages:?}");
            assert!((ramp.total() - wanted as f64).abs() < 1e-6);
            assert!(times.is_sorted(), "{stages:?}");
        }
    }

    #[test]
    fn each_arrival_is_where_the_integral_reaches_it() {
        let ramp = Ramp::new(0.0, &[stage(10.0, 100.0), stage(5.0, 20.0)]);
        for (count, time) in arrivals(&ramp).into_iter().enumerate() {
            let due = if time <= 10.0 {
                5.0 * time * time
            } else {
                let into = time - 10.0;
                500.0 + 100.0 * into - 8.0 * into * into
            };
            assert!(
                (due - count as f64).abs() < 1e-6,
                "{count} at {time}: {due}"
            );
        }
    }

    #[test]
    fn nothing_is_due_while_the_value_is_nothing() {
        // Ten in the first second, a pause of a minute, then ten more.
        let stages = [
            stage(1.0, 10.0),
            stage(0.0, 0.0),
            stage(60.0, 0.0),
            stage(0.0, 10.0),
            stage(1.0, 10.0),
        ];
        let times = arrivals(&Ramp::new(10.0, &stages));
        assert_eq!(times.len(), 20);
        assert!(
            times[9] < 1.0 && (times[10] - 61.0).abs() < 1e-9,
            "{times:?}"
        );
    }
}

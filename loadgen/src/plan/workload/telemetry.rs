//! When a device that holds its connection sends its telemetry.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use super::super::written;
use super::error::ActivityError;

/// Telemetry of one device: its own phase, and its own jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// From one message to the next, jitter apart.
    #[serde(with = "written::duration")]
    pub every: Duration,
    /// Each message is late by up to this, each by another time.
    #[serde(default, with = "written::duration")]
    pub jitter: Duration,
}

/// The times of one device's messages, from the fleet's own zero; endless and ascending.
///
/// They depend on the seed and the device alone, never on how the server is doing: a message that goes out late because an
/// earlier one took long has a response time that says so. A device that comes back later goes on in its own time.
#[derive(Debug)]
pub struct TelemetryTimes {
    telemetry: Telemetry,
    phase: Duration,
    seed: u64,
    /// Number of the next message.
    next: u32,
}

impl Telemetry {
    /// The times of device number `device` from `since` on.
    pub fn times(self, seed: u64, device: usize, since: Duration) -> TelemetryTimes {
        let seed = seed.wrapping_mul(0xA24B_AED4_963E_E407) ^ device as u64;
        let phase = self.every.mul_f64(StdRng::seed_from_u64(seed).random());
        // What is late by its jitter may still be to come.
        let past =
            since.saturating_sub(phase + self.jitter).as_secs_f64() / self.every.as_secs_f64();
        let mut times = TelemetryTimes {
            telemetry: self,
            phase,
            seed,
            // More than there can be numbers for lies beyond any run.
            next: past as u32,
        };
        while times.time(times.next).is_some_and(|time| time < since) {
            times.next += 1;
        }
        times
    }

    pub(super) fn errors(self, errors: &mut Vec<ActivityError>) {
        if self.every.is_zero() {
            errors.push(ActivityError::NoInterval);
        } else if self.jitter > self.every {
            errors.push(ActivityError::Jitter);
        }
    }
}

impl TelemetryTimes {
    fn time(&self, number: u32) -> Option<Duration> {
        let own = self.seed ^ (u64::from(number) + 1).rotate_left(32);
        let late: f64 = StdRng::seed_from_u64(own).random();
        let due = self.telemetry.every.checked_mul(number)?;
        due.checked_add(self.phase + self.telemetry.jitter.mul_f64(late))
    }
}

impl Iterator for TelemetryTimes {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let time = self.time(self.next)?;
        self.next = self.next.checked_add(1)?;
        Some(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TELEMETRY: Telemetry = Telemetry {
        every: Duration::from_secs(10),
        jitter: Duration::from_secs(2),
    };

    fn times(device: usize, since: u64) -> Vec<Duration> {
        let times = TELEMETRY.times(7, device, Duration::from_secs(since));
        times.take(50).collect()
    }

    #[test]
    fn each_device_has_its_phase_and_each_message_its_jitter() {
        let (one, other) = (times(3, 0), times(4, 0));
        assert_eq!(one, times(3, 0));
        assert_ne!(one, other);
        assert!(one.is_sorted());
        let phase = TELEMETRY.times(7, 3, Duration::ZERO).phase;
        assert!(phase < TELEMETRY.every);
        let due = (0..).map(|number| phase + TELEMETRY.every * number);
        let mut late: Vec<_> = due.zip(one).map(|(due, sent)| sent - due).collect();
        assert!(late.iter().all(|late| *late < TELEMETRY.jitter));
        late.sort_unstable();
        late.dedup();
        assert!(late.len() > 45, "{late:?}");
    }

    #[test]
    fn a_device_that_comes_later_goes_on_in_its_own_time() {
        let from_the_start = times(3, 0);
        for since in [1, 9, 11, 20, 33, 250] {
            let later = times(3, since);
            let missed = from_the_start
                .iter()
                .filter(|time| time.as_secs_f64() < since as f64);
            let missed = missed.count();
            assert_eq!(later[..50 - missed], from_the_start[missed..], "{since}");
        }
    }

    #[test]
    fn a_fleet_s_phases_are_spread_over_the_interval() {
        let early = (0..1000).filter(|device| {
            TELEMETRY.times(1, *device, Duration::ZERO).phase < TELEMETRY.every / 2
        });
        assert!((430..570).contains(&early.count()));
    }
}

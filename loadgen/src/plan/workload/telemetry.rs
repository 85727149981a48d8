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

/// The times of one device's messages since its session was to begin; endless and ascending.
///
/// They depend on the seed and the device alone, never on how the server is doing: a message that goes out late because an
/// earlier one took long has a response time that says so.
#[derive(Debug)]
pub struct TelemetryTimes {
    telemetry: Telemetry,
    next: Duration,
    random: StdRng,
}

impl Telemetry {
    /// The times of device number `device` in its session number `session`: its phase is the same in all of them.
    pub fn times(self, seed: u64, device: usize, session: u64) -> TelemetryTimes {
        let of_device = seed.wrapping_mul(0xA24B_AED4_963E_E407) ^ device as u64;
        let phase: f64 = StdRng::seed_from_u64(of_device).random();
        TelemetryTimes {
            telemetry: self,
            next: self.every.mul_f64(phase),
            random: StdRng::seed_from_u64(of_device.rotate_left(32) ^ session),
        }
    }

    pub(super) fn errors(self, errors: &mut Vec<ActivityError>) {
        if self.every.is_zero() {
            errors.push(ActivityError::NoInterval);
        } else if self.jitter > self.every {
            errors.push(ActivityError::Jitter);
        }
    }
}

impl Iterator for TelemetryTimes {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let time = self.next;
        self.next = time.checked_add(self.telemetry.every)?;
        time.checked_add(self.telemetry.jitter.mul_f64(self.random.random()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TELEMETRY: Telemetry = Telemetry {
        every: Duration::from_secs(10),
        jitter: Duration::from_secs(2),
    };

    fn times(device: usize, session: u64) -> Vec<Duration> {
        TELEMETRY.times(7, device, session).take(50).collect()
    }

    #[test]
    fn each_device_has_its_phase_and_each_message_its_jitter() {
        let phase = |times: &[Duration]| times[0].as_secs_f64() % 10.0;
        let (one, again, other) = (times(3, 0), times(3, 0), times(4, 0));
        assert_eq!(one, again);
        assert!((phase(&one) - phase(&other)).abs() > 0.001);
        assert!(one.is_sorted());
        let second_session = times(3, 1);
        assert_ne!(one, second_session);
        let base = TELEMETRY.times(7, 3, 0).next;
        assert!(base < TELEMETRY.every);
        let mut late: Vec<_> = (0..)
            .map(|index| base + index * TELEMETRY.every)
            .zip(one)
            .collect();
        assert!(
            late.iter()
                .all(|(due, sent)| sent >= due && *sent < *due + TELEMETRY.jitter)
        );
        late.dedup_by_key(|(due, sent)| *sent - *due);
        assert!(late.len() > 40, "{late:?}");
    }

    #[test]
    fn a_fleet_s_phases_are_spread_over_the_interval() {
        let early =
            (0..1000).filter(|device| TELEMETRY.times(1, *device, 0).next < TELEMETRY.every / 2);
        assert!((430..570).contains(&early.count()));
    }
}

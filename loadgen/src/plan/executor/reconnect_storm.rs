//! `reconnect-storm`: connected devices lose their connections in one instant and return, each by its own back-off.
//!
//! How soon a device is back is counted from the drop; what each of its attempts took, from that attempt's intended start.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::plan::seconds;
use crate::plan::spread::Spread;

/// Settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ReconnectStorm {
    /// When the devices try for the first time after the drop.
    pub first: Spread,
    /// When they try again.
    pub backoff: Backoff,
    /// Failed retries after which a device stays away; `None` never gives up.
    pub max_retries: Option<u32>,
    /// The scenario ends then even if not all are back, in seconds.
    #[serde(default, with = "seconds::optional", rename = "at_most_seconds")]
    pub at_most: Option<Duration>,
}

/// How long a device waits after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Backoff {
    /// After the first failure, in seconds.
    #[serde(with = "seconds", rename = "initial_seconds")]
    pub initial: Duration,
    /// So many times longer after each further one.
    pub factor: f64,
    /// But never longer than this, in seconds.
    #[serde(with = "seconds", rename = "cap_seconds")]
    pub cap: Duration,
    /// Share of the wait (0 to 1) that is random: 0 waits all of it, 1 anything between nothing and all of it.
    pub jitter: f64,
}

impl Default for Backoff {
    /// A second, doubled up to a minute, with full jitter.
    fn default() -> Backoff {
        Backoff {
            initial: Duration::from_secs(1),
            factor: 2.0,
            cap: Duration::from_secs(60),
            jitter: 1.0,
        }
    }
}

impl ReconnectStorm {
    /// How long device number `device` waits before it tries again, having failed `failures` times (at least once) since
    /// the drop; `None`: it gives up. The same seed gives the same waits.
    pub fn wait(&self, seed: u64, device: usize, failures: u32) -> Option<Duration> {
        if self.max_retries.is_some_and(|most| failures > most) {
            return None;
        }
        let of_device = seed.wrapping_mul(0xA24B_AED4_963E_E407) ^ device as u64;
        let mut random = StdRng::seed_from_u64(of_device.rotate_left(32) ^ u64::from(failures));
        Some(self.backoff.wait(failures, random.random()))
    }
}

impl Backoff {
    /// The wait after failure number `failures` (from 1); `random` lies in 0 to 1, without the 1.
    pub fn wait(&self, failures: u32, random: f64) -> Duration {
        let exponent = f64::from(failures.saturating_sub(1));
        let grown = self.initial.as_secs_f64() * self.factor.powf(exponent);
        let longest = grown.min(self.cap.as_secs_f64());
        let wait = longest * (1.0 - self.jitter * random);
        Duration::try_from_secs_f64(wait).unwrap_or(self.cap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap() {
        let backoff = Backoff {
            cap: Duration::from_secs(10),
            jitter: 0.0,
            ..Backoff::default()
        };
        let waits =
            [1, 2, 3, 4, 5, 6, 4_000_000_000].map(|tries| backoff.wait(tries, 0.7).as_secs());
        assert_eq!(waits, [1, 2, 4, 8, 10, 10, 10]);
    }

    #[test]
    fn jitter_takes_its_share_of_the_wait() {
        let wait = |jitter, random| {
            let backoff = Backoff {
                jitter,
                ..Backoff::default()
            };
            backoff.wait(3, random).as_secs_f64()
        };
        assert_eq!((wait(1.0, 0.0), wait(1.0, 0.75)), (4.0, 1.0));
        assert_eq!((wait(0.5, 0.0), wait(0.5, 0.5)), (4.0, 3.0));
    }

    #[test]
    fn a_device_gives_up_after_its_last_retry_and_its_waits_are_its_own() {
        let storm = ReconnectStorm {
            first: Spread::default(),
            backoff: Backoff::default(),
            max_retries: Some(2),
            at_most: None,
        };
        let waits = |device| [1, 2, 3].map(|failures| storm.wait(7, device, failures));
        assert_eq!(waits(4), waits(4));
        assert_ne!(waits(4), waits(5));
        assert!(waits(4)[1].is_some() && waits(4)[2].is_none());
        let mean = (0..4000)
            .map(|device| storm.wait(7, device, 1).unwrap().as_secs_f64())
            .sum::<f64>()
            / 4000.0;
        assert!((0.47..0.53).contains(&mean), "{mean}");
    }
}

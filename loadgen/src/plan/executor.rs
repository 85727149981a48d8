//! When attempts start: the executors, by the names that k6 has given to those which other tools know too.
//!
//! Each has its settings and its pure scheduling logic in a file of its own; `drive` performs what they say.

pub mod constant_arrival_rate;
pub mod constant_devices;
pub mod hold;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use constant_arrival_rate::ConstantArrivalRate;
pub use constant_devices::ConstantDevices;
pub use hold::Hold;

use super::seconds;

/// How attempts are released.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "name")]
pub enum Executor {
    /// Open model: attempts start at a rate.
    ConstantArrivalRate(ConstantArrivalRate),
    /// Closed model: so many devices at a time, back to back.
    ConstantDevices(ConstantDevices),
    /// Nothing is released: the connections that were opened beforehand are held.
    Hold(Hold),
}

/// When an executor that could go on for ever ends.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// After this time in the measured window, in seconds.
    #[serde(with = "seconds")]
    DurationSeconds(Duration),
    /// After exactly this many measured attempts.
    Count(u64),
}

impl Limit {
    /// The time, if it is one.
    pub fn duration(self) -> Option<Duration> {
        match self {
            Limit::DurationSeconds(duration) => Some(duration),
            Limit::Count(_) => None,
        }
    }

    /// The count, if it is one.
    pub fn count(self) -> Option<u64> {
        match self {
            Limit::Count(count) => Some(count),
            Limit::DurationSeconds(_) => None,
        }
    }
}

impl Executor {
    /// Its name in plan files and results.
    pub fn name(&self) -> &'static str {
        match self {
            Executor::ConstantArrivalRate(_) => "constant-arrival-rate",
            Executor::ConstantDevices(_) => "constant-devices",
            Executor::Hold(_) => "hold",
        }
    }

    /// How long it releases attempts; `None` if it ends when all of them are done.
    pub fn duration(&self) -> Option<Duration> {
        match self {
            Executor::ConstantArrivalRate(constant) => constant.until.duration(),
            Executor::ConstantDevices(constant) => constant.until.duration(),
            Executor::Hold(hold) => Some(hold.duration),
        }
    }

    /// Whether what it does is the same all the time, so that a part of it can serve as warm-up.
    pub fn is_constant(&self) -> bool {
        match self {
            Executor::ConstantArrivalRate(_) | Executor::ConstantDevices(_) | Executor::Hold(_) => {
                true
            }
        }
    }

    /// Open model: attempts start when a schedule says so, so that they can be late.
    pub fn has_schedule(&self) -> bool {
        match self {
            Executor::ConstantArrivalRate(_) => true,
            Executor::ConstantDevices(_) | Executor::Hold(_) => false,
        }
    }

    /// Devices that must be there to work at the same time, where it says how many.
    pub fn devices_at_a_time(&self) -> Option<usize> {
        match self {
            Executor::ConstantDevices(constant) => Some(constant.devices),
            Executor::ConstantArrivalRate(_) | Executor::Hold(_) => None,
        }
    }

    /// Most attempts at a time among `devices` devices.
    pub fn most_in_flight(&self, devices: usize) -> usize {
        match self {
            Executor::ConstantArrivalRate(constant) => {
                constant.max_in_flight.unwrap_or(usize::MAX).min(devices)
            }
            Executor::ConstantDevices(constant) => constant.devices.min(devices),
            Executor::Hold(_) => devices,
        }
    }

    /// When it ends, where that is a choice; to be changed.
    pub fn limit_mut(&mut self) -> Option<&mut Limit> {
        match self {
            Executor::ConstantArrivalRate(constant) => Some(&mut constant.until),
            Executor::ConstantDevices(constant) => Some(&mut constant.until),
            Executor::Hold(_) => None,
        }
    }
}

/// In words, for a report.
impl fmt::Display for Executor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} of ", self.name())?;
        match self {
            Executor::ConstantArrivalRate(constant) => {
                write!(
                    formatter,
                    "{}/s {}",
                    constant.rate_per_second, constant.until
                )
            }
            Executor::ConstantDevices(constant) => {
                write!(formatter, "{} devices {}", constant.devices, constant.until)
            }
            Executor::Hold(hold) => write!(
                formatter,
                "the connections {}",
                Limit::DurationSeconds(hold.duration)
            ),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::DurationSeconds(duration) => {
                write!(formatter, "for {} s", duration.as_secs_f64())
            }
            Limit::Count(count) => write!(formatter, "until {count} attempts are made"),
        }
    }
}

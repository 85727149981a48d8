//! When attempts start: the executors, by the names that k6 has given to those which other tools know too.
//!
//! Each has its settings and its pure scheduling logic in a file of its own; `drive` performs what they say.

pub mod constant_arrival_rate;
pub mod constant_devices;
pub mod hold;
pub mod per_device_iterations;
pub mod ramping_arrival_rate;
pub mod ramping_devices;
pub mod reconnect_storm;
pub mod rotate_certificates;
pub mod ticket_expiry_wave;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use constant_arrival_rate::ConstantArrivalRate;
pub use constant_devices::ConstantDevices;
pub use hold::Hold;
pub use per_device_iterations::PerDeviceIterations;
pub use ramping_arrival_rate::RampingArrivalRate;
pub use ramping_devices::RampingDevices;
pub use reconnect_storm::{Backoff, ReconnectStorm};
pub use rotate_certificates::RotateCertificates;
pub use ticket_expiry_wave::TicketExpiryWave;

use super::seconds;
use super::segment::Segment;
use super::workload::{Action, Activity, Connect, Say};

/// How attempts are released.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "name")]
pub enum Executor {
    /// Open model: attempts start at a rate.
    ConstantArrivalRate(ConstantArrivalRate),
    /// Open model: attempts start at a rate that changes.
    RampingArrivalRate(RampingArrivalRate),
    /// Closed model: so many devices at a time, back to back.
    ConstantDevices(ConstantDevices),
    /// Closed model: a changing number of devices at a time, back to back.
    RampingDevices(RampingDevices),
    /// Every device makes so many attempts.
    PerDeviceIterations(PerDeviceIterations),
    /// Devices lose their connections in one instant and return by their back-off.
    ReconnectStorm(ReconnectStorm),
    /// Tickets become worthless in one instant.
    TicketExpiryWave(TicketExpiryWave),
    /// Devices get new identities.
    RotateCertificates(RotateCertificates),
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
    /// The names of all executors, as plan files and results have them.
    pub const NAMES: [&'static str; 9] = [
        "constant-arrival-rate",
        "ramping-arrival-rate",
        "constant-devices",
        "ramping-devices",
        "per-device-iterations",
        "reconnect-storm",
        "ticket-expiry-wave",
        "rotate-certificates",
        "hold",
    ];

    /// Its name in plan files and results.
    pub fn name(&self) -> &'static str {
        let [
            constant_rate,
            ramping_rate,
            constant,
            ramping,
            iterations,
            storm,
            wave,
            rotation,
            hold,
        ] = Executor::NAMES;
        match self {
            Executor::ConstantArrivalRate(_) => constant_rate,
            Executor::RampingArrivalRate(_) => ramping_rate,
            Executor::ConstantDevices(_) => constant,
            Executor::RampingDevices(_) => ramping,
            Executor::PerDeviceIterations(_) => iterations,
            Executor::ReconnectStorm(_) => storm,
            Executor::TicketExpiryWave(_) => wave,
            Executor::RotateCertificates(_) => rotation,
            Executor::Hold(_) => hold,
        }
    }

    /// How long it releases attempts; `None` if it ends when all of them are done.
    pub fn duration(&self) -> Option<Duration> {
        match self {
            Executor::ConstantArrivalRate(constant) => constant.until.duration(),
            Executor::RampingArrivalRate(ramping) => Some(ramping.duration()),
            Executor::ConstantDevices(constant) => constant.until.duration(),
            Executor::RampingDevices(ramping) => Some(ramping.duration()),
            Executor::Hold(hold) => Some(hold.duration),
            Executor::PerDeviceIterations(_)
            | Executor::ReconnectStorm(_)
            | Executor::TicketExpiryWave(_)
            | Executor::RotateCertificates(_) => None,
        }
    }

    /// The time after which it releases nothing more, where there is one.
    pub fn longest(&self) -> Option<Duration> {
        match self {
            Executor::PerDeviceIterations(iterations) => iterations.at_most,
            Executor::ReconnectStorm(storm) => storm.at_most,
            _ => self.duration(),
        }
    }

    /// Whether what it does is the same all the time, so that a part of it can serve as warm-up.
    pub fn is_constant(&self) -> bool {
        matches!(
            self,
            Executor::ConstantArrivalRate(_) | Executor::ConstantDevices(_) | Executor::Hold(_)
        )
    }

    /// Whether attempts start when a schedule says so, for which they can be late.
    pub fn has_schedule(&self) -> bool {
        matches!(
            self,
            Executor::ConstantArrivalRate(_)
                | Executor::RampingArrivalRate(_)
                | Executor::ReconnectStorm(_)
                | Executor::TicketExpiryWave(_)
                | Executor::RotateCertificates(_)
        )
    }

    /// Devices that must be there to work at the same time, where it says how many.
    pub fn devices_at_a_time(&self) -> Option<usize> {
        match self {
            Executor::ConstantDevices(constant) => Some(constant.devices),
            Executor::RampingDevices(ramping) => Some(ramping.most()),
            _ => None,
        }
    }

    /// The bound on attempts at a time that the plan sets, where it does.
    pub fn max_in_flight(&self) -> Option<usize> {
        match self {
            Executor::ConstantArrivalRate(constant) => constant.max_in_flight,
            Executor::RampingArrivalRate(ramping) => ramping.max_in_flight,
            _ => None,
        }
    }

    /// Most connections at a time in one segment, of which `devices` devices do `activity`.
    pub fn most_connections(&self, activity: &Activity, segment: Segment, devices: usize) -> usize {
        let bound = self.devices_at_a_time().or(self.max_in_flight());
        match bound.filter(|_| !self.keeps_open(activity)) {
            Some(bound) => segment.part_of_devices(bound).clamp(1, devices.max(1)),
            None => devices,
        }
    }

    /// Whether devices keep their connection between attempts.
    pub fn keeps_open(&self, activity: &Activity) -> bool {
        activity.keeps_open() || matches!(self, Executor::ReconnectStorm(_) | Executor::Hold(_))
    }

    /// What each device does once before the load begins, if it will do `activity`.
    pub fn preparation(&self, activity: &Activity) -> Option<Action> {
        let keep_open = self.keeps_open(activity);
        let needs_ticket = matches!(self, Executor::TicketExpiryWave(_));
        (keep_open || needs_ticket)
            .then_some(Action {
                connect: Connect::Full,
                keep_open,
                say: Say::Opening,
            })
            .or_else(|| activity.preparation())
    }

    /// When it ends, where that is a choice; to be changed.
    pub fn limit_mut(&mut self) -> Option<&mut Limit> {
        match self {
            Executor::ConstantArrivalRate(constant) => Some(&mut constant.until),
            Executor::ConstantDevices(constant) => Some(&mut constant.until),
            _ => None,
        }
    }
}

/// In words, for a report.
impl fmt::Display for Executor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}, ", self.name())?;
        let stages = |stages: &[super::Stage]| match stages.len() {
            1 => "1 stage".to_owned(),
            number => format!("{number} stages"),
        };
        match self {
            Executor::ConstantArrivalRate(constant) => {
                write!(
                    formatter,
                    "{}/s {}",
                    constant.rate_per_second, constant.until
                )
            }
            Executor::RampingArrivalRate(ramping) => write!(
                formatter,
                "from {}/s in {} of {} s",
                ramping.start_rate_per_second,
                stages(&ramping.stages),
                ramping.duration().as_secs_f64()
            ),
            Executor::ConstantDevices(constant) => {
                write!(
                    formatter,
                    "{} at a time {}",
                    constant.devices, constant.until
                )
            }
            Executor::RampingDevices(ramping) => write!(
                formatter,
                "at most {} at a time in {} of {} s",
                ramping.most(),
                stages(&ramping.stages),
                ramping.duration().as_secs_f64()
            ),
            Executor::PerDeviceIterations(each) => {
                write!(formatter, "{} attempts of each device", each.iterations)
            }
            Executor::ReconnectStorm(storm) => {
                write!(formatter, "first attempts {}", storm.first)
            }
            Executor::TicketExpiryWave(wave) => write!(formatter, "returns {}", wave.returns),
            Executor::RotateCertificates(rotation) => {
                write!(formatter, "changes {}", rotation.changes)
            }
            Executor::Hold(hold) => {
                write!(
                    formatter,
                    "connections held {}",
                    Limit::DurationSeconds(hold.duration)
                )
            }
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

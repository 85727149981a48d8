//! Scenarios: who of the fleet does what, and when. A plan has at least one.

use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::executor::{ConstantArrivalRate, ConstantDevices, Executor, Hold, Limit};
use super::sharing::{self, SharingError};
use super::{Activity, Mode, Pattern, Protocol, seconds};

/// Name of the scenario that the command line's flags describe.
pub const DEFAULT_NAME: &str = "load";

/// One part of the load: some devices, what each of them does, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// Its name in results and thresholds; unique within the plan.
    pub name: String,
    /// The devices that take part.
    #[serde(default)]
    pub devices: Part,
    /// When it begins, in seconds after the measured window does.
    #[serde(default, with = "seconds", rename = "start_seconds")]
    pub start: Duration,
    /// When attempts start.
    pub executor: Executor,
    /// What an attempt does.
    pub activity: Activity,
}

impl Scenario {
    /// A scenario with all devices that begins at once.
    pub fn new(name: impl Into<String>, executor: Executor, activity: Activity) -> Scenario {
        Scenario {
            name: name.into(),
            devices: Part::All,
            start: Duration::ZERO,
            executor,
            activity,
        }
    }

    /// Whether it is under way during the warm-up: only what is the same all the time and begins at once can be.
    pub fn runs_in_warmup(&self) -> bool {
        self.start.is_zero() && self.executor.is_constant()
    }

    /// When it begins to release nothing more, in time after the measured window's begin, where that is bounded.
    pub fn latest_end(&self) -> Option<Duration> {
        Some(self.start + self.executor.longest()?)
    }

    /// When it ends, in time after the measured window's begin; `None` if it ends when all of it is done.
    pub fn end(&self) -> Option<Duration> {
        Some(self.start + self.executor.duration()?)
    }
}

/// A part of the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Every device, whatever the other scenarios have.
    #[default]
    All,
    /// This share (0 to 1) of the fleet, next to what earlier scenarios took as shares or numbers.
    Share(f64),
    /// So many devices, likewise.
    Number(usize),
    /// Exactly these: first and last, counted from 0.
    Range(usize, usize),
}

/// Why the scenarios' parts do not fit the fleet.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PartError {
    /// Shares and numbers together are more than there is.
    #[error(
        "scenario `{scenario}`: the scenarios up to this one ask for {wanted} devices and there are {devices}: \
         lower its share or number, or raise --devices"
    )]
    TooMany {
        /// The first scenario for which there is not enough.
        scenario: String,
        /// Asked for, earlier scenarios included.
        wanted: usize,
        /// There are.
        devices: usize,
    },
    /// A range reaches beyond the fleet.
    #[error(
        "scenario `{scenario}`: there is no device {last}, the fleet has {devices} (0 is the first)"
    )]
    BeyondTheFleet {
        /// The scenario.
        scenario: String,
        /// The range's end.
        last: usize,
        /// There are.
        devices: usize,
    },
    /// A part without a device.
    #[error(
        "scenario `{scenario}`: its part of {devices} devices is none at all: raise its share or --devices"
    )]
    Empty {
        /// The scenario.
        scenario: String,
        /// There are.
        devices: usize,
    },
    /// More devices at a time than take part.
    #[error(
        "scenario `{scenario}`: {wanted} devices at a time are asked for and {devices} take part: lower --connections, \
         or raise --devices"
    )]
    TooFewForExecutor {
        /// The scenario.
        scenario: String,
        /// Asked for at a time.
        wanted: usize,
        /// Take part.
        devices: usize,
    },
    /// Devices that two scenarios cannot both have.
    #[error(transparent)]
    Sharing(#[from] SharingError),
}

/// The scenarios of a plan, at least one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "saved::Form", try_from = "saved::Form")]
pub struct Scenarios {
    first: Scenario,
    others: Vec<Scenario>,
}

impl Scenarios {
    /// One scenario alone.
    pub fn one(scenario: Scenario) -> Scenarios {
        Scenarios {
            first: scenario,
            others: Vec::new(),
        }
    }

    /// These; `None` if there are none.
    pub fn from_list(scenarios: Vec<Scenario>) -> Option<Scenarios> {
        let mut scenarios = scenarios.into_iter();
        Some(Scenarios {
            first: scenarios.next()?,
            others: scenarios.collect(),
        })
    }

    /// Adds one more.
    pub fn push(&mut self, scenario: Scenario) {
        self.others.push(scenario);
    }

    /// The first, which is the only one of a plan made by flags.
    pub fn first(&self) -> &Scenario {
        &self.first
    }

    /// The same, to be changed.
    pub fn first_mut(&mut self) -> &mut Scenario {
        &mut self.first
    }

    /// The scenario, if there is only one.
    pub fn only_mut(&mut self) -> Option<&mut Scenario> {
        self.others.is_empty().then_some(&mut self.first)
    }

    /// All of them, in the plan's order.
    pub fn iter(&self) -> impl Iterator<Item = &Scenario> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// All of them, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Scenario> {
        std::iter::once(&mut self.first).chain(&mut self.others)
    }

    /// The numbers of the devices of each scenario, in a fleet of `devices`.
    ///
    /// Shares and numbers are cut off the fleet one after another. Shares are rounded so that they add up: three thirds
    /// are the whole fleet.
    ///
    /// # Errors
    ///
    /// The fleet is too small for a scenario, or two that do not get on have devices in common.
    pub fn parts(&self, devices: usize) -> Result<Vec<Range<usize>>, PartError> {
        let (mut taken, mut shares, mut numbers) = (0, 0.0, 0);
        let mut parts = Vec::new();
        for scenario in self.iter() {
            let name = || scenario.name.clone();
            let part = match scenario.devices {
                Part::All => 0..devices,
                Part::Range(first, last) => {
                    if last >= devices {
                        return Err(PartError::BeyondTheFleet {
                            scenario: name(),
                            last,
                            devices,
                        });
                    }
                    first..last + 1
                }
                Part::Share(_) | Part::Number(_) => {
                    match scenario.devices {
                        Part::Share(share) => shares += share,
                        Part::Number(number) => numbers += number,
                        Part::All | Part::Range(..) => {}
                    }
                    let end = numbers + (shares * devices as f64).round() as usize;
                    if end > devices {
                        return Err(PartError::TooMany {
                            scenario: name(),
                            wanted: end,
                            devices,
                        });
                    }
                    let start = std::mem::replace(&mut taken, end);
                    start..end
                }
            };
            if part.is_empty() {
                return Err(PartError::Empty {
                    scenario: name(),
                    devices,
                });
            }
            match scenario.executor.devices_at_a_time() {
                Some(wanted) if wanted > part.len() => {
                    return Err(PartError::TooFewForExecutor {
                        scenario: name(),
                        wanted,
                        devices: part.len(),
                    });
                }
                _ => parts.push(part),
            }
        }
        let scenarios: Vec<_> = self.iter().collect();
        let both = |one, other| {
            let ranges = parts.get(one).zip(parts.get(other));
            ranges.is_some_and(|(one, other)| sharing::overlap(one, other))
        };
        match sharing::conflicts(&scenarios, both).into_iter().next() {
            Some((_, conflict)) => Err(conflict.into()),
            None => Ok(parts),
        }
    }
}

/// How scenarios are saved, and how the one of a plan was saved before there were scenarios.
mod saved {
    use super::{
        ConstantArrivalRate, ConstantDevices, DEFAULT_NAME, Deserialize, Executor, Hold, Limit,
        Mode, Pattern, Protocol, Scenario, Scenarios, Serialize,
    };

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    pub(super) enum Form {
        Now { scenarios: Vec<Scenario> },
        Before(Before),
    }

    #[derive(Serialize, Deserialize)]
    pub(super) struct Before {
        mode: Mode,
        pace: Pace,
        limit: Limit,
        payload_bytes: u64,
        protocol: Protocol,
        max_in_flight: Option<usize>,
    }

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case", tag = "model")]
    enum Pace {
        Open {
            rate_per_second: f64,
            pattern: Pattern,
        },
        Closed {
            connections: usize,
        },
        Hold,
    }

    impl From<Scenarios> for Form {
        fn from(scenarios: Scenarios) -> Form {
            Form::Now {
                scenarios: scenarios.iter().cloned().collect(),
            }
        }
    }

    impl TryFrom<Form> for Scenarios {
        type Error = &'static str;

        fn try_from(form: Form) -> Result<Scenarios, &'static str> {
            let before = match form {
                Form::Now { scenarios } => {
                    return Scenarios::from_list(scenarios).ok_or("a plan without a scenario");
                }
                Form::Before(before) => before,
            };
            let executor = match before.pace {
                Pace::Open {
                    rate_per_second,
                    pattern,
                } => Executor::ConstantArrivalRate(ConstantArrivalRate {
                    rate_per_second,
                    arrivals: pattern,
                    max_in_flight: before.max_in_flight,
                    until: before.limit,
                }),
                Pace::Closed { connections } => Executor::ConstantDevices(ConstantDevices {
                    devices: connections,
                    until: before.limit,
                }),
                Pace::Hold => match before.limit {
                    Limit::DurationSeconds(duration) => Executor::Hold(Hold { duration }),
                    Limit::Count(_) => return Err("connections are held for a time, not a count"),
                },
            };
            let activity = before.mode.activity(before.protocol, before.payload_bytes);
            Ok(Scenarios::one(Scenario::new(
                DEFAULT_NAME,
                executor,
                activity,
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(name: &str, devices: Part) -> Scenario {
        let executor = Executor::ConstantDevices(ConstantDevices {
            devices: 1,
            until: Limit::Count(1),
        });
        Scenario {
            devices,
            ..Scenario::new(name, executor, Activity::default())
        }
    }

    fn parts(devices: usize, wanted: &[Part]) -> Result<Vec<Range<usize>>, PartError> {
        let scenarios = wanted.iter().map(|part| scenario("x", *part)).collect();
        Scenarios::from_list(scenarios).unwrap().parts(devices)
    }

    #[test]
    fn shares_and_numbers_are_cut_off_one_after_another() {
        let third = Part::Share(1.0 / 3.0);
        assert_eq!(parts(100, &[third; 3]), Ok(vec![0..33, 33..67, 67..100]));
        assert_eq!(
            parts(
                10,
                &[
                    Part::All,
                    Part::Number(4),
                    Part::Range(2, 2),
                    Part::Share(0.5)
                ]
            ),
            Ok(vec![0..10, 0..4, 2..3, 4..9])
        );
        for devices in 1..200 {
            let whole = parts(
                devices,
                &[Part::Share(0.3), Part::Share(0.3), Part::Share(0.4)],
            );
            if let Ok(whole) = whole {
                assert_eq!(
                    whole.iter().map(ExactSizeIterator::len).sum::<usize>(),
                    devices
                );
            } else {
                assert!(devices < 3, "{devices}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_the_fleet_is_refused_by_name() {
        for wanted in [
            &[Part::Share(0.6), Part::Share(0.6)][..],
            &[Part::Number(11)],
            &[Part::Range(3, 10)],
            &[Part::Range(5, 4)],
            &[Part::Share(0.01)],
        ] {
            let error = parts(10, wanted).unwrap_err().to_string();
            assert!(error.contains("`x`"), "{error}");
        }
    }

    #[test]
    fn a_share_must_hold_the_devices_that_are_wanted_at_a_time() {
        let mut scenarios = Scenarios::one(scenario("busy", Part::Share(0.5)));
        scenarios.first_mut().executor = Executor::ConstantDevices(ConstantDevices {
            devices: 6,
            until: Limit::Count(6),
        });
        assert!(scenarios.parts(12).is_ok());
        let error = scenarios.parts(10).unwrap_err().to_string();
        assert!(
            error.contains("`busy`") && error.contains("--connections"),
            "{error}"
        );
    }
}

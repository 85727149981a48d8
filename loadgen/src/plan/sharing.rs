//! Which scenarios can have devices in common.
//!
//! A device has one connection at a time, whichever scenarios it belongs to: a storm loses the connection that telemetry goes
//! over. So a scenario that keeps connections open must mean the same connection as those with which it shares devices. Where
//! another one opens a connection for each attempt and closes it again, the device is without one until its next message, as devices are;
//! that shows in the handshakes of both, and is no conflict.

use std::ops::Range;

use thiserror::Error;

use super::{Part, Scenario};

/// Why two scenarios cannot have devices in common.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SharingError {
    /// They speak different protocols.
    #[error(
        "scenarios `{one}` and `{other}` share devices, and a device has one connection at a time: `{one}` speaks {one_speaks} on it, \
         `{other}` {other_speaks}; give them devices of their own (share, number or range)"
    )]
    Protocol {
        /// The scenario that comes first in the plan.
        one: String,
        /// Its protocol.
        one_speaks: &'static str,
        /// The other.
        other: String,
        /// Its protocol.
        other_speaks: &'static str,
    },
    /// They open connections of the same protocol in different ways.
    #[error(
        "scenarios `{one}` and `{other}` share devices, and a device has one connection at a time: both speak {speak} on it, but open \
         it with different settings; give them the same, or devices of their own (share, number or range)"
    )]
    Opening {
        /// The scenario that comes first in the plan.
        one: String,
        /// The other.
        other: String,
        /// Their protocol.
        speak: &'static str,
    },
}

impl Part {
    /// Whether both have devices in common, however large the fleet is.
    pub(super) fn always_overlaps(self, other: Part) -> bool {
        match (self, other) {
            (Part::All, _) | (_, Part::All) => true,
            (Part::Range(first, last), Part::Range(other_first, other_last)) => {
                first <= other_last && other_first <= last
            }
            _ => false,
        }
    }
}

impl Scenario {
    /// Whether the devices of this scenario can be those of a later one, too.
    ///
    /// # Errors
    ///
    /// What they do not agree on.
    pub(super) fn can_share_with(&self, other: &Scenario) -> Result<(), SharingError> {
        let keeps = |scenario: &Scenario| scenario.executor.keeps_open(&scenario.activity);
        let (one_says, other_says) = (&self.activity.exchange, &other.activity.exchange);
        if !(keeps(self) || keeps(other)) || one_says.opens_like(other_says) {
            return Ok(());
        }
        let (one, other) = (self.name.clone(), other.name.clone());
        let (one_speaks, other_speaks) = (one_says.protocol(), other_says.protocol());
        Err(if one_speaks == other_speaks {
            SharingError::Opening {
                one,
                other,
                speak: one_speaks.name(),
            }
        } else {
            SharingError::Protocol {
                one,
                one_speaks: one_speaks.name(),
                other,
                other_speaks: other_speaks.name(),
            }
        })
    }
}

/// Every pair of `scenarios` that can have no devices in common and has some, as `overlap` tells of their numbers.
pub(super) fn conflicts(
    scenarios: &[&Scenario],
    overlap: impl Fn(usize, usize) -> bool,
) -> Vec<(usize, SharingError)> {
    let pairs = (0..scenarios.len()).flat_map(|other| (0..other).map(move |one| (one, other)));
    pairs
        .filter(|(one, other)| overlap(*one, *other))
        .filter_map(|(one, other)| {
            let error = scenarios.get(one)?.can_share_with(scenarios.get(other)?);
            Some((other, error.err()?))
        })
        .collect()
}

/// Whether two ranges have something in common.
pub(super) fn overlap(one: &Range<usize>, other: &Range<usize>) -> bool {
    one.start < other.end && other.start < one.end
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::plan::workload::exchange::{Exchange, Mqtt, Publication, Qos};
    use crate::plan::{
        Activity, ConstantArrivalRate, Executor, Hold, Limit, Mode, PartError, Protocol, Scenarios,
    };

    fn scenario(name: &str, activity: Activity) -> Scenario {
        let rate = ConstantArrivalRate::new(1.0, Limit::Count(1));
        Scenario::new(name, Executor::ConstantArrivalRate(rate), activity)
    }

    fn said(one: &Activity, other: &Activity) -> Option<String> {
        let one = scenario("one", one.clone());
        let error = one.can_share_with(&scenario("other", other.clone())).err();
        error.map(|error| error.to_string())
    }

    #[test]
    fn who_keeps_connections_must_mean_the_same_ones() {
        for one in Protocol::ALL {
            for other in Protocol::ALL {
                let kept = [one, other].map(|protocol| Mode::Telemetry.activity(protocol, 9));
                let left = [one, other].map(|protocol| Mode::Full.activity(protocol, 9));
                assert_eq!(said(&left[0], &left[1]), None);
                assert_eq!(said(&kept[0], &kept[1]).is_none(), one == other);
                for said in [said(&kept[0], &left[1]), said(&left[0], &kept[1])] {
                    assert_eq!(said.is_none(), one == other);
                    let names = |said: String| {
                        said.contains("`one`")
                            && said.contains("`other`")
                            && said.contains(other.name())
                    };
                    assert!(said.is_none_or(names));
                }
            }
        }
        // Some executors keep connections whatever the activity says.
        let mut held = scenario("held", Mode::Full.activity(Protocol::H2, 9));
        let visits = scenario("visits", Activity::default());
        assert_eq!(held.can_share_with(&visits), Ok(()));
        let duration = Duration::from_secs(1);
        held.executor = Executor::Hold(Hold { duration });
        assert!(held.can_share_with(&visits).is_err());
    }

    #[test]
    fn what_a_connection_was_opened_with_must_be_the_same_and_no_more() {
        let client = |change: fn(&mut Mqtt)| {
            let mut mqtt = Mqtt::default();
            change(&mut mqtt);
            Activity {
                exchange: Exchange::Mqtt5(mqtt),
                reuse: 1.0,
                ..Activity::default()
            }
        };
        let plain = client(|_| ());
        let publishes = client(|mqtt| {
            mqtt.publish = Some(Publication {
                topic: "t".to_owned(),
                bytes: 1,
                qos: Qos::default(),
            });
        });
        assert_eq!(said(&plain, &publishes), None);
        let other_client = client(|mqtt| mqtt.client_id = "x".to_owned());
        let said = said(&plain, &other_client).unwrap();
        assert!(said.contains("both speak MQTT 5"), "{said}");
    }

    #[test]
    fn scenarios_with_devices_of_their_own_may_differ() {
        let parts = |one, other, devices| {
            let [mut first, mut second] = [Protocol::Http1, Protocol::Mqtt]
                .map(|protocol| scenario(protocol.name(), Mode::Telemetry.activity(protocol, 9)));
            (first.devices, second.devices) = (one, other);
            let scenarios = Scenarios::from_list(vec![first, second]).unwrap();
            scenarios.parts(devices)
        };
        let half = Part::Share(0.5);
        assert!(parts(half, half, 10).is_ok());
        assert!(parts(half, Part::Range(5, 9), 10).is_ok());
        assert!(parts(Part::Range(0, 4), Part::Range(5, 9), 10).is_ok());
        for (one, other) in [
            (Part::All, half),
            (Part::Range(3, 5), Part::All),
            (Part::Range(3, 5), Part::Range(5, 9)),
            // Of twenty devices these are the first ten.
            (half, Part::Range(5, 9)),
        ] {
            let error = parts(one, other, 20).unwrap_err();
            assert!(matches!(error, PartError::Sharing(_)), "{error}");
            assert!(error.to_string().contains("`HTTP/1.1` and `MQTT 3.1.1`"));
        }
        assert!(!half.always_overlaps(Part::Range(5, 9)));
        assert!(Part::Range(5, 9).always_overlaps(Part::Range(9, 9)));
    }
}

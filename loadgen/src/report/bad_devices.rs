//! Devices that are bad on purpose: what was expected of the server against what it did.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::{BadDevices, Found};
use crate::measure::outcome::{Outcome, alert_name};
use crate::measure::{self, Cause, Failure, Moment};

/// Expected against found, fault by fault, in the plan's order.
pub(super) fn compare(
    faults: &[measure::BadDevices],
    refusals: &BTreeMap<(u16, Option<Cause>), u64>,
) -> Vec<BadDevices> {
    faults
        .iter()
        .zip(0u16..)
        .map(|(fault, number)| {
            let of_this = refusals.iter().filter(|((of, _), _)| *of == number);
            let mut bad = BadDevices {
                fault: fault.fault.clone(),
                devices: fault.devices,
                expected: match fault.alert {
                    Some(_) => "refuse",
                    None => "serve",
                }
                .to_owned(),
                alert: fault.alert.map(name_of),
                as_expected: 0,
                not_refused: 0,
                failed: 0,
                found: Vec::new(),
            };
            for ((_, found), count) in of_this {
                bad.add(*found, *count);
            }
            bad.found
                .sort_by_key(|found| std::cmp::Reverse(found.count));
            bad
        })
        .collect()
}

fn name_of(alert: u8) -> String {
    alert_name(alert).map_or_else(|| format!("alert {alert}"), str::to_owned)
}

impl BadDevices {
    fn add(&mut self, found: Option<Cause>, count: u64) {
        // When it happened makes no difference to what it is worth.
        let moment = Moment::Response;
        let result = match found {
            None => Ok(()),
            Some(cause) => Err(Failure { cause, moment }),
        };
        match Outcome::of(result, true, moment) {
            Outcome::Ok | Outcome::RefusedAsExpected => self.as_expected += count,
            Outcome::Failed(failure) if failure.cause == Cause::NotRefused => {
                self.not_refused += count;
            }
            Outcome::Failed(_) => self.failed += count,
        }
        self.found.push(Found {
            class: found.map_or("served", Cause::class).to_owned(),
            code: found.map_or_else(String::new, Cause::code),
            count,
        });
    }
}

/// The table for a terminal; nothing where all devices are good.
pub(super) fn write(out: &mut String, bad: &[BadDevices]) -> fmt::Result {
    if bad.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n{:<18}{:>9}  {:<34}{:>12}{:>13}{:>9}  found",
        "bad devices", "devices", "expected", "as expected", "not refused", "failed"
    )?;
    for fault in bad {
        let expected = match &fault.alert {
            Some(alert) => format!("{} {alert}", fault.expected),
            None => fault.expected.clone(),
        };
        let found: Vec<_> = fault
            .found
            .iter()
            .map(|found| format!("{} {} {}", found.count, found.class, found.code))
            .map(|found| found.trim_end().to_owned())
            .collect();
        writeln!(
            out,
            "{:<18}{:>9}  {expected:<34}{:>12}{:>13}{:>9}  {}",
            fault.fault,
            fault.devices,
            fault.as_expected,
            fault.not_refused,
            fault.failed,
            found.join(", ")
        )?;
    }
    Ok(())
}

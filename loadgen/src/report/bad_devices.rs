//! Devices that are bad on purpose: what was expected of the server against what it did.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::number::count;
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

/// What the columns of [`rows`] are: the first three are words.
pub(super) const HEADINGS: [&str; 7] = [
    "fault",
    "expected",
    "found",
    "devices",
    "as expected",
    "not refused",
    "failed",
];

/// One row for each fault.
pub(super) fn rows(bad: &[BadDevices]) -> Vec<Vec<String>> {
    bad.iter()
        .map(|fault| {
            let expected = match &fault.alert {
                Some(alert) => format!("{} {alert}", fault.expected),
                None => fault.expected.clone(),
            };
            let found: Vec<_> = fault
                .found
                .iter()
                .map(|found| format!("{} {} {}", count(found.count), found.class, found.code))
                .map(|found| found.trim_end().to_owned())
                .collect();
            vec![
                fault.fault.clone(),
                expected,
                found.join(", "),
                count(fault.devices as u64),
                count(fault.as_expected),
                count(fault.not_refused),
                count(fault.failed),
            ]
        })
        .collect()
}

/// The table for a terminal; nothing where all devices are good.
pub(super) fn write(out: &mut String, bad: &[BadDevices]) -> fmt::Result {
    let headings = HEADINGS.map(str::to_owned).to_vec();
    let rows = rows(bad);
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nbad devices")?;
    for row in std::iter::once(&headings).chain(&rows) {
        let [fault, expected, found, counts @ ..] = row.as_slice() else {
            continue;
        };
        write!(out, "{fault:<26}{expected:<34}")?;
        for number in counts {
            write!(out, "{number:>12}")?;
        }
        writeln!(out, "  {found}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expected_and_found_are_told_apart_fault_by_fault() {
        let fault = |name: &str, alert| measure::BadDevices {
            fault: name.to_owned(),
            alert,
            devices: 7,
        };
        let faults = [fault("expired", Some(45)), fault("unordered_chain", None)];
        let refusals = BTreeMap::from([
            ((0, Some(Cause::Refused(45))), 5),
            ((0, Some(Cause::Refused(42))), 9),
            ((0, None), 2),
            ((0, Some(Cause::Reset)), 1),
        ]);
        let bad = compare(&faults, &refusals);
        assert_eq!(
            (bad[0].as_expected, bad[0].not_refused, bad[0].failed),
            (14, 2, 1)
        );
        let rows = rows(&bad);
        assert_eq!(rows[0][1], "refuse certificate_expired");
        let found = "9 refused bad_certificate, 5 refused certificate_expired, 2 served, 1 reset";
        assert_eq!(rows[0][2], found);
        // Those that are to be served are counted with all others.
        assert_eq!(rows[1][1..3], ["serve", ""]);
        let mut text = String::new();
        write(&mut text, &bad).unwrap();
        assert!(
            text.contains(found) && text.contains("not refused"),
            "{text}"
        );
        let mut nothing = String::new();
        write(&mut nothing, &[]).unwrap();
        assert!(nothing.is_empty());
    }
}

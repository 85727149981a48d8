//! Counts, metrics, errors and scenarios added up. Structures are taken apart field by field: one that is added later cannot be forgotten.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::{MergeError, Part};
use crate::report::scenario::{ReturnCounts, ScenarioResult};
use crate::report::{
    BadDevices, BeforeWindow, Counts, ErrorCount, Found, Handshakes, IdentityChecks, Metric,
    Resumption, RunResult, Unit,
};

/// The sums of all parts; what is not a sum is the first part's.
pub(super) fn of(parts: &[Part<'_>]) -> Result<RunResult, MergeError> {
    let [first, others @ ..] = parts else {
        return Err(MergeError::TooFew);
    };
    let mut whole = first.result.clone();
    for part in others {
        add_result(&mut whole, part.result);
    }
    whole.metrics = metrics(
        parts
            .iter()
            .map(|part| (part.file, part.result.metrics.as_slice())),
    )?;
    whole.scenarios = scenarios(parts)?;
    Ok(whole)
}

/// All that can be added as it is. What needs the others' histograms or clocks, and what is judged anew, is not added here.
fn add_result(into: &mut RunResult, other: &RunResult) {
    let RunResult {
        schema: _,
        run,
        host: _,
        choices: _,
        validity: _,
        counts,
        rate_per_second: _,
        handshakes,
        resumption,
        identity,
        open_connections_at_end,
        before_window,
        metrics: _,
        errors,
        scenarios: _,
        bad_devices,
        seconds: _,
        watched: _,
        generator: _,
        thresholds: _,
        segments: _,
    } = other;
    into.run.devices += run.devices;
    into.run.shards += run.shards;
    into.run.interrupted |= run.interrupted;
    add_counts(&mut into.counts, *counts);
    add_handshakes(&mut into.handshakes, *handshakes);
    add_resumption(&mut into.resumption, *resumption);
    into.identity = add_identity(into.identity, *identity);
    into.open_connections_at_end += open_connections_at_end;
    add_before(&mut into.before_window, before_window);
    add_errors(&mut into.errors, errors);
    add_bad_devices(&mut into.bad_devices, bad_devices);
}

fn add_identity(
    first: Option<IdentityChecks>,
    other: Option<IdentityChecks>,
) -> Option<IdentityChecks> {
    let (Some(first), Some(other)) = (first, other) else {
        return first.or(other);
    };
    let IdentityChecks {
        checked,
        mismatches,
        mismatches_resumed,
        absent,
    } = other;
    Some(IdentityChecks {
        checked: first.checked + checked,
        mismatches: first.mismatches + mismatches,
        mismatches_resumed: first.mismatches_resumed + mismatches_resumed,
        absent: first.absent + absent,
    })
}

fn add_counts(into: &mut Counts, other: Counts) {
    let Counts {
        intended,
        started,
        client_finished,
        accepted,
        ok,
        refused_as_expected,
        failed,
        overflow,
    } = other;
    into.intended += intended;
    into.started += started;
    into.client_finished += client_finished;
    into.accepted += accepted;
    into.ok += ok;
    into.refused_as_expected += refused_as_expected;
    into.failed += failed;
    into.overflow += overflow;
}

/// Adds handshakes by kind.
pub(super) fn add_handshakes(into: &mut Handshakes, other: Handshakes) {
    let Handshakes {
        full,
        full_hrr,
        resumed,
    } = other;
    into.full += full;
    into.full_hrr += full_hrr;
    into.resumed += resumed;
}

fn add_resumption(into: &mut Resumption, other: Resumption) {
    let Resumption {
        wanted,
        offered,
        accepted,
        accepted_share: _,
        tickets_received,
    } = other;
    into.wanted += wanted;
    into.offered += offered;
    into.accepted += accepted;
    into.tickets_received += tickets_received;
    into.accepted_share = (into.wanted > 0).then(|| into.accepted as f64 / into.wanted as f64);
}

fn add_before(into: &mut BeforeWindow, other: &BeforeWindow) {
    let BeforeWindow {
        counts,
        handshakes,
        resumption,
        errors,
    } = other;
    add_counts(&mut into.counts, *counts);
    add_handshakes(&mut into.handshakes, *handshakes);
    add_resumption(&mut into.resumption, *resumption);
    add_errors(&mut into.errors, errors);
}

/// Adds errors of the same kind; the most frequent first.
pub(super) fn add_errors(into: &mut Vec<ErrorCount>, other: &[ErrorCount]) {
    for error in other {
        let same = |known: &&mut ErrorCount| {
            (&known.class, &known.code, &known.direction, &known.when)
                == (&error.class, &error.code, &error.direction, &error.when)
        };
        match into.iter_mut().find(same) {
            Some(known) => known.count += error.count,
            None => into.push(error.clone()),
        }
    }
    into.sort_by_key(|error| std::cmp::Reverse(error.count));
}

fn add_bad_devices(into: &mut Vec<BadDevices>, other: &[BadDevices]) {
    for bad in other {
        let BadDevices {
            fault,
            devices,
            expected: _,
            alert: _,
            as_expected,
            not_refused,
            failed,
            found,
        } = bad;
        match into.iter_mut().find(|known| known.fault == *fault) {
            Some(known) => {
                known.devices += devices;
                known.as_expected += as_expected;
                known.not_refused += not_refused;
                known.failed += failed;
                add_found(&mut known.found, found);
            }
            None => into.push(bad.clone()),
        }
    }
}

fn add_found(into: &mut Vec<Found>, other: &[Found]) {
    for found in other {
        let same = |known: &&mut Found| (&known.class, &known.code) == (&found.class, &found.code);
        match into.iter_mut().find(same) {
            Some(known) => known.count += found.count,
            None => into.push(found.clone()),
        }
    }
    into.sort_by_key(|found| std::cmp::Reverse(found.count));
}

/// Metrics of the same name and operation, their histograms merged; in the order in which they come first.
fn metrics<'a>(
    parts: impl Iterator<Item = (&'a str, &'a [Metric])>,
) -> Result<Vec<Metric>, MergeError> {
    let mut order: Vec<(&str, &str, Unit)> = Vec::new();
    let mut sums: BTreeMap<(&str, &str), Histogram<u64>> = BTreeMap::new();
    for (file, metrics) in parts {
        for metric in metrics {
            let damaged = || MergeError::Damaged {
                file: file.to_owned(),
                what: format!("{} {}", metric.operation, metric.name),
            };
            let key = (metric.name.as_str(), metric.operation.as_str());
            let histogram = metric.decode().ok_or_else(damaged)?;
            // What the file says in plain text must be what it says in code.
            if histogram.len() != metric.count {
                return Err(damaged());
            }
            match sums.get_mut(&key) {
                Some(sum) => sum.add(histogram).map_err(|_| damaged())?,
                None => {
                    order.push((key.0, key.1, metric.unit));
                    sums.insert(key, histogram);
                }
            }
        }
    }
    Ok(order
        .into_iter()
        .filter_map(|(name, operation, unit)| {
            Metric::new(name, operation, unit, sums.get(&(name, operation))?)
        })
        .collect())
}

/// The scenarios of one plan: every part has the same ones.
fn scenarios(parts: &[Part<'_>]) -> Result<Vec<ScenarioResult>, MergeError> {
    let mut names: Vec<&str> = Vec::new();
    for scenario in parts.iter().flat_map(|part| &part.result.scenarios) {
        if !names.contains(&scenario.name.as_str()) {
            names.push(&scenario.name);
        }
    }
    names
        .into_iter()
        .filter_map(|name| scenario(parts, name).transpose())
        .collect()
}

fn scenario(parts: &[Part<'_>], name: &str) -> Result<Option<ScenarioResult>, MergeError> {
    let same: Vec<(&str, &ScenarioResult)> = parts
        .iter()
        .filter_map(|part| {
            let mut all = part.result.scenarios.iter();
            Some((part.file, all.find(|scenario| scenario.name == name)?))
        })
        .collect();
    let [(_, first), others @ ..] = same.as_slice() else {
        return Ok(None);
    };
    let mut whole = (*first).clone();
    for (_, other) in others {
        let ScenarioResult {
            name: _,
            executor: _,
            devices,
            counts,
            rate_per_second: _,
            handshakes,
            resumption,
            before_window,
            metrics: _,
            errors,
            returns,
        } = other;
        whole.devices += devices;
        add_counts(&mut whole.counts, *counts);
        add_handshakes(&mut whole.handshakes, *handshakes);
        add_resumption(&mut whole.resumption, *resumption);
        add_before(&mut whole.before_window, before_window);
        add_errors(&mut whole.errors, errors);
        whole.returns = add_returns(whole.returns, *returns);
    }
    whole.metrics = metrics(
        same.iter()
            .map(|(file, scenario)| (*file, scenario.metrics.as_slice())),
    )?;
    Ok(Some(whole))
}

fn add_returns(first: Option<ReturnCounts>, other: Option<ReturnCounts>) -> Option<ReturnCounts> {
    let (Some(first), Some(other)) = (first, other) else {
        return first.or(other);
    };
    let ReturnCounts {
        dropped,
        returned,
        retries,
        gave_up,
    } = other;
    Some(ReturnCounts {
        dropped: first.dropped + dropped,
        returned: first.returned + returned,
        retries: first.retries + retries,
        gave_up: first.gave_up + gave_up,
    })
}

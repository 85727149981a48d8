//! The result as a table for a terminal: verdict first. Everything in it comes from the result.

use std::fmt::{self, Write};

use super::bad_devices;
use super::number::plain;
use super::{Metric, RunResult, Unit};
use crate::plan::Segment;

/// The whole report.
pub fn render(result: &RunResult) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_report(&mut text, result);
    // A file that somebody sent must not steer the terminal.
    let lines: Vec<_> = text.split('\n').map(plain).collect();
    lines.join("\n")
}

fn write_report(out: &mut String, result: &RunResult) -> fmt::Result {
    let validity = &result.validity;
    writeln!(out, "verdict       {}", validity.verdict.name())?;
    for reason in &validity.reasons {
        writeln!(out, "              - {reason}")?;
    }
    for threshold in &result.thresholds {
        let word = if threshold.holds { "holds" } else { "FAILS" };
        let value = threshold
            .value
            .map_or("no samples".to_owned(), |value| format!("{value:.4}"));
        writeln!(
            out,
            "threshold     {word}  {}  (found {value})",
            threshold.expression
        )?;
    }
    write_choices(out, result)?;
    write_counts(out, result)?;
    write_metrics(out, result)?;
    write_errors(out, result)?;
    bad_devices::write(out, &result.bad_devices)?;
    write_watched(out, result)
}

fn write_choices(out: &mut String, result: &RunResult) -> fmt::Result {
    let plan = &result.choices;
    writeln!(
        out,
        "run           {:.0} s after {:.0} s warm-up, {} devices, {} shards",
        result.run.window_seconds,
        plan.warmup.as_secs_f64(),
        result.run.devices,
        result.run.shards,
    )?;
    for scenario in plan.scenarios.iter() {
        let activity = &scenario.activity;
        let start = match scenario.start.as_secs_f64() {
            0.0 => String::new(),
            start => format!(", from {start} s on"),
        };
        writeln!(
            out,
            "scenario      {}: {activity}, {}{start}",
            scenario.name, scenario.executor
        )?;
    }
    writeln!(
        out,
        "target        https://{}{}   at {}",
        plan.target.authority(),
        plan.target.path,
        result.run.started_at
    )?;
    if result.run.segment == Segment::WHOLE {
        return Ok(());
    }
    writeln!(
        out,
        "segment       {} of the plan above; the load began at {} by this machine's clock",
        result.run.segment,
        result
            .run
            .load_started_at
            .as_deref()
            .unwrap_or("an unknown time")
    )
}

fn write_counts(out: &mut String, result: &RunResult) -> fmt::Result {
    let counts = &result.counts;
    writeln!(
        out,
        "attempts      {} intended, {} started, {} accepted, {} ok, {} refused as expected, {} failed, {} overflow; {:.1} ok/s",
        counts.intended,
        counts.started,
        counts.accepted,
        counts.ok,
        counts.refused_as_expected,
        counts.failed,
        counts.overflow,
        result.rate_per_second
    )?;
    let handshakes = &result.handshakes;
    writeln!(
        out,
        "handshakes    {} full, {} full_hrr, {} resumed; {} connections open at the end",
        handshakes.full, handshakes.full_hrr, handshakes.resumed, result.open_connections_at_end
    )?;
    let resumption = &result.resumption;
    if let Some(share) = resumption.accepted_share {
        writeln!(
            out,
            "resumption    {} wanted, {} offered, {} accepted ({:.2} %), {} tickets received",
            resumption.wanted,
            resumption.offered,
            resumption.accepted,
            share * 100.0,
            resumption.tickets_received
        )?;
    }
    if let Some(identity) = &result.identity {
        writeln!(
            out,
            "identity      {} answers checked, {} of another device ({} of these just resumed), {} of none",
            identity.checked, identity.mismatches, identity.mismatches_resumed, identity.absent
        )?;
    }
    write_scenarios(out, result)?;
    let before = &result.before_window.counts;
    if before.started > 0 {
        writeln!(
            out,
            "before window {} started, {} accepted, {} failed (preparation and warm-up)",
            before.started, before.accepted, before.failed
        )?;
    }
    let validity = &result.validity;
    let largest = |shares: &[f64]| shares.iter().copied().fold(0.0, f64::max) * 100.0;
    let steal = result.validity.steal_share.map_or(String::new(), |steal| {
        format!(", steal {:.1} %", steal * 100.0)
    });
    writeln!(
        out,
        "generator     busiest shard {:.0} % of a core, waiting for one {:.0} % of the time{steal}{}",
        largest(&validity.shard_cpu_shares),
        largest(&validity.shard_waiting_shares),
        own_costs(result)
    )
}

/// The same by scenario where there are several, and how devices came back.
fn write_scenarios(out: &mut String, result: &RunResult) -> fmt::Result {
    for scenario in &result.scenarios {
        let counts = &scenario.counts;
        if result.scenarios.len() > 1 {
            writeln!(
                out,
                "of {:<11}{} intended, {} started, {} ok, {} failed, {} overflow; {:.1} ok/s",
                scenario.name,
                counts.intended,
                counts.started,
                counts.ok,
                counts.failed,
                counts.overflow,
                scenario.rate_per_second
            )?;
        }
        if let Some(returns) = &scenario.returns {
            let time = |quantile| {
                let times = scenario.metric("return_time", "all")?;
                Some(times.milliseconds(quantile)? / 1e3)
            };
            let (p50, all) = (time(0.5).unwrap_or(0.0), time(1.0).unwrap_or(0.0));
            writeln!(
                out,
                "returns       {} of {} devices back (half of them in {p50:.1} s, the last in {all:.1} s), {} retries, {} gave up",
                returns.returned, returns.dropped, returns.retries, returns.gave_up
            )?;
        }
    }
    Ok(())
}

/// What an operation and an open connection cost the generator.
fn own_costs(result: &RunResult) -> String {
    let Some(own) = &result.generator else {
        return String::new();
    };
    let cpu = own
        .cpu_us_per_operation
        .map(|cpu| format!("; {cpu:.0} us per operation"));
    let memory = own
        .resident_bytes_per_connection
        .map(|bytes| format!("; {:.1} KiB per open connection", bytes / 1024.0));
    format!("{}{}", cpu.unwrap_or_default(), memory.unwrap_or_default())
}

fn write_metrics(out: &mut String, result: &RunResult) -> fmt::Result {
    let operations: Vec<_> = ["full", "resumed", "request"]
        .into_iter()
        .filter(|operation| result.metric("response_time", operation).is_some())
        .collect();
    // With one operation only, its rows say the same as those of all.
    let says_more = |metric: &&Metric| {
        metric.operation != "all" || operations.len() != 1 || is_of_no_operation(metric)
    };
    for (unit, heading) in [
        (Unit::Microseconds, "milliseconds"),
        (Unit::Bytes, "bytes per attempt"),
    ] {
        let mut metrics = result
            .metrics
            .iter()
            .filter(|metric| metric.unit == unit)
            .filter(says_more)
            .peekable();
        if metrics.peek().is_some() {
            writeln!(
                out,
                "\n{heading:<26}{:>9}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}",
                "count", "mean", "p50", "p90", "p99", "p99.9", "max"
            )?;
        }
        for metric in metrics {
            write_metric(out, metric)?;
        }
    }
    Ok(())
}

/// Whether it is about attempts whatever they did.
fn is_of_no_operation(metric: &Metric) -> bool {
    matches!(metric.name.as_str(), "schedule_lag" | "failure_time")
}

fn write_metric(out: &mut String, metric: &Metric) -> fmt::Result {
    let label = if is_of_no_operation(metric) {
        metric.name.clone()
    } else {
        format!("{} {}", metric.operation, metric.name)
    };
    let (scale, decimals) = match metric.unit {
        Unit::Microseconds => (1e3, 3),
        Unit::Bytes => (1.0, 0),
    };
    let mean = metric.mean / scale;
    write!(out, "{label:<26}{:>9}{mean:>10.decimals$}", metric.count)?;
    for quantile in [0.5, 0.9, 0.99, 0.999, 1.0] {
        match metric.value(quantile) {
            Some(value) => write!(out, "{:>10.decimals$}", value as f64 / scale)?,
            None => write!(out, "{:>10}", "-")?,
        }
    }
    writeln!(out)
}

fn write_errors(out: &mut String, result: &RunResult) -> fmt::Result {
    if result.errors.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n{:<18}{:<34}{:<12}{:<12}{:>9}",
        "error", "code", "direction", "awaiting", "count"
    )?;
    for error in &result.errors {
        writeln!(
            out,
            "{:<18}{:<34}{:<12}{:<12}{:>9}",
            error.class, error.code, error.direction, error.when, error.count
        )?;
    }
    Ok(())
}

fn write_watched(out: &mut String, result: &RunResult) -> fmt::Result {
    let Some(watched) = &result.watched else {
        return Ok(());
    };
    let pids: Vec<_> = watched.pids.iter().map(u32::to_string).collect();
    writeln!(out, "\nwatched       {}", pids.join(", "))?;
    let per_operation = watched
        .cpu_us_per_operation
        .map_or("-".to_owned(), |value| {
            format!("{value:.1} us per operation")
        });
    writeln!(
        out,
        "CPU           {:.3} s over {} operations: {per_operation}",
        watched.cpu_seconds, watched.operations
    )?;
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let per_connection = watched
        .resident_bytes_per_connection
        .map_or(String::new(), |bytes| {
            format!(": {:.1} KiB per open connection", bytes / 1024.0)
        });
    writeln!(
        out,
        "memory        {:.1} MiB before, {:.1} MiB at the end{per_connection}",
        mebibytes(watched.resident_bytes_before),
        mebibytes(watched.resident_bytes_end)
    )
}

//! A capacity search as a table for a terminal: verdict first. Everything in it comes from the result.

use std::fmt::{self, Write};

use super::{CapacityResult, ProbeResult};

/// The whole report.
pub fn render(result: &CapacityResult) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_report(&mut text, result);
    text
}

/// A load, with as many digits as tell it apart from its neighbours.
pub fn load(value: f64) -> String {
    if value >= 1000.0 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

fn write_report(out: &mut String, result: &CapacityResult) -> fmt::Result {
    writeln!(out, "capacity      {}", result.statement)?;
    if result.run.interrupted {
        writeln!(
            out,
            "              - the search was stopped before its end: the result is partial"
        )?;
    }
    writeln!(out, "limited by    {}", result.limited_by.detail)?;
    if let Some(cost) = result.cost {
        let memory = cost
            .resident_bytes_per_connection
            .map_or(String::new(), |bytes| {
                format!(", {:.1} KiB of memory per open connection", bytes / 1024.0)
            });
        writeln!(
            out,
            "cost          {:.1} us of server CPU per operation, {:.2} cores{memory}",
            cost.cpu_us_per_operation, cost.cores_used
        )?;
    }
    if let Some(sizing) = &result.sizing {
        writeln!(out, "sizing        {}", sizing.statement)?;
    }
    if let Some(hysteresis) = result.hysteresis {
        let recovered = match hysteresis.recovered_after_seconds {
            Some(seconds) => format!("carried the maximum again {seconds:.1} s after it"),
            None => "did NOT carry the maximum again afterwards".to_owned(),
        };
        writeln!(
            out,
            "overload      offered {}: {}/s done well meanwhile; {recovered}",
            load(hysteresis.overload),
            load(hysteresis.achieved_per_second)
        )?;
    }
    let thresholds = result
        .choices
        .plan
        .thresholds
        .iter()
        .map(ToString::to_string);
    let conditions = thresholds.chain(result.choices.conditions.iter().cloned());
    writeln!(
        out,
        "conditions    {}",
        conditions.collect::<Vec<_>>().join(", ")
    )?;
    let target = &result.choices.plan.target;
    writeln!(
        out,
        "target        https://{}{}   {:.0} s, {} probes",
        target.authority(),
        target.path,
        result.run.seconds,
        result.probes.len()
    )?;
    writeln!(
        out,
        "\n{:<10}{:>10}{:>12}{:>10}{:>10}{:>9}{:>11}{:>8}  {:<10}answer",
        "probe",
        "offered",
        "achieved/s",
        "p50 ms",
        "p99 ms",
        "failed",
        "CPU us/op",
        "cores",
        "generator"
    )?;
    result
        .probes
        .iter()
        .try_for_each(|probe| write_probe(out, probe))
}

fn write_probe(out: &mut String, probe: &ProbeResult) -> fmt::Result {
    let number = |value: Option<f64>, decimals: usize| {
        value.map_or("-".to_owned(), |value| format!("{value:.decimals$}"))
    };
    writeln!(
        out,
        "{:<10}{:>10}{:>12}{:>10}{:>10}{:>9}{:>11}{:>8}  {:<10}{}",
        probe.purpose,
        load(probe.load),
        format!("{:.1}", probe.achieved_per_second),
        number(probe.p50_ms, 2),
        number(probe.p99_ms, 2),
        probe.failed + probe.overflow,
        number(probe.cpu_us_per_operation, 1),
        number(probe.cores_used, 2),
        probe.generator.verdict.name(),
        probe.answer.name()
    )
}

//! The diagnosis as a table for a terminal: what can be carried first.

use std::fmt::{self, Write};

use super::{Diagnosis, Level};

/// The whole of it.
pub fn render(diagnosis: &Diagnosis) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_diagnosis(&mut text, diagnosis);
    text
}

fn write_diagnosis(out: &mut String, diagnosis: &Diagnosis) -> fmt::Result {
    let wanted = &diagnosis.wanted;
    if wanted.is_something() {
        let verdict = match diagnosis.level {
            Level::Fine => "can be carried",
            Level::Doubtful => "can be carried, with doubts",
            Level::Insufficient => "cannot be carried",
        };
        let devices = wanted.devices.map(|devices| format!("{devices} devices"));
        let kind = if wanted.resumed { "resumed" } else { "full" };
        let rate = wanted
            .rate_per_second
            .map(|rate| format!("{rate} {kind} connections per second"));
        let parts: Vec<String> = devices.into_iter().chain(rate).collect();
        writeln!(out, "verdict       {}: {verdict}", parts.join(" and "))?;
    }
    let capacity = &diagnosis.capacity;
    let unknown = || "an unknown number of".to_owned();
    let devices = capacity
        .devices
        .map_or_else(unknown, |devices| devices.to_string());
    let rate = |rate: Option<f64>| rate.map_or_else(unknown, |rate| format!("{rate:.0}"));
    writeln!(
        out,
        "this machine  {devices} devices at a time; {} full or {} resumed connections per second\n",
        rate(capacity.full_per_second),
        rate(capacity.resumed_per_second),
    )?;
    for finding in &diagnosis.findings {
        writeln!(
            out,
            "{:<13} {:<27} {}",
            finding.level.name(),
            finding.subject,
            finding.found
        )?;
        // With a plan only what it needs is to be lifted; without one every limit may be.
        if !wanted.is_something() || finding.level > Level::Fine {
            for command in &finding.lift {
                writeln!(out, "{:<41} to lift it: {command}", "")?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::facts::{Descriptors, Facts};
    use super::super::judge::Wanted;
    use super::*;

    #[test]
    fn the_verdict_comes_first_and_commands_stand_below_what_they_lift() {
        let facts = Facts {
            descriptors: Descriptors {
                hard: Some(1_000),
                ..Descriptors::default()
            },
            ..Facts::default()
        };
        let wanted = Wanted {
            devices: Some(5_000),
            rate_per_second: Some(20.0),
            resumed: true,
        };
        let text = render(&Diagnosis::of(facts.clone(), wanted));
        let first =
            "verdict       5000 devices and 20 resumed connections per second: cannot be carried\n";
        assert!(text.starts_with(first), "{text}");
        assert!(text.contains("to lift it: sudo prlimit"), "{text}");
        assert!(
            text.contains("904 devices at a time; an unknown number of full"),
            "{text}"
        );
        let text = render(&Diagnosis::of(facts, Wanted::default()));
        assert!(text.starts_with("this machine"), "{text}");
    }
}

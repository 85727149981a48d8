//! The scenarios of a plan file: executors and activities.

use std::time::Duration;

use serde::Deserialize;

use super::section::Section;
use crate::plan::{
    Activity, Backoff, ConstantArrivalRate, ConstantDevices, Executor, Hold, Limit, Mode, Part,
    PerDeviceIterations, Protocol, RampingArrivalRate, RampingDevices, ReconnectStorm,
    RotateCertificates, Scenario, Spread, Stage, TicketExpiryWave,
};

/// A storm ends by then, whoever is still away.
const STORM_AT_MOST: Duration = Duration::from_secs(600);

/// Length of telemetry where nothing is said about it.
const USUAL_PAYLOAD: u64 = 256;

/// Keys of an activity that is written out.
const ACTIVITY: [&str; 6] = [
    "reuse",
    "resume_ratio",
    "exchange",
    "hold",
    "telemetry",
    "close",
];

const MODES: [(&str, Mode); 5] = [
    ("full", Mode::Full),
    ("resume", Mode::Resume),
    ("telemetry", Mode::Telemetry),
    ("mixed", Mode::Mixed),
    ("idle", Mode::Idle),
];

const PROTOCOLS: [(&str, Protocol); 6] = [
    ("http1", Protocol::Http1),
    ("h2", Protocol::H2),
    ("websocket", Protocol::Websocket),
    ("mqtt", Protocol::Mqtt),
    ("mqtt5", Protocol::Mqtt5),
    ("tls", Protocol::Tls),
];

/// Reads one scenario; `duration` is the plan's, for those that have none of their own. `None` if it cannot be told what
/// it is to be: that has been noted then.
pub(super) fn read(name: String, mut section: Section<'_>, duration: Duration) -> Option<Scenario> {
    if name.is_empty() || !name.bytes().all(is_of_a_name) {
        section.lacks(
            "",
            "a scenario's name consists of letters, digits, `-` and `_`",
        );
    }
    let devices = part(&mut section);
    let start = section.duration("start").unwrap_or_default();
    let executor = executor(&mut section, duration);
    let activity = activity(&mut section);
    section.finish();
    Some(Scenario {
        name,
        devices,
        start,
        executor: executor?,
        activity: activity?,
    })
}

/// Names stand in thresholds, between `=` and `}`.
fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

fn part(section: &mut Section<'_>) -> Part {
    let share = section.share("share").map(Part::Share);
    let number = section.count("number", 1).map(Part::Number);
    let range = section.parsed("range", |text| {
        let range = text.split_once('-').and_then(|(first, last)| {
            let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            (first <= last).then_some(Part::Range(first, last))
        });
        range.ok_or("a range is its first and last device, such as \"0-99\"")
    });
    let given: Vec<_> = [share, number, range].into_iter().flatten().collect();
    if given.len() > 1 {
        section.lacks("", "only one of share, number and range can be given");
    }
    given.into_iter().next().unwrap_or_default()
}

fn executor(section: &mut Section<'_>, duration: Duration) -> Option<Executor> {
    let names = Executor::NAMES.map(|name| (name, name));
    let name = section.choice("executor", &names);
    let name = section.needed("executor", name, "it says when attempts start")?;
    match name {
        "constant-arrival-rate" => {
            let (until, rate) = (until(section, duration), section.rate("rate"));
            let rate = section.needed("rate", rate, "how many attempts start, such as \"200/s\"");
            let (arrivals, max_in_flight) = (section.arrivals(), section.count("max_in_flight", 1));
            Some(Executor::ConstantArrivalRate(ConstantArrivalRate {
                rate_per_second: rate?,
                arrivals,
                max_in_flight,
                until,
            }))
        }
        "ramping-arrival-rate" => {
            let start = section.rate("start_rate").unwrap_or_default();
            let stages = stages(section, rate_target);
            let (arrivals, max_in_flight) = (section.arrivals(), section.count("max_in_flight", 1));
            Some(Executor::RampingArrivalRate(RampingArrivalRate {
                start_rate_per_second: start,
                stages: stages?,
                arrivals,
                max_in_flight,
            }))
        }
        "constant-devices" => {
            let (until, devices) = (until(section, duration), section.count("devices", 1));
            let devices = section.needed("devices", devices, "how many are at work at a time")?;
            Some(Executor::ConstantDevices(ConstantDevices {
                devices,
                until,
            }))
        }
        "ramping-devices" => {
            let start = section.count("start_devices", 0).unwrap_or_default();
            let stages = stages(section, device_target)?;
            Some(Executor::RampingDevices(RampingDevices { start, stages }))
        }
        "per-device-iterations" => {
            let iterations = section.whole("iterations", 1);
            let at_most = section.positive_duration("at_most");
            let why = "how many attempts each device makes";
            let iterations = section.needed("iterations", iterations, why);
            Some(Executor::PerDeviceIterations(PerDeviceIterations {
                iterations: iterations?,
                at_most,
            }))
        }
        "reconnect-storm" => Some(Executor::ReconnectStorm(ReconnectStorm {
            first: spread(section),
            backoff: backoff(section),
            max_retries: section
                .whole("max_retries", 0)
                .map(|retries| u32::try_from(retries).unwrap_or(u32::MAX)),
            at_most: Some(
                section
                    .positive_duration("at_most")
                    .unwrap_or(STORM_AT_MOST),
            ),
        })),
        "ticket-expiry-wave" => Some(Executor::TicketExpiryWave(TicketExpiryWave {
            returns: spread(section),
        })),
        "rotate-certificates" => Some(Executor::RotateCertificates(RotateCertificates {
            changes: spread(section),
        })),
        _ => Some(Executor::Hold(Hold {
            duration: section.positive_duration("duration").unwrap_or(duration),
        })),
    }
}

/// How long something constant goes on.
fn until(section: &mut Section<'_>, duration: Duration) -> Limit {
    let count = section.whole("count", 1).map(Limit::Count);
    let own = section
        .positive_duration("duration")
        .map(Limit::DurationSeconds);
    if count.is_some() && own.is_some() {
        section.lacks("count", "only one of count and duration can be given");
    }
    count.or(own).unwrap_or(Limit::DurationSeconds(duration))
}

fn spread(section: &mut Section<'_>) -> Spread {
    Spread {
        over: section.duration("over").unwrap_or_default(),
        arrivals: section.arrivals(),
    }
}

fn backoff(section: &mut Section<'_>) -> Backoff {
    let mut backoff = Backoff::default();
    let Some(mut table) = section.table("backoff") else {
        return backoff;
    };
    if let Some(initial) = table.positive_duration("initial") {
        backoff.initial = initial;
        backoff.cap = backoff.cap.max(initial);
    }
    backoff.factor = table.number("factor", 1.0).unwrap_or(backoff.factor);
    backoff.jitter = table.share("jitter").unwrap_or(backoff.jitter);
    if let Some(cap) = table.positive_duration("cap") {
        backoff.cap = cap;
        if cap < backoff.initial {
            table.lacks("cap", "is shorter than the first wait, `initial`");
        }
    }
    table.finish();
    backoff
}

/// Stages, whose target `parse` understands.
fn stages(
    section: &mut Section<'_>,
    target: impl Fn(&mut Section<'_>) -> Option<f64>,
) -> Option<Vec<Stage>> {
    let list = section.sections("stages");
    let list = section.needed(
        "stages",
        list,
        "a list of them, each with duration and target",
    )?;
    if list.is_empty() {
        section.lacks("stages", "at least one is needed");
    }
    let stages: Vec<_> = list
        .into_iter()
        .map(|mut stage| {
            let duration = stage.duration("duration");
            let duration = stage.needed("duration", duration, "how long it takes to get there");
            let reached = target(&mut stage);
            let reached = stage.needed("target", reached, "what is reached at its end");
            stage.finish();
            Some(Stage {
                target: reached?,
                duration: duration?,
            })
        })
        .collect();
    let stages: Vec<_> = stages.into_iter().collect::<Option<_>>()?;
    if !stages.is_empty() && stages.iter().all(|stage| stage.duration.is_zero()) {
        section.lacks("stages", "they last no time at all");
        return None;
    }
    Some(stages)
}

fn rate_target(stage: &mut Section<'_>) -> Option<f64> {
    stage.rate_or_none("target")
}

fn device_target(stage: &mut Section<'_>) -> Option<f64> {
    Some(stage.whole("target", 0)? as f64)
}

/// What an attempt does: a name with protocol and payload beside it, or a table that says all of it.
fn activity(section: &mut Section<'_>) -> Option<Activity> {
    let (protocol, payload) = (
        section.choice("protocol", &PROTOCOLS),
        section.size("payload"),
    );
    let named = |mode: Mode| {
        let protocol = protocol.unwrap_or(Protocol::Http1);
        mode.activity(protocol, payload.unwrap_or(USUAL_PAYLOAD))
    };
    if !section.is_table("activity") {
        let mode = section.choice("activity", &MODES);
        let why = "full, resume, telemetry, mixed or idle, or a table";
        return section.needed("activity", mode, why).map(named);
    }
    let mut table = section.table("activity")?;
    if protocol.is_some() || payload.is_some() {
        table.lacks(
            "exchange",
            "an activity that is a table says here what is spoken, not with protocol and payload beside it",
        );
    }
    let written = table.rest(&ACTIVITY);
    let activity = match Activity::deserialize(written.to_json()) {
        Ok(activity) => {
            for error in activity.errors() {
                table.lacks("", error.to_string());
            }
            Some(activity)
        }
        Err(error) => {
            table.lacks("", error.to_string());
            None
        }
    };
    table.finish();
    activity
}

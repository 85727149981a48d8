//! `[access_log]` and `[telemetry]`.

use std::path::Path;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::access_log::{self, Destination, Event, Format};
use crate::config::section::Section;
use crate::trace;

/// Reads what is logged of requests; `None` where nothing is.
pub(super) fn access_log(file: &mut Section<'_>, base: &Path) -> Option<access_log::Settings> {
    let mut section = file.optional_table("access_log")?;
    let destination = section.required("destination");
    let formats = [("json", Format::Json), ("text", Format::Text)];
    let format = section.choice("format", &formats).unwrap_or(Format::Json);
    let errors = [("always", false), ("sampled", true)];
    let sample_errors = section.choice("errors", &errors).unwrap_or(false);
    let records = events(&mut section);
    let sample = section.share("sample", 1.0);
    let query = section.boolean("query", false);
    let queue = section.integer("queue", 8192, 1, 1_000_000);
    section.finish();
    Some(access_log::Settings {
        destination: match destination?.as_str() {
            "stdout" => Destination::Stdout,
            "stderr" => Destination::Stderr,
            path => Destination::File(base.join(path)),
        },
        format,
        records,
        sample,
        sample_errors,
        query,
        queue,
    })
}

fn events(section: &mut Section<'_>) -> Vec<Event> {
    const EVENTS: [(&str, Event); 4] = [
        ("requests", Event::Request),
        ("connections", Event::Connection),
        ("handshakes", Event::Handshake),
        ("shed", Event::Shed),
    ];
    let Some(names) = section.strings("records") else {
        return vec![Event::Request];
    };
    let mut events = Vec::new();
    for name in &names {
        match EVENTS.iter().find(|(known, _)| known == name) {
            Some((_, event)) => events.push(*event),
            None => {
                let known = EVENTS.map(|(known, _)| known).join(", ");
                section.error("records", &format!("\"{name}\" is not one of {known}"));
            }
        }
    }
    if names.is_empty() {
        section.error("records", "name at least one kind of record");
    }
    events
}

/// Reads how requests are traced; `None` where they are not.
pub(super) fn traces(file: &mut Section<'_>) -> Option<trace::Settings> {
    let mut section = file.optional_table("telemetry")?;
    let traces = section.boolean("traces", false);
    let sample = section.share("sample", 0.01);
    let otlp = section.optional_table("otlp");
    if otlp.is_some() && !traces {
        section.error("traces", "there is nothing to export without traces = true");
    }
    let otlp = otlp.and_then(otlp_settings);
    section.finish();
    traces.then_some(trace::Settings { sample, otlp })
}

fn otlp_settings(mut section: Section<'_>) -> Option<trace::Otlp> {
    let endpoint = section.required("endpoint");
    let endpoint = endpoint.and_then(|text| {
        let parsed = text.parse();
        parsed
            .map_err(|_| {
                let problem = format!(
                    "\"{text}\" is no http:// URL, such as \"http://127.0.0.1:4318/v1/traces\""
                );
                section.error("endpoint", &problem);
            })
            .ok()
    });
    let interval = section.duration("interval", Duration::from_secs(5));
    let timeout = section.duration("timeout", Duration::from_secs(10));
    let queue = section.integer("queue", 4096, 1, 1_000_000);
    let service_name = section
        .string("service_name")
        .unwrap_or_else(|| "fleetgate".to_owned());
    let mut headers = Vec::new();
    for (name, value) in section.secret_texts("headers") {
        match (HeaderName::try_from(&name), HeaderValue::try_from(&value)) {
            (Ok(name), Ok(value)) => headers.push((name, value)),
            // The value is a secret, and not for an error message.
            _ => section.error(
                "headers",
                &format!("\"{name}\" is no field, or its value none"),
            ),
        }
    }
    section.finish();
    Some(trace::Otlp {
        endpoint: endpoint?,
        interval,
        timeout,
        queue,
        headers,
        service_name,
    })
}

//! Records as lines: JSON, or text in the way of the combined log format with more fields behind it.
//!
//! Devices choose much of what a record says. All of it is written in visible ASCII, other bytes, quotes and backslashes as
//! `\xNN`: no device can end a line, forge a field, or send control sequences to a terminal that shows the log.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use http::Version;
use serde_json::{Map, Value};

use super::record::{Event, Record};
use crate::identity::hex;

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object in each line.
    Json,
    /// The combined log format, and `name=value` for the rest.
    Text,
}

/// The longest path, query or field value in a record, in bytes; more is cut.
const LONGEST: usize = 2048;

impl Format {
    /// Appends `record` to `line`, with the end of the line; with the query where that is wanted.
    pub(super) fn write(self, record: &Record, with_query: bool, line: &mut String) {
        match self {
            Self::Json => json(record, with_query, line),
            Self::Text => text(record, with_query, line),
        }
        line.push('\n');
    }
}

fn json(record: &Record, with_query: bool, line: &mut String) {
    let mut fields = Map::new();
    let mut set = |name: &str, value: Value| {
        fields.insert(name.to_owned(), value);
    };
    let time = humantime::format_rfc3339_millis(UNIX_EPOCH + record.time);
    set("time", time.to_string().into());
    set("event", record.event.label().into());
    set("peer", record.peer.to_string().into());
    if let Some(asked) = &record.asked {
        set("method", clean(asked.method.as_str().as_bytes()).into());
        if let Some(host) = host(record) {
            set("host", host.into());
        }
        set("path", clean(asked.uri.path().as_bytes()).into());
        if let Some(query) = asked.uri.query().filter(|_| with_query) {
            set("query", clean(query.as_bytes()).into());
        }
        if let Some(agent) = &asked.user_agent {
            set("user_agent", clean(agent.as_bytes()).into());
        }
    }
    if let Some(status) = record.status {
        set("status", status.as_u16().into());
    }
    for (name, value) in rest(record) {
        set(name, value);
    }
    // Nothing in a record fails to be written.
    line.push_str(&serde_json::to_string(&fields).unwrap_or_default());
}

fn text(record: &Record, with_query: bool, line: &mut String) {
    let device = record
        .device
        .as_deref()
        .map(|device| clean(device.device_id().as_bytes()));
    let device = device.filter(|id| !id.is_empty() && !id.contains(' '));
    let _ = write!(
        line,
        "{} - {} [{}] ",
        record.peer.ip(),
        device.as_deref().unwrap_or("-"),
        common_time(record.time)
    );
    match &record.asked {
        None => line.push_str("\"-\""),
        Some(asked) => {
            let version = match asked.version {
                Version::HTTP_2 => "HTTP/2.0",
                Version::HTTP_10 => "HTTP/1.0",
                _ => "HTTP/1.1",
            };
            let method = clean(asked.method.as_str().as_bytes());
            let _ = write!(line, "\"{method} {}", clean(asked.uri.path().as_bytes()));
            if let Some(query) = asked.uri.query().filter(|_| with_query) {
                let _ = write!(line, "?{}", clean(query.as_bytes()));
            }
            let _ = write!(line, " {version}\"");
        }
    }
    match record.status {
        Some(status) => {
            let _ = write!(line, " {} {}", status.as_u16(), record.sent);
        }
        None => {
            let _ = write!(line, " - {}", record.sent);
        }
    }
    let agent = record
        .asked
        .as_ref()
        .and_then(|asked| asked.user_agent.as_ref());
    let agent = agent.map_or_else(|| "-".to_owned(), |agent| clean(agent.as_bytes()));
    let _ = write!(line, " \"-\" \"{agent}\" event={}", record.event.label());
    if let Some(host) = host(record) {
        let _ = write!(line, " host=\"{host}\"");
    }
    for (name, value) in rest(record) {
        let _ = match value {
            Value::String(text) => write!(line, " {name}=\"{text}\""),
            other => write!(line, " {name}={other}"),
        };
    }
}

/// What both forms say in the same way; texts are clean already.
fn rest(record: &Record) -> Vec<(&'static str, Value)> {
    let mut fields: Vec<(&'static str, Value)> = Vec::with_capacity(20);
    let text = |text: &str| Value::from(clean(text.as_bytes()));
    fields.push(("listener", text(&record.listener)));
    if let Some(name) = &record.trust_domain {
        fields.push(("trust_domain", text(name)));
    }
    if let Some(device) = &record.device {
        fields.push(("device_id", text(device.device_id())));
    }
    let fixed = [
        ("handshake", record.handshake.unwrap_or_default()),
        ("tls_version", record.tls_version),
        ("protocol", record.protocol),
        ("reason", record.reason.unwrap_or_default()),
    ];
    let present = fixed.into_iter().filter(|(_, value)| !value.is_empty());
    fields.extend(present.map(|(name, value)| (name, Value::from(value))));
    if let Some(upstream) = &record.upstream {
        fields.push(("upstream", text(upstream)));
    }
    if let Some(endpoint) = &record.endpoint {
        fields.push(("endpoint", text(endpoint)));
    }
    if record.event == Event::Request {
        fields.push(("bytes_in", record.received.into()));
        fields.push(("bytes_out", record.sent.into()));
    }
    if let Some(requests) = record.requests {
        fields.push(("requests", requests.into()));
    }
    let timings = record.timings;
    let timings = [
        ("handshake_ms", timings.handshake),
        ("head_ms", timings.head),
        ("connect_ms", timings.connect),
        ("first_byte_ms", timings.first_byte),
        ("total_ms", timings.total),
    ];
    let milliseconds = |took: Duration| Value::from((took.as_secs_f64() * 1e6).round() / 1e3);
    fields.extend(
        timings
            .into_iter()
            .filter_map(|(name, took)| Some((name, milliseconds(took?)))),
    );
    if let Some(id) = &record.trace_id {
        fields.push(("trace_id", hex(id).into()));
    }
    fields
}

fn host(record: &Record) -> Option<String> {
    let asked = record.asked.as_ref()?;
    match (&asked.host, asked.uri.authority()) {
        (Some(host), _) => Some(clean(host.as_bytes())),
        (None, Some(authority)) => Some(clean(authority.as_str().as_bytes())),
        (None, None) => None,
    }
}

/// `bytes` in visible ASCII and spaces, cut where they are over-long. What it gives holds no quote, and its backslashes stand
/// before `x` only.
fn clean(bytes: &[u8]) -> String {
    let shown = bytes.get(..LONGEST).unwrap_or(bytes);
    let mut text = String::with_capacity(shown.len());
    for byte in shown {
        match byte {
            b'"' | b'\\' => {
                let _ = write!(text, "\\x{byte:02x}");
            }
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => {
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
    }
    if shown.len() < bytes.len() {
        text.push_str("...");
    }
    text
}

/// The time as the common log format has it, as `21/Nov/2026:13:32:57 +0000`.
fn common_time(since_epoch: Duration) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let time = humantime::format_rfc3339_seconds(UNIX_EPOCH + since_epoch).to_string();
    let part = |from: usize, to: usize| time.get(from..to).unwrap_or_default();
    let month = part(5, 7).parse::<usize>().ok();
    let month = month.and_then(|month| MONTHS.get(month.checked_sub(1)?));
    format!(
        "{}/{}/{}:{} +0000",
        part(8, 10),
        month.copied().unwrap_or_default(),
        part(0, 4),
        part(11, 19)
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use http::{HeaderValue, Method, StatusCode, Version};
    use serde_json::Value;

    use super::{Format, clean};
    use crate::access_log::{Asked, Event, Record, Timings};
    use crate::identity::Identified;

    fn record(path: &str, agent: &[u8]) -> Record {
        Record {
            event: Event::Request,
            time: Duration::from_millis(1_795_267_977_123),
            listener: "devices".into(),
            peer: "192.0.2.7:4711".parse().unwrap(),
            trust_domain: Some("default".into()),
            device: Some(Arc::new(Identified::for_tests("device-000001", 0, 1))),
            handshake: Some("resumed"),
            tls_version: "1.3",
            protocol: "http1",
            asked: Some(Asked {
                method: Method::POST,
                uri: path.parse().unwrap(),
                version: Version::HTTP_11,
                host: Some(HeaderValue::from_static("fleet.test")),
                user_agent: Some(HeaderValue::from_bytes(agent).unwrap()),
            }),
            status: Some(StatusCode::OK),
            reason: None,
            upstream: Some("telemetry".into()),
            endpoint: Some("127.0.0.1:9000".into()),
            received: 10,
            sent: 20,
            requests: None,
            timings: Timings {
                first_byte: Some(Duration::from_micros(1500)),
                total: Some(Duration::from_micros(2345)),
                ..Timings::default()
            },
            trace_id: Some([0xab; 16]),
        }
    }

    fn written(format: Format, record: &Record, with_query: bool) -> String {
        let mut line = String::new();
        format.write(record, with_query, &mut line);
        line
    }

    #[test]
    fn both_forms_say_the_same() {
        let record = record("/telemetry?token=secret", b"sensor/1.0");
        assert_eq!(
            written(Format::Text, &record, false),
            "192.0.2.7 - device-000001 [21/Nov/2026:13:32:57 +0000] \"POST /telemetry HTTP/1.1\" 200 20 \"-\" \"sensor/1.0\" \
             event=request host=\"fleet.test\" listener=\"devices\" trust_domain=\"default\" device_id=\"device-000001\" \
             handshake=\"resumed\" tls_version=\"1.3\" protocol=\"http1\" upstream=\"telemetry\" endpoint=\"127.0.0.1:9000\" \
             bytes_in=10 bytes_out=20 first_byte_ms=1.5 total_ms=2.345 trace_id=\"abababababababababababababababab\"\n"
        );
        let json: Value = serde_json::from_str(&written(Format::Json, &record, false)).unwrap();
        for (name, value) in [
            ("time", Value::from("2026-11-21T13:32:57.123Z")),
            ("peer", "192.0.2.7:4711".into()),
            ("method", "POST".into()),
            ("path", "/telemetry".into()),
            ("status", 200.into()),
            ("total_ms", 2.345.into()),
            ("device_id", "device-000001".into()),
        ] {
            assert_eq!(json[name], value, "{name}");
        }
        assert!(json.get("query").is_none());
        let json: Value = serde_json::from_str(&written(Format::Json, &record, true)).unwrap();
        assert_eq!(json["query"], "token=secret");
        assert!(written(Format::Text, &record, true).contains("/telemetry?token=secret HTTP"));
    }

    #[test]
    fn a_device_cannot_break_out_of_its_field() {
        let hostile: Vec<u8> = [
            &b"a\" 200 \\\" reason=\"none\t"[..],
            &[0x80, 0xff],
            "\u{2028}".as_bytes(),
        ]
        .concat();
        let record = record("/a%0d%0a\"{x}", &hostile);
        for format in [Format::Text, Format::Json] {
            let line = written(format, &record, true);
            assert_eq!(line.matches('\n').count(), 1);
            assert!(
                line.trim_end()
                    .bytes()
                    .all(|byte| (b' '..=b'~').contains(&byte)),
                "{line}"
            );
        }
        let text = written(Format::Text, &record, true);
        // Quotes are the log's own: an even number, and none of the device's.
        assert_eq!(text.matches('"').count() % 2, 0);
        assert!(
            !text.contains("reason=\"none")
                && text.contains("a\\x22 200 \\x5c\\x22 reason=\\x22none\\x09\\x80\\xff")
        );
    }

    #[test]
    fn what_is_over_long_is_cut() {
        let text = clean("a".repeat(100_000).as_bytes());
        assert!(text.len() < 3000 && text.ends_with("aaa..."));
        assert_eq!(
            clean(b"\r\n\x1b[31m\x7f\""),
            "\\x0d\\x0a\\x1b[31m\\x7f\\x22"
        );
    }
}

//! Traces, over real sockets: what upstreams are told of them, and what a collector gets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should panic"
)]

mod support;

use std::collections::HashMap;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message as _;
use support::counters::expect_value;
use support::message::Message;
use support::upstream::{ok, refusing_address};
use support::{Fleet, Upstream, eventually};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn ask(fleet: &Fleet, index: usize, fields: &str) -> Message {
    let mut connection = fleet.connect();
    let request = format!("GET /telemetry HTTP/1.1\r\nhost: fleet.test\r\n{fields}\r\n");
    assert_eq!(connection.ask(&request).status(), 200);
    fleet.upstream.request(index)
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn without_traces_the_fields_pass_unchanged() {
    let fleet = Fleet::start(|_| {});
    let sent = format!("traceparent: 00-{TRACE}-{PARENT}-01\r\ntracestate: a=1\r\n");
    let request = ask(&fleet, 0, &sent);
    assert_eq!(
        request.field("traceparent"),
        format!("00-{TRACE}-{PARENT}-01")
    );
    assert_eq!(request.field("tracestate"), "a=1");
    assert_eq!(ask(&fleet, 1, "").fields("traceparent"), [] as [&str; 0]);
}

#[test]
fn with_traces_they_are_continued_or_begun() {
    let fleet =
        Fleet::start(|setup| setup.more = "[telemetry]\ntraces = true\nsample = 0\n".into());
    let sent = format!("traceparent: 00-{TRACE}-{PARENT}-01\r\ntracestate: a=1\r\n");
    let request = ask(&fleet, 0, &sent);
    let value = request.field("traceparent").to_owned();
    let parts: Vec<&str> = value.split('-').collect();
    assert_eq!((parts[0], parts[1], parts[3]), ("00", TRACE, "00"));
    assert!(parts[2].len() == 16 && parts[2] != PARENT);
    assert_eq!(request.field("tracestate"), "a=1");
    let huge = format!(
        "traceparent: 00-{}-01\r\ntracestate: a=1\r\n",
        "0".repeat(4000)
    );
    let mut traces = vec![TRACE.to_owned()];
    for (index, fields) in ["", "traceparent: nonsense\r\ntracestate: a=1\r\n", &huge]
        .into_iter()
        .enumerate()
    {
        let request = ask(&fleet, index + 1, fields);
        assert_eq!(request.fields("tracestate"), [] as [&str; 0]);
        let trace = request
            .field("traceparent")
            .split('-')
            .nth(1)
            .unwrap()
            .to_owned();
        assert!(!traces.contains(&trace) && trace.len() == 32);
        traces.push(trace);
    }
}

/// A collector, and a gateway that exports everything to it.
fn exporting(upstream: Upstream, collector: &Upstream) -> Fleet {
    let more = format!(
        "[telemetry]\ntraces = true\nsample = 1.0\n[telemetry.otlp]\nendpoint = \"http://{}/v1/traces\"\ninterval = \"20ms\"\n\
         service_name = \"gate\"\n[telemetry.otlp.headers]\nx-tenant = \"fleet\"\n\
         [access_log]\ndestination = \"access.log\"\n",
        collector.address()
    );
    Fleet::with_upstream(upstream, |setup| setup.more = more)
}

fn attributes(pairs: &[KeyValue]) -> HashMap<String, String> {
    let text = |pair: &KeyValue| match pair.value.clone().unwrap().value.unwrap() {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    pairs
        .iter()
        .map(|pair| (pair.key.clone(), text(pair)))
        .collect()
}

/// All spans that a collector got, once there are so many.
fn spans(collector: &Upstream, count: usize) -> Vec<Span> {
    eventually(&format!("{count} spans"), || {
        let mut spans = Vec::new();
        for received in collector.received() {
            let request =
                ExportTraceServiceRequest::decode(received.message.body.as_slice()).unwrap();
            for resource in request.resource_spans {
                let of = attributes(&resource.resource.unwrap().attributes);
                assert_eq!(of["service.name"], "gate");
                spans.extend(
                    resource
                        .scope_spans
                        .into_iter()
                        .flat_map(|scope| scope.spans),
                );
            }
        }
        Some(spans).filter(|spans| spans.len() >= count)
    })
}

#[test]
fn a_collector_gets_what_upstream_and_log_were_told() {
    let collector = Upstream::answering(|_| ok(""));
    let fleet = exporting(Upstream::ok(), &collector);
    let request = ask(
        &fleet,
        0,
        &format!("traceparent: 00-{TRACE}-{PARENT}-00\r\n"),
    );
    let told = request.field("traceparent").to_owned();
    assert!(told.ends_with("-01"), "{told}");
    let span = spans(&collector, 1).remove(0);
    assert_eq!(span.trace_id, bytes(TRACE));
    assert_eq!(span.parent_span_id, bytes(PARENT));
    assert_eq!(span.span_id, bytes(told.split('-').nth(2).unwrap()));
    assert_eq!(
        (span.name.as_str(), span.kind),
        ("GET", SpanKind::Server as i32)
    );
    assert!(span.start_time_unix_nano < span.end_time_unix_nano);
    assert!(span.status.is_none());
    let of = attributes(&span.attributes);
    for (name, value) in [
        ("http.request.method", "GET"),
        ("url.path", "/telemetry"),
        ("http.response.status_code", "200"),
        ("http.response.body.size", "2"),
        ("client.address", "127.0.0.1"),
        ("fleetgate.device_id", "device-000001"),
        ("fleetgate.handshake", "full"),
        ("fleetgate.upstream", "telemetry"),
        ("fleetgate.endpoint", &fleet.upstream.address().to_string()),
    ] {
        assert_eq!(of[name], value, "{name}");
    }
    let sent = &collector.received()[0].message;
    assert_eq!(sent.first_line(), "POST /v1/traces HTTP/1.1");
    assert_eq!(
        (sent.field("content-type"), sent.field("x-tenant")),
        ("application/x-protobuf", "fleet")
    );
    let log = std::fs::read_to_string(fleet.pki.folder().join("access.log")).unwrap();
    assert!(log.contains(&format!("\"trace_id\":\"{TRACE}\"")), "{log}");
    expect_value(
        &fleet.gateway,
        "gateway_spans_total{outcome=\"exported\"}",
        1,
    );
}

#[test]
fn a_refusal_is_a_failed_span_of_a_trace_of_its_own() {
    let collector = Upstream::answering(|_| ok(""));
    let fleet = exporting(Upstream::ok(), &collector);
    let mut connection = fleet.connect();
    connection.ask("GET / HTTP/1.1\r\nhost: a b\r\n\r\n");
    for _ in 0..20 {
        assert_eq!(fleet.connect().get("/").status(), 200);
    }
    let spans = spans(&collector, 21);
    let failed: Vec<&Span> = spans.iter().filter(|span| span.status.is_some()).collect();
    assert_eq!(failed.len(), 1);
    let status = failed[0].status.as_ref().unwrap();
    assert_eq!(
        (status.code, status.message.as_str()),
        (StatusCode::Error as i32, "bad_host")
    );
    assert_eq!(
        attributes(&failed[0].attributes)["fleetgate.reason"],
        "bad_host"
    );
    assert!(spans.iter().all(|span| span.parent_span_id.is_empty()));
    let traces: std::collections::HashSet<&Vec<u8>> =
        spans.iter().map(|span| &span.trace_id).collect();
    assert_eq!(traces.len(), 21);
}

#[test]
fn a_collector_that_refuses_or_is_absent_costs_spans_and_no_requests() {
    let refusing = Upstream::answering(|_| {
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n".to_vec()
    });
    let fleet = exporting(Upstream::ok(), &refusing);
    assert_eq!(fleet.connect().get("/").status(), 200);
    expect_value(&fleet.gateway, "gateway_spans_total{outcome=\"failed\"}", 1);
    let more = format!(
        "[telemetry]\ntraces = true\nsample = 1.0\n[telemetry.otlp]\nendpoint = \"http://{}/\"\ninterval = \"10ms\"\n",
        refusing_address()
    );
    let fleet = Fleet::start(|setup| setup.more = more);
    assert_eq!(fleet.connect().get("/").status(), 200);
    expect_value(&fleet.gateway, "gateway_spans_total{outcome=\"failed\"}", 1);
}

#[test]
fn secrets_of_a_collector_are_shown_to_nobody() {
    let fleet = exporting(Upstream::ok(), &Upstream::ok());
    let shown = fleet.gateway.server().configuration().to_string();
    assert!(
        shown.contains("telemetry.otlp.endpoint") && !shown.contains("x-tenant"),
        "{shown}"
    );
}

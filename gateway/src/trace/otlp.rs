//! Spans in the encoding of OTLP (`opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest`).
//!
//! Only what the gateway sends is here, written field by field in Protocol Buffers' wire format: a handful of fields does not
//! pay for a code generator and its run time. It sends nothing.

use std::time::Duration;

use super::context::{SpanId, TraceId};

/// A span of the gateway that has ended.
#[derive(Debug, Clone)]
pub struct Span {
    /// The trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
    /// Whose child it is.
    pub parent: Option<SpanId>,
    /// What it is about.
    pub name: String,
    /// Whether the gateway serves (a request) rather than works for itself (a connection).
    pub is_server: bool,
    /// When it began, since the Unix epoch.
    pub start: Duration,
    /// When it ended, since the Unix epoch.
    pub end: Duration,
    /// What is known about it.
    pub attributes: Vec<(&'static str, Value)>,
    /// Why it failed, if it did.
    pub error: Option<&'static str>,
}

/// The value of an attribute.
#[derive(Debug, Clone)]
pub enum Value {
    /// A text.
    Text(String),
    /// A whole number.
    Number(i64),
}

/// `spans` of the service called `service_name`, as a request to a collector.
pub(super) fn request(service_name: &str, version: &str, spans: &[Span]) -> Vec<u8> {
    let mut resource = Message::default();
    resource.message(
        1,
        &attribute("service.name", &Value::Text(service_name.to_owned())),
    );
    resource.message(
        1,
        &attribute("service.version", &Value::Text(version.to_owned())),
    );
    let mut scope = Message::default();
    scope.bytes(1, b"fleetgate");
    let mut scope_spans = Message::default();
    scope_spans.message(1, &scope);
    for span in spans {
        scope_spans.message(2, &encoded(span));
    }
    let mut resource_spans = Message::default();
    resource_spans.message(1, &resource);
    resource_spans.message(2, &scope_spans);
    let mut request = Message::default();
    request.message(1, &resource_spans);
    request.0
}

fn encoded(span: &Span) -> Message {
    const INTERNAL: u64 = 1;
    const SERVER: u64 = 2;
    const ERROR: u64 = 2;
    let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let mut message = Message::default();
    message.bytes(1, &span.trace);
    message.bytes(2, &span.span);
    if let Some(parent) = &span.parent {
        message.bytes(4, parent);
    }
    message.bytes(5, span.name.as_bytes());
    message.number(6, if span.is_server { SERVER } else { INTERNAL });
    message.fixed(7, nanoseconds(span.start));
    message.fixed(8, nanoseconds(span.end));
    for (name, value) in &span.attributes {
        message.message(9, &attribute(name, value));
    }
    if let Some(reason) = span.error {
        let mut status = Message::default();
        status.bytes(2, reason.as_bytes());
        status.number(3, ERROR);
        message.message(15, &status);
    }
    message
}

fn attribute(name: &str, value: &Value) -> Message {
    let mut any = Message::default();
    match value {
        Value::Text(text) => any.bytes(1, text.as_bytes()),
        // Negative numbers take all ten bytes of two's complement, as the wire format has it.
        Value::Number(number) => any.number(3, number.cast_unsigned()),
    }
    let mut pair = Message::default();
    pair.bytes(1, name.as_bytes());
    pair.message(2, &any);
    pair
}

/// A message that is being written.
#[derive(Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            // Seven bits in each byte, the lowest first; the eighth says that there are more.
            self.0.push((number as u8 & 0x7f) | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn number(&mut self, field: u64, number: u64) {
        self.varint(field << 3);
        self.varint(number);
    }

    fn fixed(&mut self, field: u64, number: u64) {
        self.varint(field << 3 | 1);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn message(&mut self, field: u64, message: &Self) {
        self.bytes(field, &message.0);
    }
}

//! Trace context as it travels in header fields (W3C Trace Context, level 1).
//!
//! Pure. Fields come from devices: what is not exactly as the standard has it begins a new trace, and no more of `tracestate`
//! is passed on than the standard asks for.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use crate::identity::hex;

/// The field that names the trace and the parent.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The field with what vendors add.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The most bytes and members of `tracestate` that are passed on (sections 3.3.1.5 and 3.5).
const LONGEST_STATE: usize = 512;
const MOST_MEMBERS: usize = 32;

/// Names a trace.
pub type TraceId = [u8; 16];
/// Names a span of a trace.
pub type SpanId = [u8; 8];

/// A span of this gateway, and where it belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    trace: TraceId,
    span: SpanId,
    parent: Option<SpanId>,
    sampled: bool,
}

impl Context {
    /// The span of a request with these header fields, with ids from `random` and sampled by `share`. `None` where chance
    /// gave an id of zeros, which names nothing.
    pub fn begin(headers: &HeaderMap, random: [u8; 24], share: f64) -> Option<Self> {
        let (fresh, span) = random.split_first_chunk::<16>()?;
        let span: SpanId = span.try_into().ok()?;
        let (trace, parent) = match inbound(headers) {
            Some((trace, parent)) => (trace, Some(parent)),
            None => (*fresh, None),
        };
        let is_id = |id: &[u8]| id.iter().any(|byte| *byte != 0);
        (is_id(&trace) && is_id(&span)).then(|| Self {
            trace,
            span,
            parent,
            sampled: is_in_share(&trace, share),
        })
    }

    /// The trace.
    pub fn trace(&self) -> &TraceId {
        &self.trace
    }

    /// The gateway's own span.
    pub fn span(&self) -> &SpanId {
        &self.span
    }

    /// The device's span, if it named one.
    pub fn parent(&self) -> Option<&SpanId> {
        self.parent.as_ref()
    }

    /// Whether the span is exported.
    pub fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// Writes the gateway's span into `headers` in place of the device's. The vendors' state stays only with the trace that
    /// it belongs to.
    pub fn write(&self, headers: &mut HeaderMap) {
        let flags = if self.sampled { "01" } else { "00" };
        let value = format!("00-{}-{}-{flags}", hex(&self.trace), hex(&self.span));
        let state = self.parent.and_then(|_| state(headers));
        headers.remove(TRACESTATE);
        headers.remove(TRACEPARENT);
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(TRACEPARENT, value);
        }
        if let Some(state) = state {
            headers.insert(TRACESTATE, state);
        }
    }
}

/// The trace and the span that `headers` name, if there is exactly one such field and it is as the standard has it.
fn inbound(headers: &HeaderMap) -> Option<(TraceId, SpanId)> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let (value, None) = (values.next()?.as_bytes(), values.next()) else {
        return None;
    };
    let mut parts = value.splitn(5, |byte| *byte == b'-');
    let version = unhex::<1>(parts.next()?)?;
    let trace = unhex::<16>(parts.next()?)?;
    let parent = unhex::<8>(parts.next()?)?;
    let _flags = unhex::<1>(parts.next()?)?;
    // Versions to come may add parts; this one has none, and 255 is not a version (section 3.2.2).
    let is_version = match version {
        [0] => parts.next().is_none(),
        [255] => false,
        _ => true,
    };
    let is_id = |id: &[u8]| id.iter().any(|byte| *byte != 0);
    (is_version && is_id(&trace) && is_id(&parent)).then_some((trace, parent))
}

/// Lower-case hex of exactly so many bytes.
fn unhex<const BYTES: usize>(text: &[u8]) -> Option<[u8; BYTES]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    if text.len() != BYTES * 2 {
        return None;
    }
    let mut bytes = [0; BYTES];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let [high, low] = pair else {
            return None;
        };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

/// All `tracestate` fields as one, as far as whole members fit.
fn state(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut state = String::new();
    let values = headers.get_all(TRACESTATE).iter();
    let members = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|member| !member.is_empty());
    for member in members.take(MOST_MEMBERS) {
        let separator = usize::from(!state.is_empty());
        if state.len() + separator + member.len() > LONGEST_STATE {
            break;
        }
        if separator == 1 {
            state.push(',');
        }
        state.push_str(member);
    }
    (!state.is_empty())
        .then(|| HeaderValue::from_str(&state).ok())
        .flatten()
}

/// Whether a trace is one of the share that is sampled: by its id, so that everybody on its way decides alike.
fn is_in_share(trace: &TraceId, share: f64) -> bool {
    let [.., a, b, c, d, e, f, g] = *trace;
    let number = u64::from_be_bytes([0, a, b, c, d, e, f, g]);
    share >= 1.0 || (number as f64) < share * (1u64 << 56) as f64
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::{Context, TRACEPARENT, TRACESTATE};

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00f067aa0ba902b7";

    fn random() -> [u8; 24] {
        std::array::from_fn(|index| u8::try_from(index + 1).unwrap())
    }

    fn begun(fields: &[(&'static str, &str)]) -> (Context, HeaderMap) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let context = Context::begin(&headers, random(), 1.0).unwrap();
        context.write(&mut headers);
        (context, headers)
    }

    #[test]
    fn a_valid_trace_is_continued() {
        let parent = format!("00-{TRACE}-{PARENT}-00");
        let (context, headers) = begun(&[
            ("traceparent", &parent),
            ("tracestate", "a=1, b=2"),
            ("tracestate", "c=3"),
        ]);
        assert!(context.parent().is_some());
        assert_eq!(
            headers[TRACEPARENT],
            format!("00-{TRACE}-1112131415161718-01")
        );
        assert_eq!(headers[TRACESTATE], "a=1,b=2,c=3");
        let later = format!("cc-{TRACE}-{PARENT}-01-what-comes");
        assert!(begun(&[("traceparent", &later)]).0.parent().is_some());
    }

    #[test]
    fn anything_else_begins_one() {
        let good = format!("00-{TRACE}-{PARENT}-01");
        let zeros = "0".repeat(32);
        for wrong in [
            String::new(),
            good.to_uppercase(),
            format!("{good}-more"),
            format!("ff-{TRACE}-{PARENT}-01"),
            format!("00-{zeros}-{PARENT}-01"),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{TRACE}-{PARENT}"),
            format!("00-{TRACE}-{PARENT}-1"),
            format!("00_{TRACE}_{PARENT}_01"),
            format!("0-{TRACE}-{PARENT}-01"),
            format!("00-{TRACE}0-{PARENT}-01"),
            "-".repeat(10_000),
        ] {
            let (context, headers) = begun(&[("traceparent", &wrong), ("tracestate", "a=1")]);
            assert_eq!(context.parent(), None, "{wrong}");
            assert_eq!(
                headers[TRACEPARENT],
                "00-0102030405060708090a0b0c0d0e0f10-1112131415161718-01"
            );
            assert!(!headers.contains_key(TRACESTATE));
        }
        let (context, headers) = begun(&[("traceparent", &good), ("traceparent", &good)]);
        assert_eq!(context.parent(), None);
        assert_eq!(headers.get_all(TRACEPARENT).iter().count(), 1);
    }

    #[test]
    fn state_is_bounded_by_whole_members() {
        let parent = format!("00-{TRACE}-{PARENT}-01");
        let long = (0..100)
            .map(|n| format!("vendor{n:03}=0123456789"))
            .collect::<Vec<_>>()
            .join(",");
        let (_, headers) = begun(&[("traceparent", &parent), ("tracestate", &long)]);
        let state = headers[TRACESTATE].to_str().unwrap();
        assert!(state.len() <= 512 && long.starts_with(state) && state.ends_with("=0123456789"));
        let huge = "x".repeat(9000);
        assert!(
            !begun(&[("traceparent", &parent), ("tracestate", &huge)])
                .1
                .contains_key(TRACESTATE)
        );
    }

    #[test]
    fn the_share_goes_by_the_trace() {
        let sampled = |last: u8, share: f64| {
            let mut random = random();
            random[9] = last;
            Context::begin(&HeaderMap::new(), random, share)
                .unwrap()
                .is_sampled()
        };
        assert!(sampled(0x7f, 0.5) && !sampled(0x80, 0.5));
        assert!(sampled(0xff, 1.0) && !sampled(0, 0.0));
        assert_eq!(Context::begin(&HeaderMap::new(), [0; 24], 1.0), None);
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_one_sound_context_goes_on(
            parents in proptest::collection::vec("[0-9a-f-]{0,60}|\\PC{0,80}", 0..3),
            states in proptest::collection::vec("[a-z0-9=, ]{0,700}|\\PC{0,80}", 0..4),
        ) {
            let mut headers = HeaderMap::new();
            for (name, values) in [(TRACEPARENT, &parents), (TRACESTATE, &states)] {
                for value in values {
                    if let Ok(value) = HeaderValue::from_str(value) {
                        headers.append(&name, value);
                    }
                }
            }
            let context = Context::begin(&headers, random(), 0.5).unwrap();
            context.write(&mut headers);
            let written: Vec<_> = headers.get_all(TRACEPARENT).iter().collect();
            assert_eq!(written.len(), 1);
            assert_eq!(super::inbound(&headers), Some((*context.trace(), *context.span())));
            let states: Vec<_> = headers.get_all(TRACESTATE).iter().collect();
            assert!(states.len() <= 1 && states.iter().all(|state| state.len() <= super::LONGEST_STATE));
            assert!(states.is_empty() || context.parent().is_some());
        }
    }
}

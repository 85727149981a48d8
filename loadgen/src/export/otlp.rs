//! Metrics as OTLP has them in JSON (`ExportMetricsServiceRequest`, opentelemetry-proto 1.x, JSON Protobuf encoding).
//!
//! Everything is cumulative since the exporter began. It sends nothing.

use std::time::Duration;

use serde_json::{Value, json};

use super::family::{Family, Labels, Points};

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`.
const CUMULATIVE: u8 = 2;

/// The request to a collector, for metrics from `since` to `now` (since the Unix epoch).
pub fn request(families: &[Family], since: Duration, now: Duration) -> Value {
    let metrics: Vec<Value> = families
        .iter()
        .map(|family| metric(family, since, now))
        .collect();
    json!({
        "resourceMetrics": [{
            "resource": {"attributes": [
                text_attribute("service.name", "loadgen"),
                text_attribute("service.version", env!("CARGO_PKG_VERSION")),
                text_attribute("service.instance.id", &format!("{}-{}", std::process::id(), since.as_millis())),
            ]},
            "scopeMetrics": [{
                "scope": {"name": "loadgen", "version": env!("CARGO_PKG_VERSION")},
                "metrics": metrics,
            }],
        }],
    })
}

fn metric(family: &Family, since: Duration, now: Duration) -> Value {
    // 64-bit numbers are strings in this encoding.
    let nanoseconds = |time: Duration| time.as_nanos().to_string();
    let mut metric = json!({
        "name": format!("loadgen.{}", family.name),
        "description": family.help,
        "unit": if family.unit.is_empty() { "1" } else { family.unit },
    });
    let (kind, data) = match &family.points {
        Points::Counter(points) => {
            let points: Vec<Value> = points
                .iter()
                .map(|(labels, value)| {
                    json!({
                        "attributes": attributes(labels),
                        "startTimeUnixNano": nanoseconds(since),
                        "timeUnixNano": nanoseconds(now),
                        "asInt": value.to_string(),
                    })
                })
                .collect();
            let sum = json!({
                "aggregationTemporality": CUMULATIVE,
                "isMonotonic": true,
                "dataPoints": points,
            });
            ("sum", sum)
        }
        Points::Gauge(value) => {
            let point = json!({"timeUnixNano": nanoseconds(now), "asDouble": value});
            ("gauge", json!({"dataPoints": [point]}))
        }
        Points::Histogram {
            bounds,
            counts,
            sum,
        } => {
            let point = json!({
                "startTimeUnixNano": nanoseconds(since),
                "timeUnixNano": nanoseconds(now),
                "count": counts.iter().sum::<u64>().to_string(),
                "sum": sum,
                "explicitBounds": bounds,
                "bucketCounts": counts.iter().map(u64::to_string).collect::<Vec<_>>(),
            });
            let histogram = json!({
                "aggregationTemporality": CUMULATIVE,
                "dataPoints": [point],
            });
            ("histogram", histogram)
        }
    };
    if let Some(keys) = metric.as_object_mut() {
        keys.insert(kind.to_owned(), data);
    }
    metric
}

fn attributes(labels: &Labels) -> Vec<Value> {
    labels
        .iter()
        .map(|(name, value)| text_attribute(name, value))
        .collect()
}

fn text_attribute(name: &str, value: &str) -> Value {
    json!({"key": name, "value": {"stringValue": value}})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::family::of;
    use crate::export::live::Live;
    use crate::export::live::tests::second;

    #[test]
    fn a_request_has_the_shape_that_collectors_read() {
        let mut live = Live::default();
        live.add(&second(0));
        let request = request(&of(&live), Duration::from_secs(1), Duration::from_secs(3));
        let metrics = request["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]
            .as_array()
            .unwrap();
        let named = |name: &str| {
            metrics
                .iter()
                .find(|metric| metric["name"] == name)
                .unwrap()
        };
        let attempts = &named("loadgen.attempts")["sum"];
        assert_eq!(attempts["isMonotonic"], true);
        let point = &attempts["dataPoints"][0];
        assert_eq!(
            (&point["asInt"], &point["timeUnixNano"]),
            (&json!("2"), &json!("3000000000"))
        );
        assert_eq!(point["attributes"][0]["value"]["stringValue"], "ok");
        let histogram = &named("loadgen.response")["histogram"]["dataPoints"][0];
        let length = |key: &str| histogram[key].as_array().unwrap().len();
        assert_eq!(length("bucketCounts"), length("explicitBounds") + 1);
        assert_eq!(histogram["count"], "2");
        assert_eq!(
            named("loadgen.connections_open")["gauge"]["dataPoints"][0]["asDouble"],
            7.0
        );
    }
}

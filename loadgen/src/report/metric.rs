//! One metric: quantiles to read, and a histogram to merge.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use hdrhistogram::{Counter, Histogram};
use serde::{Deserialize, Serialize};

/// The quantiles that are written out.
const QUANTILES: [f64; 8] = [0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999, 1.0];

/// What a metric's values count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Microseconds.
    #[serde(rename = "us")]
    Microseconds,
    /// Bytes.
    #[serde(rename = "bytes")]
    Bytes,
}

/// Samples of one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// `response_time`, `service_time`, `tcp_connect`, `handshake`, `acceptance`, `first_byte`, `transfer`, `bytes_sent`,
    /// `bytes_received`, `schedule_lag` or `failure_time`.
    pub name: String,
    /// `all`, `full`, `resumed` or `request` (on an open connection).
    pub operation: String,
    /// The unit of mean, quantiles and histogram.
    pub unit: Unit,
    /// Samples.
    pub count: u64,
    /// Mean.
    pub mean: f64,
    /// Quantiles, ascending; the last is the maximum.
    pub quantiles: Vec<Quantile>,
    /// HdrHistogram, V2 encoding with DEFLATE, base64: quantiles of several runs are merged from these.
    pub histogram: String,
}

/// One quantile.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Quantile {
    /// 0 to 1.
    pub quantile: f64,
    /// In the metric's unit.
    pub value: u64,
}

/// A histogram as results hold it; `None` only where it is larger than its format allows.
pub fn encode<T: Counter>(histogram: &Histogram<T>) -> Option<String> {
    let mut encoded = Vec::new();
    V2DeflateSerializer::new()
        .serialize(histogram, &mut encoded)
        .ok()?;
    Some(STANDARD.encode(encoded))
}

/// The histogram in such a text; `None` if it is damaged.
pub fn decode<T: Counter>(text: &str) -> Option<Histogram<T>> {
    let bytes = STANDARD.decode(text).ok()?;
    Deserializer::new().deserialize(&mut bytes.as_slice()).ok()
}

impl Metric {
    /// The metric of a histogram of values in `unit`; `None` if it is empty.
    pub fn new(
        name: &str,
        operation: &str,
        unit: Unit,
        histogram: &Histogram<u64>,
    ) -> Option<Metric> {
        if histogram.is_empty() {
            return None;
        }
        Some(Metric {
            name: name.to_owned(),
            operation: operation.to_owned(),
            unit,
            count: histogram.len(),
            mean: histogram.mean(),
            quantiles: QUANTILES
                .iter()
                .map(|quantile| Quantile {
                    quantile: *quantile,
                    value: histogram.value_at_quantile(*quantile).min(histogram.max()),
                })
                .collect(),
            histogram: encode(histogram)?,
        })
    }

    /// The histogram, for merging and for quantiles that are not written out; `None` if it is damaged.
    pub fn decode(&self) -> Option<Histogram<u64>> {
        decode(&self.histogram)
    }

    /// A quantile in the metric's unit.
    pub fn value(&self, quantile: f64) -> Option<u64> {
        let written = self
            .quantiles
            .iter()
            .find(|q| (q.quantile - quantile).abs() < 1e-9);
        match written {
            Some(written) => Some(written.value),
            None => Some(self.decode()?.value_at_quantile(quantile)),
        }
    }

    /// A quantile in milliseconds; `None` also where the metric is no time.
    pub fn milliseconds(&self, quantile: f64) -> Option<f64> {
        match self.unit {
            Unit::Microseconds => Some(self.value(quantile)? as f64 / 1e3),
            Unit::Bytes => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::recorder::new_histogram;

    #[test]
    fn a_histogram_survives_and_merges_exactly() {
        let (mut low, mut high) = (new_histogram(), new_histogram());
        (1..=500).for_each(|value| low.record(value * 10).unwrap());
        (501..=1000).for_each(|value| high.record(value * 10).unwrap());
        let decode = |histogram| {
            Metric::new("response_time", "all", Unit::Microseconds, histogram)
                .unwrap()
                .decode()
                .unwrap()
        };
        let mut merged = decode(&low);
        merged.add(decode(&high)).unwrap();
        low.add(&high).unwrap();
        assert_eq!(merged, low);
        let metric = Metric::new("response_time", "all", Unit::Microseconds, &low).unwrap();
        assert!((metric.milliseconds(1.0).unwrap() - 10.0).abs() < 0.01);
        assert!((metric.milliseconds(0.42).unwrap() - 4.2).abs() < 0.01);
        assert!(Metric::new("x", "all", Unit::Bytes, &new_histogram()).is_none());
    }

    #[test]
    fn bytes_are_no_times() {
        let mut bytes = new_histogram();
        bytes.record(2000).unwrap();
        let metric = Metric::new("bytes_sent", "full", Unit::Bytes, &bytes).unwrap();
        assert_eq!(metric.value(0.5), Some(2000));
        assert_eq!(metric.milliseconds(0.5), None);
        let written = serde_json::to_value(&metric).unwrap();
        assert_eq!(written["unit"], "bytes");
    }
}

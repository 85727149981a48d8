//! One metric: quantiles to read, and a histogram to merge.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

/// The quantiles that are written out.
const QUANTILES: [f64; 8] = [0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999, 1.0];

/// Times of one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// `response_time`, `service_time`, `tcp_connect`, `handshake`, `first_byte` or `schedule_lag`.
    pub name: String,
    /// `all`, `full`, `resumed` or `request` (on an open connection).
    pub operation: String,
    /// Always `us`: microseconds.
    pub unit: String,
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

impl Metric {
    /// The metric of a histogram of microseconds; `None` if it is empty.
    pub fn new(name: &str, operation: &str, histogram: &Histogram<u64>) -> Option<Metric> {
        if histogram.is_empty() {
            return None;
        }
        let mut encoded = Vec::new();
        V2DeflateSerializer::new()
            .serialize(histogram, &mut encoded)
            .ok()?;
        Some(Metric {
            name: name.to_owned(),
            operation: operation.to_owned(),
            unit: "us".to_owned(),
            count: histogram.len(),
            mean: histogram.mean(),
            quantiles: QUANTILES
                .iter()
                .map(|quantile| Quantile {
                    quantile: *quantile,
                    value: histogram.value_at_quantile(*quantile).min(histogram.max()),
                })
                .collect(),
            histogram: STANDARD.encode(encoded),
        })
    }

    /// The histogram, for merging and for quantiles that are not written out; `None` if it is damaged.
    pub fn decode(&self) -> Option<Histogram<u64>> {
        let bytes = STANDARD.decode(&self.histogram).ok()?;
        Deserializer::new().deserialize(&mut bytes.as_slice()).ok()
    }

    /// A quantile in milliseconds.
    pub fn milliseconds(&self, quantile: f64) -> Option<f64> {
        let written = self
            .quantiles
            .iter()
            .find(|q| (q.quantile - quantile).abs() < 1e-9);
        let microseconds = match written {
            Some(written) => written.value,
            None => self.decode()?.value_at_quantile(quantile),
        };
        Some(microseconds as f64 / 1e3)
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
            Metric::new("response_time", "all", histogram)
                .unwrap()
                .decode()
                .unwrap()
        };
        let mut merged = decode(&low);
        merged.add(decode(&high)).unwrap();
        low.add(&high).unwrap();
        assert_eq!(merged, low);
        let metric = Metric::new("response_time", "all", &low).unwrap();
        assert!((metric.milliseconds(1.0).unwrap() - 10.0).abs() < 0.01);
        assert!((metric.milliseconds(0.42).unwrap() - 4.2).abs() < 0.01);
        assert!(Metric::new("x", "all", &new_histogram()).is_none());
    }
}

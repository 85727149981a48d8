//! Metrics in Prometheus's text format, version 0.0.4.

use std::fmt::Write as _;

use super::family::{Family, Labels, Points};

/// The media type of the format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metrics as text.
pub fn render(families: &[Family]) -> String {
    let mut text = String::new();
    for family in families {
        let name = name(family);
        let kind = match family.points {
            Points::Counter(_) => "counter",
            Points::Gauge(_) => "gauge",
            Points::Histogram { .. } => "histogram",
        };
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", family.help);
        write_points(&mut text, &name, &family.points);
    }
    text
}

fn write_points(text: &mut String, name: &str, points: &Points) {
    match points {
        Points::Counter(points) => {
            for (labels, value) in points {
                let _ = writeln!(text, "{name}{} {value}", rendered(labels));
            }
        }
        Points::Gauge(value) => {
            let _ = writeln!(text, "{name} {value}");
        }
        Points::Histogram {
            bounds,
            counts,
            sum,
        } => {
            let mut within = 0;
            let bounds = bounds.iter().map(f64::to_string);
            for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(counts) {
                within += count;
                let _ = writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {within}");
            }
            let _ = writeln!(text, "{name}_sum {sum}\n{name}_count {within}");
        }
    }
}

/// With the suffixes that Prometheus's conventions ask for.
fn name(family: &Family) -> String {
    let unit = match family.unit {
        "s" => "_seconds",
        "1" => "_ratio",
        _ => "",
    };
    let suffix = match family.points {
        Points::Counter(_) => "_total",
        _ => "",
    };
    format!("loadgen_{}{unit}{suffix}", family.name)
}

/// Values are of closed lists and have no character that would need escaping.
fn rendered(labels: &Labels) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let pairs: Vec<_> = labels
        .iter()
        .map(|(name, value)| format!("{name}=\"{value}\""))
        .collect();
    format!("{{{}}}", pairs.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::family::of;
    use crate::export::live::Live;
    use crate::export::live::tests::second;

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let mut live = Live::default();
        live.add(&second(0));
        let text = render(&of(&live));
        for line in [
            "# TYPE loadgen_attempts_total counter",
            "loadgen_attempts_total{outcome=\"ok\"} 2",
            "loadgen_arrivals_total{sent=\"no\"} 1",
            "loadgen_failures_total{class=\"refused\",awaiting=\"first_byte\"} 1",
            "loadgen_handshakes_total{kind=\"resumed\"} 2",
            "loadgen_response_seconds_bucket{le=\"0.005\"} 1",
            "loadgen_response_seconds_bucket{le=\"+Inf\"} 2",
            "loadgen_response_seconds_count 2",
            "loadgen_connections_open 7",
            "loadgen_schedule_lag_seconds 0.001",
            "loadgen_busiest_shard_ratio 0",
            "loadgen_load_duration_seconds 1",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is not in\n{text}"
            );
        }
        assert!(text.ends_with('\n'));
    }
}

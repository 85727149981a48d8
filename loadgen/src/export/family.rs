//! The metrics that are given to others: one list for every format.

use super::live::{BOUNDS, Live};

/// A metric with all its points.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// Its name, without prefix, unit or suffix.
    pub name: &'static str,
    /// What it counts or measures.
    pub help: &'static str,
    /// `s`, `1` for a share, or nothing.
    pub unit: &'static str,
    /// Its points.
    pub points: Points,
}

/// The points of a metric.
#[derive(Debug, Clone, PartialEq)]
pub enum Points {
    /// What only grows.
    Counter(Vec<(Labels, u64)>),
    /// What goes up and down.
    Gauge(f64),
    /// Values in buckets.
    Histogram {
        /// Upper bounds; there is one more bucket than bounds.
        bounds: Vec<f64>,
        /// How many lie in each bucket and not in the one before.
        counts: Vec<u64>,
        /// Sum of all values.
        sum: f64,
    },
}

/// Names and values, of closed lists.
pub type Labels = Vec<(&'static str, &'static str)>;

/// The metrics of a run.
pub fn of(live: &Live) -> Vec<Family> {
    let counter = |name, help, points| Family {
        name,
        help,
        unit: "",
        points: Points::Counter(points),
    };
    let gauge = |name, help, unit, value| Family {
        name,
        help,
        unit,
        points: Points::Gauge(value),
    };
    let handshakes = live.handshakes;
    vec![
        counter(
            "arrivals",
            "Arrivals that the plan asked for.",
            vec![
                (vec![("sent", "yes")], live.started),
                (vec![("sent", "no")], live.overflow),
            ],
        ),
        counter(
            "attempts",
            "Attempts that have their outcome.",
            vec![
                (vec![("outcome", "ok")], live.ok),
                (vec![("outcome", "failed")], live.failed),
            ],
        ),
        counter(
            "failures",
            "Failed attempts by class and by what they were waiting for.",
            live.failures
                .iter()
                .map(|((class, moment), count)| {
                    (vec![("class", *class), ("awaiting", *moment)], *count)
                })
                .collect(),
        ),
        counter(
            "handshakes",
            "Handshakes that the server accepted.",
            vec![
                (vec![("kind", "full")], handshakes.full),
                (vec![("kind", "full_hrr")], handshakes.full_hrr),
                (vec![("kind", "resumed")], handshakes.resumed),
            ],
        ),
        Family {
            name: "response",
            help: "Response time of successful attempts, from their intended start.",
            unit: "s",
            points: Points::Histogram {
                bounds: BOUNDS.to_vec(),
                counts: live.buckets.to_vec(),
                sum: live.response_sum,
            },
        },
        gauge(
            "connections_open",
            "Open connections.",
            "",
            live.open as f64,
        ),
        gauge(
            "schedule_lag",
            "Longest time between an intended and an actual start, in the last second.",
            "s",
            live.lag.as_secs_f64(),
        ),
        gauge(
            "busiest_shard",
            "Share of a core that the generator's busiest thread used in the last second.",
            "1",
            live.busiest_shard,
        ),
        gauge(
            "load_duration",
            "Time since the load began.",
            "s",
            live.seconds as f64,
        ),
    ]
}

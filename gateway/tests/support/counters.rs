//! The metrics text as numbers, and what moved between two looks at it.

use std::collections::BTreeMap;

use super::eventually;
use super::running::Gateway;

/// Values by series, as `gateway_handshakes_total{kind="full",listener="devices",outcome="ok"}`, labels sorted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Counters(BTreeMap<String, f64>);

/// The families that say what became of connections and requests: for each of them exactly one series moves.
const VERDICTS: [&str; 5] = [
    "gateway_handshakes_total",
    "gateway_shed_total",
    "gateway_denied_total",
    "gateway_timeouts_total",
    "gateway_requests_total",
];

impl Counters {
    pub(crate) fn parse(text: &str) -> Self {
        let values = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
            .map(|line| {
                let (series, value) = line.rsplit_once(' ').unwrap();
                (sorted(series), value.parse().unwrap())
            })
            .collect();
        Self(values)
    }

    /// The value of a series, written with its labels sorted.
    pub(crate) fn get(&self, series: &str) -> u64 {
        let value = self.0.get(series);
        *value.unwrap_or_else(|| panic!("no series {series} in {:#?}", self.0.keys())) as u64
    }

    /// Kind and outcome of every handshake that was counted since `before`.
    pub(crate) fn handshakes_since(&self, before: &Self) -> Vec<String> {
        let label = |series: &str, name: &str| {
            let (_, rest) = series.split_once(&format!("{name}=\"")).unwrap();
            rest.split('"').next().unwrap().to_owned()
        };
        self.moved(before)
            .into_iter()
            .filter(|(series, _)| series.starts_with("gateway_handshakes_total"))
            .flat_map(|(series, moved)| {
                let what = format!("{} {}", label(&series, "kind"), label(&series, "outcome"));
                vec![what; usize::try_from(moved).unwrap()]
            })
            .collect()
    }

    /// What moved since `before`, among the families that say what became of connections and requests.
    fn moved(&self, before: &Self) -> BTreeMap<String, i64> {
        self.0
            .iter()
            .filter(|(series, _)| VERDICTS.iter().any(|family| series.starts_with(family)))
            .map(|(series, value)| {
                let was = before.0.get(series).copied().unwrap_or(0.0);
                (series.clone(), (value - was) as i64)
            })
            .filter(|(_, moved)| *moved != 0)
            .collect()
    }
}

fn sorted(series: &str) -> String {
    let Some((name, labels)) = series.split_once('{') else {
        return series.to_owned();
    };
    let mut labels: Vec<&str> = labels.trim_end_matches('}').split(',').collect();
    labels.sort_unstable();
    format!("{name}{{{}}}", labels.join(","))
}

/// The series of a handshake on the only listener.
pub(crate) fn handshake(kind: &str, outcome: &str) -> String {
    format!(
        "gateway_handshakes_total{{kind=\"{kind}\",listener=\"devices\",outcome=\"{outcome}\"}}"
    )
}

/// The series of a request that an upstream was chosen for.
pub(crate) fn request(class: &str) -> String {
    format!("gateway_requests_total{{status=\"{class}\",upstream=\"telemetry\"}}")
}

/// The series of a request that was answered before an upstream was chosen.
pub(crate) fn unrouted(class: &str) -> String {
    format!("gateway_requests_total{{status=\"{class}\",upstream=\"\"}}")
}

/// The series of failures at an endpoint.
pub(crate) fn upstream_failure(endpoint: &str, reason: &str) -> String {
    format!(
        "gateway_upstream_failures_total{{endpoint=\"{endpoint}\",reason=\"{reason}\",upstream=\"telemetry\"}}"
    )
}

/// The series of connections open to an endpoint.
pub(crate) fn upstream_open(endpoint: &str) -> String {
    format!("gateway_upstream_connections_open{{endpoint=\"{endpoint}\",upstream=\"telemetry\"}}")
}

pub(crate) fn shed(reason: &str) -> String {
    format!("gateway_shed_total{{reason=\"{reason}\",stage=\"admission\"}}")
}

pub(crate) fn timeout(deadline: &str) -> String {
    format!("gateway_timeouts_total{{deadline=\"{deadline}\"}}")
}

pub(crate) fn ticket(event: &str, reason: &str) -> String {
    format!("gateway_tickets_total{{event=\"{event}\",reason=\"{reason}\"}}")
}

pub(crate) fn lookup(result: &str) -> String {
    format!("gateway_chain_cache_lookups_total{{result=\"{result}\"}}")
}

/// Waits until exactly `expected` moved since `before`, each by one for each time that it is named.
pub(crate) fn expect_moved(gateway: &Gateway, before: &Counters, expected: &[String]) {
    let mut wanted = BTreeMap::new();
    for series in expected {
        *wanted.entry(series.clone()).or_insert(0) += 1;
    }
    let deadline = gateway::clock::now() + super::PATIENCE;
    loop {
        let moved = gateway.counters().moved(before);
        if moved == wanted {
            return;
        }
        let too_far = moved
            .iter()
            .any(|(series, moved)| wanted.get(series).is_none_or(|wanted| moved > wanted));
        assert!(
            !too_far && gateway::clock::now() < deadline,
            "expected to move: {wanted:#?}\nmoved: {moved:#?}"
        );
        std::thread::sleep(std::time::Duration::from_millis(3));
    }
}

/// Waits until `series` is `value`.
pub(crate) fn expect_value(gateway: &Gateway, series: &str, value: u64) {
    eventually(&format!("{series} to be {value}"), || {
        (gateway.counters().get(series) == value).then_some(())
    });
}

//! The state of upstreams as operators see it: plain values, read at one moment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::upstream::balance::Policy;
use crate::upstream::endpoint::{Endpoint, State};
use crate::upstream::endpoints::Endpoints;

/// An upstream.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct UpstreamView {
    /// Its name.
    pub name: String,
    /// How its endpoints are chosen, as in the configuration.
    pub balance: &'static str,
    /// Whether all endpoints are out, and are used therefore all the same.
    pub panic: bool,
    /// The endpoints that there are now.
    pub endpoints: Vec<EndpointView>,
    /// Entries of the configuration that have no address, because their name was never resolved.
    pub unresolved: Vec<String>,
}

/// An endpoint.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct EndpointView {
    /// The entry of the configuration that it comes from.
    pub entry: String,
    /// Its address.
    pub address: String,
    /// Its configured weight.
    pub weight: u32,
    /// Whether it serves.
    pub state: State,
    /// Requests in flight.
    pub in_flight: u32,
    /// Of these, waiting for a connection.
    pub pending: u32,
    /// The latest health check; `None` before the first.
    pub last_check: Option<CheckView>,
}

/// A health check.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct CheckView {
    /// `ok`, or why it failed.
    pub outcome: &'static str,
    /// How long ago, in seconds.
    pub seconds_ago: f64,
}

impl UpstreamView {
    /// The state of `upstream` at `now`.
    pub fn of(upstream: &Endpoints, now: Instant) -> Self {
        let settings = upstream.settings();
        let set = upstream.set();
        let endpoints: Vec<EndpointView> = set
            .all
            .iter()
            .map(|endpoint| EndpointView::of(upstream, endpoint, now))
            .collect();
        let named = settings.endpoints.iter().enumerate();
        let unresolved = named
            .filter(|(index, _)| set.all.iter().all(|endpoint| endpoint.entry() != *index))
            .map(|(_, entry)| entry.address.to_string())
            .collect();
        let names = Policy::NAMES.iter();
        let balance = names
            .filter(|(_, policy)| *policy == settings.balance)
            .map(|(name, _)| *name);
        Self {
            name: settings.name.clone(),
            balance: balance.last().unwrap_or_default(),
            panic: !endpoints.is_empty() && !endpoints.iter().any(EndpointView::is_up),
            endpoints,
            unresolved,
        }
    }

    /// How many addresses of each entry serve.
    pub fn up_by_entry(&self) -> BTreeMap<&str, u32> {
        let mut up: BTreeMap<&str, u32> = BTreeMap::new();
        up.extend(self.unresolved.iter().map(|entry| (entry.as_str(), 0)));
        for endpoint in &self.endpoints {
            *up.entry(&endpoint.entry).or_default() += u32::from(endpoint.is_up());
        }
        up
    }

    /// Requests that wait for a connection.
    pub fn pending(&self) -> u32 {
        self.endpoints.iter().map(|endpoint| endpoint.pending).sum()
    }
}

impl EndpointView {
    fn of(upstream: &Endpoints, endpoint: &Arc<Endpoint>, now: Instant) -> Self {
        let settings = upstream.settings();
        let time = upstream.time(now);
        let entry = settings.endpoints.get(endpoint.entry());
        let (in_flight, pending) = endpoint.load();
        Self {
            entry: entry.map_or_else(String::new, |entry| entry.address.to_string()),
            address: endpoint.address().to_string(),
            weight: endpoint.weight(),
            state: endpoint.state(time, settings.slow_start),
            in_flight,
            pending,
            last_check: endpoint.last_check().map(|check| CheckView {
                outcome: check.outcome,
                seconds_ago: time.saturating_sub(check.at).as_secs_f64(),
            }),
        }
    }

    fn is_up(&self) -> bool {
        matches!(self.state, State::Healthy | State::SlowStart)
    }
}

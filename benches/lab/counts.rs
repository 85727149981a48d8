//! The gateway's own counters, as far as the laboratory compares with them; pure.

use serde::{Deserialize, Serialize};

use crate::exposition::Exposition;

/// What the gateway has counted since it started, or between two looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GatewayCounts {
    /// Connections accepted.
    pub(crate) connections: u64,
    /// Successful full handshakes.
    pub(crate) handshakes_full: u64,
    /// Successful full handshakes after a HelloRetryRequest.
    pub(crate) handshakes_full_hrr: u64,
    /// Successful resumed handshakes.
    pub(crate) handshakes_resumed: u64,
    /// Handshakes with any other outcome.
    pub(crate) handshakes_failed: u64,
    /// Chains found in the verified-chain cache.
    pub(crate) cache_hits: u64,
    /// Chains not found in it.
    pub(crate) cache_misses: u64,
    /// Chains found that could not be used any more.
    pub(crate) cache_stale: u64,
    /// Tickets issued.
    pub(crate) tickets_issued: u64,
    /// Tickets accepted.
    pub(crate) tickets_accepted: u64,
    /// Tickets declined.
    pub(crate) tickets_declined: u64,
    /// Connections turned away before their handshake.
    pub(crate) shed: u64,
    /// Devices turned away after it.
    pub(crate) denied: u64,
    /// Requests answered with 2xx.
    pub(crate) requests_ok: u64,
    /// All requests answered.
    pub(crate) requests: u64,
}

impl GatewayCounts {
    /// Reads them off a page of `/metrics`.
    pub(crate) fn of(page: &Exposition) -> GatewayCounts {
        let sum = |name: &str, labels: &[(&str, &str)]| page.sum(name, labels) as u64;
        let handshakes = |kind: &str| {
            sum(
                "gateway_handshakes_total",
                &[("kind", kind), ("outcome", "ok")],
            )
        };
        let lookups =
            |result: &str| sum("gateway_chain_cache_lookups_total", &[("result", result)]);
        let tickets = |event: &str| sum("gateway_tickets_total", &[("event", event)]);
        let all = sum("gateway_handshakes_total", &[]);
        let ok = sum("gateway_handshakes_total", &[("outcome", "ok")]);
        GatewayCounts {
            connections: sum("gateway_connections_total", &[]),
            handshakes_full: handshakes("full"),
            handshakes_full_hrr: handshakes("full_hrr"),
            handshakes_resumed: handshakes("resumed"),
            handshakes_failed: all - ok,
            cache_hits: lookups("hit"),
            cache_misses: lookups("miss"),
            cache_stale: lookups("stale"),
            tickets_issued: tickets("issued"),
            tickets_accepted: tickets("accepted"),
            tickets_declined: tickets("declined"),
            shed: sum("gateway_shed_total", &[]),
            denied: sum("gateway_denied_total", &[]),
            requests_ok: sum("gateway_requests_total", &[("status", "2xx")]),
            requests: sum("gateway_requests_total", &[]),
        }
    }

    /// What was counted since `earlier`.
    pub(crate) fn since(&self, earlier: &GatewayCounts) -> GatewayCounts {
        // Counters only grow while the gateway lives; one that shrank would show as nothing counted, and disagree.
        let grown = |pick: fn(&GatewayCounts) -> u64| pick(self).saturating_sub(pick(earlier));
        GatewayCounts {
            connections: grown(|counts| counts.connections),
            handshakes_full: grown(|counts| counts.handshakes_full),
            handshakes_full_hrr: grown(|counts| counts.handshakes_full_hrr),
            handshakes_resumed: grown(|counts| counts.handshakes_resumed),
            handshakes_failed: grown(|counts| counts.handshakes_failed),
            cache_hits: grown(|counts| counts.cache_hits),
            cache_misses: grown(|counts| counts.cache_misses),
            cache_stale: grown(|counts| counts.cache_stale),
            tickets_issued: grown(|counts| counts.tickets_issued),
            tickets_accepted: grown(|counts| counts.tickets_accepted),
            tickets_declined: grown(|counts| counts.tickets_declined),
            shed: grown(|counts| counts.shed),
            denied: grown(|counts| counts.denied),
            requests_ok: grown(|counts| counts.requests_ok),
            requests: grown(|counts| counts.requests),
        }
    }

    /// Share of look-ups that found a usable verdict; `None` if nothing was looked up.
    pub(crate) fn cache_hit_share(&self) -> Option<f64> {
        share(
            self.cache_hits,
            self.cache_hits + self.cache_misses + self.cache_stale,
        )
    }

    /// Share of the offered tickets that were accepted; `None` if none was offered.
    pub(crate) fn tickets_accepted_share(&self) -> Option<f64> {
        share(
            self.tickets_accepted,
            self.tickets_accepted + self.tickets_declined,
        )
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = r#"
gateway_connections_total{listener="devices"} 10
gateway_handshakes_total{listener="devices",kind="full",outcome="ok"} 9
gateway_handshakes_total{listener="devices",kind="full",outcome="expired"} 1
gateway_chain_cache_lookups_total{result="hit"} 0
gateway_chain_cache_lookups_total{result="miss"} 9
gateway_tickets_total{event="issued",reason=""} 9
"#;
    const AFTER: &str = r#"
gateway_connections_total{listener="devices"} 30
gateway_handshakes_total{listener="devices",kind="full",outcome="ok"} 10
gateway_handshakes_total{listener="devices",kind="resumed",outcome="ok"} 18
gateway_handshakes_total{listener="devices",kind="full",outcome="expired"} 2
gateway_chain_cache_lookups_total{result="hit"} 3
gateway_chain_cache_lookups_total{result="miss"} 10
gateway_tickets_total{event="accepted",reason=""} 18
gateway_tickets_total{event="declined",reason="lineage_age"} 2
gateway_requests_total{upstream="telemetry",status="2xx"} 28
gateway_requests_total{upstream="telemetry",status="5xx"} 1
"#;

    #[test]
    fn a_phase_is_the_difference_of_two_looks() {
        let before = GatewayCounts::of(&Exposition::parse(BEFORE));
        let delta = GatewayCounts::of(&Exposition::parse(AFTER)).since(&before);
        assert_eq!((delta.connections, delta.handshakes_full), (20, 1));
        assert_eq!((delta.handshakes_resumed, delta.handshakes_failed), (18, 1));
        assert_eq!((delta.requests_ok, delta.requests), (28, 29));
        assert_eq!(delta.cache_hit_share(), Some(0.75));
        assert_eq!(delta.tickets_accepted_share(), Some(0.9));
        assert_eq!(before.tickets_accepted_share(), None);
    }
}

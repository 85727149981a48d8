//! What each metric is, in a sentence that Prometheus shows beside it. It registers and counts nothing.

use metrics::Recorder as _;
use metrics_exporter_prometheus::PrometheusRecorder;

/// Describes every metric.
pub(super) fn all(recorder: &PrometheusRecorder) {
    let counters = [
        ("gateway_connections_total", "Connections accepted."),
        (
            "gateway_handshakes_total",
            "TLS handshakes by kind, and by outcome: ok or the reason of the failure.",
        ),
        (
            "gateway_chain_cache_lookups_total",
            "Look-ups in the verified-chain cache.",
        ),
        (
            "gateway_tickets_total",
            "Session tickets issued, accepted, and declined by reason.",
        ),
        (
            "gateway_shed_total",
            "Connections turned away before any cryptography.",
        ),
        (
            "gateway_limited_total",
            "Limits that devices met, and what came of it.",
        ),
        (
            "gateway_denied_total",
            "Devices that were identified and not served.",
        ),
        (
            "gateway_connections_ended_total",
            "Open connections ended because their device is not to be served any more.",
        ),
        (
            "gateway_timeouts_total",
            "Connections ended by a deadline after the handshake.",
        ),
        (
            "gateway_http2_floods_total",
            "HTTP/2 connections ended because they kept the gateway busy for nothing.",
        ),
        (
            "gateway_requests_total",
            "Requests by upstream and class of status.",
        ),
        (
            "gateway_upstream_connections_total",
            "Connections opened to upstreams.",
        ),
        (
            "gateway_upstream_ejections_total",
            "Endpoints taken out for their answers.",
        ),
        (
            "gateway_upstream_health_checks_total",
            "Health checks by outcome: ok or why it failed.",
        ),
        (
            "gateway_upstream_retries_total",
            "Requests that were sent to another endpoint because nothing had been sent, sent again, or not sent again for want of budget.",
        ),
        (
            "gateway_upstream_failures_total",
            "What went wrong with connections to endpoints and requests on them, by reason.",
        ),
        ("gateway_reloads_total", "Configuration reloads."),
        ("gateway_tunnels_total", "Tunnels by how they ended."),
        (
            "gateway_tunnel_bytes_total",
            "Bytes that went through tunnels, counted when they end.",
        ),
        (
            "gateway_revocation_checks_total",
            "What the revocation lists said in full handshakes about the worst certificate of the chain.",
        ),
        (
            "gateway_ocsp_checks_total",
            "What became of asking responders about device certificates.",
        ),
        (
            "gateway_access_log_lost_total",
            "Records of the access log that found no room in its queue or could not be written.",
        ),
        (
            "gateway_spans_total",
            "Spans of sampled traces by what became of them: exported, failed or lost for want of room.",
        ),
        (
            "gateway_crl_fetches_total",
            "Attempts to fetch a revocation list.",
        ),
    ];
    for (name, help) in counters {
        recorder.describe_counter(name.into(), None, help.into());
    }
    let gauges = [
        ("gateway_connections_open", "Connections open."),
        (
            "gateway_connections_hibernating",
            "Open connections on which nothing is asked, and whose buffers are released.",
        ),
        ("gateway_tunnels_open", "Tunnels open."),
        (
            "gateway_chain_cache_entries",
            "Verified chains in the cache.",
        ),
        (
            "gateway_crl_entries",
            "Certificates that the revocation lists in force name.",
        ),
        (
            "gateway_crl_age_seconds",
            "Since the oldest list in force of the issuer was issued.",
        ),
        (
            "gateway_crl_next_update_seconds",
            "Until the first list in force of the issuer runs out; negative when it has.",
        ),
        (
            "gateway_upstream_endpoint_up",
            "Addresses of the endpoint that take requests: 0 or 1, or more for a host name.",
        ),
        (
            "gateway_upstream_pending",
            "Requests that wait for a connection.",
        ),
        (
            "gateway_admission_waiting",
            "Connections that wait for a turn of public-key work.",
        ),
        (
            "gateway_admission_newest_first",
            "1 while the newest hellos go first, because not all can be served.",
        ),
        (
            "gateway_admission_patience_seconds",
            "The age at which devices give up, as far as they have shown it.",
        ),
        (
            "gateway_upstream_connections_open",
            "Connections open to upstreams.",
        ),
    ];
    for (name, help) in gauges {
        recorder.describe_gauge(name.into(), None, help.into());
    }
    let histograms = [
        (
            "gateway_handshake_seconds",
            "From accept to the end of a successful handshake.",
        ),
        (
            "gateway_admission_wait_seconds",
            "From asking for a turn of public-key work to its beginning, of those who had to wait and got one.",
        ),
        (
            "gateway_request_seconds",
            "From the end of the request head to the end of the response.",
        ),
    ];
    for (name, help) in histograms {
        recorder.describe_histogram(name.into(), None, help.into());
    }
}

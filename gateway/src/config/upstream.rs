//! `[[upstreams]]`.

use std::path::Path;
use std::time::Duration;

use crate::config::section::Section;
use crate::config::units;
use crate::upstream::connect::Protocol;
use crate::upstream::{Endpoint, Limits, Settings, tls};

/// Reads all upstreams; what is wrong is noted, and its place kept, because routes name upstreams by place.
pub(super) fn read(file: &mut Section<'_>, base: &Path) -> Vec<Settings> {
    let mut upstreams: Vec<Settings> = Vec::new();
    for mut section in file.tables("upstreams") {
        let name = section.required("name").unwrap_or_default();
        let mut endpoints = Vec::new();
        for text in section.strings("endpoints").unwrap_or_default() {
            match units::endpoint(&text, base) {
                Ok(endpoint) => endpoints.push(endpoint),
                Err(problem) => section.error("endpoints", &problem),
            }
        }
        if endpoints.is_empty() {
            section.error(
                "endpoints",
                "name at least one, such as \"http://127.0.0.1:9000\"",
            );
        }
        let protocols = [("http1", Protocol::Http1), ("http2", Protocol::Http2)];
        let protocol = section.choice("protocol", &protocols).unwrap_or_default();
        let tls = tls(&mut section, &endpoints, base);
        let limits = limits(&mut section);
        if upstreams.iter().any(|other| other.name == name) {
            section.error(
                "name",
                &format!("another upstream is called \"{name}\" too"),
            );
        }
        section.finish();
        upstreams.push(Settings {
            name,
            endpoints,
            protocol,
            tls,
            limits,
        });
    }
    upstreams
}

fn limits(section: &mut Section<'_>) -> Limits {
    Limits {
        connect_timeout: section.duration("connect_timeout", Duration::from_secs(3)),
        response_timeout: section.duration("response_timeout", Duration::from_secs(30)),
        pool_idle_timeout: section.duration("pool_idle_timeout", Duration::from_secs(55)),
        pool_max_idle: section.integer("pool_max_idle", 64, 0, 100_000),
        max_connections: section.integer("max_connections", 1024, 1, 100_000),
        max_pending: section.integer("max_pending", 1024, 0, 1_000_000),
        queue_timeout: section.duration("queue_timeout", Duration::from_secs(1)),
        max_connection_age: section.optional_duration("max_connection_age"),
        max_requests: section
            .optional_integer("max_connection_requests", 1, 1_000_000_000)
            .map(|most| most as u64),
        ping_interval: section.optional_duration("ping_interval"),
    }
}

fn tls(section: &mut Section<'_>, endpoints: &[Endpoint], base: &Path) -> tls::Settings {
    let encrypted = endpoints.iter().any(|endpoint| endpoint.encrypted);
    let Some(mut table) = section.optional_table("tls") else {
        if encrypted {
            section.error(
                "tls.anchors",
                "https endpoints need the anchors that their certificates lead to",
            );
        }
        return tls::Settings::default();
    };
    if !encrypted && !endpoints.is_empty() {
        section.error("tls", "no endpoint of this upstream is reached by https");
    }
    let anchors = table.strings("anchors").unwrap_or_default();
    if anchors.is_empty() {
        table.error(
            "anchors",
            "name at least one file or folder with trust anchors",
        );
    }
    let settings = tls::Settings {
        anchors: anchors.iter().map(|path| base.join(path)).collect(),
        credentials: table.credentials(base),
        server_name: table.string("server_name"),
    };
    table.finish();
    settings
}

//! `[[upstreams]]`.

use std::time::Duration;

use crate::config::section::Section;
use crate::config::units;
use crate::upstream::connect::Protocol;
use crate::upstream::{Limits, Settings};

/// Reads all upstreams; what is wrong is noted, and its place kept, because routes name upstreams by place.
pub(super) fn read(file: &mut Section<'_>) -> Vec<Settings> {
    let mut upstreams: Vec<Settings> = Vec::new();
    for mut section in file.tables("upstreams") {
        let name = section.required("name").unwrap_or_default();
        let mut endpoints = Vec::new();
        for text in section.strings("endpoints").unwrap_or_default() {
            match units::endpoint(&text) {
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
        let limits = Limits {
            connect_timeout: section.duration("connect_timeout", Duration::from_secs(3)),
            response_timeout: section.duration("response_timeout", Duration::from_secs(30)),
            pool_idle_timeout: section.duration("pool_idle_timeout", Duration::from_secs(55)),
            pool_max_idle: section.integer("pool_max_idle", 64, 0, 100_000),
        };
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
            protocol: Protocol::Http1,
            limits,
        });
    }
    upstreams
}

//! `[[listeners]]`.

use std::time::Duration;

use crate::config::section::Section;
use crate::listener::{Protocol, Settings};
use crate::serve::tcp;
use crate::upstream;

/// How long nothing may move through a tunnel. Generous: devices that speak MQTT keep quiet for as long as their keep-alive.
const TUNNEL_IDLE: Duration = Duration::from_secs(60 * 60);

#[derive(Clone, Copy)]
enum Choice {
    Http,
    Tcp,
}

/// Reads all listeners; what is wrong is noted and left out.
pub(super) fn read(file: &mut Section<'_>, upstreams: &[upstream::Settings]) -> Vec<Settings> {
    let mut listeners: Vec<Settings> = Vec::new();
    for mut section in file.tables("listeners") {
        let name = section.required("name");
        let address = section.address("address");
        if address.is_none() {
            section.missing("address");
        }
        let choices = [("http", Choice::Http), ("tcp", Choice::Tcp)];
        let protocol = match section.choice("protocol", &choices) {
            None | Some(Choice::Http) => Some(Protocol::Http),
            Some(Choice::Tcp) => tcp(&mut section, upstreams).map(Protocol::Tcp),
        };
        if let (Some(name), Some(address)) = (&name, address) {
            if listeners.iter().any(|other| other.name == *name) {
                section.error(
                    "name",
                    &format!("another listener is called \"{name}\" too"),
                );
            }
            if address.port() != 0 && listeners.iter().any(|other| other.address == address) {
                section.error("address", &format!("another listener has {address} too"));
            }
        }
        section.finish();
        if let (Some(name), Some(address), Some(protocol)) = (name, address, protocol) {
            listeners.push(Settings {
                name,
                address,
                protocol,
            });
        }
    }
    listeners
}

fn tcp(section: &mut Section<'_>, upstreams: &[upstream::Settings]) -> Option<tcp::Settings> {
    let upstream = section.required("upstream");
    if let Some(name) = &upstream
        && !upstreams.iter().any(|upstream| upstream.name == *name)
    {
        section.error("upstream", &format!("no upstream is called \"{name}\""));
    }
    let certificate = section.boolean("proxy_protocol_certificate", false);
    let proxy_protocol = section
        .choice("proxy_protocol", &[("none", false), ("v2", true)])
        .unwrap_or(false);
    if certificate && !proxy_protocol {
        section.error(
            "proxy_protocol_certificate",
            "it needs proxy_protocol = \"v2\"",
        );
    }
    let alpn = section.strings("alpn").unwrap_or_default();
    if alpn.iter().any(|name| !(1..=255).contains(&name.len())) {
        section.error("alpn", "a protocol's name has 1 to 255 bytes");
    }
    Some(tcp::Settings {
        proxy_protocol: proxy_protocol.then_some(crate::proxy_protocol::Settings { certificate }),
        alpn,
        idle_timeout: section.duration("idle_timeout", TUNNEL_IDLE),
        allow_anonymous: section.boolean("allow_anonymous", false),
        upstream: upstream?,
    })
}

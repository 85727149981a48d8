//! `[admission.source]`, `[limits.device]` and their like: what sources and devices may use.

use std::time::Duration;

use crate::config::section::Section;
use crate::limits::arrivals;
use crate::limits::device::{self, Connections, Excess};
use crate::limits::source;
use crate::rate::Rate;

/// Slower than this a body might stand still for longer than `timeouts.idle` allows.
const LEAST_BYTES: u64 = 4 * 1024;

/// Reads what `[admission]` says about connections before TLS, and how many sources are remembered.
pub(super) fn sources(admission: &mut Section<'_>) -> (source::Settings, usize) {
    let per_second = admission.optional_integer("connections_per_second", 1, 10_000_000);
    let connections =
        per_second.map(|most| Rate::new(most as u64, Duration::from_secs(1), most as u64));
    let mut section = admission.table("source", false);
    let settings = source::Settings {
        connections,
        rate: section.rate("rate", "burst"),
        open: count(&mut section, "open"),
        failed_handshakes: section.rate("failed_handshakes", "failed_handshakes_burst"),
        ipv6_prefix: u8::try_from(section.integer("ipv6_prefix", 64, 1, 128)).unwrap_or(64),
    };
    let remembered = section.integer("remembered", 100_000, 16, 100_000_000);
    section.finish();
    (settings, remembered)
}

/// Reads `[limits.device]`, and how many devices are remembered.
pub(super) fn devices(limits: &mut Section<'_>) -> (device::Settings, usize) {
    let mut section = limits.table("device", false);
    let remembered = section.integer("remembered", 100_000, 16, 100_000_000);
    let settings = device(&mut section);
    section.finish();
    (settings, remembered)
}

/// Reads the `limits` of a trust domain, which stand in place of `[limits.device]`.
pub(super) fn of_domain(domain: &mut Section<'_>) -> Option<device::Settings> {
    let mut section = domain.optional_table("limits")?;
    let settings = device(&mut section);
    section.finish();
    Some(settings)
}

fn device(section: &mut Section<'_>) -> device::Settings {
    let choices = [
        ("end_oldest", Excess::EndOldest),
        ("refuse_newest", Excess::RefuseNewest),
    ];
    let most = section.optional_integer("connections", 1, 1_000_000);
    let excess = section.choice("excess", &choices);
    if most.is_none() && excess.is_some() {
        section.error("excess", "without connections it says nothing");
    }
    device::Settings {
        requests: section.rate("requests", "requests_burst"),
        bytes: section.byte_rate("bytes", LEAST_BYTES),
        concurrent_requests: count(section, "concurrent_requests"),
        connections: most.map(|most| Connections {
            most,
            excess: excess.unwrap_or(Excess::EndOldest),
        }),
        handshakes: arrivals(section),
    }
}

fn arrivals(section: &mut Section<'_>) -> Option<arrivals::Settings> {
    let mut section = section.table("handshakes", false);
    let enabled = section.boolean("enabled", true);
    let free = section.integer("free", 30, 1, 1_000_000) as u64;
    let period = section.duration("period", Duration::from_secs(60));
    let delay = section.duration("delay", Duration::from_secs(1));
    let max_delay = section.duration("max_delay", Duration::from_secs(60));
    if max_delay < delay {
        section.error("max_delay", "it is shorter than delay");
    }
    section.finish();
    enabled.then(|| arrivals::Settings {
        rate: Rate::new(free, period, free),
        delay,
        max_delay,
    })
}

fn count(section: &mut Section<'_>, key: &'static str) -> Option<u32> {
    let count = section.optional_integer(key, 1, 1_000_000)?;
    u32::try_from(count).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::config::tests::{SMALLEST, parse, problems};
    use crate::limits::device::{Connections, Excess};
    use crate::rate::Rate;

    fn with(more: &str) -> String {
        format!("{SMALLEST}{more}")
    }

    #[test]
    fn only_devices_in_a_tight_loop_are_limited_by_default() {
        let config = parse(SMALLEST).unwrap();
        let device = config.settings.device_limits;
        assert!(device.handshakes.is_some());
        assert!(device.requests.is_none() && device.bytes.is_none());
        assert!(device.connections.is_none() && device.concurrent_requests.is_none());
        let source = config.settings.source_limits;
        assert!(source.connections.is_none() && source.rate.is_none() && source.open.is_none());
        assert!(source.failed_handshakes.is_none());
    }

    #[test]
    fn every_limit_is_read_and_a_domain_has_its_own() {
        let config = parse(&with(
            "[limits.device]\nrequests = \"600/m\"\nbytes = \"1MiB/s\"\nconnections = 2\nexcess = \"refuse_newest\"\n\
             concurrent_requests = 8\nhandshakes = { enabled = false }\n\
             [trust.limits]\nrequests = \"5/s\"\nrequests_burst = 50\n\
             [admission]\nconnections_per_second = 2000\n\
             [admission.source]\nrate = \"10/s\"\nburst = 100\nopen = 20\nfailed_handshakes = \"30/h\"\nipv6_prefix = 56\n",
        ))
        .unwrap();
        let minute = Duration::from_secs(60);
        let device = config.settings.device_limits;
        assert_eq!(device.requests, Some(Rate::new(600, minute, 10)));
        assert_eq!(
            device.connections,
            Some(Connections {
                most: 2,
                excess: Excess::RefuseNewest
            })
        );
        assert_eq!(device.handshakes, None);
        let own = config.trust_domains[0].device_limits.unwrap();
        assert_eq!(own.requests, Some(Rate::new(5, Duration::from_secs(1), 50)));
        assert!(own.handshakes.is_some() && own.connections.is_none());
        let source = config.settings.source_limits;
        assert_eq!(source.open, Some(20));
        assert_eq!(
            source.failed_handshakes,
            Some(Rate::new(30, 60 * minute, 1))
        );
        assert_eq!(source.ipv6_prefix, 56);
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        assert_eq!(
            problems(&with(
                "[limits.device]\nrequests_burst = 5\nbytes = \"1KiB/s\"\nexcess = \"end_oldest\"\n\
                 handshakes = { delay = \"5s\", max_delay = \"1s\" }\n\
                 [admission.source]\nrate = \"often\"\nipv6_prefix = 129\n"
            )),
            [
                "admission.source.rate: \"often\" is no rate; write 100/s, 30/m or 10/h",
                "admission.source.ipv6_prefix: 129 is not between 1 and 128",
                "limits.device.excess: without connections it says nothing",
                "limits.device.requests_burst: without requests it bounds nothing",
                "limits.device.bytes: \"1KiB/s\" is less than 4096 bytes in a second",
                "limits.device.handshakes.max_delay: it is shorter than delay",
            ]
        );
    }
}

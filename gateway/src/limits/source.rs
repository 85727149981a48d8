//! What may come from one address, before TLS: connections in a second, connections at once, handshakes that fail.
//!
//! An address may be many devices behind one translator, so nothing is bounded unless it is configured.

use std::net::{IpAddr, Ipv6Addr};

use parking_lot::Mutex;

use crate::limits::table::Remembered;
use crate::rate::{Mark, Rate};

/// Bounds on what comes from anywhere, and from one source. `None` is no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Connections from all sources together.
    pub connections: Option<Rate>,
    /// Connections from one source.
    pub rate: Option<Rate>,
    /// Connections from one source that are open at once.
    pub open: Option<u32>,
    /// Handshakes from one source that fail by their own fault.
    pub failed_handshakes: Option<Rate>,
    /// How many bits of an IPv6 address are one source.
    pub ipv6_prefix: u8,
}

impl Settings {
    /// Whether anything about single sources has to be remembered.
    pub(super) fn looks_at_sources(&self) -> bool {
        self.rate.is_some() || self.open.is_some() || self.failed_handshakes.is_some()
    }

    /// The source that `address` belongs to.
    pub(super) fn source(&self, address: IpAddr) -> IpAddr {
        match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                let host_bits = 128 - u32::from(self.ipv6_prefix.min(128));
                let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
            }
        }
    }
}

/// Why a connection is turned away before TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shed {
    /// Too many connections come.
    Rate,
    /// Too many come from this source.
    SourceRate,
    /// Too many from this source are open.
    SourceOpen,
    /// Too many handshakes from this source failed.
    SourceFailures,
}

impl Shed {
    /// Every reason, for the metric that counts them.
    pub const ALL: [Self; 4] = [
        Self::Rate,
        Self::SourceRate,
        Self::SourceOpen,
        Self::SourceFailures,
    ];

    /// The metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::SourceRate => "source_rate",
            Self::SourceOpen => "source_open",
            Self::SourceFailures => "source_failures",
        }
    }
}

/// What is remembered of a source.
#[derive(Debug, Default)]
pub struct Source(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    connections: Mark,
    failures: Mark,
    open: u32,
}

impl Remembered for Source {
    fn worth(&self, now: u64) -> u64 {
        let state = self.0.lock();
        state.connections.max(state.failures).saturating_sub(now)
    }
}

impl Source {
    /// A connection came at `now`; [`Source::close`] is to be said for one that may stay.
    pub(super) fn open(&self, settings: &Settings, now: u64) -> Result<(), Shed> {
        let mut state = self.0.lock();
        if let Some(rate) = settings.failed_handshakes
            && rate.is_spent(state.failures, now)
        {
            return Err(Shed::SourceFailures);
        }
        if settings.open.is_some_and(|most| state.open >= most) {
            return Err(Shed::SourceOpen);
        }
        if let Some(rate) = settings.rate {
            rate.take(&mut state.connections, now, 1)
                .map_err(|_| Shed::SourceRate)?;
        }
        state.open += 1;
        Ok(())
    }

    pub(super) fn close(&self) {
        let mut state = self.0.lock();
        state.open = state.open.saturating_sub(1);
    }

    /// A handshake failed at `now`.
    pub(super) fn failed(&self, rate: Rate, now: u64) {
        // Those that were under way already count no further than to the end of the burst: a burst that fails at once does
        // not shut the source out for longer than one that fails in turn.
        let _ = rate.take(&mut self.0.lock().failures, now, 1);
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use super::{Settings, Shed, Source};
    use crate::rate::Rate;

    fn settings(ipv6_prefix: u8) -> Settings {
        let rate = |burst| Some(Rate::new(1, Duration::from_secs(1), burst));
        Settings {
            connections: None,
            rate: rate(4),
            open: Some(2),
            failed_handshakes: rate(1),
            ipv6_prefix,
        }
    }

    #[test]
    fn an_ipv6_network_is_one_source() {
        let source = |prefix, text: &str| {
            let address = settings(prefix).source(text.parse().unwrap());
            address.to_string()
        };
        assert_eq!(source(64, "2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(source(56, "2001:db8:1:2ff:3:4:5:6"), "2001:db8:1:200::");
        assert_eq!(source(128, "2001:db8::1"), "2001:db8::1");
        assert_eq!(source(0, "2001:db8::1"), "::");
        assert_eq!(source(64, "192.0.2.7"), "192.0.2.7");
        assert_eq!(source(64, "::ffff:192.0.2.7"), "192.0.2.7");
        assert!(source(64, "::1").parse::<IpAddr>().is_ok());
    }

    #[test]
    fn each_bound_has_its_reason() {
        let settings = settings(64);
        let source = Source::default();
        let open = |now| source.open(&settings, now);
        assert_eq!((open(0), open(0)), (Ok(()), Ok(())));
        assert_eq!(open(0), Err(Shed::SourceOpen));
        for _ in 0..2 {
            source.close();
            assert_eq!(open(0), Ok(()));
        }
        source.close();
        assert_eq!(open(0), Err(Shed::SourceRate));
        source.failed(settings.failed_handshakes.unwrap(), 0);
        assert_eq!(open(999_999_999), Err(Shed::SourceFailures));
        assert_eq!(open(1_000_000_000), Ok(()));
    }
}

//! The metrics of one listener's tunnels.

use metrics::{Counter, Gauge};

use super::{Open, Registrar, count};
use crate::tunnel::{End, Moved};

/// What became of a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TunnelOutcome {
    /// It was opened, and ended so.
    Ended(End),
    /// There was none, for want of an upstream.
    Unreachable,
}

impl TunnelOutcome {
    const LABELS: [&'static str; 6] = [
        "closed",
        "idle",
        "denied",
        "device_broke",
        "upstream_broke",
        "upstream_unreachable",
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Ended(end) => end.label(),
            Self::Unreachable => "upstream_unreachable",
        }
    }
}

/// The metrics of one listener's tunnels.
pub struct Tunnels {
    open: Gauge,
    ended: Vec<(&'static str, Counter)>,
    bytes: [Counter; 2],
}

impl Tunnels {
    pub(super) fn register(register: &Registrar<'_>, listener: &str) -> Self {
        Self {
            open: register.gauge("gateway_tunnels_open", &[("listener", listener)]),
            ended: TunnelOutcome::LABELS
                .map(|outcome| {
                    let labels = [("listener", listener), ("outcome", outcome)];
                    (outcome, register.counter("gateway_tunnels_total", &labels))
                })
                .into(),
            bytes: ["to_upstream", "to_device"].map(|direction| {
                let labels = [("listener", listener), ("direction", direction)];
                register.counter("gateway_tunnel_bytes_total", &labels)
            }),
        }
    }

    /// Counts a tunnel as open until the answer is dropped.
    pub fn opened(&self) -> Open {
        self.open.increment(1.0);
        Open(self.open.clone())
    }

    /// Counts what became of a tunnel, and what went through it.
    pub fn ended(&self, outcome: TunnelOutcome, moved: Moved) {
        count(&self.ended, outcome.label());
        let [to_upstream, to_device] = &self.bytes;
        to_upstream.increment(moved.to_upstream);
        to_device.increment(moved.to_device);
    }
}

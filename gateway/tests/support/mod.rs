//! What the tests share: a public key infrastructure, gateways in this process, devices, and upstreams that show every
//! byte that reached them.

#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "each test program uses a part of this, and a test that cannot go on should panic"
)]

pub(crate) mod counters;
pub(crate) mod device;
pub(crate) mod h2;
pub(crate) mod hello;
pub(crate) mod lists;
pub(crate) mod message;
pub(crate) mod pki;
pub(crate) mod plants;
pub(crate) mod program;
pub(crate) mod running;
pub(crate) mod upstream;

use std::time::Duration;

pub(crate) use counters::Counters;
pub(crate) use device::{Connection, Device, Options};
pub(crate) use pki::Pki;
pub(crate) use plants::Plants;
pub(crate) use running::{Gateway, Setup};
pub(crate) use upstream::Upstream;

/// How long anything may take before a test gives up. Only a failing test waits for so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Asks `condition` again and again until it answers.
pub(crate) fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = gateway::clock::now() + PATIENCE;
    loop {
        if let Some(answer) = condition() {
            return answer;
        }
        assert!(
            gateway::clock::now() < deadline,
            "waited in vain for: {what}"
        );
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// A gateway with one upstream that answers everything with `200 ok`, and the PKI of its fleet.
pub(crate) struct Fleet {
    pub(crate) pki: Pki,
    pub(crate) upstream: Upstream,
    pub(crate) gateway: Gateway,
}

impl Fleet {
    /// Starts it with `change` made to the smallest configuration.
    pub(crate) fn start(change: impl FnOnce(&mut Setup)) -> Self {
        Self::with_upstream(Upstream::ok(), change)
    }

    /// Starts it in front of `upstream`.
    pub(crate) fn with_upstream(upstream: Upstream, change: impl FnOnce(&mut Setup)) -> Self {
        let pki = Pki::new();
        let mut setup = Setup::new(upstream.address());
        change(&mut setup);
        let gateway = Gateway::start(&pki, &setup);
        Self {
            pki,
            upstream,
            gateway,
        }
    }

    /// A good device of this fleet.
    pub(crate) fn device(&self) -> Device {
        Device::new(&self.pki, Some(&self.pki.device("device-000001")))
    }

    /// A good device's open connection.
    pub(crate) fn connect(&self) -> Connection {
        self.device().connect(self.gateway.address())
    }
}

//! When, on what and with what something was measured.

use std::time::Instant;

use loadgen::report::Host;
use serde::{Deserialize, Serialize};

use crate::cores::Cores;
use crate::number::plain;
use crate::output;

/// What every report says beside its figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Circumstances {
    /// When it began, RFC 3339, UTC.
    pub(crate) started_at: String,
    /// How long it took.
    pub(crate) took_seconds: f64,
    /// The machine.
    pub(crate) host: Host,
    /// The gateway's version and commit.
    pub(crate) gateway_version: String,
    /// Core of the server under test.
    pub(crate) server_core: usize,
    /// Core of the load.
    pub(crate) generator_core: usize,
}

/// A measurement that has begun.
#[derive(Debug)]
pub(crate) struct Begun {
    at: Instant,
    started_at: String,
}

impl Begun {
    /// Now.
    pub(crate) fn now() -> Begun {
        Begun {
            at: Instant::now(),
            started_at: output::now(),
        }
    }

    /// It has ended.
    pub(crate) fn end(self, cores: Cores) -> Circumstances {
        Circumstances {
            started_at: self.started_at,
            took_seconds: self.at.elapsed().as_secs_f64(),
            host: Host::here(),
            gateway_version: gateway::cli::VERSION.to_owned(),
            server_core: cores.server,
            generator_core: cores.generator,
        }
    }
}

impl Circumstances {
    /// Terms and texts for a page.
    pub(crate) fn definitions(&self) -> Vec<(&'static str, String)> {
        let unknown = || "unknown".to_owned();
        let host = &self.host;
        let memory = host
            .memory_bytes
            .map(|bytes| format!("{} GiB", plain(bytes as f64 / f64::from(1 << 30))));
        vec![
            ("gateway", self.gateway_version.clone()),
            ("processor", host.processor.clone().unwrap_or_else(unknown)),
            (
                "cores",
                format!(
                    "{}; the server on core {}, the load on core {}",
                    host.cores, self.server_core, self.generator_core
                ),
            ),
            ("memory", memory.unwrap_or_else(unknown)),
            ("kernel", host.kernel.clone().unwrap_or_else(unknown)),
        ]
    }

    /// What to bear in mind about them.
    pub(crate) fn notes(&self) -> Vec<String> {
        let one_core = self.server_core == self.generator_core;
        let one_core = one_core.then(|| {
            "There was only one core: server and load took turns on it, so times are longer and rates lower than on two."
                .to_owned()
        });
        crate::build_profile::note()
            .into_iter()
            .chain(one_core)
            .collect()
    }
}

/// Of nowhere in particular, for tests.
#[cfg(test)]
pub(crate) fn sample() -> Circumstances {
    Circumstances {
        started_at: "2026-11-21T00:00:00Z".to_owned(),
        took_seconds: 300.0,
        host: Host {
            cores: 2,
            processor: Some("A <fast> processor".to_owned()),
            kernel: None,
            memory_bytes: Some(8 << 30),
            descriptor_limit: Some(20_000),
        },
        gateway_version: "0.1.0 (abc)".to_owned(),
        server_core: 1,
        generator_core: 0,
    }
}

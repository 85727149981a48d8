//! The same storm against other servers: twice what each of them can serve, with the same devices, the same patience and the same share
//! of a core. They are shown and not judged.

use std::net::SocketAddr;
use std::path::Path;

use loadgen::Stop;
use serde::{Deserialize, Serialize};

use super::choices::{Choices, FACTORS, Where};
use super::established::Established;
use super::loads::Loads;
use super::phase::{Kind, Phase, Plans};
use super::waiting::Waiting;
use crate::compare::running::{Installed, Running};
use crate::compare::server::Server;
use crate::cores::Cores;
use crate::quota::Quota;

/// Where the devices of these storms are.
const PLACE: Where = Where::Near;

/// What was found about one peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PeerStorm {
    /// Which.
    pub(crate) server: Server,
    /// As it says itself.
    pub(crate) version: String,
    /// Whether it had a share of a core only; otherwise it had all of one.
    pub(crate) quota: bool,
    /// The established devices before anything happened.
    pub(crate) quiet: Waiting,
    /// As many as it serves, and then twice that.
    pub(crate) phases: Vec<Phase>,
}

impl PeerStorm {
    /// A phase's title, with the server's name.
    pub(super) fn title(&self, phase: &Phase) -> String {
        format!("{}: {}", self.server.name(), phase.title())
    }
}

/// What all peers have in common.
pub(super) struct Peers<'run> {
    pub(super) choices: &'run Choices,
    pub(super) work: &'run Path,
    pub(super) upstream: SocketAddr,
    pub(super) cores: Cores,
    pub(super) stop: &'run Stop,
}

impl Peers<'_> {
    /// One after the other; `None` if it was stopped from outside.
    pub(super) fn conduct(
        &self,
        installed: &[Installed],
    ) -> anyhow::Result<Option<Vec<PeerStorm>>> {
        let mut found = Vec::new();
        for installed in installed {
            found.push(self.storm(installed)?);
            if self.stop.is_requested() {
                return Ok(None);
            }
        }
        Ok(Some(found))
    }

    fn storm(&self, installed: &Installed) -> anyhow::Result<PeerStorm> {
        let Peers {
            choices,
            work,
            cores,
            ..
        } = *self;
        let server = installed.server;
        eprintln!("{}:", server.name());
        let running = Running::start(installed, server.program(), work, self.upstream, cores)?;
        let quota = Quota::grant(&running.pids, choices.share, cores, work)
            .inspect_err(|error| eprintln!("lab: it keeps its whole core: {error:#}"))
            .ok();
        let loads = Loads {
            plans: Plans {
                choices,
                work,
                address: running.address,
            },
            stop: self.stop,
        };
        let (probe, _) = loads.offer(Kind::Probe, None, 0.0)?;
        let established = Established::connect(
            work,
            running.address,
            choices.established,
            choices.requests_per_second,
            cores,
        )?;
        let quiet = loads.quiet(&established);
        let (measured, _) = loads.offer(Kind::Capacity, Some(PLACE), probe.goodput)?;
        let capacity = measured.goodput;
        let [factor, _] = FACTORS;
        let (mut storm, window) = loads.offer(Kind::Storm(factor), Some(PLACE), capacity)?;
        let quiet_ms = quiet.p99_ms.unwrap_or_default();
        loads.watch(&mut storm, window, &established, quiet_ms, capacity);
        Ok(PeerStorm {
            server,
            version: installed.version.clone(),
            quota: quota.is_some(),
            quiet,
            phases: vec![measured, storm],
        })
    }
}

//! The upstream as a process of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use crate::child::Child;
use crate::role;

/// A running upstream. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct UpstreamProcess {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    child: Child,
}

impl UpstreamProcess {
    /// Starts one on a free port, on the core on which this thread is.
    pub(crate) fn start(work: &Path) -> anyhow::Result<UpstreamProcess> {
        UpstreamProcess::spawn(work, None)
    }

    /// Kills it as a machine that fails would, and returns once its port is free.
    pub(crate) fn kill(self) -> anyhow::Result<SocketAddr> {
        self.child.signal(Signal::KILL)?;
        Ok(self.address)
    }

    /// Starts one where there was one before.
    pub(crate) fn return_at(work: &Path, address: SocketAddr) -> anyhow::Result<UpstreamProcess> {
        UpstreamProcess::spawn(work, Some(address))
    }

    fn spawn(work: &Path, address: Option<SocketAddr>) -> anyhow::Result<UpstreamProcess> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(role::UPSTREAM);
        command.args(address.map(|address| address.to_string()));
        let mut child = Child::start("the upstream", &mut command, &work.join("upstream.log"))?;
        let address = child.wait_for(bound_address)?;
        Ok(UpstreamProcess { address, child })
    }
}

fn bound_address(log: &str) -> Option<SocketAddr> {
    let line = log
        .lines()
        .find_map(|line| line.strip_prefix(role::LISTENING))?;
    line.parse().ok()
}

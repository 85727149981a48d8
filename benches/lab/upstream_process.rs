//! The upstream as a process of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::child::Child;
use crate::role;

/// A running upstream. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct UpstreamProcess {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    _child: Child,
}

impl UpstreamProcess {
    /// Starts one on a free port, on the core on which this thread is.
    pub(crate) fn start(work: &Path) -> anyhow::Result<UpstreamProcess> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(role::UPSTREAM);
        let mut child = Child::start("the upstream", &mut command, &work.join("upstream.log"))?;
        let address = child.wait_for(bound_address)?;
        Ok(UpstreamProcess {
            address,
            _child: child,
        })
    }
}

fn bound_address(log: &str) -> Option<SocketAddr> {
    let line = log
        .lines()
        .find_map(|line| line.strip_prefix(role::LISTENING))?;
    line.parse().ok()
}

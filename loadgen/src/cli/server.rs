//! Flags that say how the devices reach the server, the same for every command that makes load.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use loadgen::plan::{Distances, Group, IdentityEcho, Plan, SourceAddresses, Target};

use super::fleet::FleetArguments;
use super::plan::Given;
use super::value::{self, Tls};

/// The server and the way there.
#[derive(Debug, Args)]
pub(crate) struct ServerArguments {
    /// The server: https://HOST:PORT, with or without a path.
    #[arg(long, value_name = "URL", value_parser = Target::parse)]
    target: Option<Target>,
    /// Path to request, instead of the one in --target.
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// Connect to this address instead of resolving the host of --target.
    #[arg(long, value_name = "ADDRESS:PORT")]
    connect_to: Option<SocketAddr>,
    /// TLS version.
    #[arg(long, value_enum, default_value = "1.3")]
    tls: Tls,
    /// Key exchange groups to offer, in order: X25519, P-256, P-384, X25519MLKEM768.
    #[arg(long, value_name = "GROUP,…", value_parser = value::group, value_delimiter = ',', default_value = "X25519")]
    groups: Vec<Group>,
    /// Local addresses to connect from, in turn [default: 127.0.1.1-127.0.1.250 for a target on 127.0.0.0/8].
    #[arg(long, value_name = "FIRST-LAST")]
    source_ips: Option<SourceAddresses>,
    /// An attempt that is not done after this time has failed.
    #[arg(long, value_name = "TIME", value_parser = value::positive_duration, default_value = "10s")]
    timeout: Duration,
    /// Round trip between devices and server; several are given to the devices in turn: 60ms,300ms [default: none added]
    #[arg(long, value_name = "TIME,…")]
    distance: Option<Distances>,
    /// A device that is not accepted so long after its intended start gives up and closes [default: it waits for --timeout]
    #[arg(long, value_name = "TIME", value_parser = value::positive_duration)]
    patience: Option<Duration>,
    /// Hold what answers say about the device against its certificate; they say it in header:NAME, json:/POINTER or, from
    /// `loadgen upstream` on /headers, received:NAME. Any other device than the right one fails the run (exit 99)
    #[arg(long, value_name = "WHERE")]
    verify_identity: Option<IdentityEcho>,
    /// Threads that drive the fleet [default: one per core].
    #[arg(long, value_name = "N", value_parser = value::at_least_one::<usize>)]
    shards: Option<usize>,
    /// Seed of everything random.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Read this process's CPU time and memory (the server); may be repeated.
    #[arg(long, value_name = "PID")]
    pub(crate) watch_pid: Vec<u32>,
}

impl ServerArguments {
    /// The server, which a plan file may name too.
    ///
    /// # Errors
    ///
    /// Nobody names it, or the path is none.
    pub(crate) fn target(&self, of_file: Option<&Target>) -> anyhow::Result<Target> {
        let mut target = self
            .target
            .as_ref()
            .or(of_file)
            .cloned()
            .ok_or_else(|| anyhow!("no server: name it with --target https://HOST:PORT"))?;
        if let Some(path) = &self.path {
            target = target
                .with_path(path)
                .map_err(|error| anyhow!("--path: {error}"))?;
        }
        target.connect_to = self.connect_to.or(target.connect_to);
        Ok(target)
    }

    /// Changes what was given on the command line in a plan from a file.
    pub(crate) fn change(&self, plan: &mut Plan, given: &Given<'_>) {
        if given.has("tls") {
            plan.tls = self.tls.into();
        }
        if given.has("groups") {
            plan.groups.clone_from(&self.groups);
        }
        if given.has("timeout") {
            plan.timeout = self.timeout;
        }
        if given.has("seed") {
            plan.seed = self.seed;
        }
        if let Some(addresses) = self.source_ips {
            plan.source_addresses = addresses;
        }
        if let Some(distances) = &self.distance {
            plan.distances.clone_from(distances);
        }
        plan.patience = self.patience.or(plan.patience);
        if self.verify_identity.is_some() {
            plan.verify_identity.clone_from(&self.verify_identity);
        }
        plan.shards = self.shards.or(plan.shards);
        plan.watch_pids.extend(&self.watch_pid);
    }

    /// A plan for these devices, in which it is still to be said what they do.
    pub(crate) fn plan(&self, fleet: &FleetArguments) -> anyhow::Result<Plan> {
        let mut plan = Plan::new(self.target(None)?, "");
        plan.fleet = fleet.spec()?;
        plan.devices = fleet.devices;
        plan.tls = self.tls.into();
        plan.groups.clone_from(&self.groups);
        if let Some(addresses) = self.source_ips {
            plan.source_addresses = addresses;
        }
        plan.timeout = self.timeout;
        plan.distances = self.distance.clone().unwrap_or_default();
        plan.patience = self.patience;
        plan.verify_identity.clone_from(&self.verify_identity);
        plan.shards = self.shards;
        plan.seed = self.seed;
        plan.watch_pids.clone_from(&self.watch_pid);
        Ok(plan)
    }
}

//! Ports, addresses, and what the kernel remembers of connections.

use super::super::facts::Facts;
use super::super::kernel::TIME_WAIT_SECONDS;
use super::{Finding, Level, Wanted, finding, level_of, sysctl};

/// The widest useful range of local ports.
const WIDE: &str = "\"1024 65535\"";
/// How many that is.
const WIDE_PORTS: u64 = 65_535 - 1024 + 1;
/// Connections that may wait at a server under a storm.
const BACKLOG: u64 = 4096;
/// Seconds for which a closed connection is tracked where the kernel does not say.
const TRACKED_SECONDS: u64 = 120;

/// Connections at a time to one server's address.
pub(super) fn connections(facts: &Facts) -> Option<u64> {
    Some(ports_per_address(facts)?.saturating_mul(facts.ports.addresses.max(1)))
}

fn ports_per_address(facts: &Facts) -> Option<u64> {
    let (first, last) = facts.ports.range?;
    let all = u64::from(last).checked_sub(u64::from(first))? + 1;
    Some(all.saturating_sub(facts.ports.reserved))
}

pub(super) fn addresses(facts: &Facts) -> Option<Finding> {
    let ports = &facts.ports;
    if ports.sources.is_empty() {
        let found = "the kernel's choice: one";
        return finding("addresses", Level::Fine, found.to_owned(), Vec::new());
    }
    let lift: Vec<String> = ports
        .unusable
        .iter()
        .map(|address| format!("sudo ip address add {address}/32 dev lo   # or the interface that leads to the server"))
        .collect();
    let (level, state) = if lift.is_empty() {
        (Level::Fine, "can be bound")
    } else {
        (Level::Insufficient, "cannot be bound, not all of them")
    };
    let found = format!("{} of {}: {state}", ports.addresses, ports.sources);
    finding("addresses", level, found, lift)
}

pub(super) fn ports(facts: &Facts, wanted: &Wanted) -> Option<Finding> {
    let (first, last) = facts.ports.range?;
    let each = ports_per_address(facts)?;
    let most = connections(facts)?;
    let rate = most / TIME_WAIT_SECONDS;
    // A connection that was closed keeps its port as long as an open one for so many seconds.
    let closed = wanted.rate_per_second.unwrap_or(0.0) * TIME_WAIT_SECONDS as f64;
    let needed = wanted.devices.unwrap_or(0) as f64 + closed;
    let mut lift = Vec::new();
    if each < WIDE_PORTS {
        lift.push(sysctl("net.ipv4.ip_local_port_range", WIDE));
    }
    let addresses = (needed / WIDE_PORTS as f64).ceil() as u64;
    if wanted.is_something() && addresses > facts.ports.addresses.max(1) {
        lift.push(format!(
            "--source-ips FIRST-LAST   # {addresses} addresses or more"
        ));
    }
    finding(
        "ports",
        level_of(wanted.is_something().then_some(needed), most as f64),
        format!(
            "{first}-{last} on {} addresses: {most} connections at a time to one address of a server, or {rate}/s that close (each keeps its \
             port for {TIME_WAIT_SECONDS} s)",
            facts.ports.addresses.max(1)
        ),
        lift,
    )
}

pub(super) fn time_wait(facts: &Facts, wanted: &Wanted) -> Option<Finding> {
    let most = facts.tracking.time_wait_most?;
    let closed = wanted
        .rate_per_second
        .map(|rate| rate * TIME_WAIT_SECONDS as f64);
    // Beyond it the kernel forgets sooner, and says so in its log: nothing fails.
    let level = level_of(closed, most as f64).min(Level::Doubtful);
    let room = closed.map_or(4 * most, |closed| (2.0 * closed).ceil() as u64);
    finding(
        "closed connections",
        level,
        format!(
            "the kernel remembers {most} of them ({} now): {}/s that close",
            facts.tracking.time_wait.unwrap_or(0),
            most / TIME_WAIT_SECONDS
        ),
        vec![sysctl("net.ipv4.tcp_max_tw_buckets", room.max(most))],
    )
}

pub(super) fn conntrack(facts: &Facts, wanted: &Wanted) -> Option<Finding> {
    let most = facts.tracking.conntrack_most?;
    let seconds = facts.tracking.conntrack_seconds.unwrap_or(TRACKED_SECONDS);
    let free = most.saturating_sub(facts.tracking.conntrack.unwrap_or(0));
    let needed =
        wanted.devices.unwrap_or(0) as f64 + wanted.rate_per_second.unwrap_or(0.0) * seconds as f64;
    // Without rules that use it nothing is tracked, and whether there are any is root's to know.
    let level = level_of(wanted.is_something().then_some(needed), free as f64).min(Level::Doubtful);
    let room = ((2.0 * needed).ceil() as u64).max(2 * most);
    finding(
        "connection tracking",
        level,
        format!(
            "where the packet filter uses it, {free} of {most} entries are free: as many connections, or {}/s that close (each is tracked for \
             {seconds} s)",
            free / seconds.max(1)
        ),
        vec![sysctl("net.netfilter.nf_conntrack_max", room)],
    )
}

pub(super) fn backlog(facts: &Facts) -> Option<Finding> {
    let somaxconn = facts.somaxconn?;
    let (level, lift) = if somaxconn < BACKLOG {
        (Level::Doubtful, vec![sysctl("net.core.somaxconn", BACKLOG)])
    } else {
        (Level::Fine, Vec::new())
    };
    finding(
        "backlog",
        level,
        format!("{somaxconn} connections may wait to be accepted by a server on this machine"),
        lift,
    )
}

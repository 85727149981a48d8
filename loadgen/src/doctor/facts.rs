//! What is known of a machine: plain numbers, as read and tried.
//!
//! `None` stands for what the kernel does not say here; what is not known is not judged.

use serde::{Deserialize, Serialize};

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Descriptors.
    pub descriptors: Descriptors,
    /// Local ports and addresses.
    pub ports: Ports,
    /// What the kernel remembers of connections that are gone or pass through.
    pub tracking: Tracking,
    /// Memory.
    pub memory: Memory,
    /// Cores.
    pub cores: Cores,
    /// Clock and timers.
    pub clock: Clock,
    /// Connections that may wait to be accepted (`net.core.somaxconn`): it binds a server on this machine.
    pub somaxconn: Option<u64>,
    /// What handshakes cost here.
    pub handshakes: Option<Handshakes>,
}

/// Descriptors of this process and of the machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Descriptors {
    /// Soft limit; `loadgen run` raises it to the hard one by itself. `None`: without limit.
    pub soft: Option<u64>,
    /// Hard limit.
    pub hard: Option<u64>,
    /// Highest limit that can be set (`fs.nr_open`).
    pub settable: Option<u64>,
    /// Descriptors that the whole machine may have (`fs.file-max`).
    pub machine: Option<u64>,
    /// Those that it has.
    pub machine_in_use: Option<u64>,
}

/// Local ports and addresses.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Ports {
    /// First and last port that the kernel gives out (`net.ipv4.ip_local_port_range`).
    pub range: Option<(u16, u16)>,
    /// Ports within the range that it does not give out (`net.ipv4.ip_local_reserved_ports`).
    pub reserved: u64,
    /// The addresses to connect from; empty for the kernel's choice, which is one.
    pub sources: String,
    /// How many these are.
    pub addresses: u64,
    /// Of the first and the last of them, those that could not be bound.
    pub unusable: Vec<String>,
}

/// What the kernel remembers of connections.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Tracking {
    /// Closed connections that it remembers at most (`net.ipv4.tcp_max_tw_buckets`).
    pub time_wait_most: Option<u64>,
    /// Those that it remembers now.
    pub time_wait: Option<u64>,
    /// Connections that its packet filter tracks at most (`net.netfilter.nf_conntrack_max`); `None` where it tracks none.
    pub conntrack_most: Option<u64>,
    /// Those that it tracks now.
    pub conntrack: Option<u64>,
    /// Seconds for which it tracks a closed one.
    pub conntrack_seconds: Option<u64>,
}

/// Memory in bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Available on this machine.
    pub available: Option<u64>,
    /// What the control group allows.
    pub group_limit: Option<u64>,
}

/// Cores.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Cores {
    /// Cores on which this process may run.
    pub usable: u64,
    /// Cores' worth of time that its control group may use.
    pub quota: Option<f64>,
    /// The file that says so.
    pub quota_file: Option<String>,
    /// Share of the machine's time that the hypervisor gave to others while it was looked at.
    pub steal_share: Option<f64>,
    /// Threads of other programs that wanted a core, on average over the last minute.
    pub load: Option<f64>,
}

/// Clock and timers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Clock {
    /// Where the kernel has the time from.
    pub source: Option<String>,
    /// What else it could use.
    pub sources: Vec<String>,
    /// 99th percentile of how late the timer was by which arrivals are released, in microseconds.
    pub timer_lateness_p99_us: Option<u64>,
}

/// CPU time of the client's side of a handshake in memory, without sockets, in microseconds: P-256, X25519, TLS 1.3.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Handshakes {
    /// Full, with the device's certificate.
    pub full_us: f64,
    /// Resumed.
    pub resumed_us: f64,
}

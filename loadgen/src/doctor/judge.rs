//! From facts to findings; pure.
//!
//! Each finding says how much of the plan its subject carries, and the command that lifts the limit. Without a plan only what is wrong in
//! itself is doubtful: a limit is a fact and no fault.

mod cores;
mod network;
mod process;

use serde::{Deserialize, Serialize};

use super::facts::Facts;
use super::kernel::TIME_WAIT_SECONDS;

/// What is to be carried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Wanted {
    /// Devices connected at a time.
    pub devices: Option<u64>,
    /// New connections per second, each with its handshake.
    pub rate_per_second: Option<f64>,
    /// Whether the handshakes are resumed ones.
    pub resumed: bool,
}

impl Wanted {
    /// Whether anything was asked for.
    pub fn is_something(&self) -> bool {
        self.devices.is_some() || self.rate_per_second.is_some()
    }
}

/// How good or bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// In nobody's way.
    Fine,
    /// Enough, and not by much; or a reason to distrust measurements made here.
    Doubtful,
    /// The plan cannot be carried.
    Insufficient,
}

impl Level {
    /// The name used in results.
    pub fn name(self) -> &'static str {
        match self {
            Level::Fine => "fine",
            Level::Doubtful => "doubtful",
            Level::Insufficient => "insufficient",
        }
    }
}

/// One thing that could be in the way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is about.
    pub subject: String,
    /// How it stands.
    pub level: Level,
    /// What was found, with the figure.
    pub found: String,
    /// What lifts the limit: commands as they are typed, in order; empty where nothing does.
    pub lift: Vec<String>,
}

/// What can be carried; `None` where it cannot be told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    /// Devices connected at a time.
    pub devices: Option<u64>,
    /// Connections per second with full handshakes.
    pub full_per_second: Option<f64>,
    /// Connections per second with resumed ones.
    pub resumed_per_second: Option<f64>,
}

/// What this machine can carry.
pub fn capacity(facts: &Facts) -> Capacity {
    let devices = [
        process::connections(facts),
        network::connections(facts),
        process::devices_in_memory(facts),
    ];
    let by_ports = network::connections(facts).map(|most| most as f64 / TIME_WAIT_SECONDS as f64);
    let rate = |resumed| {
        [cores::handshakes_per_second(facts, resumed), by_ports]
            .into_iter()
            .flatten()
            .min_by(f64::total_cmp)
    };
    Capacity {
        devices: devices.into_iter().flatten().min(),
        full_per_second: rate(false),
        resumed_per_second: rate(true),
    }
}

/// Everything that could be in the way, in a fixed order.
pub fn findings(facts: &Facts, wanted: &Wanted) -> Vec<Finding> {
    [
        process::descriptors(facts, wanted),
        process::machine_descriptors(facts, wanted),
        network::addresses(facts),
        network::ports(facts, wanted),
        network::time_wait(facts, wanted),
        network::conntrack(facts, wanted),
        network::backlog(facts),
        process::memory(facts, wanted),
        cores::handshakes(facts, wanted),
        cores::quota(facts),
        cores::load(facts),
        cores::steal(facts),
        cores::clock(facts),
        cores::timer(facts),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// How `wanted` of something stands to the `most` there can be: the last fifth is doubtful.
fn level_of(wanted: Option<f64>, most: f64) -> Level {
    match wanted {
        Some(wanted) if wanted > most => Level::Insufficient,
        Some(wanted) if wanted > 0.8 * most => Level::Doubtful,
        _ => Level::Fine,
    }
}

fn finding(subject: &str, level: Level, found: String, lift: Vec<String>) -> Option<Finding> {
    Some(Finding {
        subject: subject.to_owned(),
        level,
        found,
        lift,
    })
}

fn sysctl(key: &str, value: impl std::fmt::Display) -> String {
    format!("sudo sysctl -w {key}={value}")
}

#[cfg(test)]
mod tests {
    use super::super::facts::{Clock, Cores, Descriptors, Handshakes, Memory, Ports, Tracking};
    use super::*;

    /// A machine in good order with two cores.
    fn good() -> Facts {
        Facts {
            descriptors: Descriptors {
                soft: Some(1024),
                hard: Some(20_000),
                settable: Some(1 << 20),
                machine: Some(1 << 40),
                machine_in_use: Some(2_000),
            },
            ports: Ports {
                range: Some((32_768, 60_999)),
                reserved: 232,
                sources: "127.0.1.1-127.0.1.10".to_owned(),
                addresses: 10,
                unusable: Vec::new(),
            },
            tracking: Tracking {
                time_wait_most: Some(131_072),
                time_wait: Some(3),
                conntrack_most: Some(262_144),
                conntrack: Some(144),
                conntrack_seconds: Some(120),
            },
            memory: Memory {
                available: Some(8 << 30),
                group_limit: None,
            },
            cores: Cores {
                usable: 2,
                quota: None,
                quota_file: None,
                steal_share: Some(0.0),
                load: Some(0.1),
            },
            clock: Clock {
                source: Some("tsc".to_owned()),
                sources: vec!["tsc".to_owned(), "hpet".to_owned()],
                timer_lateness_p99_us: Some(80),
            },
            somaxconn: Some(4096),
            handshakes: Some(Handshakes {
                full_us: 290.0,
                resumed_us: 90.0,
            }),
        }
    }

    fn wanted(devices: u64, rate: f64) -> Wanted {
        Wanted {
            devices: (devices > 0).then_some(devices),
            rate_per_second: (rate > 0.0).then_some(rate),
            resumed: false,
        }
    }

    /// What is found about `subject` on a good machine that has `change`d.
    fn found(subject: &str, wanted: Wanted, change: impl FnOnce(&mut Facts)) -> Finding {
        let mut facts = good();
        change(&mut facts);
        let findings = findings(&facts, &wanted);
        let found = findings.iter().find(|finding| finding.subject == subject);
        found
            .unwrap_or_else(|| panic!("{subject}: {findings:?}"))
            .clone()
    }

    #[test]
    fn a_good_machine_is_fine_and_carries_what_its_tightest_limit_allows() {
        let findings = findings(&good(), &Wanted::default());
        for finding in &findings {
            assert_eq!(finding.level, Level::Fine, "{finding:?}");
        }
        let capacity = capacity(&good());
        assert_eq!(capacity.devices, Some(20_000 - 96));
        // Two cores at 80 %, 290 + 110 us each.
        assert_eq!(capacity.full_per_second, Some(4000.0));
        // Handshakes would allow 8,000: ten addresses of 28,000 ports, each for a minute, do not.
        assert_eq!(capacity.resumed_per_second, Some(280_000.0 / 60.0));
    }

    #[test]
    fn what_is_not_known_is_not_judged() {
        let findings = findings(&Facts::default(), &wanted(5, 5.0));
        let subjects: Vec<&str> = findings
            .iter()
            .map(|finding| finding.subject.as_str())
            .collect();
        assert_eq!(subjects, ["addresses"]);
        assert_eq!(capacity(&Facts::default()), Capacity::default());
    }

    #[test]
    fn descriptors_are_lifted_in_two_steps_where_the_kernel_has_a_bound() {
        let few = found("descriptors", wanted(19_000, 0.0), |_| ());
        assert_eq!((few.level, few.lift.len()), (Level::Doubtful, 0), "{few:?}");
        let more = found("descriptors", wanted(50_000, 0.0), |_| ());
        assert_eq!(more.level, Level::Insufficient);
        assert_eq!(more.lift, ["sudo prlimit --pid $$ --nofile=50096:50096"]);
        let most = found("descriptors", wanted(2_000_000, 0.0), |_| ());
        assert_eq!(most.lift[0], "sudo sysctl -w fs.nr_open=2000096");
        assert!(most.lift[1].contains("--nofile=2000096:2000096"));
        let machine = found("descriptors of the machine", wanted(5_000, 0.0), |facts| {
            facts.descriptors.machine = Some(6_000);
        });
        assert_eq!(machine.level, Level::Insufficient);
        assert_eq!(machine.lift, ["sudo sysctl -w fs.file-max=11096"]);
    }

    #[test]
    fn ports_count_open_connections_and_those_that_closed_within_a_minute() {
        let fits = found("ports", wanted(100_000, 1_000.0), |_| ());
        assert_eq!(fits.level, Level::Fine, "{fits:?}");
        let full = found("ports", wanted(100_000, 4_000.0), |_| ());
        assert_eq!(full.level, Level::Insufficient, "{full:?}");
        assert_eq!(
            full.lift[0],
            "sudo sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\""
        );
        // 340,000 ports at 64,512 each are six addresses: those that there are will do.
        assert_eq!(full.lift.len(), 1);
        let one = found("ports", wanted(100_000, 0.0), |facts| {
            facts.ports.addresses = 1
        });
        assert!(one.lift[1].contains("2 addresses"), "{one:?}");
    }

    #[test]
    fn addresses_that_are_not_there_are_named_with_the_command_that_adds_them() {
        let missing = found("addresses", Wanted::default(), |facts| {
            facts.ports.unusable = vec!["10.9.8.7".to_owned()];
        });
        assert_eq!(missing.level, Level::Insufficient);
        assert!(
            missing.lift[0].starts_with("sudo ip address add 10.9.8.7/32"),
            "{missing:?}"
        );
        let kernel = found("addresses", Wanted::default(), |facts| {
            facts.ports.sources.clear()
        });
        assert_eq!(kernel.level, Level::Fine);
    }

    #[test]
    fn what_the_kernel_forgets_early_is_doubtful_and_no_more() {
        let closed = found("closed connections", wanted(0, 4_000.0), |_| ());
        assert_eq!(closed.level, Level::Doubtful);
        assert_eq!(
            closed.lift,
            ["sudo sysctl -w net.ipv4.tcp_max_tw_buckets=480000"]
        );
        let tracked = found("connection tracking", wanted(0, 4_000.0), |_| ());
        assert_eq!(tracked.level, Level::Doubtful);
        assert!(tracked.lift[0].starts_with("sudo sysctl -w net.netfilter.nf_conntrack_max="));
        let backlog = found("backlog", Wanted::default(), |facts| {
            facts.somaxconn = Some(128)
        });
        assert_eq!(backlog.lift, ["sudo sysctl -w net.core.somaxconn=4096"]);
    }

    #[test]
    fn memory_is_what_is_there_and_what_the_group_may_have() {
        let enough = found("memory", wanted(18_000, 0.0), |_| ());
        assert_eq!(enough.level, Level::Fine);
        let boxed = found("memory", wanted(18_000, 0.0), |facts| {
            facts.memory.group_limit = Some(512 << 20);
        });
        assert_eq!(boxed.level, Level::Insufficient);
        assert!(
            boxed.found.contains("512 MiB allowed by the control group"),
            "{boxed:?}"
        );
    }

    #[test]
    fn handshakes_are_split_over_machines_when_one_cannot_make_them() {
        let enough = found("handshakes", wanted(0, 3_000.0), |_| ());
        assert_eq!((enough.level, enough.lift.len()), (Level::Fine, 0));
        let close = found("handshakes", wanted(0, 3_500.0), |_| ());
        assert_eq!(close.level, Level::Doubtful);
        let many = found("handshakes", wanted(0, 10_000.0), |_| ());
        assert_eq!(many.level, Level::Insufficient);
        assert!(many.lift[0].starts_with("--segment 1/4"), "{many:?}");
        let resumed = Wanted {
            resumed: true,
            ..wanted(0, 6_000.0)
        };
        assert_eq!(found("handshakes", resumed, |_| ()).level, Level::Fine);
        // Half a core makes a quarter of what two make.
        let quota = found("handshakes", wanted(0, 1_100.0), |facts| {
            facts.cores.quota = Some(0.5)
        });
        assert_eq!(quota.level, Level::Insufficient);
    }

    #[test]
    fn a_quota_is_lifted_where_it_is_kept() {
        let limited = |file: &str| {
            let file = Some(file.to_owned());
            found("CPU quota", Wanted::default(), |facts| {
                facts.cores.quota = Some(0.5);
                facts.cores.quota_file = file;
            })
        };
        let two = limited("/sys/fs/cgroup/pod/cpu.max");
        assert_eq!(two.level, Level::Doubtful);
        assert_eq!(two.lift, ["echo max | sudo tee /sys/fs/cgroup/pod/cpu.max"]);
        let one = limited("/sys/fs/cgroup/cpu/pod/cpu.cfs_quota_us");
        assert!(one.lift[0].starts_with("echo -1 |"), "{one:?}");
    }

    #[test]
    fn a_machine_that_is_busy_elsewhere_or_has_a_slow_clock_is_doubtful() {
        let doubtful = |subject, change: fn(&mut Facts)| {
            let found = found(subject, Wanted::default(), change);
            assert_eq!(found.level, Level::Doubtful, "{found:?}");
            found
        };
        doubtful("steal", |facts| facts.cores.steal_share = Some(0.1));
        doubtful("load", |facts| facts.cores.load = Some(1.5));
        doubtful("timers", |facts| {
            facts.clock.timer_lateness_p99_us = Some(1_500)
        });
        let clock = doubtful("clock", |facts| {
            facts.clock.source = Some("hpet".to_owned())
        });
        assert!(clock.lift[0].starts_with("echo tsc |"), "{clock:?}");
    }
}

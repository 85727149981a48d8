//! What the kernel says of this machine: the one file of the doctor's that reads `/proc` and `/sys`.

use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::str::FromStr;

use rustix::process::{Resource, getrlimit};

use super::facts::{Clock, Cores, Descriptors, Facts, Memory, Ports, Tracking};
use super::{handshakes, timer};
use crate::measure::control_group::{self, ControlGroup};
use crate::measure::process::MachineTime;
use crate::plan::SourceAddresses;

/// Everything, tries included: takes about a second. `sources` are the addresses that devices connect from.
pub fn facts(sources: &SourceAddresses) -> Facts {
    // What loads the machine now, before the tries do.
    let load = load();
    let before = MachineTime::now();
    let handshakes = handshakes::measure().ok();
    let timer_lateness_p99_us = timer::lateness_p99_us();
    Facts {
        descriptors: descriptors(),
        ports: ports(sources),
        tracking: tracking(),
        memory: Memory {
            available: value_in("/proc/meminfo", "MemAvailable:")
                .map(|kibibytes: u64| kibibytes * 1024),
            group_limit: control_group::memory_limit(),
        },
        cores: Cores {
            steal_share: MachineTime::now().steal_share_since(&before),
            load,
            ..cores()
        },
        clock: Clock {
            timer_lateness_p99_us,
            ..clock()
        },
        somaxconn: number("/proc/sys/net/core/somaxconn"),
        handshakes,
    }
}

fn descriptors() -> Descriptors {
    let limit = getrlimit(Resource::Nofile);
    // Three numbers: given out, free among these, and the limit.
    let machine: Vec<u64> = words("/proc/sys/fs/file-nr");
    Descriptors {
        soft: limit.current,
        hard: limit.maximum,
        settable: number("/proc/sys/fs/nr_open"),
        machine: machine.get(2).copied(),
        machine_in_use: machine.first().copied(),
    }
}

fn ports(sources: &SourceAddresses) -> Ports {
    let range: Vec<u16> = words("/proc/sys/net/ipv4/ip_local_port_range");
    let range = match range.as_slice() {
        [first, last] => Some((*first, *last)),
        _ => None,
    };
    let reserved =
        fs::read_to_string("/proc/sys/net/ipv4/ip_local_reserved_ports").unwrap_or_default();
    let ends = sources.ends();
    let mut unusable: Vec<IpAddr> = ends.map_or(Vec::new(), |(first, last)| vec![first, last]);
    unusable.dedup();
    unusable.retain(|address| !can_be_bound(*address));
    Ports {
        range,
        reserved: range.map_or(0, |range| reserved_within(&reserved, range)),
        sources: sources.to_string(),
        addresses: sources
            .count()
            .map_or(1, |count| u64::try_from(count).unwrap_or(u64::MAX)),
        unusable: unusable.iter().map(IpAddr::to_string).collect(),
    }
}

fn can_be_bound(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// How many ports of a list such as `8080,9000-9010` lie in `range`.
fn reserved_within(list: &str, (first, last): (u16, u16)) -> u64 {
    let part = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let from: u16 = from.trim().parse().ok()?;
        let to: u16 = to.trim().parse().ok()?;
        let (from, to) = (from.max(first), to.min(last));
        (from <= to).then(|| u64::from(to - from) + 1)
    };
    list.trim().split(',').filter_map(part).sum()
}

fn tracking() -> Tracking {
    let sockets = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let conntrack = |name: &str| number(&format!("/proc/sys/net/netfilter/nf_conntrack_{name}"));
    Tracking {
        time_wait_most: number("/proc/sys/net/ipv4/tcp_max_tw_buckets"),
        time_wait: time_wait_in(&sockets),
        conntrack_most: conntrack("max"),
        conntrack: conntrack("count"),
        conntrack_seconds: conntrack("tcp_timeout_time_wait"),
    }
}

/// The number after `tw` in the line `TCP: inuse 5 orphan 0 tw 30 …`.
fn time_wait_in(sockstat: &str) -> Option<u64> {
    let line = sockstat
        .lines()
        .find_map(|line| line.strip_prefix("TCP:"))?;
    let mut words = line.split_ascii_whitespace();
    words.find(|word| *word == "tw")?;
    words.next()?.parse().ok()
}

fn cores() -> Cores {
    let usable = rustix::thread::sched_getaffinity(None).map_or(1, |cores| cores.count());
    let group = ControlGroup::own();
    Cores {
        usable: u64::from(usable),
        quota: group.as_ref().map(|group| group.cores),
        quota_file: group.map(|group| group.file().display().to_string()),
        ..Cores::default()
    }
}

fn load() -> Option<f64> {
    words("/proc/loadavg").first().copied()
}

fn clock() -> Clock {
    const FOLDER: &str = "/sys/devices/system/clocksource/clocksource0";
    let read = |file: &str| fs::read_to_string(format!("{FOLDER}/{file}")).ok();
    Clock {
        source: read("current_clocksource").map(|name| name.trim().to_owned()),
        sources: read("available_clocksource")
            .unwrap_or_default()
            .split_ascii_whitespace()
            .map(str::to_owned)
            .collect(),
        timer_lateness_p99_us: None,
    }
}

/// The only number in a file.
fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The words of a file, as far as they are numbers.
fn words<T: FromStr>(path: &str) -> Vec<T> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_ascii_whitespace()
        .map_while(|word| word.parse().ok())
        .collect()
}

/// The first word after `key` at the beginning of a line.
fn value_in<T: FromStr>(path: &str, key: &str) -> Option<T> {
    let text = fs::read_to_string(path).ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_lists_are_understood() {
        assert_eq!(reserved_within("8080,40000-40009\n", (32768, 60999)), 10);
        assert_eq!(reserved_within("60990-65535", (32768, 60999)), 10);
        assert_eq!(reserved_within("\n", (32768, 60999)), 0);
        assert_eq!(reserved_within("x-y,9-1", (1, 60999)), 0);
        let sockets = "sockets: used 9\nTCP: inuse 5 orphan 0 tw 30 alloc 7 mem 1\nUDP: inuse 1\n";
        assert_eq!(time_wait_in(sockets), Some(30));
        assert_eq!(time_wait_in("TCP: tw\n"), None);
    }

    #[test]
    fn this_machine_says_something_of_everything_that_every_linux_has() {
        let sources = "127.0.1.1-127.0.1.250".parse().unwrap();
        let facts = facts(&sources);
        assert!(facts.descriptors.settable.unwrap() > 0);
        assert!(facts.descriptors.machine.unwrap() >= facts.descriptors.machine_in_use.unwrap());
        assert!(facts.ports.range.is_some(), "{facts:?}");
        assert_eq!(
            (facts.ports.addresses, facts.ports.unusable.len()),
            (250, 0)
        );
        assert!(facts.memory.available.unwrap() > 1 << 20);
        assert!(facts.cores.usable >= 1 && facts.cores.load.is_some());
        assert!(facts.handshakes.is_some() && facts.clock.timer_lateness_p99_us.is_some());
        // 192.0.2.0/24 is for documentation (RFC 5737): nobody has it.
        let elsewhere = ports(&"192.0.2.1".parse().unwrap());
        assert_eq!(elsewhere.unusable, ["192.0.2.1"]);
    }
}

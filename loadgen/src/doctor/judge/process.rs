//! Descriptors and memory.

use super::super::facts::Facts;
use super::super::kernel::{DEVICE_BYTES, OTHER_BYTES, OTHER_DESCRIPTORS};
use super::{Finding, Wanted, finding, level_of, sysctl};

/// Descriptors to propose where no plan says how many.
const ROOM: u64 = 1 << 20;

/// Connections for which there are descriptors.
pub(super) fn connections(facts: &Facts) -> Option<u64> {
    Some(facts.descriptors.hard?.saturating_sub(OTHER_DESCRIPTORS))
}

/// Devices for which there is memory.
pub(super) fn devices_in_memory(facts: &Facts) -> Option<u64> {
    Some(memory_bytes(facts)?.saturating_sub(OTHER_BYTES) / DEVICE_BYTES)
}

fn memory_bytes(facts: &Facts) -> Option<u64> {
    let limits = [facts.memory.available, facts.memory.group_limit];
    limits.into_iter().flatten().min()
}

pub(super) fn descriptors(facts: &Facts, wanted: &Wanted) -> Option<Finding> {
    let descriptors = &facts.descriptors;
    let hard = descriptors.hard?;
    let most = connections(facts)?;
    let needed = wanted
        .devices
        .map_or(ROOM, |devices| devices + OTHER_DESCRIPTORS);
    let mut lift = Vec::new();
    if needed > hard {
        if descriptors.settable.is_some_and(|most| most < needed) {
            lift.push(sysctl("fs.nr_open", needed));
        }
        lift.push(format!("sudo prlimit --pid $$ --nofile={needed}:{needed}"));
    }
    let soft = descriptors
        .soft
        .map_or("none".to_owned(), |soft| soft.to_string());
    finding(
        "descriptors",
        level_of(wanted.devices.map(|devices| devices as f64), most as f64),
        format!(
            "hard limit {hard} (soft {soft}, which a run raises by itself): {most} connections at a time in one process"
        ),
        lift,
    )
}

pub(super) fn machine_descriptors(facts: &Facts, wanted: &Wanted) -> Option<Finding> {
    let descriptors = &facts.descriptors;
    let machine = descriptors.machine?;
    let free = machine.saturating_sub(descriptors.machine_in_use?);
    let needed = wanted.devices? + OTHER_DESCRIPTORS;
    let level = level_of(Some(needed as f64), free as f64);
    // The usual limit is beyond what memory could hold: not worth a line.
    if level == super::Level::Fine {
        return None;
    }
    finding(
        "descriptors of the machine",
        level,
        format!("{free} of {machine} are free"),
        vec![sysctl("fs.file-max", machine + needed)],
    )
}

pub(super) fn memory(facts: &Facts, wanted: &Wanted) -> Option<Finding> {
    let bytes = memory_bytes(facts)?;
    let most = devices_in_memory(facts)?;
    let whose = if facts.memory.group_limit == Some(bytes) {
        "allowed by the control group"
    } else {
        "available"
    };
    finding(
        "memory",
        level_of(wanted.devices.map(|devices| devices as f64), most as f64),
        format!(
            "{} MiB {whose}: {most} open devices at {} KiB each",
            bytes >> 20,
            DEVICE_BYTES >> 10
        ),
        Vec::new(),
    )
}

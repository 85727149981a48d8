//! What the kernel says about a process's memory.

use anyhow::Context as _;

/// Resident memory of a process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Resident {
    /// Now.
    pub(super) now: u64,
    /// At most so far.
    pub(super) peak: u64,
}

/// Of the process `pid`.
pub(super) fn resident(pid: u32) -> anyhow::Result<Resident> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    parse(&status).with_context(|| format!("{path} has no VmRSS or no VmHWM"))
}

fn parse(status: &str) -> Option<Resident> {
    let bytes = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kib * 1024)
    };
    Some(Resident {
        now: bytes("VmRSS:")?,
        peak: bytes("VmHWM:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kilobytes_become_bytes() {
        let status = "Name:\tx\nVmHWM:\t    200 kB\nVmRSS:\t    100 kB\n";
        let resident = parse(status).unwrap();
        assert_eq!((resident.now, resident.peak), (102_400, 204_800));
        assert_eq!(parse("VmRSS:\t1 kB\n"), None);
        assert!(super::resident(std::process::id()).unwrap().peak > 0);
    }
}

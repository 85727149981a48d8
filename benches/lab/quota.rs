//! A share of a core and no more, for a server whose capacity is to be exceeded by a generator that has one core too.
//!
//! It is a control group of the kernel's, version 1 or 2. The kernel counts a group's time at its own ticks (4 ms at 250 Hz), and a
//! group that has run over makes up for it: the server would run for 4 ms and stand for 8, and that would be most of what is
//! measured. So a metronome runs in the same group: a process that wakes up often and does nothing, at which the kernel
//! looks at the account. With it the server runs and stands a millisecond or two at a time.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;

use crate::child::Child;
use crate::cores::Cores;
use crate::role;

/// How often the metronome wakes up.
const BEAT: Duration = Duration::from_micros(300);
/// The least that the kernel grants at a time.
const LEAST_MICROSECONDS: f64 = 1000.0;
/// Where control groups of version 1 keep processor time.
const VERSION_1: &str = "/sys/fs/cgroup/cpu";
/// Where those of version 2 are.
const VERSION_2: &str = "/sys/fs/cgroup";

/// The group. Dropping it sets its processes free.
#[derive(Debug)]
pub(crate) struct Quota {
    group: PathBuf,
    version: Version,
    _metronome: Child,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Quota {
    /// Grants the processes `pids` together, and those that they start, `share` of a core.
    ///
    /// # Errors
    ///
    /// This machine has no such groups, or does not let this user make them.
    pub(crate) fn grant(
        pids: &[u32],
        share: f64,
        cores: Cores,
        work: &Path,
    ) -> anyhow::Result<Quota> {
        let (root, version) = if Path::new(VERSION_1).join("cpu.cfs_quota_us").exists() {
            (VERSION_1, Version::One)
        } else {
            (VERSION_2, Version::Two)
        };
        let group = Path::new(root).join(format!("fleetgate-lab-{}", std::process::id()));
        fs::create_dir(&group).with_context(|| format!("cannot make {}", group.display()))?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(role::METRONOME);
        let log = work.join("metronome.log");
        let metronome =
            cores.with_server(|| Child::start("the metronome", &mut command, &log))??;
        let metronome_pid = metronome.pid();
        let quota = Quota {
            group,
            version,
            _metronome: metronome,
        };
        quota.set(share)?;
        for member in pids.iter().chain([&metronome_pid]) {
            quota.write("cgroup.procs", &member.to_string())?;
        }
        Ok(quota)
    }

    /// Another share from now on.
    pub(crate) fn set(&self, share: f64) -> anyhow::Result<()> {
        let (quota, period) = quota_and_period(share);
        match self.version {
            Version::One => {
                // Lifted first: no combination of old and new may be one that the kernel refuses.
                self.write("cpu.cfs_quota_us", "-1")?;
                self.write("cpu.cfs_period_us", &period.to_string())?;
                self.write("cpu.cfs_quota_us", &quota.to_string())
            }
            Version::Two => self.write("cpu.max", &format!("{quota} {period}")),
        }
    }

    fn write(&self, file: &str, text: &str) -> anyhow::Result<()> {
        let path = self.group.join(file);
        fs::write(&path, text).with_context(|| format!("cannot write {text} to {}", path.display()))
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        // A group with processes in it cannot be removed: back they go to the one above.
        let above = self.group.parent().map(|above| above.join("cgroup.procs"));
        let members = fs::read_to_string(self.group.join("cgroup.procs")).unwrap_or_default();
        for member in members.lines() {
            if let Some(above) = &above {
                let _ = fs::write(above, member);
            }
        }
        if let Err(error) = fs::remove_dir(&self.group) {
            eprintln!("lab: cannot remove {}: {error}", self.group.display());
        }
    }
}

/// The shortest period in which the kernel grants that share, in microseconds.
fn quota_and_period(share: f64) -> (u64, u64) {
    let share = share.clamp(0.01, 1.0);
    let period = (LEAST_MICROSECONDS / share).ceil();
    ((period * share).round() as u64, period as u64)
}

/// What the metronome does until its standard input closes.
pub(crate) fn metronome() -> io::Result<()> {
    std::thread::spawn(|| {
        loop {
            std::thread::sleep(BEAT);
        }
    });
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_as_short_as_the_kernel_allows() {
        assert_eq!(quota_and_period(0.33), (1000, 3031));
        assert_eq!(quota_and_period(1.0), (1000, 1000));
        assert_eq!(quota_and_period(0.55), (1000, 1819));
        assert_eq!(quota_and_period(0.0), (1000, 100_000));
    }
}

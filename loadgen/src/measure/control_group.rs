//! The CPU quota of this process's control group, and how long it has held the process up.
//!
//! A quota shows neither as load nor as steal: the threads stand still although cores are free. Both versions of the kernel's
//! interface are read; of nested groups the tightest counts. Nothing is changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the groups are mounted, the version that has processor time there first.
const MOUNTS: [(&str, Version); 3] = [
    ("/sys/fs/cgroup/cpu", Version::One),
    ("/sys/fs/cgroup/cpu,cpuacct", Version::One),
    ("/sys/fs/cgroup", Version::Two),
];

/// The group whose quota binds this process.
#[derive(Debug, Clone, PartialEq)]
pub struct ControlGroup {
    folder: PathBuf,
    version: Version,
    /// Cores' worth of time that the group may use.
    pub cores: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl ControlGroup {
    /// Of this process; `None` where no quota binds it.
    pub fn own() -> Option<ControlGroup> {
        let membership = fs::read_to_string("/proc/self/cgroup").ok()?;
        MOUNTS
            .into_iter()
            .filter_map(|(mount, version)| {
                let path = path_in(&membership, version)?;
                tightest(Path::new(mount), path, version)
            })
            .min_by(|one, other| one.cores.total_cmp(&other.cores))
    }

    /// Time for which the group has been kept from running since it exists, summed over the cores on which it wanted to.
    pub fn throttled(&self) -> Option<Duration> {
        throttled_from(&fs::read_to_string(self.folder.join("cpu.stat")).ok()?)
    }

    /// The file to write to for another quota.
    pub fn file(&self) -> PathBuf {
        self.folder.join(match self.version {
            Version::One => "cpu.cfs_quota_us",
            Version::Two => "cpu.max",
        })
    }
}

/// The path of the group that accounts for processor time, as `/proc/PID/cgroup` has it.
fn path_in(membership: &str, version: Version) -> Option<&str> {
    membership.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let found = match version {
            Version::One => controllers.split(',').any(|controller| controller == "cpu"),
            Version::Two => controllers.is_empty(),
        };
        found.then_some(path)
    })
}

/// The group at `path` under `mount`, or one of those around it, with the smallest quota.
fn tightest(mount: &Path, path: &str, version: Version) -> Option<ControlGroup> {
    let own = mount.join(path.trim_start_matches('/'));
    own.ancestors()
        // In a container the mount may be the group itself, and the path one that only the host sees.
        .take_while(|folder| folder.starts_with(mount))
        .filter_map(|folder| {
            let cores = quota(folder, version)?;
            let folder = folder.to_owned();
            Some(ControlGroup {
                folder,
                version,
                cores,
            })
        })
        .min_by(|one, other| one.cores.total_cmp(&other.cores))
}

/// Cores' worth of time; `None` where there is no limit, or no such group.
fn quota(folder: &Path, version: Version) -> Option<f64> {
    let read = |file: &str| fs::read_to_string(folder.join(file)).ok();
    let (quota, period) = match version {
        Version::One => (read("cpu.cfs_quota_us")?, read("cpu.cfs_period_us")?),
        Version::Two => {
            let text = read("cpu.max")?;
            let (quota, period) = text.split_once(' ')?;
            (quota.to_owned(), period.to_owned())
        }
    };
    // "max" and -1 stand for no limit.
    let quota: f64 = quota.trim().parse().ok()?;
    let period: f64 = period.trim().parse().ok()?;
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

/// `throttled_time` in nanoseconds (version 1) or `throttled_usec` (version 2).
fn throttled_from(stat: &str) -> Option<Duration> {
    stat.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        let value = value.trim().parse().ok()?;
        match name {
            "throttled_time" => Some(Duration::from_nanos(value)),
            "throttled_usec" => Some(Duration::from_micros(value)),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, file: &str, text: &str) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join(file), text).unwrap();
    }

    #[test]
    fn the_tightest_of_nested_groups_counts() {
        let root = tempfile::tempdir().unwrap();
        let mount = root.path();
        write(mount, "cpu.max", "max 100000\n");
        write(&mount.join("pod"), "cpu.max", "50000 100000\n");
        write(&mount.join("pod/box"), "cpu.max", "150000 100000\n");
        let usage = "usage_usec 9\nnr_throttled 2\nthrottled_usec 7000\n";
        write(&mount.join("pod"), "cpu.stat", usage);
        let group = tightest(mount, "/pod/box", Version::Two).unwrap();
        assert_eq!(
            (group.cores, group.file()),
            (0.5, mount.join("pod/cpu.max"))
        );
        assert_eq!(group.throttled(), Some(Duration::from_millis(7)));
        // A path of which nothing is visible here: the mount itself is the group.
        assert_eq!(tightest(mount, "/elsewhere", Version::Two), None);
        write(mount, "cpu.max", "200000 100000\n");
        let outer = tightest(mount, "/elsewhere", Version::Two).unwrap();
        assert_eq!(outer.cores, 2.0);
    }

    #[test]
    fn the_older_interface_says_the_same_in_two_files() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "cpu.cfs_quota_us", "-1\n");
        write(root.path(), "cpu.cfs_period_us", "100000\n");
        assert_eq!(tightest(root.path(), "/", Version::One), None);
        write(root.path(), "cpu.cfs_quota_us", "25000\n");
        let stat = "nr_periods 5\nnr_throttled 2\nthrottled_time 1500000\n";
        write(root.path(), "cpu.stat", stat);
        let group = tightest(root.path(), "/", Version::One).unwrap();
        assert_eq!(group.cores, 0.25);
        assert_eq!(group.throttled(), Some(Duration::from_micros(1500)));
    }

    #[test]
    fn groups_are_found_by_controller_and_garbage_is_none() {
        let mixed = "9:name=systemd:/\n4:memory:/m\n2:cpu,cpuacct:/jobs/a:b\n0::/unified\n";
        assert_eq!(path_in(mixed, Version::One), Some("/jobs/a:b"));
        assert_eq!(path_in(mixed, Version::Two), Some("/unified"));
        assert_eq!(path_in("rubbish", Version::Two), None);
        assert_eq!(throttled_from("throttled_usec many\n"), None);
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "cpu.max", "rubbish");
        assert_eq!(tightest(root.path(), "/", Version::Two), None);
    }
}

//! What this process's control group allows it: a CPU quota, and how long that has held the process up; memory.
//!
//! A quota shows neither as load nor as steal: the threads stand still although cores are free. Both versions of the kernel's
//! interface are read; of nested groups the tightest counts. Nothing is changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where groups are mounted; version 1 has a folder for each controller, of which it may keep several together.
const MOUNT: &str = "/sys/fs/cgroup";
/// The folder of version 1 where processor time is kept together with its accounting.
const CPU_AND_ACCOUNT: &str = "cpu,cpuacct";

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
        ControlGroup::of(std::process::id())
    }

    /// Of process `pid`.
    pub fn of(pid: u32) -> Option<ControlGroup> {
        group_folders(pid, "cpu")
            .into_iter()
            .filter_map(|(folder, version)| {
                let cores = quota(&folder, version)?;
                Some(ControlGroup {
                    folder,
                    version,
                    cores,
                })
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

/// Bytes of memory that this process's group, or one around it, may use; `None` where there is no limit.
pub fn memory_limit() -> Option<u64> {
    group_folders(std::process::id(), "memory")
        .into_iter()
        .filter_map(|(folder, version)| memory_of(&folder, version))
        .min()
}

/// The folders of a process's group and of those around it, wherever `controller` is kept.
fn group_folders(pid: u32, controller: &str) -> Vec<(PathBuf, Version)> {
    let membership = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let mount = Path::new(MOUNT);
    let combined = (controller == "cpu").then(|| mount.join(CPU_AND_ACCOUNT));
    let mut mounts = vec![
        (mount.join(controller), Version::One),
        (mount.to_owned(), Version::Two),
    ];
    mounts.extend(combined.map(|combined| (combined, Version::One)));
    mounts
        .into_iter()
        .filter_map(|(mount, version)| {
            let path = path_in(&membership, controller, version)?;
            Some(
                folders(&mount, path)
                    .map(move |folder| (folder, version))
                    .collect::<Vec<_>>(),
            )
        })
        .flatten()
        .collect()
}

/// The path of the group with this controller, as `/proc/PID/cgroup` has it.
fn path_in<'text>(
    membership: &'text str,
    controller: &str,
    version: Version,
) -> Option<&'text str> {
    membership.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let found = match version {
            Version::One => controllers.split(',').any(|found| found == controller),
            Version::Two => controllers.is_empty(),
        };
        found.then_some(path)
    })
}

/// The group at `path` under `mount` and those around it. In a container the mount may be the group itself, and the path one that
/// only the host sees: then only the mount is there.
fn folders(mount: &Path, path: &str) -> impl Iterator<Item = PathBuf> {
    let own = mount.join(path.trim_start_matches('/'));
    let all: Vec<PathBuf> = own
        .ancestors()
        .take_while(|folder| folder.starts_with(mount))
        .map(Path::to_owned)
        .collect();
    all.into_iter()
}

fn memory_of(folder: &Path, version: Version) -> Option<u64> {
    /// What version 1 says where there is no limit is the largest number of whole pages.
    const ENDLESS: u64 = 1 << 60;
    let file = match version {
        Version::One => "memory.limit_in_bytes",
        Version::Two => "memory.max",
    };
    let text = fs::read_to_string(folder.join(file)).ok()?;
    text.trim().parse().ok().filter(|bytes| *bytes < ENDLESS)
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

    fn tightest(mount: &Path, path: &str, version: Version) -> Option<f64> {
        folders(mount, path)
            .filter_map(|folder| quota(&folder, version))
            .min_by(f64::total_cmp)
    }

    #[test]
    fn the_tightest_of_nested_groups_counts() {
        let root = tempfile::tempdir().unwrap();
        let mount = root.path();
        write(mount, "cpu.max", "max 100000\n");
        write(&mount.join("pod"), "cpu.max", "50000 100000\n");
        write(&mount.join("pod/box"), "cpu.max", "150000 100000\n");
        assert_eq!(tightest(mount, "/pod/box", Version::Two), Some(0.5));
        // A path of which nothing is visible here: the mount itself is the group.
        assert_eq!(tightest(mount, "/elsewhere", Version::Two), None);
        write(mount, "cpu.max", "200000 100000\n");
        assert_eq!(tightest(mount, "/elsewhere", Version::Two), Some(2.0));
    }

    #[test]
    fn both_versions_say_how_long_they_held_the_process_up() {
        let root = tempfile::tempdir().unwrap();
        let group = |version| ControlGroup {
            folder: root.path().to_owned(),
            version,
            cores: 0.5,
        };
        assert_eq!(group(Version::Two).throttled(), None);
        write(
            root.path(),
            "cpu.stat",
            "usage_usec 9\nnr_throttled 2\nthrottled_usec 7000\n",
        );
        let two = group(Version::Two);
        assert_eq!(two.throttled(), Some(Duration::from_millis(7)));
        assert_eq!(two.file(), root.path().join("cpu.max"));
        write(
            root.path(),
            "cpu.stat",
            "nr_periods 5\nthrottled_time 1500000\n",
        );
        let one = group(Version::One);
        assert_eq!(one.throttled(), Some(Duration::from_micros(1500)));
        assert_eq!(one.file(), root.path().join("cpu.cfs_quota_us"));
    }

    #[test]
    fn the_older_interface_has_the_quota_in_two_files() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "cpu.cfs_quota_us", "-1\n");
        write(root.path(), "cpu.cfs_period_us", "100000\n");
        assert_eq!(tightest(root.path(), "/", Version::One), None);
        write(root.path(), "cpu.cfs_quota_us", "25000\n");
        assert_eq!(tightest(root.path(), "/", Version::One), Some(0.25));
    }

    #[test]
    fn memory_without_a_limit_is_none() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "memory.max", "max\n");
        write(
            root.path(),
            "memory.limit_in_bytes",
            "9223372036854771712\n",
        );
        for version in [Version::One, Version::Two] {
            assert_eq!(memory_of(root.path(), version), None);
        }
        write(root.path(), "memory.max", "1048576\n");
        assert_eq!(memory_of(root.path(), Version::Two), Some(1 << 20));
    }

    #[test]
    fn groups_are_found_by_controller_and_garbage_is_none() {
        let mixed = "9:name=systemd:/\n4:memory:/m\n2:cpu,cpuacct:/jobs/a:b\n0::/unified\n";
        assert_eq!(path_in(mixed, "cpu", Version::One), Some("/jobs/a:b"));
        assert_eq!(path_in(mixed, "memory", Version::One), Some("/m"));
        assert_eq!(path_in(mixed, "cpu", Version::Two), Some("/unified"));
        assert_eq!(path_in("rubbish", "cpu", Version::Two), None);
        assert_eq!(throttled_from("throttled_usec many\n"), None);
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "cpu.max", "rubbish");
        assert_eq!(tightest(root.path(), "/", Version::Two), None);
    }
}

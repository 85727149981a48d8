//! CPU time and memory of the watched processes, and the time that this machine did not have, from `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::time::{Duration, Instant};

use super::control_group::ControlGroup;

/// What one look at processes shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Look {
    /// Time on a core of each living thread since it began, in nanoseconds. Exact, but gone with the thread.
    thread_nanoseconds: BTreeMap<u32, u64>,
    /// CPU time of the processes, ended threads included, in nanoseconds. Coarse: whole clock ticks.
    process_nanoseconds: u64,
    /// Resident memory in bytes.
    resident_bytes: u64,
    /// When it was taken.
    taken: Option<Instant>,
}

/// The watched processes.
#[derive(Debug, Clone)]
pub struct Watcher {
    pids: Vec<u32>,
    vanished: Vec<u32>,
}

/// What the watched processes used; sums over all of them.
#[derive(Debug, Clone, Default)]
pub struct Watched {
    /// The processes.
    pub pids: Vec<u32>,
    /// CPU time used in the measured window, in nanoseconds.
    pub cpu_nanoseconds: u64,
    /// That of the thread which used most.
    pub busiest_thread_nanoseconds: u64,
    /// The time in which it was used: the window, and until the last attempt had its outcome.
    pub elapsed: Duration,
    /// Resident memory before the first connection.
    pub resident_bytes_before: u64,
    /// Resident memory when the window began.
    pub resident_bytes_start: u64,
    /// Resident memory when the window ended, connections still open.
    pub resident_bytes_end: u64,
    /// Those that ended during the run.
    pub vanished: Vec<u32>,
}

impl Watcher {
    /// Watches these processes.
    ///
    /// # Errors
    ///
    /// The first process that cannot be read, with the reason.
    pub fn new(pids: &[u32]) -> Result<Watcher, (u32, io::Error)> {
        for pid in pids {
            Look::default().add(*pid).map_err(|error| (*pid, error))?;
        }
        Ok(Watcher {
            pids: pids.to_vec(),
            vanished: Vec::new(),
        })
    }

    /// Whether there is anything to watch.
    pub fn is_empty(&self) -> bool {
        self.pids.is_empty()
    }

    /// All processes now; one that is gone is remembered and counts nothing.
    pub fn look(&mut self) -> Look {
        let mut look = Look {
            taken: Some(Instant::now()),
            ..Look::default()
        };
        for pid in &self.pids {
            if look.add(*pid).is_err() && !self.vanished.contains(pid) {
                self.vanished.push(*pid);
            }
        }
        look
    }

    /// What was used between the looks at the window's ends, and the memory at all three.
    pub fn finish(self, before: &Look, start: &Look, end: &Look) -> Watched {
        Watched {
            cpu_nanoseconds: end.cpu_nanoseconds_since(start),
            busiest_thread_nanoseconds: end.threads_since(start).max().unwrap_or(0),
            elapsed: match (start.taken, end.taken) {
                (Some(start), Some(end)) => end.saturating_duration_since(start),
                _ => Duration::ZERO,
            },
            resident_bytes_before: before.resident_bytes,
            resident_bytes_start: start.resident_bytes,
            resident_bytes_end: end.resident_bytes,
            pids: self.pids,
            vanished: self.vanished,
        }
    }
}

/// How far the coarse count may lead the exact one before threads must have ended, in clock ticks.
const ALLOWED_TICKS: u64 = 4;

impl Look {
    fn add(&mut self, pid: u32) -> io::Result<()> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let statm = fs::read_to_string(format!("/proc/{pid}/statm"))?;
        self.process_nanoseconds += cpu_from_stat(&stat).unwrap_or(0);
        self.resident_bytes += resident_from_statm(&statm).unwrap_or(0);
        for thread in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
            // A thread that ends while it is looked at has no time to tell.
            let Ok(schedstat) = fs::read_to_string(thread.path().join("schedstat")) else {
                continue;
            };
            let id = thread
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok());
            if let (Some(id), Some(nanoseconds)) = (id, running_nanoseconds(&schedstat)) {
                self.thread_nanoseconds.insert(id, nanoseconds);
            }
        }
        Ok(())
    }

    /// What each living thread used.
    fn threads_since(&self, start: &Look) -> impl Iterator<Item = u64> {
        self.thread_nanoseconds.iter().map(|(id, end)| {
            end.saturating_sub(start.thread_nanoseconds.get(id).copied().unwrap_or(0))
        })
    }

    /// Thread by thread, so that one which ends takes only its own time away; where that was much, the ticks are truer.
    fn cpu_nanoseconds_since(&self, start: &Look) -> u64 {
        let exact: u64 = self.threads_since(start).sum();
        let coarse = self
            .process_nanoseconds
            .saturating_sub(start.process_nanoseconds);
        if coarse > exact + ALLOWED_TICKS * tick_nanoseconds() {
            coarse
        } else {
            exact
        }
    }
}

fn tick_nanoseconds() -> u64 {
    1_000_000_000 / rustix::param::clock_ticks_per_second().max(1)
}

/// The first field of a thread's schedstat.
fn running_nanoseconds(schedstat: &str) -> Option<u64> {
    schedstat.split_ascii_whitespace().next()?.parse().ok()
}

/// utime + stime of `/proc/PID/stat`; the command's name may hold spaces and parentheses.
fn cpu_from_stat(text: &str) -> Option<u64> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) * tick_nanoseconds())
}

fn resident_from_statm(text: &str) -> Option<u64> {
    let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// What this machine had given away by some moment, and for how long a quota had held this process up.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MachineTime {
    /// (steal, all) clock ticks since the machine started.
    ticks: Option<(u64, u64)>,
    throttled: Option<Duration>,
}

impl MachineTime {
    /// By now.
    pub fn now() -> MachineTime {
        MachineTime {
            ticks: fs::read_to_string("/proc/stat")
                .ok()
                .and_then(|text| steal_from_stat(&text)),
            throttled: ControlGroup::own().and_then(|group| group.throttled()),
        }
    }

    /// The share of the machine's time since `start` that the hypervisor gave to others.
    pub fn steal_share_since(&self, start: &MachineTime) -> Option<f64> {
        let ((steal_start, all_start), (steal_end, all_end)) = (start.ticks?, self.ticks?);
        let all = all_end.checked_sub(all_start).filter(|ticks| *ticks > 0)?;
        Some(steal_end.saturating_sub(steal_start) as f64 / all as f64)
    }

    /// The share of `thread_time` (that of all threads together) since `start` for which the quota held this process up.
    pub fn throttled_share_since(&self, start: &MachineTime, thread_time: Duration) -> Option<f64> {
        let throttled = self.throttled?.saturating_sub(start.throttled?);
        (!thread_time.is_zero())
            .then(|| (throttled.as_secs_f64() / thread_time.as_secs_f64()).min(1.0))
    }
}

fn steal_from_stat(text: &str) -> Option<(u64, u64)> {
    let fields: Vec<u64> = text
        .lines()
        .next()?
        .strip_prefix("cpu ")?
        .split_ascii_whitespace()
        // Guest time (the ninth and tenth field) is part of user time already.
        .take(8)
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    Some((*fields.get(7)?, fields.iter().sum()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernel_s_lines() {
        let stat = "7 (a) b) c) S 1 7 7 0 -1 4 1 0 0 0 150 50 0 0 20 0 4 0 99 1 2";
        assert_eq!(cpu_from_stat(stat), Some(200 * tick_nanoseconds()));
        assert_eq!(cpu_from_stat("garbage"), None);
        let pages = resident_from_statm("100 25 3 4 0 6 0").unwrap();
        assert_eq!(pages, 25 * rustix::param::page_size() as u64);
        let stat = "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 0\n";
        assert_eq!(steal_from_stat(stat), Some((8, 36)));
        let time = |ticks, milliseconds| MachineTime {
            ticks: Some(ticks),
            throttled: Some(Duration::from_millis(milliseconds)),
        };
        let (start, end) = (time((0, 100), 10), time((5, 200), 60));
        assert_eq!(end.steal_share_since(&start), Some(0.05));
        assert_eq!(start.steal_share_since(&start), None);
        let second = Duration::from_secs(1);
        assert_eq!(end.throttled_share_since(&start, second), Some(0.05));
        let unknown = MachineTime::default();
        assert_eq!(end.throttled_share_since(&unknown, second), None);
    }

    fn look(threads: &[(u32, u64)], process_nanoseconds: u64) -> Look {
        Look {
            thread_nanoseconds: threads.iter().copied().collect(),
            process_nanoseconds,
            resident_bytes: 0,
            taken: None,
        }
    }

    #[test]
    fn a_thread_that_ends_takes_only_its_own_time_away() {
        let tick = tick_nanoseconds();
        let start = look(&[(1, 100), (2, 9_000)], 0);
        // Thread 2 has ended, thread 3 is new.
        assert_eq!(
            look(&[(1, 150), (3, 7)], 0).cpu_nanoseconds_since(&start),
            57
        );
        let much = look(&[(1, 150)], 50 * tick);
        assert_eq!(much.cpu_nanoseconds_since(&start), 50 * tick);
        // A lead of a few ticks is rounding.
        assert_eq!(
            look(&[(1, 150)], 2 * tick).cpu_nanoseconds_since(&start),
            50
        );
    }

    #[test]
    fn sees_its_own_cpu_time_and_misses_the_dead() {
        let mut watcher = Watcher::new(&[std::process::id()]).unwrap();
        let start = watcher.look();
        let thread_time = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        let since = thread_time();
        while (thread_time() - since).tv_nsec < 30_000_000 {}
        let end = watcher.look();
        let watched = watcher.finish(&start, &start, &end);
        assert!(watched.cpu_nanoseconds > 15_000_000, "{watched:?}");
        assert!(
            watched.busiest_thread_nanoseconds > 15_000_000,
            "{watched:?}"
        );
        assert!(watched.elapsed.as_nanos() >= 15_000_000, "{watched:?}");
        assert!(watched.resident_bytes_end > 100_000);
        assert!(Watcher::new(&[u32::MAX / 4]).is_err());
    }
}

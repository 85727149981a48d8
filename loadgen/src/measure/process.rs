//! CPU time and memory of the watched processes, and the machine's steal time, from `/proc`.

use std::fs;
use std::io;

/// What one look at a process shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// CPU time of all its threads since it began, in nanoseconds.
    pub cpu_nanoseconds: u64,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
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
            look_at(*pid).map_err(|error| (*pid, error))?;
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

    /// The sum over all processes; one that is gone is remembered and counts nothing.
    pub fn look(&mut self) -> Look {
        let mut sum = Look {
            cpu_nanoseconds: 0,
            resident_bytes: 0,
        };
        for pid in &self.pids {
            match look_at(*pid) {
                Ok(look) => {
                    sum.cpu_nanoseconds += look.cpu_nanoseconds;
                    sum.resident_bytes += look.resident_bytes;
                }
                Err(_) if !self.vanished.contains(pid) => self.vanished.push(*pid),
                Err(_) => {}
            }
        }
        sum
    }

    /// The difference between the looks at the window's ends, and the memory at all three.
    pub fn finish(self, before: Look, start: Look, end: Look) -> Watched {
        Watched {
            cpu_nanoseconds: end.cpu_nanoseconds.saturating_sub(start.cpu_nanoseconds),
            resident_bytes_before: before.resident_bytes,
            resident_bytes_start: start.resident_bytes,
            resident_bytes_end: end.resident_bytes,
            pids: self.pids,
            vanished: self.vanished,
        }
    }
}

/// One look at one process.
///
/// # Errors
///
/// The process is gone or not readable.
pub fn look_at(pid: u32) -> io::Result<Look> {
    // A thread that ends takes its schedstat with it; the clock ticks in stat keep its time. The larger of the two is
    // right either way: ticks are coarse, but never ahead by more than one tick per thread.
    let ticks = cpu_from_stat(&fs::read_to_string(format!("/proc/{pid}/stat"))?);
    let threads = cpu_from_threads(pid);
    let resident = resident_from_statm(&fs::read_to_string(format!("/proc/{pid}/statm"))?);
    Ok(Look {
        cpu_nanoseconds: match (threads, ticks) {
            (Some(threads), Some(ticks))
                if ticks > threads + ALLOWED_TICKS * tick_nanoseconds() =>
            {
                ticks
            }
            (Some(threads), _) => threads,
            (None, ticks) => ticks.unwrap_or(0),
        },
        resident_bytes: resident.unwrap_or(0),
    })
}

/// How far the coarse count may lead the exact one before threads must have ended.
const ALLOWED_TICKS: u64 = 4;

fn tick_nanoseconds() -> u64 {
    1_000_000_000 / rustix::param::clock_ticks_per_second().max(1)
}

/// Time on a core of all living threads, exact to the nanosecond.
fn cpu_from_threads(pid: u32) -> Option<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let path = thread.ok()?.path().join("schedstat");
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        sum += text.split_ascii_whitespace().next()?.parse::<u64>().ok()?;
    }
    (sum > 0).then_some(sum)
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

/// (steal, all) clock ticks of this machine since it started.
pub fn steal_ticks() -> Option<(u64, u64)> {
    steal_from_stat(&fs::read_to_string("/proc/stat").ok()?)
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

/// The share of steal between two readings.
pub fn steal_share(start: Option<(u64, u64)>, end: Option<(u64, u64)>) -> Option<f64> {
    let ((steal_start, all_start), (steal_end, all_end)) = (start?, end?);
    let all = all_end.checked_sub(all_start).filter(|ticks| *ticks > 0)?;
    Some(steal_end.saturating_sub(steal_start) as f64 / all as f64)
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
        assert_eq!(steal_share(Some((0, 100)), Some((5, 200))), Some(0.05));
        assert_eq!(steal_share(Some((0, 100)), Some((0, 100))), None);
    }

    #[test]
    fn sees_its_own_cpu_time_and_notices_the_dead() {
        let own = std::process::id();
        let mut watcher = Watcher::new(&[own]).unwrap();
        let start = watcher.look();
        let until = std::time::Instant::now() + std::time::Duration::from_millis(30);
        while std::time::Instant::now() < until {}
        let watched = watcher.clone().finish(start, start, watcher.look());
        assert!(watched.cpu_nanoseconds > 5_000_000, "{watched:?}");
        assert!(watched.resident_bytes_end > 100_000);
        assert!(Watcher::new(&[u32::MAX / 4]).is_err());
    }
}

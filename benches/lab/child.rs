//! A child process that does not outlive the laboratory.
//!
//! Its standard input is a pipe of which only this process holds the other end, so a child that watches it ends even if
//! the laboratory is killed. What it writes goes to a file in the work folder.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

/// Time to become ready.
const START_PATIENCE: Duration = Duration::from_secs(15);
/// Time to end when asked to, before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(5);
/// Lines of a dead child's log that are shown.
const LAST_LINES: usize = 8;

/// A running child. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Child {
    name: String,
    process: std::process::Child,
    log: PathBuf,
}

impl Child {
    /// Starts `command`; both its outputs go to `log`.
    pub(crate) fn start(name: &str, command: &mut Command, log: &Path) -> anyhow::Result<Child> {
        let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let process = command
            .stdin(Stdio::piped())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Child {
            name: name.to_owned(),
            process,
            log: log.to_owned(),
        })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Sends it `signal`.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        // Not yet waited for, so the id still is this child's.
        Ok(kill_process(pid.ok_or(io::ErrorKind::NotFound)?, signal)?)
    }

    /// Waits until `ready` finds what it wants in the log so far.
    pub(crate) fn wait_for<T>(&mut self, ready: impl Fn(&str) -> Option<T>) -> anyhow::Result<T> {
        let until = Instant::now() + START_PATIENCE;
        loop {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            if let Some(found) = ready(&log) {
                return Ok(found);
            }
            if let Some(status) = self.process.try_wait()? {
                bail!(
                    "{} ended at its start ({status})\n{}",
                    self.name,
                    last_lines(&log)
                );
            }
            if Instant::now() > until {
                bail!(
                    "{} was not ready after {} seconds\n{}",
                    self.name,
                    START_PATIENCE.as_secs(),
                    last_lines(&log)
                );
            }
            std::thread::sleep(POLL);
        }
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.process.try_wait()
    }

    fn ended_within(&mut self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        while Instant::now() < until {
            // What cannot be waited for is no longer our child.
            if !matches!(self.process.try_wait(), Ok(None)) {
                return true;
            }
            std::thread::sleep(POLL);
        }
        false
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        if !matches!(self.process.try_wait(), Ok(None)) {
            return;
        }
        let _ = self.signal(Signal::TERM);
        if !self.ended_within(STOP_PATIENCE) {
            eprintln!("lab: {} does not end and is killed", self.name);
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let first = lines.len().saturating_sub(LAST_LINES);
    lines.get(first..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_awaited_and_ends_when_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("cat.log");
        let mut command = Command::new("sh");
        command.args(["-c", "echo ready; exec cat"]);
        let mut child = Child::start("cat", &mut command, &log).unwrap();
        let pid = child.pid();
        child
            .wait_for(|log| log.contains("ready").then_some(()))
            .unwrap();
        assert!(Path::new(&format!("/proc/{pid}")).exists());
        drop(child);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn one_that_dies_is_reported_with_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such luck >&2; exit 3"]);
        let mut child = Child::start("luck", &mut command, &folder.path().join("log")).unwrap();
        let error = child.wait_for(|_| None::<()>).unwrap_err().to_string();
        assert!(
            error.contains("no such luck") && error.contains("luck ended"),
            "{error}"
        );
    }
}

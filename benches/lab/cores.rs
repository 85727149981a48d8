//! Who runs on which core: the server under test on one, generator and upstream on another.
//!
//! Children inherit the placement of the thread that starts them, so nothing needs to be done inside them.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Two of the cores that this process may use; the same one twice if it has no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cores {
    /// The server's.
    pub(crate) server: usize,
    /// Generator's and upstream's.
    pub(crate) generator: usize,
}

impl Cores {
    /// The last two allowed cores: interrupts tend to be served by the first.
    pub(crate) fn choose() -> io::Result<Cores> {
        let allowed = sched_getaffinity(None)?;
        let mut usable = (0..CpuSet::MAX_CPU)
            .rev()
            .filter(|core| allowed.is_set(*core));
        let server = usable
            .next()
            .ok_or_else(|| io::Error::other("no core is allowed to this process"))?;
        Ok(Cores {
            server,
            generator: usable.next().unwrap_or(server),
        })
    }

    /// Whether there is only one.
    pub(crate) fn are_one(self) -> bool {
        self.server == self.generator
    }

    /// Puts this thread, and the threads and children that it starts from now on, on the generator's core.
    pub(crate) fn stay_with_generator(self) -> io::Result<()> {
        pin(self.generator)
    }

    /// Does `start` on the server's core; whoever is started in it stays there.
    pub(crate) fn with_server<T>(self, start: impl FnOnce() -> T) -> io::Result<T> {
        pin(self.server)?;
        let started = start();
        pin(self.generator)?;
        Ok(started)
    }
}

fn pin(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

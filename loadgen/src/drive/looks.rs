//! The processes that are looked at around the window: those that the plan names, and this one.

use crate::drive::error::RunError;
use crate::measure::process::Look;
use crate::measure::{Watched, Watcher};

/// The processes.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    named: Watcher,
    own: Watcher,
}

/// What one look at all of them shows.
#[derive(Debug, Clone)]
pub(crate) struct Looks {
    named: Look,
    own: Look,
}

impl Watch {
    /// Watches these processes, and this one.
    ///
    /// # Errors
    ///
    /// The first process that cannot be read.
    pub(crate) fn new(pids: &[u32]) -> Result<Watch, RunError> {
        let watcher = |pids: &[u32]| {
            Watcher::new(pids).map_err(|(pid, source)| RunError::WatchedProcess { pid, source })
        };
        Ok(Watch {
            named: watcher(pids)?,
            own: watcher(&[std::process::id()])?,
        })
    }

    /// All of them now.
    pub(crate) fn look(&mut self) -> Looks {
        Looks {
            named: self.named.look(),
            own: self.own.look(),
        }
    }

    /// What the named processes used, where any were named, and what this one did.
    pub(crate) fn finish(
        self,
        before: &Looks,
        start: &Looks,
        end: &Looks,
    ) -> (Option<Watched>, Watched) {
        let own = self.own.finish(&before.own, &start.own, &end.own);
        let named = (!self.named.is_empty())
            .then(|| self.named.finish(&before.named, &start.named, &end.named));
        (named, own)
    }
}

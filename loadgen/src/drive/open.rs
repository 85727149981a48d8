//! How many connections a shard has open right now.

use std::cell::Cell;
use std::rc::Rc;

/// The count. One guard per open connection keeps it true, however the connection ends.
#[derive(Debug, Default)]
pub(crate) struct OpenConnections {
    count: Cell<u64>,
}

impl OpenConnections {
    pub(crate) fn count(&self) -> u64 {
        self.count.get()
    }

    pub(crate) fn enter(self: &Rc<Self>) -> OpenGuard {
        self.count.set(self.count.get() + 1);
        OpenGuard {
            open: Rc::clone(self),
        }
    }
}

/// Held by the task that drives a connection.
#[derive(Debug)]
pub(crate) struct OpenGuard {
    open: Rc<OpenConnections>,
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.open.count.set(self.open.count.get().saturating_sub(1));
    }
}

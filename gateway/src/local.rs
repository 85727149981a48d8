//! Runs what hyper spawns on the worker's own thread.

use hyper::rt::Executor;

/// The current thread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Local;

impl<F: Future + 'static> Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

//! Tasks of a shard, of which none may fail in silence.
//!
//! The runtime catches a task's panic and goes on without it: attempts that it was to make are missing then, and devices that it
//! had are busy for ever. So every task of a shard is started here, and one that panics ends the run. The panic's own words are
//! on standard error.

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::mpsc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::task::JoinHandle;

use super::shard::{Fatal, Message};

thread_local! {
    /// Whom this thread's shard reports to. A task of no shard, as in a test, reports to nobody.
    static CONTROLLER: RefCell<Option<mpsc::Sender<Message>>> = const { RefCell::new(None) };
}

/// Tells the controller when it is dropped by a panic.
#[derive(Debug)]
pub(crate) struct Alert(());

impl Alert {
    /// The alert of the shard whose thread this is: its own panic is told, and from here on those of its tasks.
    pub(crate) fn of_thread(controller: mpsc::Sender<Message>) -> Alert {
        CONTROLLER.set(Some(controller));
        Alert(())
    }
}

impl Drop for Alert {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        // At a thread's end its own variables may have gone already, and nobody listens once another shard has failed before.
        let _ = CONTROLLER.try_with(|controller| {
            if let Some(controller) = controller.borrow().as_ref() {
                let _ = controller.send(Message::Fatal(Fatal::Panicked));
            }
        });
    }
}

/// Starts a task on this thread.
pub(crate) fn spawn<T: 'static>(task: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    tokio::task::spawn_local(Alarmed { task })
}

pin_project! {
    /// A task under alarm. Written out, because an `async` block around the task would need its memory twice.
    struct Alarmed<F> {
        #[pin]
        task: F,
    }
}

impl<F: Future> Future for Alarmed<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let _alert = Alert(());
        self.project().task.poll(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::LocalSet;

    use super::*;

    /// What the controller is told of a shard that does this, on a thread of its own.
    fn told(shard: impl FnOnce() + Send + 'static) -> Vec<Message> {
        let (controller, messages) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let _alert = Alert::of_thread(controller);
            shard();
        });
        let _ = thread.join();
        messages.iter().collect()
    }

    fn run(shard: impl Future) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        LocalSet::new().block_on(&runtime.build().unwrap(), shard);
    }

    #[test]
    fn a_task_that_panics_is_told_and_others_are_not() {
        let told_of = |panics: bool| {
            told(move || {
                run(async move {
                    let good = spawn(async { 7 });
                    let bad = spawn(async move { assert!(!panics, "a defect") });
                    assert_eq!(good.await.unwrap(), 7);
                    assert_eq!(bad.await.is_err(), panics);
                    // One that is cancelled has not failed.
                    spawn(std::future::pending::<()>()).abort();
                });
            })
        };
        assert!(matches!(
            told_of(true)[..],
            [Message::Fatal(Fatal::Panicked)]
        ));
        assert!(told_of(false).is_empty());
    }

    #[test]
    fn a_shard_that_panics_itself_is_told() {
        let told = told(|| run(async { panic!("a defect") }));
        assert!(matches!(told[..], [Message::Fatal(Fatal::Panicked)]));
    }
}

//! Questions to a worker from another thread, such as the admin listener's.
//!
//! What a worker knows is kept without locks, so nobody else can look at it: a question is sent over, answered between two
//! tasks of the worker, and the answer sent back. A question is to be short; what takes long is asked in slices.

use std::rc::Rc;

use tokio::sync::{mpsc, oneshot};

use super::Worker;

/// How many questions may wait. Whoever asks more waits.
const WAITING: usize = 16;

type Question = Box<dyn FnOnce(&Rc<Worker>) + Send>;

/// Where a worker can be asked.
#[derive(Clone)]
pub struct Asks(mpsc::Sender<Question>);

/// Where a worker finds what it is asked.
pub struct Asked(mpsc::Receiver<Question>);

impl std::fmt::Debug for Asks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Asks")
    }
}

/// Both ends.
pub fn channel() -> (Asks, Asked) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Asks(sender), Asked(receiver))
}

impl Asks {
    /// What the worker answers; `None` where it has ended.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Rc<Worker>) -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        let question: Question = Box::new(move |worker| {
            // Nobody waits for the answer any more where the operator has left.
            let _ = answer.send(question(worker));
        });
        self.0.send(question).await.ok()?;
        answered.await.ok()
    }
}

/// Answers on the worker's thread for as long as somebody can ask.
pub(super) async fn answer(worker: Rc<Worker>, mut asked: Asked) {
    while let Some(question) = asked.0.recv().await {
        question(&worker);
        tokio::task::yield_now().await;
    }
}

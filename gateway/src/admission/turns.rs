//! Gives out turns of public-key work, one at a time, with a look at the sockets between them.
//!
//! A turn is held across no await: whoever has it computes and drops it. The keeper then yields to the runtime, which polls
//! the sockets and runs whatever became ready, and only then passes the turn on.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tokio::sync::{Notify, oneshot};

use crate::admission::queue::{Kind, Queue};

/// The turns of one worker.
#[derive(Debug, Default)]
pub struct Turns {
    queue: RefCell<Queue<oneshot::Sender<Turn>>>,
    taken: Cell<bool>,
    over: Notify,
}

/// The right to do one piece of public-key work now.
#[derive(Debug)]
pub struct Turn(Option<Rc<Turns>>);

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = &self.0 {
            turns.over.notify_one();
        }
    }
}

impl Turns {
    /// Waits for a turn. Cancel safe: who stops waiting is passed over.
    pub async fn take(self: &Rc<Self>, kind: Kind) -> Option<Turn> {
        if !self.taken.replace(true) {
            return Some(Turn(Some(Rc::clone(self))));
        }
        let (give, given) = oneshot::channel();
        self.queue.borrow_mut().push(kind, give);
        given.await.ok()
    }

    /// Passes turns on, for as long as the worker runs.
    pub async fn keep(self: Rc<Self>) {
        loop {
            self.over.notified().await;
            // tokio wakes who yields only after it has polled the sockets.
            tokio::task::yield_now().await;
            self.pass_on();
        }
    }

    fn pass_on(self: &Rc<Self>) {
        loop {
            let Some(next) = self.queue.borrow_mut().pop() else {
                self.taken.set(false);
                return;
            };
            // A receiver that is gone hands the turn back, and dropping that must not count as a turn that was used. One
            // that goes after this drops the turn as it is, which does.
            match next.send(Turn(Some(Rc::clone(self)))) {
                Ok(()) => return,
                Err(mut unused) => unused.0 = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::Turns;
    use crate::admission::queue::Kind;

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build_local(Default::default())
            .unwrap();
        runtime.block_on(test);
    }

    #[test]
    fn one_turn_at_a_time_answers_first() {
        run(async {
            let turns = Rc::new(Turns::default());
            tokio::task::spawn_local(Rc::clone(&turns).keep());
            let first = turns.take(Kind::Hello).await.unwrap();
            let order = Rc::new(RefCell::new(Vec::new()));
            let waiters: Vec<_> = [(Kind::Hello, "hello"), (Kind::Answer, "answer")]
                .map(|(kind, name)| {
                    let (turns, order) = (Rc::clone(&turns), Rc::clone(&order));
                    tokio::task::spawn_local(async move {
                        let turn = turns.take(kind).await;
                        order.borrow_mut().push(name);
                        drop(turn);
                    })
                })
                .into();
            tokio::task::yield_now().await;
            assert!(
                order.borrow().is_empty(),
                "nobody has a turn while another has it"
            );
            drop(first);
            for waiter in waiters {
                waiter.await.unwrap();
            }
            assert_eq!(*order.borrow(), ["answer", "hello"]);
        });
    }

    #[test]
    fn who_stops_waiting_is_passed_over() {
        run(async {
            let turns = Rc::new(Turns::default());
            tokio::task::spawn_local(Rc::clone(&turns).keep());
            let first = turns.take(Kind::Hello).await.unwrap();
            let waiting = Rc::clone(&turns);
            let gone = tokio::task::spawn_local(async move { waiting.take(Kind::Answer).await });
            tokio::task::yield_now().await;
            gone.abort();
            assert!(gone.await.unwrap_err().is_cancelled());
            drop(first);
            assert!(turns.take(Kind::Hello).await.is_some());
        });
    }
}

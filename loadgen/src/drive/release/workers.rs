//! Attempts that start when the one before is done.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use super::Load;
use crate::plan::Actions;

impl Load {
    /// So many attempts at a time, until the scenario ends or its `count` of measured attempts is reached.
    pub(super) async fn in_parallel(self, devices: usize, count: Option<u64>) {
        let left = Cell::new(count.map(|count| self.cast.part(count)));
        let crew = Rc::new(Crew {
            actions: RefCell::new(self.cast.actions()),
            load: self,
            left,
        });
        let workers: Vec<_> = (0..devices)
            .map(|_| tokio::task::spawn_local(Rc::clone(&crew).work()))
            .collect();
        for worker in workers {
            let _ = worker.await;
        }
    }
}

/// What the parallel workers of one scenario share.
struct Crew {
    load: Load,
    actions: RefCell<Actions>,
    /// Measured attempts still to be made, where the plan says how many.
    left: Cell<Option<u64>>,
}

impl Crew {
    async fn work(self: Rc<Self>) {
        let load = &self.load;
        tokio::time::sleep_until(load.begin.into()).await;
        while !load.shard.stopping.get() {
            let device = load.shard.wait_for_device(&load.cast).await;
            let now = Instant::now();
            if load.is_over(now) || (load.is_measured(now) && !self.take_one()) {
                load.shard.give_back(&load.cast, device);
                return;
            }
            let action = self.actions.borrow_mut().draw();
            let order = load.order(device, action, now);
            Rc::clone(&load.shard).attempt(order).await;
        }
    }

    fn take_one(&self) -> bool {
        match self.left.get() {
            Some(0) => false,
            Some(left) => {
                self.left.set(Some(left - 1));
                true
            }
            None => true,
        }
    }
}

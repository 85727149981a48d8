//! Attempts that start when the one before is done.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use tokio::task::JoinHandle;

use super::Load;
use crate::drive::task;
use crate::plan::Actions;
use crate::plan::executor::ramping_devices::Step;

impl Load {
    /// So many devices at a time, until the scenario ends or so many measured `attempts` are made.
    pub(super) async fn in_parallel(self, devices: usize, attempts: Option<u64>) {
        let crew = Crew::new(self, attempts);
        crew.wanted.set(devices);
        let mut workers = Vec::new();
        crew.fill(&mut workers);
        join(workers).await;
    }

    /// As many devices at a time as the latest of `steps` says.
    pub(super) async fn in_changing_number(self, steps: Vec<Step>) {
        let crew = Crew::new(self, None);
        let mut workers = Vec::new();
        for step in steps {
            tokio::time::sleep_until((crew.load.begin + step.at).into()).await;
            if crew.load.shard.stopping.get() {
                break;
            }
            crew.wanted.set(step.devices);
            crew.fill(&mut workers);
            workers.retain(|worker| !worker.is_finished());
        }
        join(workers).await;
    }

    /// So many attempts of each device, all devices at the same time.
    pub(super) async fn each_device(self, iterations: u64) {
        let crew = Crew::new(self, None);
        let slots = crew.load.cast.slots.iter();
        let workers = slots
            .map(|device| Rc::clone(&crew).work_with(*device, iterations))
            .map(task::spawn)
            .collect();
        join(workers).await;
    }
}

async fn join(workers: Vec<JoinHandle<()>>) {
    for worker in workers {
        let _ = worker.await;
    }
}

/// What the parallel workers of one scenario share.
struct Crew {
    load: Load,
    actions: RefCell<Actions>,
    /// Workers that are to be there, and those that are.
    wanted: Cell<usize>,
    present: Cell<usize>,
    /// Measured attempts still to be made, where the plan says how many.
    left: Cell<Option<u64>>,
}

impl Crew {
    fn new(load: Load, left: Option<u64>) -> Rc<Crew> {
        Rc::new(Crew {
            actions: RefCell::new(load.cast.actions()),
            load,
            wanted: Cell::new(0),
            present: Cell::new(0),
            left: Cell::new(left),
        })
    }

    /// Adds the workers that are missing.
    fn fill(self: &Rc<Self>, workers: &mut Vec<JoinHandle<()>>) {
        while self.present.get() < self.wanted.get() {
            self.present.set(self.present.get() + 1);
            workers.push(task::spawn(Rc::clone(self).work()));
        }
    }

    async fn work(self: Rc<Self>) {
        let load = &self.load;
        tokio::time::sleep_until(load.begin.into()).await;
        while !load.shard.stopping.get() && self.present.get() <= self.wanted.get() {
            let device = load.shard.wait_for_device(&load.cast).await;
            let now = Instant::now();
            // The wait may have been a long one.
            let is_over = load.shard.stopping.get() || load.is_over(now);
            if is_over || (load.is_measured(now) && !self.take_one()) {
                load.shard.give_back(&load.cast, device);
                break;
            }
            let action = self.actions.borrow_mut().draw();
            let order = load.order(device, action, now);
            Rc::clone(&load.shard).attempt(order).await;
        }
        self.present.set(self.present.get() - 1);
    }

    async fn work_with(self: Rc<Self>, device: usize, iterations: u64) {
        let load = &self.load;
        tokio::time::sleep_until(load.begin.into()).await;
        // Another scenario may be busy with it.
        load.shard.claim(device).await;
        for _ in 0..iterations {
            let now = Instant::now();
            if load.shard.stopping.get() || load.is_over(now) {
                break;
            }
            let action = self.actions.borrow_mut().draw();
            let order = load.order(device, action, now);
            load.shard.session_claimed(order).await;
        }
        load.shard.release_claim(device);
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

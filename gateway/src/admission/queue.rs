//! The order of turns: devices that have answered our flight go before devices that only said hello, because work was spent
//! on the former already; within a kind, first come, first served.
//!
//! Pure: no clock, no task, no socket.

use std::collections::VecDeque;

/// What a turn is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The first flight of a device.
    Hello,
    /// A device's answer to our flight.
    Answer,
}

/// Those who wait for a turn.
#[derive(Debug)]
pub struct Queue<T> {
    answers: VecDeque<T>,
    hellos: VecDeque<T>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            answers: VecDeque::new(),
            hellos: VecDeque::new(),
        }
    }
}

impl<T> Queue<T> {
    /// Puts `waiter` at the end of its kind.
    pub fn push(&mut self, kind: Kind, waiter: T) {
        match kind {
            Kind::Answer => self.answers.push_back(waiter),
            Kind::Hello => self.hellos.push_back(waiter),
        }
    }

    /// Takes who is next.
    pub fn pop(&mut self) -> Option<T> {
        self.answers.pop_front().or_else(|| self.hellos.pop_front())
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Queue};

    #[test]
    fn answers_go_first_and_each_kind_keeps_its_order() {
        let mut queue = Queue::default();
        for (kind, who) in [
            (Kind::Hello, 1),
            (Kind::Answer, 2),
            (Kind::Hello, 3),
            (Kind::Answer, 4),
        ] {
            queue.push(kind, who);
        }
        let order: Vec<i32> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, [2, 4, 1, 3]);
    }
}

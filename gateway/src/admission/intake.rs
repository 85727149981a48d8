//! How many connections are accepted in a deep storm: twice as many as can be served.
//!
//! Accepting a connection only to reset it costs a tenth of serving it, and in a storm of five times what can be served that
//! is nearly half of what there is. So once more wait than the next second can serve, the rest is left to the kernel:
//! whom the gateway does not accept waits in the kernel's queue or, where that is full, hears nothing and tries again after
//! a second (RFC 6298, 2), at next to no cost. The surplus is what newest-first and resumed-first choose from. In a storm
//! that is less deep everybody is accepted, and told at once if it is too late.
//!
//! Pure: time comes in as an argument, and it knows no sockets.

use std::time::Duration;

/// Connections that each hello which got its turn allows.
const FOR_EACH_TURN: u32 = 2;

/// The most that is saved up: nothing that was not accepted lately is owed later.
const MOST: u32 = 16;

/// So many may wait in any case.
const FEW: u32 = 512;

/// More than are served in so many seconds wait in vain, most of them.
const SECONDS: u32 = 1;

/// Connections that may be accepted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Intake {
    allowed: u32,
    /// The second that `served` is of.
    second: u64,
    served: u32,
    served_before: u32,
}

impl Intake {
    /// A hello got its turn at `now`.
    pub fn served(&mut self, now: Duration) {
        self.allowed = (self.allowed + FOR_EACH_TURN).min(MOST);
        let second = now.as_secs();
        if second != self.second {
            let follows = second == self.second + 1;
            self.served_before = if follows { self.served } else { 0 };
            (self.second, self.served) = (second, 0);
        }
        self.served += 1;
    }

    /// Whether one more may be accepted while so many hellos wait; if so, it counts.
    pub fn allows(&mut self, waiting: usize) -> bool {
        let few = FEW.max(SECONDS * self.served.max(self.served_before));
        if waiting <= few as usize {
            return true;
        }
        let left = self.allowed.checked_sub(1);
        self.allowed = left.unwrap_or(0);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{FEW, FOR_EACH_TURN, Intake, MOST, SECONDS};

    const CROWD: usize = 1_000_000;

    #[test]
    fn in_a_crowd_so_many_are_accepted_for_each_that_gets_a_turn() {
        let mut intake = Intake::default();
        let mut accepted = 0;
        for _ in 0..1000 {
            intake.served(Duration::ZERO);
            while intake.allows(CROWD) {
                accepted += 1;
            }
        }
        assert_eq!(accepted, 1000 * FOR_EACH_TURN);
    }

    #[test]
    fn little_is_saved_up() {
        let mut intake = Intake::default();
        assert!(!intake.allows(CROWD));
        (0..1000).for_each(|_| intake.served(Duration::ZERO));
        let accepted = std::iter::from_fn(|| intake.allows(CROWD).then_some(())).count();
        assert_eq!(accepted, MOST as usize);
    }

    #[test]
    fn what_the_next_seconds_can_serve_is_no_crowd() {
        let mut intake = Intake::default();
        assert!(intake.allows(FEW as usize) && !intake.allows(FEW as usize + 1));
        (0..1000).for_each(|_| intake.served(Duration::from_secs(7)));
        // The second that has just begun says little.
        intake.served(Duration::from_secs(8));
        let few = 1000 * SECONDS as usize;
        assert!((0..100).all(|_| intake.allows(few)));
        // One that was long ago says nothing.
        intake.served(Duration::from_secs(20));
        while intake.allowed > 0 {
            assert!(intake.allows(few));
        }
        assert!(!intake.allows(few));
    }
}

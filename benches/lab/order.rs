//! In which order things are measured that are to be compared; pure and seeded.
//!
//! A machine drifts: neighbours come and go, clocks change. Within a round everything is measured once in a random order
//! and once in its reverse (ABBA), so that whatever drifts steadily falls on all alike.

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;

/// The orders of a comparison.
#[derive(Debug)]
pub(crate) struct Orders {
    random: StdRng,
}

impl Orders {
    /// Orders that follow from `seed`.
    pub(crate) fn new(seed: u64) -> Orders {
        Orders {
            random: StdRng::seed_from_u64(seed),
        }
    }

    /// The next block: everything once, shuffled, and once more, backwards.
    pub(crate) fn block<T: Copy>(&mut self, all: &[T]) -> Vec<T> {
        let forward = self.shuffled(all);
        let backward: Vec<T> = forward.iter().rev().copied().collect();
        [forward, backward].concat()
    }

    /// Everything once.
    pub(crate) fn shuffled<T: Copy>(&mut self, all: &[T]) -> Vec<T> {
        let mut order = all.to_vec();
        order.shuffle(&mut self.random);
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_a_palindrome_with_everything_in_it_twice() {
        let mut orders = Orders::new(7);
        let blocks: Vec<Vec<char>> = (0..20).map(|_| orders.block(&['a', 'b', 'c'])).collect();
        for block in &blocks {
            let backwards: Vec<char> = block.iter().rev().copied().collect();
            assert_eq!(*block, backwards);
            let mut half: Vec<char> = block.iter().take(3).copied().collect();
            half.sort_unstable();
            assert_eq!(half, ['a', 'b', 'c']);
        }
        assert!(
            blocks.iter().any(|block| *block != blocks[0]),
            "never shuffled"
        );
        let again: Vec<Vec<char>> = {
            let mut orders = Orders::new(7);
            (0..20).map(|_| orders.block(&['a', 'b', 'c'])).collect()
        };
        assert_eq!(blocks, again);
    }
}

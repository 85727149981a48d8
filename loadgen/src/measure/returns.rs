//! How devices that lost their connections came back.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::recorder::{new_histogram, record};

/// What became of the devices of a reconnect storm.
#[derive(Debug, Clone)]
pub struct Returns {
    /// Devices that lost their connections.
    pub dropped: u64,
    /// Those that were back before the scenario ended.
    pub returned: u64,
    /// Attempts after the first ones.
    pub retries: u64,
    /// Devices that gave up after their last retry.
    pub gave_up: u64,
    /// From the drop to the complete response of the attempt that succeeded, in microseconds.
    pub times: Histogram<u64>,
}

impl Returns {
    /// Nothing yet.
    pub fn new() -> Returns {
        Returns {
            dropped: 0,
            returned: 0,
            retries: 0,
            gave_up: 0,
            times: new_histogram(),
        }
    }

    /// A device is back, so long after the drop.
    pub fn back(&mut self, after: Duration) {
        self.returned += 1;
        record(&mut self.times, after);
    }

    /// Adds another shard's.
    pub fn merge(&mut self, other: &Returns) {
        self.dropped += other.dropped;
        self.returned += other.returned;
        self.retries += other.retries;
        self.gave_up += other.gave_up;
        // Cannot fail: both have the same bounds.
        let _ = self.times.add(&other.times);
    }
}

impl Default for Returns {
    fn default() -> Returns {
        Returns::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_add_up() {
        let mut sum = Returns::new();
        for seconds in 1..=2 {
            let mut shard = Returns::new();
            shard.dropped = 3;
            shard.gave_up = 1;
            shard.retries = 4;
            shard.back(Duration::from_secs(seconds));
            sum.merge(&shard);
        }
        assert_eq!(
            (sum.dropped, sum.returned, sum.gave_up, sum.retries),
            (6, 2, 2, 8)
        );
        assert!((1_990_000..2_010_000).contains(&sum.times.max()));
    }
}

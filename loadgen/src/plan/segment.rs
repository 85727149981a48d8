//! `--segment I/N`: one of N machines' part of a plan.
//!
//! Every machine is given the same plan, and segment I of N takes devices I, I+N, I+2N, … and, of uniform arrivals, the
//! same numbers: together the segments are the whole plan, arrival by arrival, whatever each machine's number of shards.
//! Poisson arrivals are drawn independently; their superposition is Poisson again. Segments are counted from 0, as
//! Kubernetes counts the pods of an Indexed Job.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::arrival::Share;
use super::part_of;

/// Most segments that a plan is split into.
const MOST: usize = 1_000_000;

/// One machine's part of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Segment {
    index: usize,
    of: usize,
}

/// Why a segment cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{0}` is not a segment; write I/N, counted from 0: 0/3, 1/3 and 2/3 make a whole")]
pub struct SegmentError(String);

impl Segment {
    /// The whole plan.
    pub const WHOLE: Segment = Segment { index: 0, of: 1 };

    /// Segment `index` of `of`, counted from 0; `None` unless `index < of`.
    pub fn new(index: usize, of: usize) -> Option<Segment> {
        (index < of && of <= MOST).then_some(Segment { index, of })
    }

    /// Its number, from 0.
    pub fn index(self) -> usize {
        self.index
    }

    /// How many make the whole.
    pub fn of(self) -> usize {
        self.of
    }

    /// This segment's part of a total; the parts of all segments add up to it.
    pub fn part_of(self, total: u64) -> u64 {
        part_of(total, self.index, self.of)
    }

    /// The same of devices.
    pub fn part_of_devices(self, total: usize) -> usize {
        usize::try_from(self.part_of(total as u64)).unwrap_or(usize::MAX)
    }

    /// This segment's part of the devices `range` of the whole fleet: their places among the segment's own devices, and the
    /// segment that it is of them. The range's first device has part 0, so that part I has the devices of its part.
    pub fn of_range(self, range: &Range<usize>) -> (Segment, Range<usize>) {
        let place = |device: usize| device.saturating_sub(self.index).div_ceil(self.of);
        let turned = Segment {
            index: (self.index + self.of - range.start % self.of) % self.of,
            of: self.of,
        };
        (turned, place(range.start)..place(range.end))
    }

    /// The share of the whole plan that shard `shard` of this segment's `shards` has.
    pub fn share(self, shard: usize, shards: usize) -> Share {
        Share {
            index: self.index + self.of * shard,
            of: self.of * shards,
        }
    }
}

impl Default for Segment {
    fn default() -> Segment {
        Segment::WHOLE
    }
}

impl FromStr for Segment {
    type Err = SegmentError;

    fn from_str(text: &str) -> Result<Segment, SegmentError> {
        let number = |digits: &str| digits.trim().parse().ok();
        text.split_once('/')
            .and_then(|(index, of)| Segment::new(number(index)?, number(of)?))
            .ok_or_else(|| SegmentError(text.to_owned()))
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.index, self.of)
    }
}

impl From<Segment> for String {
    fn from(segment: Segment) -> String {
        segment.to_string()
    }
}

impl TryFrom<String> for Segment {
    type Error = SegmentError;

    fn try_from(text: String) -> Result<Segment, SegmentError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::plan::arrival::Rate;
    use crate::plan::{ArrivalTimes, Pattern};

    /// Machines with different numbers of shards.
    const SHARDS: [usize; 3] = [1, 4, 3];

    fn shares() -> impl Iterator<Item = Share> {
        SHARDS.iter().enumerate().flat_map(|(index, shards)| {
            let segment = Segment::new(index, SHARDS.len()).unwrap();
            (0..*shards).map(move |shard| segment.share(shard, *shards))
        })
    }

    #[test]
    fn uniform_arrivals_of_all_segments_are_the_whole_schedule_one_by_one() {
        let end = Duration::from_secs(2);
        let until_end = |share| {
            ArrivalTimes::new(Rate::Constant(700.0), Pattern::Uniform, 1, share)
                .take_while(move |t| *t < end)
        };
        let mut split: Vec<_> = shares().flat_map(until_end).collect();
        split.sort();
        let whole: Vec<_> = until_end(Share { index: 0, of: 1 }).collect();
        assert_eq!(whole.len(), 1400);
        assert_eq!(split, whole);
        let second = Segment::new(1, 3).unwrap();
        let mut second: Vec<_> = (0..4).flat_map(|s| until_end(second.share(s, 4))).collect();
        second.sort();
        let wanted: Vec<_> = whole.iter().skip(1).step_by(3).copied().collect();
        assert_eq!(second, wanted);
    }

    #[test]
    fn devices_of_all_segments_are_the_fleet_and_none_is_in_two() {
        let mut seen = BTreeSet::new();
        for share in shares() {
            for device in (share.index..1000).step_by(share.of) {
                assert!(seen.insert(device), "{device} twice");
            }
        }
        assert_eq!(seen, (0..1000).collect());
    }

    #[test]
    fn a_range_of_the_fleet_is_split_like_the_whole() {
        for range in [0..10, 3..10, 4..5, 7..100, 5..7] {
            let mut seen = Vec::new();
            for index in 0..4 {
                let (turned, places) = Segment::new(index, 4).unwrap().of_range(&range);
                assert_eq!(places.len() as u64, turned.part_of(range.len() as u64));
                seen.extend(places.map(|place| place * 4 + index));
            }
            seen.sort_unstable();
            assert_eq!(seen, range.collect::<Vec<_>>());
        }
    }

    #[test]
    fn poisson_segments_are_independent_and_have_the_whole_rate() {
        let streams: Vec<Vec<_>> = shares()
            .map(|share| {
                ArrivalTimes::new(Rate::Constant(900.0), Pattern::Poisson, 7, share)
                    .take_while(|time| *time < Duration::from_secs(40))
                    .collect()
            })
            .collect();
        let different: BTreeSet<_> = streams.iter().map(|times| times[0]).collect();
        assert_eq!(different.len(), SHARDS.iter().sum::<usize>());
        let arrivals: usize = streams.iter().map(Vec::len).sum();
        // 36,000 expected, standard deviation 190.
        assert!((35_200..36_800).contains(&arrivals), "{arrivals}");
    }

    #[test]
    fn parts_add_up() {
        for total in [0, 1, 64, 1001] {
            let parts = (0..7).map(|index| Segment::new(index, 7).unwrap().part_of(total));
            assert_eq!(parts.sum::<u64>(), total);
        }
    }

    #[test]
    fn segments_are_counted_from_nought() {
        assert_eq!("2/3".parse(), Ok(Segment { index: 2, of: 3 }));
        assert_eq!("2/3".parse::<Segment>().unwrap().to_string(), "2/3");
        for wrong in [
            "3/3",
            "0/0",
            "1",
            "/",
            "a/b",
            "-1/2",
            "0/99999999",
            "1/2/3",
            "",
        ] {
            let complaint = wrong.parse::<Segment>().unwrap_err().to_string();
            assert!(complaint.contains("counted from 0"), "{complaint}");
        }
    }
}

//! What is remembered of certificates: the last answer, and the last failure to get one.
//!
//! Bounded by entry count; eviction is second-chance first-in-first-out, as in the verified-chain cache. An answer is used
//! without asking until its next update or for the longest age, whichever is sooner. After that somebody asks, and the old
//! one still serves when there is no new one: to its own end if it is good, and for as long as it is remembered if it says
//! revoked, because a revoked certificate is not made good by a responder that is down. Nothing here asks or reads a clock.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::response::{Answer, CertificateStatus};
use super::subject::Key;
use super::{Reason, Standing};

/// For how long things are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// The most certificates.
    pub(super) entries: usize,
    /// The longest time in which an answer is used without asking again.
    pub(super) max_age: Duration,
    /// The shortest time between two questions about one certificate.
    pub(super) retry_interval: Duration,
}

#[derive(Debug, Default)]
struct Entry {
    known: Option<Known>,
    failure: Option<Failure>,
    used: bool,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    standing: Standing,
    /// Until then nobody is asked.
    fresh_until: u64,
    /// Until then it is better than nothing.
    usable_until: u64,
}

#[derive(Debug, Clone, Copy)]
struct Failure {
    reason: Reason,
    /// Until then nobody is asked.
    until: u64,
}

/// A bounded map from certificates to what is known of them. All times are in seconds since the Unix epoch.
#[derive(Debug)]
pub(super) struct Answers {
    limits: Limits,
    entries: HashMap<Key, Entry>,
    hand: VecDeque<Key>,
}

impl Answers {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries: HashMap::new(),
            hand: VecDeque::new(),
        }
    }

    /// The standing of a certificate, if nobody need be asked for it at `now`.
    pub(super) fn recall(&mut self, key: &Key, now: u64) -> Option<Standing> {
        let entry = self.entries.get_mut(key)?;
        entry.used = true;
        if let Some(known) = entry.known
            && now <= known.fresh_until
        {
            return Some(known.standing);
        }
        match entry.failure {
            Some(failure) if now < failure.until => {
                Some(self.without_answer(key, failure.reason, now))
            }
            _ => None,
        }
    }

    /// The standing of a certificate about which there is no new answer because of `reason`: what an older one says, or that
    /// there is none.
    pub(super) fn without_answer(&self, key: &Key, reason: Reason, now: u64) -> Standing {
        self.entries
            .get(key)
            .and_then(|entry| entry.known)
            .filter(|known| now <= known.usable_until || known.standing == Standing::Revoked)
            .map_or(Standing::Unavailable(reason), |known| known.standing)
    }

    /// Remembers `answer`, which came at `now`, and says what it means.
    pub(super) fn learn(&mut self, key: Key, answer: &Answer, now: u64) -> Standing {
        let standing = match answer.status {
            CertificateStatus::Good => Standing::Good,
            CertificateStatus::Revoked { .. } => Standing::Revoked,
            CertificateStatus::Unknown => Standing::Unknown,
        };
        // A responder that is late with its next update is not asked at every connection.
        let soonest = now.saturating_add(self.limits.retry_interval.as_secs());
        let latest = now.saturating_add(self.limits.max_age.as_secs());
        let known = Known {
            standing,
            fresh_until: answer
                .next_update
                .max(soonest)
                .min(latest)
                .min(answer.usable_until()),
            usable_until: answer.usable_until(),
        };
        if let Some(entry) = self.entry(key) {
            entry.known = Some(known);
            entry.failure = None;
        }
        standing
    }

    /// Remembers that there was no answer at `now`, and says what that means.
    pub(super) fn fail(&mut self, key: Key, reason: Reason, now: u64) -> Standing {
        let until = now.saturating_add(self.limits.retry_interval.as_secs());
        if let Some(entry) = self.entry(key) {
            entry.failure = Some(Failure { reason, until });
        }
        self.without_answer(&key, reason, now)
    }

    /// Number of certificates remembered.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The entry of a certificate, made if there is none. None at all if nothing is to be remembered.
    fn entry(&mut self, key: Key) -> Option<&mut Entry> {
        if self.limits.entries == 0 {
            return None;
        }
        if !self.entries.contains_key(&key) {
            while self.entries.len() >= self.limits.entries {
                self.evict_one();
            }
            self.hand.push_back(key);
        }
        Some(self.entries.entry(key).or_default())
    }

    fn evict_one(&mut self) {
        // Every mark is cleared on the way, so that a victim is found in the second round at the latest.
        while let Some(oldest) = self.hand.pop_front() {
            match self.entries.get_mut(&oldest) {
                Some(entry) if entry.used => {
                    entry.used = false;
                    self.hand.push_back(oldest);
                }
                _ => {
                    self.entries.remove(&oldest);
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Answer, Answers, CertificateStatus, Limits, Reason, Standing};

    const NOW: u64 = 1_000_000;
    const NONE: Standing = Standing::Unavailable(Reason::Timeout);

    fn answers(entries: usize) -> Answers {
        Answers::new(Limits {
            entries,
            max_age: Duration::from_secs(1000),
            retry_interval: Duration::from_secs(10),
        })
    }

    fn answer(status: CertificateStatus, next_update: u64) -> Answer {
        Answer {
            status,
            next_update,
        }
    }

    #[test]
    fn an_answer_serves_until_its_next_update_or_for_the_longest_age() {
        for (next_update, asked_again) in [(NOW + 50, NOW + 51), (NOW + 5000, NOW + 1001)] {
            let mut answers = answers(4);
            let good = answer(CertificateStatus::Good, next_update);
            assert_eq!(answers.learn([1; 32], &good, NOW), Standing::Good);
            assert_eq!(
                answers.recall(&[1; 32], asked_again - 1),
                Some(Standing::Good)
            );
            assert_eq!(answers.recall(&[1; 32], asked_again), None);
            assert_eq!(answers.recall(&[2; 32], NOW), None);
        }
    }

    #[test]
    fn a_late_responder_is_not_asked_at_every_connection() {
        let mut answers = answers(4);
        // Its next update should have been there 100 seconds ago.
        answers.learn([1; 32], &answer(CertificateStatus::Good, NOW - 100), NOW);
        assert_eq!(answers.recall(&[1; 32], NOW + 10), Some(Standing::Good));
        assert_eq!(answers.recall(&[1; 32], NOW + 11), None);
        // The end of the clock skew is the end all the same.
        answers.learn([1; 32], &answer(CertificateStatus::Good, NOW - 295), NOW);
        assert_eq!(answers.recall(&[1; 32], NOW + 5), Some(Standing::Good));
        assert_eq!(answers.recall(&[1; 32], NOW + 6), None);
    }

    #[test]
    fn a_failure_is_remembered_for_an_interval() {
        let mut answers = answers(4);
        assert_eq!(answers.fail([1; 32], Reason::Timeout, NOW), NONE);
        assert_eq!(answers.recall(&[1; 32], NOW + 9), Some(NONE));
        assert_eq!(answers.recall(&[1; 32], NOW + 10), None);
        let good = answer(CertificateStatus::Good, NOW + 500);
        answers.learn([1; 32], &good, NOW + 11);
        assert_eq!(answers.recall(&[1; 32], NOW + 12), Some(Standing::Good));
    }

    #[test]
    fn an_older_answer_serves_when_there_is_no_new_one() {
        let mut answers = answers(4);
        let end = NOW + 5300;
        answers.learn([1; 32], &answer(CertificateStatus::Good, NOW + 5000), NOW);
        assert_eq!(
            answers.fail([1; 32], Reason::Timeout, NOW + 2000),
            Standing::Good
        );
        assert_eq!(answers.recall(&[1; 32], NOW + 2001), Some(Standing::Good));
        assert_eq!(answers.fail([1; 32], Reason::Timeout, end), Standing::Good);
        assert_eq!(answers.recall(&[1; 32], end + 1), Some(NONE));
    }

    #[test]
    fn a_revoked_certificate_is_not_made_good_by_time() {
        let mut answers = answers(4);
        let revoked = answer(CertificateStatus::Revoked { since: 1 }, NOW + 50);
        answers.learn([1; 32], &revoked, NOW);
        let later = NOW + 1_000_000;
        assert_eq!(answers.recall(&[1; 32], later), None, "it may be off hold");
        assert_eq!(
            answers.fail([1; 32], Reason::Timeout, later),
            Standing::Revoked
        );
        let good = answer(CertificateStatus::Good, later + 50);
        assert_eq!(answers.learn([1; 32], &good, later), Standing::Good);
    }

    #[test]
    fn the_bound_holds_and_used_entries_stay() {
        let mut answers = answers(3);
        let good = answer(CertificateStatus::Good, NOW + 500);
        for key in [1, 2, 3] {
            answers.learn([key; 32], &good, NOW);
        }
        assert!(answers.recall(&[1; 32], NOW).is_some());
        answers.learn([4; 32], &good, NOW);
        assert_eq!(answers.len(), 3);
        assert!(answers.recall(&[1; 32], NOW).is_some(), "it was used");
        assert!(answers.recall(&[2; 32], NOW).is_none(), "the oldest unused");
        for key in [1, 3, 4] {
            assert!(answers.recall(&[key; 32], NOW).is_some());
        }
        answers.fail([5; 32], Reason::Timeout, NOW);
        assert_eq!(answers.len(), 3, "a victim is found when all were used");
        assert_eq!(answers.hand.len(), 3);
    }

    #[test]
    fn capacity_zero_remembers_nothing() {
        let mut answers = answers(0);
        let good = answer(CertificateStatus::Good, NOW + 500);
        assert_eq!(answers.learn([1; 32], &good, NOW), Standing::Good);
        assert_eq!(answers.fail([1; 32], Reason::Timeout, NOW), NONE);
        assert_eq!(answers.len(), 0);
    }
}

//! Circuit breakers: a responder that failed is left alone for a while, and then tried by one question.
//!
//! Only what says something of the responder itself counts, not what concerns one certificate: a single strange certificate
//! must not keep the others from being asked about. Nothing here asks or reads a clock.

use std::collections::HashMap;
use std::time::Duration;

use super::Reason;
use crate::fetch::HttpUrl;

/// The most responders that are remembered as failing. Certificate authorities choose their names, so there are few.
const MAX_RESPONDERS: usize = 1024;

#[derive(Debug, Clone, Copy)]
struct Open {
    reason: Reason,
    /// When the next question may go there, in seconds since the Unix epoch.
    retry_at: u64,
}

/// Which responders failed.
#[derive(Debug)]
pub(super) struct Breakers {
    interval: Duration,
    open: HashMap<HttpUrl, Open>,
}

impl Breakers {
    /// With a pause of `interval` after each failure.
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            interval,
            open: HashMap::new(),
        }
    }

    /// Why `responder` is left alone at `now`, if it is.
    pub(super) fn suspended(&self, responder: &HttpUrl, now: u64) -> Option<Reason> {
        self.open
            .get(responder)
            .filter(|open| now < open.retry_at)
            .map(|open| open.reason)
    }

    /// Lets a question through to `responder`, or says why not. The one that is let through after a pause begins the next
    /// pause for all others.
    pub(super) fn admit(&mut self, responder: &HttpUrl, now: u64) -> Result<(), Reason> {
        if let Some(reason) = self.suspended(responder, now) {
            return Err(reason);
        }
        if let Some(open) = self.open.get_mut(responder) {
            open.retry_at = now.saturating_add(self.interval.as_secs());
        }
        Ok(())
    }

    /// The responder answered, whatever it was.
    pub(super) fn answered(&mut self, responder: &HttpUrl) {
        self.open.remove(responder);
    }

    /// The responder failed at `now`.
    pub(super) fn failed(&mut self, responder: &HttpUrl, reason: Reason, now: u64) {
        if self.open.len() >= MAX_RESPONDERS {
            self.open.retain(|_, open| now < open.retry_at);
        }
        // With so many failing at once, to forget them all costs a timeout each.
        if self.open.len() >= MAX_RESPONDERS {
            self.open.clear();
        }
        let retry_at = now.saturating_add(self.interval.as_secs());
        self.open
            .insert(responder.clone(), Open { reason, retry_at });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Breakers, MAX_RESPONDERS, Reason};
    use crate::fetch::HttpUrl;

    const NOW: u64 = 1_000_000;

    fn url(n: usize) -> HttpUrl {
        format!("http://responder-{n}.example/").parse().unwrap()
    }

    #[test]
    fn a_responder_that_failed_is_left_alone_and_then_tried_once() {
        let mut breakers = Breakers::new(Duration::from_secs(10));
        assert_eq!(breakers.admit(&url(1), NOW), Ok(()));
        assert_eq!(breakers.admit(&url(1), NOW), Ok(()), "it did not fail yet");
        breakers.failed(&url(1), Reason::Timeout, NOW);
        assert_eq!(breakers.suspended(&url(2), NOW), None);
        for now in [NOW, NOW + 9] {
            assert_eq!(breakers.suspended(&url(1), now), Some(Reason::Timeout));
            assert_eq!(breakers.admit(&url(1), now), Err(Reason::Timeout));
        }
        assert_eq!(breakers.suspended(&url(1), NOW + 10), None);
        assert_eq!(breakers.admit(&url(1), NOW + 10), Ok(()));
        assert_eq!(
            breakers.admit(&url(1), NOW + 10),
            Err(Reason::Timeout),
            "somebody is trying"
        );
        breakers.answered(&url(1));
        assert_eq!(breakers.admit(&url(1), NOW + 10), Ok(()));
        assert_eq!(breakers.admit(&url(1), NOW + 10), Ok(()));
    }

    #[test]
    fn not_more_than_so_many_are_remembered() {
        let mut breakers = Breakers::new(Duration::from_secs(10));
        for n in 0..=MAX_RESPONDERS {
            breakers.failed(&url(n), Reason::Timeout, NOW);
        }
        assert!(breakers.open.len() <= MAX_RESPONDERS);
        assert!(breakers.suspended(&url(MAX_RESPONDERS), NOW).is_some());
    }
}

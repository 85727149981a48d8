//! Which requests may be sent a second time, and how many of them.
//!
//! Pure. A request of which nothing was sent is no concern of this module: it may go elsewhere, whatever it is.

use std::time::Duration;

use http::Method;

/// Whether a request with `method` may be sent again after it was sent and no response came: its effect is the same however
/// often it arrives (RFC 9110, 9.2.2), and it has no body, of which a part would be gone.
pub fn is_repeatable(method: &Method, has_body: bool) -> bool {
    let is_idempotent = matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE
    );
    is_idempotent && !has_body
}

/// Seconds that "recent" reaches back.
const WINDOW: usize = 10;

/// Retries in a second that are always allowed, on average over the window: with few requests a share of them is nothing.
const ALWAYS: u64 = 3;

/// How many requests may be repeated, as a share of the recent ones: where an upstream fails as a whole, repeating everything
/// would double the load that it fails under.
#[derive(Debug, Default)]
pub struct Budget {
    seconds: [Second; WINDOW],
    /// The second up to which `seconds` is.
    at: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Second {
    requests: u64,
    retries: u64,
}

impl Budget {
    /// Takes in `count` requests, made up to `now`.
    pub fn requests(&mut self, count: u64, now: Duration) {
        let second = self.second(now);
        second.requests = second.requests.saturating_add(count);
    }

    /// Whether one more request may be repeated at `now`, where `share` percent of the recent ones may; if so, it counts.
    pub fn withdraw(&mut self, share: u32, now: Duration) -> bool {
        self.second(now);
        let recent = self.seconds.iter();
        let (requests, retries) = recent.fold((0_u64, 0_u64), |(requests, retries), second| {
            (
                requests.saturating_add(second.requests),
                retries.saturating_add(second.retries),
            )
        });
        let by_share = requests.saturating_mul(u64::from(share)) / 100;
        let allowed = retries < by_share.max(ALWAYS * WINDOW as u64);
        if allowed {
            self.second(now).retries += 1;
        }
        allowed
    }

    /// The present second; those that have passed since are forgotten.
    fn second(&mut self, now: Duration) -> &mut Second {
        let now = now.as_secs().max(self.at);
        let passed = (now - self.at).min(WINDOW as u64);
        for _ in 0..passed {
            self.seconds.rotate_right(1);
            let [newest, ..] = &mut self.seconds;
            *newest = Second::default();
        }
        self.at = now;
        let [newest, ..] = &mut self.seconds;
        newest
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Method;
    use proptest::prelude::*;

    use super::{Budget, is_repeatable};

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// How many retries are allowed at `now`.
    fn allowed(budget: &mut Budget, share: u32, now: Duration) -> usize {
        (0..10_000)
            .take_while(|_| budget.withdraw(share, now))
            .count()
    }

    #[test]
    fn only_idempotent_requests_without_a_body_are_repeated() {
        for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"] {
            let method: Method = method.parse().unwrap();
            assert!(is_repeatable(&method, false) && !is_repeatable(&method, true));
        }
        for method in ["POST", "PATCH", "CONNECT", "LOCK", "get"] {
            assert!(!is_repeatable(&method.parse().unwrap(), false), "{method}");
        }
    }

    #[test]
    fn few_requests_have_a_few_retries() {
        let mut budget = Budget::default();
        assert_eq!(allowed(&mut budget, 20, at(100)), 30);
        assert_eq!(allowed(&mut budget, 20, at(109)), 0);
        assert_eq!(allowed(&mut budget, 20, at(110)), 30);
    }

    #[test]
    fn many_requests_have_their_share() {
        let mut budget = Budget::default();
        budget.requests(600, at(100));
        budget.requests(400, at(105));
        assert_eq!(allowed(&mut budget, 20, at(107)), 200);
        // The first 600 are forgotten, the retries are not.
        assert_eq!(allowed(&mut budget, 20, at(112)), 0);
        assert_eq!(allowed(&mut budget, 20, at(117)), 30);
    }

    #[test]
    fn a_clock_that_stands_or_jumps_does_no_harm() {
        let mut budget = Budget::default();
        budget.requests(1000, at(100));
        assert!(budget.withdraw(20, at(50)));
        assert_eq!(allowed(&mut budget, 20, at(u64::MAX)), 30);
    }

    proptest! {
        #[test]
        fn retries_never_pass_the_share_of_the_window(
            share in 0_u32..=100,
            seconds in prop::collection::vec((0_u64..300, 0_usize..300), 1..40),
        ) {
            let mut budget = Budget::default();
            let mut done: Vec<(u64, usize)> = Vec::new();
            for (second, (requests, wanted)) in seconds.into_iter().enumerate() {
                let now = at(second as u64);
                budget.requests(requests, now);
                let retries = (0..wanted).filter(|_| budget.withdraw(share, now)).count();
                done.push((requests, retries));
                let recent = done.iter().rev().take(10);
                let (requests, retries) = recent.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
                // Of the retries that were allowed before, some requests may have left the window since.
                if retries > 30 {
                    let ever: u64 = done.iter().rev().take(20).map(|(requests, _)| requests).sum();
                    prop_assert!(retries as u64 <= ever.max(requests) * u64::from(share) / 100);
                }
            }
        }
    }
}

//! What the whole process knows about one endpoint: whether it may serve, and what it is doing.
//!
//! Workers read it without a lock, and say what became of their requests; only news takes one. What follows from news is
//! decided by the pure `health`.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use crate::upstream::balance;
use crate::upstream::connect::{Address, Target};
use crate::upstream::health::{self, Checked, Ejection, EjectionSettings, Thresholds};

/// One address of an upstream.
#[derive(Debug)]
pub struct Endpoint {
    target: Target,
    entry: usize,
    weight: u32,
    hash: u64,
    /// Milliseconds until which it is out; `UNHEALTHY` as long as checks say so.
    out_until: AtomicU64,
    /// Milliseconds since which it is back; `NEVER_OUT` has its full weight.
    back_since: AtomicU64,
    /// Whether a success would be news.
    is_failing: AtomicBool,
    standing: Mutex<Standing>,
    /// One for each worker that uses it.
    tallies: Mutex<Vec<Weak<Tally>>>,
}

const UNHEALTHY: u64 = u64::MAX;
const NEVER_OUT: u64 = u64::MAX;

#[derive(Debug, Default)]
struct Standing {
    checked: Checked,
    ejection: Ejection,
    last_check: Option<LastCheck>,
}

/// What the latest check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastCheck {
    /// `ok`, or why it failed.
    pub outcome: &'static str,
    /// When, as the caller counts time.
    pub at: Duration,
}

/// What one worker is doing with an endpoint. The worker alone writes it.
#[derive(Debug, Default)]
pub struct Tally {
    /// Requests whose exchange is not over.
    pub in_flight: AtomicU32,
    /// Those of them that wait for a connection.
    pub pending: AtomicU32,
}

/// Whether an endpoint serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It does.
    Healthy,
    /// It does, with less than its full weight yet.
    SlowStart,
    /// It is out for its answers.
    Ejected,
    /// It is out for its checks.
    Unhealthy,
}

impl Endpoint {
    /// The endpoint at `target`, from the configuration's entry with this index. With `back_since` it starts slowly.
    pub fn new(target: Target, entry: usize, weight: u32, back_since: Option<Duration>) -> Self {
        Self {
            hash: balance::hash(target.address.to_string().as_bytes()),
            target,
            entry,
            weight,
            out_until: AtomicU64::new(0),
            back_since: AtomicU64::new(back_since.map_or(NEVER_OUT, millis)),
            is_failing: AtomicBool::new(false),
            standing: Mutex::default(),
            tallies: Mutex::default(),
        }
    }

    /// Where it is.
    pub fn address(&self) -> &Address {
        &self.target.address
    }

    /// How it is reached.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Index of its entry in the configuration's list.
    pub fn entry(&self) -> usize {
        self.entry
    }

    /// Its configured weight.
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// The hash of its address.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Its weight at `now`, in units of a [`health::FULL`]th: 0 where it is out, less than configured while it starts slowly.
    pub fn weight_at(&self, now: Duration, slow_start: Duration) -> u32 {
        let now_millis = millis(now);
        if now_millis < self.out_until.load(Ordering::Relaxed) {
            return 0;
        }
        match self.back_since.load(Ordering::Relaxed) {
            NEVER_OUT => self.weight.saturating_mul(health::FULL),
            since => health::ramped(self.weight, Duration::from_millis(since), now, slow_start),
        }
    }

    /// Whether it serves at `now`.
    pub fn state(&self, now: Duration, slow_start: Duration) -> State {
        match self.weight_at(now, slow_start) {
            0 if self.standing.lock().checked.is_healthy() => State::Ejected,
            0 => State::Unhealthy,
            weight if weight < self.weight.saturating_mul(health::FULL) => State::SlowStart,
            _ => State::Healthy,
        }
    }

    /// Whether it is ejected at `now`, whatever checks say.
    pub fn is_ejected(&self, now: Duration) -> bool {
        self.standing.lock().ejection.is_out(now)
    }

    /// Whether a success would be news.
    pub fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed)
    }

    /// Takes in that it answered.
    pub fn succeeded(&self) {
        let mut standing = self.standing.lock();
        standing.ejection.succeeded();
        self.publish(&standing);
    }

    /// Takes in that it failed at `now`, and ejects it where that is due and `has_room`. Says whether it did.
    pub fn failed(
        &self,
        now: Duration,
        settings: &EjectionSettings,
        has_room: impl FnOnce() -> bool,
    ) -> bool {
        let mut standing = self.standing.lock();
        let due = standing.ejection.failed(now, settings);
        let ejects = due && has_room();
        if ejects {
            standing.ejection.eject(now, settings);
            let until = millis(standing.ejection.until());
            self.back_since.store(until, Ordering::Relaxed);
        }
        self.publish(&standing);
        ejects
    }

    /// Takes in what a check found, and says whether that turned its health.
    pub fn checked(&self, check: LastCheck, passed: bool, thresholds: Thresholds) -> bool {
        let mut standing = self.standing.lock();
        let turned = standing.checked.observe(passed, thresholds);
        standing.last_check = Some(check);
        if turned && passed {
            let since = check.at.max(standing.ejection.until());
            self.back_since.store(millis(since), Ordering::Relaxed);
        }
        self.publish(&standing);
        turned
    }

    /// What the latest check found.
    pub fn last_check(&self) -> Option<LastCheck> {
        self.standing.lock().last_check
    }

    fn publish(&self, standing: &Standing) {
        let out_until = match standing.checked.is_healthy() {
            true => millis(standing.ejection.until()),
            false => UNHEALTHY,
        };
        self.out_until.store(out_until, Ordering::Relaxed);
        self.is_failing
            .store(standing.ejection.is_failing(), Ordering::Relaxed);
    }

    /// A tally for another worker that uses it.
    pub fn join(&self) -> Arc<Tally> {
        let tally = Arc::<Tally>::default();
        let mut tallies = self.tallies.lock();
        tallies.retain(|other| other.strong_count() > 0);
        tallies.push(Arc::downgrade(&tally));
        tally
    }

    /// Requests in flight and, of these, waiting for a connection, in all workers.
    pub fn load(&self) -> (u32, u32) {
        let tallies = self.tallies.lock();
        let sum = |of: fn(&Tally) -> &AtomicU32| {
            let alive = tallies.iter().filter_map(Weak::upgrade);
            alive.map(|tally| of(&tally).load(Ordering::Relaxed)).sum()
        };
        (sum(|tally| &tally.in_flight), sum(|tally| &tally.pending))
    }
}

/// Whole milliseconds; 584 million years are enough.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX - 1)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use super::{Endpoint, LastCheck, State};
    use crate::upstream::connect::{Address, Protocol, Target};
    use crate::upstream::health::{EjectionSettings, FULL, Thresholds};

    const ONCE: Thresholds = Thresholds {
        healthy_after: 1,
        unhealthy_after: 1,
    };
    const EJECTION: EjectionSettings = EjectionSettings {
        consecutive_failures: 1,
        time: Duration::from_secs(10),
        max_time: Duration::from_secs(60),
        max_share: 100,
    };
    const WINDOW: Duration = Duration::from_secs(20);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn target(path: &str) -> Target {
        Target {
            address: Address::Unix(path.into()),
            protocol: Protocol::Http1,
            tls: None,
        }
    }

    fn endpoint() -> Endpoint {
        Endpoint::new(target("/run/upstream"), 0, 4, None)
    }

    fn check(endpoint: &Endpoint, passed: bool, now: Duration) -> bool {
        let outcome = if passed { "ok" } else { "timeout" };
        endpoint.checked(LastCheck { outcome, at: now }, passed, ONCE)
    }

    #[test]
    fn an_ejected_endpoint_comes_back_by_itself_and_slowly() {
        let endpoint = endpoint();
        assert_eq!(endpoint.weight_at(at(5), WINDOW), 4 * FULL);
        assert!(endpoint.failed(at(5), &EJECTION, || true));
        assert_eq!(endpoint.state(at(14), WINDOW), State::Ejected);
        assert_eq!(endpoint.state(at(15), WINDOW), State::SlowStart);
        assert_eq!(endpoint.weight_at(at(25), WINDOW), 2 * FULL);
        assert_eq!(endpoint.state(at(35), WINDOW), State::Healthy);
        assert_eq!(endpoint.state(at(15), Duration::ZERO), State::Healthy);
    }

    #[test]
    fn checks_and_answers_must_both_let_it_serve() {
        let endpoint = endpoint();
        assert!(check(&endpoint, false, at(1)));
        assert_eq!(endpoint.state(at(1), WINDOW), State::Unhealthy);
        assert!(endpoint.failed(at(2), &EJECTION, || true));
        assert!(check(&endpoint, true, at(3)));
        assert_eq!(endpoint.state(at(3), WINDOW), State::Ejected);
        assert_eq!(endpoint.state(at(12), WINDOW), State::SlowStart);
        assert_eq!(endpoint.last_check().unwrap().outcome, "ok");
    }

    #[test]
    fn without_room_it_stays_in_and_goes_on_failing() {
        let endpoint = endpoint();
        assert!(!endpoint.failed(at(1), &EJECTION, || false));
        assert_eq!(endpoint.state(at(1), WINDOW), State::Healthy);
        assert!(endpoint.is_failing());
        endpoint.succeeded();
        assert!(!endpoint.is_failing());
    }

    #[test]
    fn a_newcomer_starts_slowly() {
        let newcomer = Endpoint::new(target("/run/new"), 0, 10, Some(at(7)));
        assert_eq!(newcomer.weight_at(at(7), WINDOW), FULL);
    }

    #[test]
    fn the_load_is_that_of_all_workers_that_are_there() {
        let endpoint = endpoint();
        let (one, other) = (endpoint.join(), endpoint.join());
        one.in_flight.fetch_add(3, Ordering::Relaxed);
        one.pending.fetch_add(1, Ordering::Relaxed);
        other.in_flight.fetch_add(2, Ordering::Relaxed);
        assert_eq!(endpoint.load(), (5, 1));
        drop(one);
        assert_eq!(endpoint.load(), (2, 0));
    }
}

//! What a connection is doing, as its stream, its requests and its watchdog see it.
//!
//! Shared inside one worker thread only, so plain cells do. It holds no timer; `watchdog` does.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// For the first byte of a request.
    Idle,
    /// For the rest of a request head.
    Head,
    /// For a request to be answered.
    Request,
}

/// The state of one connection between handshake and close.
#[derive(Debug)]
pub struct Activity {
    phase: Cell<Phase>,
    since: Cell<Instant>,
    open_requests: Cell<usize>,
    requests: Cell<u64>,
    moved: Cell<bool>,
    write_blocked: Cell<bool>,
    head_is_dated: Cell<bool>,
    unread: Cell<bool>,
    multiplexed: Cell<bool>,
    overhead: Cell<usize>,
    /// Up to when [`FAIR_BYTES_PER_SECOND`] has been allowed for.
    allowed_until: Cell<Instant>,
    abandoned: Cell<usize>,
}

/// Bytes that a multiplexed connection may receive beyond what its requests account for: settings, pings, window updates,
/// resets. A device that sends more of them at once keeps the gateway busy, and asks nothing.
const MAX_OVERHEAD: usize = 256 * 1024;

/// Such bytes that a connection may receive in each second for ever: pings of 17 bytes keep it alive.
const FAIR_BYTES_PER_SECOND: f64 = 64.0;

/// What each piece of a request's body comes in (RFC 9113, 4.1).
const FRAME_HEADER: usize = 9;

/// What a request may come to besides its body.
const REQUEST_ALLOWANCE: usize = 4 * 1024;

/// A device that reads acknowledges; a byte of that for so many that it was sent is fair.
const BYTES_SENT_PER_BYTE: usize = 16;

/// Requests that a multiplexed connection may have given up unanswered beyond those that were answered.
const MAX_ABANDONED: usize = 100;

/// How a multiplexed connection keeps the gateway busy for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flood {
    /// With frames that belong to no request.
    Overhead,
    /// With requests that it gives up at once, or makes the gateway give up (CVE-2023-44487, CVE-2025-8671).
    Resets,
}

impl Flood {
    /// Every kind, for the metric that counts them.
    pub const ALL: [Self; 2] = [Self::Overhead, Self::Resets];

    /// The metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Overhead => "overhead",
            Self::Resets => "resets",
        }
    }
}

impl Activity {
    /// A connection that was handed over at `now`, with nothing asked yet.
    pub fn new(now: Instant) -> Self {
        Self {
            phase: Cell::new(Phase::Idle),
            since: Cell::new(now),
            open_requests: Cell::new(0),
            requests: Cell::new(0),
            moved: Cell::new(false),
            write_blocked: Cell::new(false),
            head_is_dated: Cell::new(false),
            unread: Cell::new(false),
            multiplexed: Cell::new(false),
            overhead: Cell::new(0),
            allowed_until: Cell::new(now),
            abandoned: Cell::new(0),
        }
    }

    /// Says that the connection carries several requests at once, among frames that belong to none. From now on only what
    /// belongs to a request counts as movement: pings keep nothing alive.
    pub fn multiplex(&self) {
        self.multiplexed.set(true);
    }

    /// Whether several requests may be open at once: HTTP/2.
    pub fn is_multiplexed(&self) -> bool {
        self.multiplexed.get()
    }

    /// Whether a multiplexed connection keeps the gateway busy for nothing. `now` is asked for where it matters.
    pub fn flood(&self, now: impl FnOnce() -> Instant) -> Option<Flood> {
        if self.overhead.get() > MAX_OVERHEAD {
            let now = now();
            let time = now.saturating_duration_since(self.allowed_until.replace(now));
            self.account_for((time.as_secs_f64() * FAIR_BYTES_PER_SECOND) as usize);
        }
        if self.overhead.get() > MAX_OVERHEAD {
            return Some(Flood::Overhead);
        }
        (self.abandoned.get() > MAX_ABANDONED).then_some(Flood::Resets)
    }

    /// A piece of a request's body of so many bytes went on to an upstream, or one of a response's (0) towards the device.
    pub fn body_moved(&self, bytes: usize) {
        self.moved.set(true);
        if bytes > 0 {
            self.account_for(bytes + FRAME_HEADER);
        }
    }

    fn account_for(&self, bytes: usize) {
        self.overhead.set(self.overhead.get().saturating_sub(bytes));
    }

    /// The phase, and since when.
    pub fn phase(&self) -> (Phase, Instant) {
        (self.phase.get(), self.since.get())
    }

    /// Whether a request is being answered.
    pub fn in_request(&self) -> bool {
        self.open_requests.get() > 0
    }

    /// How many requests have started.
    pub fn requests(&self) -> u64 {
        self.requests.get()
    }

    /// So many bytes came from the device. A request head that they start has no time yet: nearly all come whole, and
    /// [`Activity::date_head`] dates the rest.
    pub fn bytes_read(&self, bytes: usize) {
        if self.multiplexed.get() {
            self.overhead.set(self.overhead.get().saturating_add(bytes));
        } else {
            self.moved.set(true);
        }
        if self.phase.get() == Phase::Idle {
            self.phase.set(Phase::Head);
            self.head_is_dated.set(false);
        }
    }

    /// Says that an incomplete request head was seen at `now`; the first time counts.
    pub fn date_head(&self, now: impl FnOnce() -> Instant) {
        if self.phase.get() == Phase::Head && !self.head_is_dated.replace(true) {
            self.since.set(now());
        }
    }

    /// How long the request head took to come that is complete at `now`, if it was seen incomplete.
    pub fn head_took(&self, now: Instant) -> Option<Duration> {
        let seen = self.phase.get() == Phase::Head && self.head_is_dated.get();
        seen.then(|| now.saturating_duration_since(self.since.get()))
    }

    /// So many bytes went to the device, all that there were or (`blocked`) only some.
    pub fn bytes_written(&self, bytes: usize, blocked: bool) {
        if self.multiplexed.get() {
            self.account_for(bytes / BYTES_SENT_PER_BYTE);
        } else {
            self.moved.set(true);
        }
        self.write_blocked.set(blocked);
    }

    /// A request head is complete.
    pub fn request_started(&self, now: Instant) {
        self.open_requests.set(self.open_requests.get() + 1);
        self.requests.set(self.requests.get() + 1);
        self.account_for(REQUEST_ALLOWANCE);
        self.enter(Phase::Request, now);
    }

    /// A response is complete (`answered`), or given up before its head.
    pub fn request_ended(&self, now: Instant, answered: bool) {
        let abandoned = self.abandoned.get();
        self.abandoned.set(match answered {
            true => abandoned.saturating_sub(1),
            false => abandoned + 1,
        });
        let left = self.open_requests.get().saturating_sub(1);
        self.open_requests.set(left);
        if left == 0 {
            self.enter(Phase::Idle, now);
        }
    }

    /// Something that the device sends, or may be sending, is not going to be read.
    pub fn leave_unread(&self) {
        self.unread.set(true);
    }

    /// Whether something was left unread.
    pub fn has_unread(&self) -> bool {
        self.unread.get()
    }

    /// Whether anything moved since this was asked last.
    pub fn take_moved(&self) -> bool {
        self.moved.replace(false)
    }

    /// Whether nothing is asked, nothing is half said, and nothing waits to be written.
    pub fn is_quiet(&self) -> bool {
        self.phase.get() == Phase::Idle && !self.write_blocked.get()
    }

    fn enter(&self, phase: Phase, now: Instant) {
        self.phase.set(phase);
        self.since.set(now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Activity, Flood, Phase};
    use crate::clock;

    fn activity() -> (Activity, Instant) {
        let start = clock::now();
        (Activity::new(start), start)
    }

    #[test]
    fn a_request_goes_through_the_phases() {
        let (activity, start) = activity();
        assert!(activity.is_quiet());
        activity.bytes_read(1);
        assert_eq!(activity.phase().0, Phase::Head);
        assert!(!activity.is_quiet());
        activity.request_started(start);
        assert!(activity.in_request());
        activity.request_ended(start, true);
        assert!(activity.is_quiet() && !activity.in_request());
    }

    #[test]
    fn more_bytes_do_not_restart_the_head() {
        let (activity, start) = activity();
        let later = start + Duration::from_secs(1);
        activity.bytes_read(1);
        activity.date_head(|| later);
        activity.bytes_read(1);
        activity.date_head(|| panic!("the clock was read again"));
        assert_eq!(activity.phase(), (Phase::Head, later));
    }

    #[test]
    fn an_unwritten_response_is_not_quiet() {
        let (activity, start) = activity();
        activity.request_started(start);
        activity.bytes_written(1, true);
        activity.request_ended(start, true);
        assert!(!activity.is_quiet());
        activity.bytes_written(1, false);
        assert!(activity.is_quiet());
    }

    #[test]
    fn frames_that_belong_to_no_request_are_a_flood_in_the_end() {
        let (activity, start) = activity();
        activity.multiplex();
        let ping = 17;
        for _ in 0..super::MAX_OVERHEAD / ping {
            activity.bytes_read(ping);
        }
        assert_eq!(activity.flood(|| start), None);
        assert!(!activity.take_moved(), "pings are no movement");
        // A request accounts for itself and for some of what went before.
        activity.request_started(start);
        activity.bytes_read(super::REQUEST_ALLOWANCE);
        assert_eq!(activity.flood(|| start), None);
        activity.bytes_read(ping);
        assert_eq!(activity.flood(|| start), Some(Flood::Overhead));
        activity.body_moved(super::MAX_OVERHEAD);
        assert_eq!(activity.flood(|| start), None);
        assert!(activity.take_moved());
    }

    #[test]
    fn the_headers_of_a_bodys_frames_are_no_flood_and_empty_frames_are() {
        let (activity, start) = activity();
        activity.multiplex();
        activity.request_started(start);
        for piece in [1, 16 * 1024] {
            for _ in 0..super::MAX_OVERHEAD {
                activity.bytes_read(super::FRAME_HEADER + piece);
                activity.body_moved(piece);
            }
            assert_eq!(activity.flood(|| start), None);
        }
        for _ in 0..super::MAX_OVERHEAD / super::FRAME_HEADER + 1 {
            activity.bytes_read(super::FRAME_HEADER);
            activity.body_moved(0);
        }
        assert_eq!(activity.flood(|| start), Some(Flood::Overhead));
    }

    #[test]
    fn pings_in_peace_are_no_flood_however_long() {
        let (activity, start) = activity();
        activity.multiplex();
        let minutes = |count: u64| start + Duration::from_secs(60 * count);
        // A ping every ten seconds for a year.
        for minute in 1..=365 * 24 * 60 {
            activity.bytes_read(6 * 17);
            assert_eq!(activity.flood(|| minutes(minute)), None);
        }
    }

    #[test]
    fn requests_given_up_unanswered_are_a_flood_in_the_end() {
        let (activity, start) = activity();
        activity.multiplex();
        let exchange = |answered| {
            activity.request_started(start);
            activity.request_ended(start, answered);
        };
        (0..1000).for_each(|_| exchange(true));
        (0..super::MAX_ABANDONED).for_each(|_| exchange(false));
        assert_eq!(activity.flood(|| start), None);
        exchange(true);
        exchange(false);
        assert_eq!(activity.flood(|| start), None);
        exchange(false);
        assert_eq!(activity.flood(|| start), Some(Flood::Resets));
    }
}

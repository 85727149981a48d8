//! Who is next for a turn of public-key work, and who has waited too long to be worth one.
//!
//! Devices that have answered our flight go first, because work was spent on them already; then hellos whose ticket can be
//! honoured, which cost a third; then the others. Among answers, first come, first served: there are never many. Among
//! hellos too, while the queue is short, and nobody is turned away. Once its delay says that more come than can be served,
//! somebody will be whatever the order: the newest go first then, because they still have all of their patience, and those
//! who are too old to be worth starting are shed. First come, first served would give every turn to a device that is about
//! to leave.
//!
//! Pure: no clock, no task, no socket. All times are since one fixed moment in the past.

use std::collections::VecDeque;
use std::time::Duration;

use crate::admission::patience::{Bounds, Patience};

/// How the queue decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// First come, first served, until somebody has waited this long for a turn.
    pub newest_first_after: Duration,
    /// What devices' patience may be taken to be.
    pub patience: Bounds,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            newest_first_after: Duration::from_millis(250),
            patience: Bounds {
                min: Duration::from_millis(500),
                max: Duration::from_secs(5),
            },
        }
    }
}

/// What a turn is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A device's answer to our flight.
    Answer,
    /// The first flight of a device that will resume, as far as its ticket can tell.
    ResumedHello,
    /// The first flight of any other device.
    FullHello,
}

impl Kind {
    /// Every kind, the first in the queue first.
    pub const ALL: [Self; 3] = [Self::Answer, Self::ResumedHello, Self::FullHello];

    /// The metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::ResumedHello => "resumed_hello",
            Self::FullHello => "full_hello",
        }
    }
}

/// Who waits.
pub trait Waits {
    /// Whether nobody waits there any more.
    fn has_left(&self) -> bool;
}

/// One who waits, and since when.
#[derive(Debug)]
struct Waiter<T> {
    who: T,
    accepted: Duration,
    queued: Duration,
}

impl<T> Waiter<T> {
    fn is_late(&self, now: Duration, limits: Limits) -> bool {
        now.saturating_sub(self.accepted) > limits.oldest
    }

    fn turn(self, kind: Kind, now: Duration) -> Next<T> {
        Next::Turn {
            who: self.who,
            kind,
            waited: now.saturating_sub(self.queued),
        }
    }
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<T> {
    /// The turn is this one's.
    Turn {
        /// Whose.
        who: T,
        /// What it is for.
        kind: Kind,
        /// Since it was asked for.
        waited: Duration,
    },
    /// This one is too old to be worth a turn.
    TooLate(T),
}

/// Those who wait for a turn.
#[derive(Debug)]
pub struct Queue<T> {
    settings: Settings,
    patience: Patience,
    answers: VecDeque<Waiter<T>>,
    resumed: Line<T>,
    full: Line<T>,
    work: Work,
    /// And when they were worked out.
    limits: Option<(Limits, Duration)>,
}

impl<T: Waits> Queue<T> {
    /// An empty queue.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            patience: Patience::new(settings.patience),
            answers: VecDeque::new(),
            resumed: Line::default(),
            full: Line::default(),
            work: Work::default(),
            limits: None,
        }
    }

    /// Goes by `settings` from now on.
    pub fn set(&mut self, settings: Settings) {
        if self.settings != settings {
            self.settings = settings;
            self.patience.bound(settings.patience);
            self.limits = None;
        }
    }

    /// Lets `who` wait, whose connection was accepted at `accepted`.
    pub fn push(&mut self, kind: Kind, who: T, accepted: Duration, now: Duration) {
        let waiter = Waiter {
            who,
            accepted,
            queued: now,
        };
        match kind {
            Kind::Answer => self.answers.push_back(waiter),
            Kind::ResumedHello => self.resumed.waiters.push_back(waiter),
            Kind::FullHello => self.full.waiters.push_back(waiter),
        }
    }

    /// Takes the next one out. Whoever is too old comes up sooner or later, the oldest by [`Queue::too_late`], and is to be
    /// shed.
    pub fn next(&mut self, now: Duration) -> Option<Next<T>> {
        while let Some(waiter) = self.answers.pop_front() {
            if !waiter.who.has_left() {
                return Some(waiter.turn(Kind::Answer, now));
            }
        }
        let limits = self.limits(now);
        self.resumed
            .next(Kind::ResumedHello, now, limits)
            .or_else(|| self.full.next(Kind::FullHello, now, limits))
    }

    /// Takes one out who is too old to be worth a turn, if the one who has waited longest is.
    pub fn too_late(&mut self, now: Duration) -> Option<T> {
        let limits = self.limits(now);
        self.full
            .too_late(now, limits)
            .or_else(|| self.resumed.too_late(now, limits))
    }

    /// Takes out the hello that has waited longest, to make room for a new one. Only while the newest go first: in the
    /// other order, who has waited longest is who is served next.
    pub fn make_room(&mut self, now: Duration) -> Option<T> {
        let limits = self.limits(now);
        self.full
            .make_room(now, limits)
            .or_else(|| self.resumed.make_room(now, limits))
    }

    /// Number of hellos that wait, of devices that may have left among them.
    pub fn hellos(&self) -> usize {
        self.resumed.waiters.len() + self.full.waiters.len()
    }

    /// Whether the newest hellos of `kind` go first.
    pub fn is_newest_first(&self, kind: Kind) -> bool {
        match kind {
            Kind::Answer => false,
            Kind::ResumedHello => self.resumed.newest_first(),
            Kind::FullHello => self.full.newest_first(),
        }
    }

    /// A turn for `kind` took this long.
    pub fn worked(&mut self, kind: Kind, took: Duration) {
        self.work.note(kind, took);
    }

    /// A device left at `now`, accepted at `accepted`, before its handshake was done.
    pub fn left(&mut self, accepted: Duration, now: Duration) {
        self.patience.left(now.saturating_sub(accepted), now);
    }

    /// A device had left when the turn for its hello of `kind` came, or while it waited for it. So more come than can be
    /// served, wherever it waited before it came here.
    pub fn gave_up(&mut self, kind: Kind, now: Duration) {
        match kind {
            Kind::Answer => {}
            Kind::ResumedHello => self.resumed.is_too_much(now),
            Kind::FullHello => self.full.is_too_much(now),
        }
    }

    /// A device took `time` from our flight to its answer.
    pub fn thought(&mut self, time: Duration, now: Duration) {
        self.patience.thought(time, now);
    }

    /// The age at which devices give up, as far as is known.
    pub fn patience(&self, now: Duration) -> Duration {
        self.patience.estimate(now)
    }

    fn limits(&mut self, now: Duration) -> Limits {
        /// They change slowly, and cost as much as a small request to work out.
        const GOOD_FOR: Duration = Duration::from_millis(20);
        match self.limits {
            Some((limits, at)) if now.saturating_sub(at) < GOOD_FOR => limits,
            _ => {
                let oldest = self.patience.oldest_worth_starting(self.work.full(), now);
                let limits = Limits {
                    oldest: self.patience.oldest_to_keep(self.work.full(), now),
                    // Far within patience, so that at the change of order nobody has waited in vain.
                    newest_first_after: self.settings.newest_first_after.min(oldest / 4),
                };
                self.limits = Some((limits, now));
                limits
            }
        }
    }
}

/// What the settings and devices' patience come to at the moment.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// The oldest that a connection may be for its hello to be worth starting.
    oldest: Duration,
    /// First come, first served, until somebody has waited this long.
    newest_first_after: Duration,
}

/// Hellos of one kind, in the order in which they came.
#[derive(Debug)]
struct Line<T> {
    waiters: VecDeque<Waiter<T>>,
    /// While the newest go first: since when nothing has said that more come than can be served.
    too_much: Option<Duration>,
    pace: Pace,
}

/// The newest go first for this long after the last sign that not all can be served.
const RELIEF: Duration = Duration::from_millis(300);

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self {
            waiters: VecDeque::new(),
            too_much: None,
            pace: Pace::default(),
        }
    }
}

impl<T: Waits> Line<T> {
    fn next(&mut self, kind: Kind, now: Duration, limits: Limits) -> Option<Next<T>> {
        self.choose_order(now, limits);
        loop {
            let waiter = if self.newest_first() {
                self.waiters.pop_back()?
            } else {
                self.waiters.pop_front()?
            };
            if waiter.who.has_left() {
                continue;
            }
            if self.newest_first() && waiter.is_late(now, limits) {
                return Some(Next::TooLate(waiter.who));
            }
            self.pace.turn(now, self.waiters.is_empty());
            return Some(waiter.turn(kind, now));
        }
    }

    fn newest_first(&self) -> bool {
        self.too_much.is_some()
    }

    fn is_too_much(&mut self, now: Duration) {
        self.too_much = Some(now);
    }

    /// The one who has waited longest says whether first come, first served can still be kept, unless all who wait can be
    /// served soon: somebody whom newer ones overtook is then no sign that too many come. Back to it only after a while:
    /// those who leave make the queue look short.
    fn choose_order(&mut self, now: Duration, limits: Limits) {
        self.skip_who_left();
        let waited = self
            .waiters
            .front()
            .map_or(Duration::ZERO, |waiter| now.saturating_sub(waiter.queued));
        let all_are_served_soon = self
            .pace
            .time_for(self.waiters.len())
            .is_some_and(|time| time <= limits.newest_first_after);
        let is_over = |since: Duration| now.saturating_sub(since) > RELIEF;
        if waited > limits.newest_first_after && !all_are_served_soon {
            self.is_too_much(now);
        } else if self.too_much.is_some_and(is_over) {
            self.too_much = None;
        }
    }

    fn too_late(&mut self, now: Duration, limits: Limits) -> Option<T> {
        self.choose_order(now, limits);
        if !self.newest_first() {
            return None;
        }
        self.pop_front_if(|waiter| waiter.is_late(now, limits))
            .map(|waiter| waiter.who)
    }

    fn make_room(&mut self, now: Duration, limits: Limits) -> Option<T> {
        self.choose_order(now, limits);
        if !self.newest_first() {
            return None;
        }
        self.waiters.pop_front().map(|waiter| waiter.who)
    }

    fn skip_who_left(&mut self) {
        while self.pop_front_if(|waiter| waiter.who.has_left()).is_some() {}
    }

    fn pop_front_if(&mut self, condition: impl Fn(&Waiter<T>) -> bool) -> Option<Waiter<T>> {
        if condition(self.waiters.front()?) {
            self.waiters.pop_front()
        } else {
            None
        }
    }
}

/// How long it is from one turn to the next while somebody waits, whatever else is done in between.
#[derive(Debug, Default)]
struct Pace {
    /// The last turn, if somebody else waited when it was given.
    last: Option<Duration>,
    between: Option<Duration>,
}

impl Pace {
    fn turn(&mut self, now: Duration, is_last: bool) {
        if let Some(last) = self.last {
            let took = now.saturating_sub(last);
            // A moving average over some thirty turns.
            self.between = Some(
                self.between
                    .map_or(took, |lately| (lately * 31 + took) / 32),
            );
        }
        self.last = (!is_last).then_some(now);
    }

    /// For `turns` turns; `None` where nobody has had to wait so far.
    fn time_for(&self, turns: usize) -> Option<Duration> {
        let turns = u32::try_from(turns).unwrap_or(u32::MAX);
        Some(self.between?.saturating_mul(turns))
    }
}

/// How long turns take, lately.
#[derive(Debug, Default)]
struct Work {
    hello: Duration,
    answer: Duration,
}

impl Work {
    fn note(&mut self, kind: Kind, took: Duration) {
        let lately = match kind {
            Kind::Answer => &mut self.answer,
            Kind::FullHello => &mut self.hello,
            Kind::ResumedHello => return,
        };
        // A moving average over some sixteen turns.
        *lately = (*lately * 15 + took) / 16;
    }

    /// Of a full handshake.
    fn full(&self) -> Duration {
        self.hello + self.answer
    }
}

#[cfg(test)]
mod storm;
#[cfg(test)]
mod tests;

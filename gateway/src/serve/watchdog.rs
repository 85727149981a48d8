//! The deadlines of an established connection, with one timer that is touched rarely.
//!
//! The timer is armed for the earliest time at which something could be due, and asks the [`Activity`] what really is due
//! when it fires; a request that comes and goes in between costs no timer operation.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

use crate::clock;
use crate::metrics::Deadline;
use crate::serve::Settings;
use crate::serve::activity::{Activity, Phase};

/// How long a connection must be quiet before it hibernates.
///
/// Short, because what a burst of connections allocates before it rests is what the process keeps.
const REST_AFTER: Duration = Duration::from_millis(250);

/// What became due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// The connection is quiet; its buffers can be released.
    Rest,
    /// A deadline passed; the connection is to be ended.
    Deadline(Deadline),
}

/// What a connection does when it is quiet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quiet {
    /// It rests: HTTP/1.1.
    Rests,
    /// It rests if its state allows that, and is asked again, ever less often: HTTP/2.
    Asks,
}

/// Watches one connection.
pub(super) struct Watchdog {
    activity: Rc<Activity>,
    settings: Settings,
    quiet: Quiet,
    timer: Pin<Box<Sleep>>,
    /// How long nothing must move before it is asked whether the connection can rest, and when that is next.
    patience: Duration,
    next_question: Instant,
}

impl Watchdog {
    pub(super) fn new(activity: Rc<Activity>, settings: Settings, quiet: Quiet) -> Self {
        let timer = Box::pin(tokio::time::sleep(REST_AFTER));
        Self {
            activity,
            settings,
            quiet,
            timer,
            patience: REST_AFTER,
            next_question: clock::now(),
        }
    }

    /// Ready when something is due. To be polled after the connection was.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Due> {
        self.activity.date_head(clock::now);
        let (phase, since) = self.activity.phase();
        if phase == Phase::Head && self.quiet == Quiet::Rests {
            // A head that did not arrive whole is due sooner than what the timer was armed for.
            self.arm_no_later_than(since + self.settings.request_head_timeout);
        }
        if self.activity.is_quiet() {
            // While a request was answered the timer was armed for when that takes too long.
            self.arm_no_later_than((since + REST_AFTER).max(self.next_question));
        }
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let now = clock::now();
            match self.due(now) {
                Ok(Due::Rest) if self.quiet == Quiet::Asks => {
                    self.patience *= 2;
                    self.next_question = now + self.patience;
                    let (_, since) = self.activity.phase();
                    self.arm(self.next_question.min(since + self.settings.idle_timeout));
                    return Poll::Ready(Due::Rest);
                }
                Ok(due) => return Poll::Ready(due),
                Err(next) => self.arm(next),
            }
        }
    }

    fn arm_no_later_than(&mut self, at: Instant) {
        if self.timer.deadline() > tokio::time::Instant::from_std(at) {
            self.arm(at);
        }
    }

    fn arm(&mut self, at: Instant) {
        let at = tokio::time::Instant::from_std(at);
        self.timer.as_mut().reset(at);
    }

    /// What is due at `now`, or when to look again.
    fn due(&mut self, now: Instant) -> Result<Due, Instant> {
        let (phase, since) = self.activity.phase();
        let reached = |after: Duration, due: Due| {
            if now >= since + after {
                Ok(due)
            } else {
                Err(since + after)
            }
        };
        match (phase, self.quiet) {
            (Phase::Idle, Quiet::Rests) if self.activity.is_quiet() => {
                reached(REST_AFTER, Due::Rest)
            }
            (Phase::Head, Quiet::Rests) => reached(
                self.settings.request_head_timeout,
                Due::Deadline(Deadline::RequestHead),
            ),
            // On HTTP/2 every frame starts a "head"; pings keep nothing alive.
            (Phase::Idle | Phase::Head, Quiet::Asks) => {
                let idle = reached(self.settings.idle_timeout, Due::Deadline(Deadline::Idle));
                let Err(end) = idle else { return idle };
                if self.activity.take_moved() {
                    self.patience = REST_AFTER;
                    return Err(end.min(now + REST_AFTER));
                }
                if now < self.next_question {
                    return Err(end.min(self.next_question));
                }
                Ok(Due::Rest)
            }
            (Phase::Request, _) | (Phase::Idle, Quiet::Rests) => {
                if self.activity.take_moved() || now < since + self.settings.idle_timeout {
                    Err(now + self.settings.idle_timeout)
                } else {
                    Ok(Due::Deadline(Deadline::Stalled))
                }
            }
        }
    }
}

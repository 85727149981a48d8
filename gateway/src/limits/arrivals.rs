//! How a device that comes back again and again is held back: so many handshakes are free, each further one waits, longer and
//! longer as long as they come faster than allowed, and shorter again when they do not.
//!
//! Pure. It knows neither connections nor who the device is, and counts every handshake that proved a device, whatever
//! followed. Delays settle where the device comes as often as it may.

use std::time::Duration;

use crate::rate::{Mark, Rate};

/// How many connections of one device may wait at once: its new one, and some that it may have given up meanwhile.
const WAITING: u8 = 4;

/// When a device is held back, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How many handshakes are free.
    pub rate: Rate,
    /// The first delay.
    pub delay: Duration,
    /// The longest.
    pub max_delay: Duration,
}

/// What is remembered of a device's handshakes.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Arrivals {
    mark: Mark,
    /// Until when those that come are held.
    held_until: u64,
    /// How often the delay was doubled, from one.
    step: u8,
    waiting: u8,
}

/// What is to happen to a handshake that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Serve,
    /// Wait for so long; [`Arrivals::done_waiting`] is to be said after it.
    Hold(Duration),
    Refuse,
}

impl Arrivals {
    /// A handshake of the device was done at `now`.
    pub(super) fn arrive(&mut self, settings: &Settings, now: u64) -> Verdict {
        if self.mark <= now {
            self.step = 0;
        }
        if self.waiting >= WAITING {
            return Verdict::Refuse;
        }
        let allowed = settings.rate.press(&mut self.mark, now);
        if now >= self.held_until {
            self.step = if allowed {
                self.step.saturating_sub(1)
            } else {
                self.step.saturating_add(1)
            };
            if self.step == 0 {
                return Verdict::Serve;
            }
            let doubled = 2_u32.saturating_pow(u32::from(self.step - 1));
            let delay = settings.delay.saturating_mul(doubled);
            let delay = u64::try_from(delay.min(settings.max_delay).as_nanos());
            self.held_until = now.saturating_add(delay.unwrap_or(u64::MAX));
        }
        self.waiting += 1;
        Verdict::Hold(Duration::from_nanos(self.held_until - now))
    }

    /// One of those that were held waits no more.
    pub(super) fn done_waiting(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
    }

    /// Until when it matters what is remembered.
    pub(super) fn matters_until(&self) -> u64 {
        self.mark.max(self.held_until)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Arrivals, Settings, Verdict, WAITING};
    use crate::rate::Rate;

    const SECOND: u64 = 1_000_000_000;

    fn settings(free: u64) -> Settings {
        Settings {
            rate: Rate::new(free, Duration::from_secs(60), free),
            delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(30),
        }
    }

    #[test]
    fn a_few_quick_reconnects_are_served_at_once() {
        let mut arrivals = Arrivals::default();
        for _ in 0..30 {
            assert_eq!(arrivals.arrive(&settings(30), SECOND), Verdict::Serve);
        }
        assert_eq!(
            arrivals.arrive(&settings(30), SECOND),
            Verdict::Hold(Duration::from_secs(1))
        );
    }

    /// Connects as soon as it was served, for `minutes`; the delays it met.
    fn loops(settings: &Settings, minutes: u64) -> Vec<u64> {
        let (mut arrivals, mut now, mut delays) = (Arrivals::default(), 0, Vec::new());
        while now < minutes * 60 * SECOND {
            now += SECOND / 100;
            if let Verdict::Hold(delay) = arrivals.arrive(settings, now) {
                now += delay.as_nanos() as u64;
                arrivals.done_waiting();
                delays.push(delay.as_secs());
            } else {
                delays.push(0);
            }
        }
        delays
    }

    #[test]
    fn a_loop_is_held_back_more_and_more_until_it_comes_as_often_as_it_may() {
        let delays = loops(&settings(3), 60);
        assert_eq!(delays[..8], [0, 0, 0, 1, 2, 4, 8, 16]);
        let an_hour = 3 * 60;
        assert!(
            (an_hour / 2..an_hour + 30).contains(&delays.len()),
            "{}",
            delays.len()
        );
        assert!(delays.iter().all(|delay| *delay <= 30));
        let slow = Settings {
            rate: Rate::new(3, Duration::from_secs(3600), 3),
            ..settings(3)
        };
        assert_eq!(loops(&slow, 30).last(), Some(&30), "the longest delay");
    }

    #[test]
    fn it_eases_and_is_forgotten_after_quiet() {
        let settings = settings(3);
        let mut arrivals = Arrivals::default();
        for _ in 0..3 {
            assert_eq!(arrivals.arrive(&settings, 0), Verdict::Serve);
        }
        assert!(matches!(arrivals.arrive(&settings, 0), Verdict::Hold(_)));
        arrivals.done_waiting();
        // One in three quarters of a minute is within what it may: the delay goes at once, the memory of it later.
        let now = 45 * SECOND;
        assert_eq!(arrivals.arrive(&settings, now), Verdict::Serve);
        let quiet = arrivals.matters_until();
        assert!((now..now + 120 * SECOND).contains(&quiet), "{quiet}");
        for _ in 0..3 {
            assert_eq!(arrivals.arrive(&settings, quiet), Verdict::Serve);
        }
    }

    #[test]
    fn many_at_once_do_not_get_past_the_delay_together() {
        let settings = settings(1);
        let mut arrivals = Arrivals::default();
        assert_eq!(arrivals.arrive(&settings, 0), Verdict::Serve);
        for _ in 0..WAITING {
            let hold = Verdict::Hold(Duration::from_secs(1));
            assert_eq!(arrivals.arrive(&settings, 0), hold, "they wait for one end");
        }
        assert_eq!(arrivals.arrive(&settings, 0), Verdict::Refuse);
        arrivals.done_waiting();
        assert_eq!(
            arrivals.arrive(&settings, SECOND / 2),
            Verdict::Hold(Duration::from_millis(500)),
            "who comes later waits no longer than the others"
        );
    }
}

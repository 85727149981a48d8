//! What one device may use, over all of its connections, on all workers.
//!
//! It keeps count and says no; what a refusal looks like is for those who ask.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::limits::arrivals::{self, Arrivals, Verdict};
use crate::limits::seat::{Seat, Seats};
use crate::limits::table::Remembered;
use crate::rate::{Mark, Rate};

/// Bounds on a device. `None` is no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settings {
    /// Requests.
    pub requests: Option<Rate>,
    /// Bytes of bodies, both ways together.
    pub bytes: Option<Rate>,
    /// Requests that are being answered.
    pub concurrent_requests: Option<u32>,
    /// Connections that are open.
    pub connections: Option<Connections>,
    /// Handshakes.
    pub handshakes: Option<arrivals::Settings>,
}

/// How many connections a device may have open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// So many.
    pub most: usize,
    /// What happens to one too many.
    pub excess: Excess,
}

/// Which connection of a device goes when it has one too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    /// The one that is open for longest: a device whose link broke is not locked out by what it left behind.
    EndOldest,
    /// The new one.
    RefuseNewest,
}

/// A limit that a request met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limited {
    /// Of requests, for so long.
    Requests(Duration),
    /// Of requests that are being answered.
    ConcurrentRequests,
}

/// What is remembered of a device.
#[derive(Debug, Default)]
pub struct Device(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    requests: Mark,
    bytes: Mark,
    in_progress: u32,
    arrivals: Arrivals,
    seats: Seats,
}

impl Remembered for Device {
    fn worth(&self, now: u64) -> u64 {
        let state = self.0.lock();
        [state.requests, state.bytes, state.arrivals.matters_until()]
            .map(|mark| mark.saturating_sub(now))
            .into_iter()
            .max()
            .unwrap_or(0)
    }
}

impl Device {
    /// A handshake of the device was done at `now`.
    pub(super) fn arrive(&self, settings: &arrivals::Settings, now: u64) -> Verdict {
        self.0.lock().arrivals.arrive(settings, now)
    }

    pub(super) fn done_waiting(&self) {
        self.0.lock().arrivals.done_waiting();
    }

    /// A seat for a new connection, and how many were ended for it; `None` where it is one too many.
    pub(super) fn sit(&self, limit: Connections) -> Option<(Arc<Seat>, usize)> {
        let mut state = self.0.lock();
        let mut ended = 0;
        while state.seats.len() >= limit.most {
            match limit.excess {
                Excess::RefuseNewest => return None,
                Excess::EndOldest => state.seats.claim_oldest(),
            }
            ended += 1;
        }
        Some((state.seats.take(), ended))
    }

    pub(super) fn leave(&self, seat: &Arc<Seat>) {
        self.0.lock().seats.leave(seat);
    }

    /// Starts a request at `now`; [`Device::end_request`] is to be said where the answer is true.
    pub(super) fn start_request(&self, settings: &Settings, now: u64) -> Result<bool, Limited> {
        let mut state = self.0.lock();
        if let Some(most) = settings.concurrent_requests
            && state.in_progress >= most
        {
            return Err(Limited::ConcurrentRequests);
        }
        if let Some(rate) = settings.requests {
            rate.take(&mut state.requests, now, 1)
                .map_err(Limited::Requests)?;
        }
        let counted = settings.concurrent_requests.is_some();
        state.in_progress += u32::from(counted);
        Ok(counted)
    }

    pub(super) fn end_request(&self) {
        let mut state = self.0.lock();
        state.in_progress = state.in_progress.saturating_sub(1);
    }

    /// So many bytes moved at `now`.
    pub(super) fn moved(&self, rate: Rate, bytes: u64, now: u64) {
        rate.charge(&mut self.0.lock().bytes, now, bytes);
    }

    /// How long the next byte has to wait at `now`.
    pub(super) fn wait(&self, rate: Rate, now: u64) -> Duration {
        rate.wait(self.0.lock().bytes, now)
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};
    use std::time::Duration;

    use super::{Connections, Device, Excess, Limited, Remembered as _, Settings};
    use crate::rate::Rate;

    fn most(most: usize, excess: Excess) -> Connections {
        Connections { most, excess }
    }

    #[test]
    fn one_connection_too_many_ends_the_oldest_or_is_refused() {
        let device = Device::default();
        let cx = Context::from_waker(Waker::noop());
        let two = |excess| most(2, excess);
        let (first, _) = device.sit(two(Excess::EndOldest)).unwrap();
        let (second, _) = device.sit(two(Excess::EndOldest)).unwrap();
        assert!(device.sit(two(Excess::RefuseNewest)).is_none());
        let (third, ended) = device.sit(two(Excess::EndOldest)).unwrap();
        assert_eq!(ended, 1);
        assert!(first.poll_claimed(&cx).is_ready());
        assert!(second.poll_claimed(&cx).is_pending() && third.poll_claimed(&cx).is_pending());
        device.leave(&first);
        assert!(device.sit(two(Excess::RefuseNewest)).is_none());
        device.leave(&second);
        assert!(device.sit(two(Excess::RefuseNewest)).is_some());
        // A smaller bound than before ends as many as it takes.
        let (_, ended) = device.sit(most(1, Excess::EndOldest)).unwrap();
        assert_eq!(ended, 2);
    }

    #[test]
    fn requests_are_bounded_in_number_and_rate() {
        let settings = Settings {
            requests: Some(Rate::new(1, Duration::from_secs(1), 3)),
            concurrent_requests: Some(2),
            ..Settings::default()
        };
        let device = Device::default();
        let start = || device.start_request(&settings, 0);
        assert_eq!((start(), start()), (Ok(true), Ok(true)));
        assert_eq!(start(), Err(Limited::ConcurrentRequests));
        device.end_request();
        assert_eq!(start(), Ok(true));
        device.end_request();
        assert_eq!(start(), Err(Limited::Requests(Duration::from_secs(1))));
        assert_eq!(
            device.worth(0),
            3_000_000_000,
            "it matters until the burst is whole again"
        );
        assert_eq!(device.worth(3_000_000_000), 0);
    }

    #[test]
    fn without_limits_nothing_is_counted() {
        let device = Device::default();
        assert_eq!(device.start_request(&Settings::default(), 7), Ok(false));
        assert_eq!(device.worth(0), 0);
    }
}

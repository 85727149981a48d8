//! A device's open connection, as one of the few that the device may have, on whichever worker it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// One of the connections that a device may have. A newer one may claim it.
#[derive(Debug, Default)]
pub struct Seat {
    claimed: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Seat {
    /// Has the connection that sits here end.
    pub(super) fn claim(&self) {
        self.claimed.store(true, Ordering::Release);
        if let Some(waker) = self.waker.lock().take() {
            waker.wake();
        }
    }

    /// Ready when the connection is to end for a newer one. One task at a time may wait.
    pub fn poll_claimed(&self, cx: &Context<'_>) -> Poll<()> {
        if self.claimed.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        let mut waker = self.waker.lock();
        match waker.as_mut() {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *waker = Some(cx.waker().clone()),
        }
        // It may have been claimed before there was a waker.
        match self.claimed.load(Ordering::Acquire) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

/// The seats of one device, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Seats(Vec<Arc<Seat>>);

impl Seats {
    /// Number of seats that nobody has claimed.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// A new one.
    pub(super) fn take(&mut self) -> Arc<Seat> {
        let seat = Arc::<Seat>::default();
        self.0.push(Arc::clone(&seat));
        seat
    }

    /// Has the oldest connection end.
    pub(super) fn claim_oldest(&mut self) {
        if !self.0.is_empty() {
            self.0.remove(0).claim();
        }
    }

    /// The connection on `seat` ended.
    pub(super) fn leave(&mut self, seat: &Arc<Seat>) {
        self.0.retain(|other| !Arc::ptr_eq(other, seat));
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
    }
}

//! The open connections of one worker, so that what turns against a device reaches those that it has open.
//!
//! There are two ways to end a connection early: a newer one of its device claims its seat, or the worker authorizes it again. That happens to all of them when something
//! that authorization looks at has changed (a list, an anchor, a policy, an administrator's order), and when the first of
//! their certificates expires. It decides nothing itself.

pub mod census;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::authorize::Denied;
use crate::handshake::Kind;
use crate::identity::Identified;
use crate::limits::seat::Seat;
use crate::serve::activity::Activity;
use crate::trust::RulesId;

/// Whom an open connection belongs to.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The name of the trust domain whose handshake it was.
    pub trust_domain: Arc<str>,
    /// The rules by which the device was verified.
    pub rules: RulesId,
    /// The device; `None` for a peer without a certificate where that is allowed.
    pub device: Option<Arc<Identified>>,
}

impl Peer {
    /// The device's id for a log line.
    pub fn device_id(&self) -> &str {
        self.device.as_ref().map_or("", |device| device.device_id())
    }
}

/// What is spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoken {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, which ALPN chose.
    Http2,
    /// WebSocket, which a request on an HTTP/1.1 connection switched to.
    WebSocket,
    /// Whatever the device and the upstream of a tunnel have agreed on.
    Tcp,
}

/// What an operator may want to know about an open connection besides whom it belongs to.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The listener's name.
    pub listener: Arc<str>,
    /// The device's address.
    pub address: SocketAddr,
    /// Which handshake it was.
    pub handshake: Kind,
    /// The TLS version, as `1.3`.
    pub tls_version: &'static str,
    /// What is spoken on it.
    pub spoken: Cell<Spoken>,
    /// When it was accepted.
    pub accepted: Instant,
    /// From accept to the end of the handshake.
    pub handshake_took: Duration,
}

impl Facts {
    /// Says what is spoken on the connection from now on.
    pub fn speaks(&self, spoken: Spoken) {
        self.spoken.set(spoken);
    }

    /// What is spoken, as operators read it.
    pub fn protocol(&self) -> &'static str {
        match self.spoken.get() {
            Spoken::Http1 => "http1",
            Spoken::Http2 => "h2",
            Spoken::WebSocket => "websocket",
            Spoken::Tcp => "tcp",
        }
    }
}

/// All open connections of one worker.
#[derive(Debug, Default)]
pub struct Live {
    entered: Cell<u64>,
    slots: RefCell<Slots>,
    first_expiry: Cell<Option<u64>>,
}

#[derive(Debug, Default)]
struct Slots {
    entries: Vec<Option<Rc<Entry>>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Entry {
    /// Counts the connections of this worker, so that no two have had one name.
    serial: u64,
    peer: Peer,
    facts: Facts,
    activity: Rc<Activity>,
    denied: Cell<Option<Denied>>,
    waker: RefCell<Option<Waker>>,
}

/// An open connection's place among the others, until it is dropped.
#[derive(Debug)]
pub struct Place {
    live: Rc<Live>,
    entry: Rc<Entry>,
    index: u32,
    /// Among those that its device may have, on any worker.
    seat: Option<Arc<Seat>>,
}

/// How many connections are looked at before others get a turn.
pub const SLICE: usize = 256;

impl Live {
    /// Enters a connection that was authorized just now.
    pub fn enter(
        self: &Rc<Self>,
        peer: Peer,
        facts: Facts,
        activity: Rc<Activity>,
        seat: Option<Arc<Seat>>,
    ) -> Place {
        if let Some(device) = &peer.device {
            self.expires(device.not_after());
        }
        self.entered.set(self.entered.get() + 1);
        let entry = Rc::new(Entry {
            serial: self.entered.get(),
            peer,
            facts,
            activity,
            denied: Cell::new(None),
            waker: RefCell::new(None),
        });
        let mut slots = self.slots.borrow_mut();
        let index = match slots.free.pop() {
            Some(index) => index,
            None => {
                slots.entries.push(None);
                u32::try_from(slots.entries.len() - 1).unwrap_or(u32::MAX)
            }
        };
        if let Some(slot) = slots.entries.get_mut(index as usize) {
            *slot = Some(Rc::clone(&entry));
        }
        Place {
            live: Rc::clone(self),
            entry,
            index,
            seat,
        }
    }

    /// Whether a certificate of an open connection has expired at `now` (seconds since the Unix epoch).
    pub fn any_expired(&self, now: u64) -> bool {
        self.first_expiry.get().is_some_and(|first| now > first)
    }

    /// To be called before a review of all connections; it learns the next expiry anew.
    pub fn start_review(&self) {
        self.first_expiry.set(None);
    }

    /// Reviews up to [`SLICE`] connections from the slot `from` on by `authorize`, and ends those that are denied. Where
    /// to go on, or `None` after the last; and how many were ended.
    pub fn review(
        &self,
        from: usize,
        authorize: impl Fn(&Peer) -> Result<(), Denied>,
    ) -> (Option<usize>, Vec<Denied>) {
        let mut ended = Vec::new();
        let slots = self.slots.borrow();
        for entry in slots.entries.iter().skip(from).take(SLICE).flatten() {
            if entry.denied.get().is_some() {
                continue;
            }
            match authorize(&entry.peer) {
                Ok(()) => {
                    if let Some(device) = &entry.peer.device {
                        self.expires(device.not_after());
                    }
                }
                Err(denied) => {
                    entry.end(denied);
                    ended.push(denied);
                }
            }
        }
        let next = from + SLICE;
        ((next < slots.entries.len()).then_some(next), ended)
    }

    fn expires(&self, at: u64) {
        let first = self.first_expiry.get().map_or(at, |first| first.min(at));
        self.first_expiry.set(Some(first));
    }
}

impl Entry {
    fn end(&self, denied: Denied) {
        self.denied.set(Some(denied));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Place {
    /// Whom the connection belongs to.
    pub fn peer(&self) -> &Peer {
        &self.entry.peer
    }

    /// Why the connection is ended early, if it is.
    pub fn denial(&self) -> Option<Denied> {
        self.entry.denied.get()
    }

    /// What is known about the connection.
    pub fn facts(&self) -> &Facts {
        &self.entry.facts
    }

    /// Ready when the connection is to end. One task at a time may wait.
    pub fn poll_denied(&self, cx: &Context<'_>) -> Poll<Denied> {
        if let Some(denied) = self.entry.denied.get() {
            return Poll::Ready(denied);
        }
        if let Some(seat) = &self.seat
            && seat.poll_claimed(cx).is_ready()
        {
            return Poll::Ready(Denied::Superseded);
        }
        let mut waker = self.entry.waker.borrow_mut();
        match waker.as_mut() {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Ready when the connection is to end.
    pub async fn denied(&self) -> Denied {
        std::future::poll_fn(|cx| self.poll_denied(cx)).await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut slots = self.live.slots.borrow_mut();
        if let Some(slot) = slots.entries.get_mut(self.index as usize) {
            *slot = None;
            slots.free.push(self.index);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::sync::Arc;
    use std::task::{Context, Poll, Waker};

    use super::{Activity, Cell, Denied, Duration, Facts, Kind, Live, Peer, Place, SLICE, Spoken};
    use crate::identity::Identified;
    use crate::trust::RulesId;

    pub(super) fn enter(live: &Rc<Live>, number: usize, not_after: u64) -> Place {
        let peer = Peer {
            trust_domain: "default".into(),
            rules: RulesId::default(),
            device: Some(Arc::new(Identified::for_tests(
                &format!("device-{number}"),
                0,
                not_after,
            ))),
        };
        let now = crate::clock::now();
        let facts = Facts {
            listener: "devices".into(),
            address: "192.0.2.1:4000".parse().unwrap(),
            handshake: Kind::Full,
            tls_version: "1.3",
            spoken: Cell::new(Spoken::Http1),
            accepted: now,
            handshake_took: Duration::ZERO,
        };
        live.enter(peer, facts, Rc::new(Activity::new(now)), None)
    }

    fn denied(place: &Place) -> Option<Denied> {
        match place.poll_denied(&Context::from_waker(Waker::noop())) {
            Poll::Ready(denied) => Some(denied),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_review_in_slices_ends_those_that_are_denied_and_no_others() {
        let live = Rc::new(Live::default());
        let places: Vec<Place> = (0..3 * SLICE).map(|n| enter(&live, n, 100)).collect();
        let (mut from, mut ended) = (Some(0), 0);
        live.start_review();
        while let Some(at) = from {
            let (next, denied) = live.review(at, |peer| {
                match peer.device.as_ref().unwrap().device_id().ends_with('7') {
                    true => Err(Denied::Revoked),
                    false => Ok(()),
                }
            });
            (from, ended) = (next, ended + denied.len());
        }
        assert_eq!(
            ended,
            places
                .iter()
                .filter(|place| denied(place).is_some())
                .count()
        );
        assert_eq!(denied(&places[7]), Some(Denied::Revoked));
        assert_eq!(denied(&places[8]), None);
    }

    #[test]
    fn the_first_expiry_is_known_and_learnt_anew() {
        let live = Rc::new(Live::default());
        assert!(!live.any_expired(u64::MAX));
        let early = enter(&live, 1, 100);
        let _late = enter(&live, 2, 200);
        assert!(!live.any_expired(100) && live.any_expired(101));
        drop(early);
        live.start_review();
        live.review(0, |_| Ok(()));
        assert!(!live.any_expired(200) && live.any_expired(201));
    }

    #[test]
    fn places_are_used_again() {
        let live = Rc::new(Live::default());
        drop(enter(&live, 1, 100));
        let place = enter(&live, 2, 100);
        assert_eq!(live.slots.borrow().entries.len(), 1);
        live.review(0, |_| Err(Denied::Policy));
        assert_eq!(denied(&place), Some(Denied::Policy));
    }
}

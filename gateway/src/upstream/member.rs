//! The endpoints of an upstream as one worker uses them: each with its pool, and with what the worker is doing there.
//!
//! It chooses none and sends nothing.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::upstream::endpoint::{Endpoint, Tally};
use crate::upstream::endpoints::Set;
use crate::upstream::pool::Pool;

/// One endpoint.
pub(super) struct Member {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) pool: Rc<Pool>,
    tally: Arc<Tally>,
}

/// All endpoints as of one version of the shared set.
#[derive(Default)]
pub(super) struct Members {
    version: Option<u64>,
    pub(super) all: Vec<Rc<Member>>,
}

impl Members {
    /// Those of `set`: known ones with their pools, new ones with what `pool` makes. Requests in flight keep the pools of those
    /// that are gone until they are done.
    pub(super) fn of(set: &Set, known: &Self, pool: impl Fn(&Endpoint) -> Pool) -> Self {
        let member = |endpoint: &Arc<Endpoint>| {
            let mut known = known.all.iter();
            let stays = known.find(|known| Arc::ptr_eq(&known.endpoint, endpoint));
            stays.cloned().unwrap_or_else(|| {
                Rc::new(Member {
                    endpoint: Arc::clone(endpoint),
                    pool: Rc::new(pool(endpoint)),
                    tally: endpoint.join(),
                })
            })
        };
        Self {
            version: Some(set.version),
            all: set.all.iter().map(member).collect(),
        }
    }

    pub(super) fn is_of(&self, set: &Set) -> bool {
        self.version == Some(set.version)
    }
}

impl Member {
    /// Requests of this worker that it has not answered to the end.
    pub(super) fn in_flight(&self) -> u32 {
        self.tally.in_flight.load(Ordering::Relaxed)
    }
}

/// Counts a request as in flight at its endpoint until it is dropped: from the choice to the end of the exchange.
pub struct InFlight {
    member: Rc<Member>,
    connect_took: Option<Duration>,
}

impl InFlight {
    pub(super) fn new(member: &Rc<Member>) -> Self {
        member.tally.in_flight.fetch_add(1, Ordering::Relaxed);
        Self {
            member: Rc::clone(member),
            connect_took: None,
        }
    }

    /// It has a connection, which took so long to make where it was made for this request.
    pub(super) fn is_connected(&mut self, connect_took: Option<Duration>) {
        self.connect_took = connect_took;
    }

    /// The endpoint's address.
    pub fn endpoint(&self) -> String {
        self.member.endpoint.address().to_string()
    }

    /// How long connecting took; `None` where an open connection was used.
    pub fn connect_took(&self) -> Option<Duration> {
        self.connect_took
    }

    /// Counts it as waiting for a connection, until the answer is dropped.
    pub(super) fn pending(&self) -> Pending<'_> {
        let pending = &self.member.tally.pending;
        pending.fetch_add(1, Ordering::Relaxed);
        Pending(pending)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.member.tally.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts a request as waiting until it is dropped.
pub(super) struct Pending<'a>(&'a AtomicU32);

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

//! A request from its head to the last byte of its answer, counted once.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::StatusCode;

use crate::clock;
use crate::forward::Origin;
use crate::forward::observed::Observed;
use crate::limits::InProgress;
use crate::limits::pace::Pace;
use crate::rate::Rate;
use crate::upstream::{InFlight, Upstream};

/// A request that is being answered. The bodies of the request and of the response share it, and the last of them to be
/// dropped ends and counts it: an upstream may answer before it has read everything, and until the rest of the request has
/// come the connection is not at rest.
pub struct Exchange {
    pub(super) origin: Rc<Origin>,
    pub(super) started: Instant,
    pub(super) upstream: OnceCell<Rc<Upstream>>,
    /// Held for as long as the endpoint is busy with it.
    pub(super) in_flight: OnceCell<InFlight>,
    pub(super) status: Cell<Option<StatusCode>>,
    /// What the device's bodies may move.
    pub(super) bytes: Cell<Option<Rate>>,
    pub(super) in_progress: OnceCell<InProgress>,
    /// How long the head took to come, where it did not come whole.
    pub(super) head: Option<Duration>,
    /// Bytes of the request's body that came.
    pub(super) received: Cell<u64>,
    /// Bytes of the answer's body that were passed on.
    pub(super) sent: Cell<u64>,
    /// What is told of it, where that is wanted.
    pub(super) observed: OnceCell<Box<Observed>>,
}

impl Exchange {
    pub(super) fn start(origin: Rc<Origin>) -> Rc<Self> {
        let started = clock::now();
        let head = origin.activity.head_took(started);
        origin.activity.request_started(started);
        Rc::new(Self {
            origin,
            started,
            upstream: OnceCell::new(),
            in_flight: OnceCell::new(),
            status: Cell::new(None),
            bytes: Cell::new(None),
            in_progress: OnceCell::new(),
            head,
            received: Cell::new(0),
            sent: Cell::new(0),
            observed: OnceCell::new(),
        })
    }

    /// The pace of one of its bodies, if there is one to keep.
    pub(super) fn pace(&self) -> Option<Box<Pace>> {
        let rate = Some(self.bytes.get()?);
        let waits = self.origin.worker.metrics().limits().paced();
        self.origin.usage.pace(rate, waits)
    }

    /// So many bytes of the request's body came.
    pub(super) fn received(&self, bytes: u64) {
        self.received.set(self.received.get() + bytes);
    }

    /// So many bytes of the answer's body are passed on.
    pub(super) fn sent(&self, bytes: u64) {
        self.sent.set(self.sent.get() + bytes);
    }

    /// The answer broke off.
    pub(super) fn broke_off(&self) {
        if let Some(observed) = self.observed.get() {
            observed.failed("broken_off");
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let now = clock::now();
        self.origin
            .activity
            .request_ended(now, self.status.get().is_some());
        // No answer means that the device left before there was one: its own doing, as nginx's 499 has it.
        let status = self.status.get().unwrap_or(StatusCode::REQUEST_TIMEOUT);
        let metrics = match self.upstream.get() {
            Some(upstream) => upstream.metrics(),
            None => self.origin.worker.unrouted(),
        };
        metrics.answered(status, now.saturating_duration_since(self.started));
        if let Some(observed) = self.observed.get() {
            observed.end(self, now);
        }
    }
}

//! Listing open connections for an operator, and ending those that one names, a slice at a time.
//!
//! It shows what [`Live`] holds, and decides nothing about who may stay for another reason than an operator's word.

use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Entry, Live, SLICE};
use crate::authorize::Denied;
use crate::identity::{Identified, hex};

/// Names a connection for as long as the process runs: the worker, the slot, and which connection of that worker it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId {
    /// The worker's index.
    pub worker: usize,
    /// The place among the worker's connections.
    pub slot: usize,
    /// Counts the worker's connections.
    pub serial: u64,
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.worker, self.slot, self.serial)
    }
}

impl FromStr for ConnectionId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "a connection's id is three numbers with dots between them".to_owned();
        let mut numbers = text.split('.');
        let mut next = || numbers.next().and_then(|number| number.parse::<u64>().ok());
        let (Some(worker), Some(slot), Some(serial), None) = (next(), next(), next(), next())
        else {
            return Err(wrong());
        };
        Ok(Self {
            worker: usize::try_from(worker).map_err(|_| wrong())?,
            slot: usize::try_from(slot).map_err(|_| wrong())?,
            serial,
        })
    }
}

/// Which connections are meant: those that fit everything that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this device id.
    pub device: Option<String>,
    /// Of this trust domain.
    pub trust_domain: Option<String>,
    /// Of the certificate with this SHA-256 fingerprint, in lower-case hex.
    pub fingerprint: Option<String>,
    /// This one.
    pub connection: Option<ConnectionId>,
}

impl Filter {
    fn fits(&self, entry: &Entry) -> bool {
        let device = entry.peer.device.as_deref();
        let is = |wanted: &Option<String>, fits: &dyn Fn(&str) -> bool| {
            wanted.as_deref().is_none_or(fits)
        };
        is(&self.trust_domain, &|name| {
            *entry.peer.trust_domain == *name
        }) && is(&self.device, &|id| entry.peer.device_id() == id)
            && is(&self.fingerprint, &|wanted| {
                device.is_some_and(|device| hex(device.fingerprint()) == wanted)
            })
            && self.connection.is_none_or(|id| id.serial == entry.serial)
    }
}

/// An open connection as it is at one moment.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its place among the worker's connections.
    pub slot: usize,
    /// Which connection of that worker it was.
    pub serial: u64,
    /// The device; `None` for a peer without a certificate.
    pub device: Option<Arc<Identified>>,
    /// The trust domain's name.
    pub trust_domain: Arc<str>,
    /// The listener's name.
    pub listener: Arc<str>,
    /// The device's address.
    pub address: SocketAddr,
    /// `http1`, `h2`, `websocket` or `tcp`.
    pub protocol: &'static str,
    /// The TLS version.
    pub tls_version: &'static str,
    /// Which handshake it was.
    pub handshake: &'static str,
    /// Since it was accepted.
    pub age: Duration,
    /// Since a request began or ended on it, or since the handshake.
    pub quiet: Duration,
    /// How many requests it has brought.
    pub requests: u64,
    /// Whether one of them is being answered.
    pub in_request: bool,
}

impl Row {
    fn new(slot: usize, entry: &Entry, now: Instant) -> Self {
        let (facts, activity) = (&entry.facts, &entry.activity);
        let (_, since) = activity.phase();
        Self {
            slot,
            serial: entry.serial,
            device: entry.peer.device.clone(),
            trust_domain: Arc::clone(&entry.peer.trust_domain),
            listener: Arc::clone(&facts.listener),
            address: facts.address,
            protocol: facts.protocol(),
            tls_version: facts.tls_version,
            handshake: facts.handshake.label(),
            age: now.saturating_duration_since(facts.accepted),
            quiet: now.saturating_duration_since(since),
            requests: activity.requests(),
            in_request: activity.in_request(),
        }
    }
}

/// A part of an answer, and the slot to go on from; `None` after the last.
pub type Slice<T> = (T, Option<usize>);

impl Live {
    /// The connections that fit `filter`, among [`SLICE`] slots from `from` on.
    pub fn list(&self, from: usize, filter: &Filter, now: Instant) -> Slice<Vec<Row>> {
        let (entries, next) = self.slice(from, filter);
        let rows = entries
            .iter()
            .map(|(slot, entry)| Row::new(*slot, entry, now));
        (rows.collect(), next)
    }

    /// Ends the connections that fit `filter`, among [`SLICE`] slots from `from` on, and says how many those were.
    pub fn disconnect(&self, from: usize, filter: &Filter) -> Slice<usize> {
        let (entries, next) = self.slice(from, filter);
        for (_, entry) in &entries {
            entry.end(Denied::Disconnected);
        }
        (entries.len(), next)
    }

    fn slice(&self, from: usize, filter: &Filter) -> Slice<Vec<(usize, Rc<Entry>)>> {
        let slots = self.slots.borrow();
        let fitting = slots.entries.iter().enumerate().skip(from).take(SLICE);
        let fitting = fitting
            .filter_map(|(slot, entry)| Some((slot, entry.as_ref()?)))
            .filter(|(_, entry)| entry.denied.get().is_none() && filter.fits(entry))
            .map(|(slot, entry)| (slot, Rc::clone(entry)));
        let next = from.saturating_add(SLICE);
        (
            fitting.collect(),
            (next < slots.entries.len()).then_some(next),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::task::{Context, Waker};

    use super::{ConnectionId, Filter, Live, SLICE};
    use crate::clock;
    use crate::live::tests::enter;

    #[test]
    fn ids_are_written_and_read() {
        let id = ConnectionId {
            worker: 1,
            slot: 22,
            serial: 333,
        };
        assert_eq!(id.to_string(), "1.22.333");
        assert_eq!("1.22.333".parse(), Ok(id));
        for wrong in [
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "a.2.3",
            "1.2.-3",
            "1..3",
            "99999999999999999999.1.1",
        ] {
            assert!(wrong.parse::<ConnectionId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn all_are_listed_slice_by_slice_and_each_once() {
        let live = Rc::new(Live::default());
        let mut places: Vec<_> = (0..2 * SLICE + 10).map(|n| enter(&live, n, 100)).collect();
        places.remove(5);
        let (mut from, mut seen) = (Some(0), Vec::new());
        while let Some(at) = from {
            let (rows, next) = live.list(at, &Filter::default(), clock::now());
            assert!(rows.len() <= SLICE);
            seen.extend(rows.iter().map(|row| row.slot));
            from = next;
        }
        assert_eq!(seen.len(), places.len());
        assert!(seen.is_sorted_by(|one, other| one < other) && !seen.contains(&5));
    }

    #[test]
    fn only_what_fits_is_listed_and_ended() {
        let live = Rc::new(Live::default());
        let places: Vec<_> = (0..3).map(|n| enter(&live, n, 100)).collect();
        let slots = |filter: &Filter| -> Vec<usize> {
            let (rows, _) = live.list(0, filter, clock::now());
            rows.iter().map(|row| row.slot).collect()
        };
        let device = Filter {
            device: Some("device-1".into()),
            ..Filter::default()
        };
        let elsewhere = Filter {
            trust_domain: Some("plant-7".into()),
            ..Filter::default()
        };
        let certificate = Filter {
            fingerprint: Some("ab".repeat(32)),
            ..Filter::default()
        };
        let serial = live.list(2, &Filter::default(), clock::now()).0[0].serial;
        let connection = Some(ConnectionId {
            worker: 0,
            slot: 2,
            serial,
        });
        let one = Filter {
            connection,
            ..Filter::default()
        };
        assert_eq!(slots(&device), [1]);
        assert_eq!(slots(&elsewhere), [] as [usize; 0]);
        assert_eq!(slots(&certificate), [0, 1, 2]);
        assert_eq!(slots(&one), [2]);
        assert_eq!(live.disconnect(0, &device).0, 1);
        let cx = Context::from_waker(Waker::noop());
        let ended: Vec<bool> = places
            .iter()
            .map(|place| place.poll_denied(&cx).is_ready())
            .collect();
        assert_eq!(ended, [false, true, false]);
        // What is ending is not listed, nor ended again.
        assert_eq!(slots(&Filter::default()), [0, 2]);
        assert_eq!(live.disconnect(0, &device).0, 0);
    }
}

//! What devices, and the addresses they come from, may use: rates, and how much at once.
//!
//! Shared by all workers, and it outlives reloads. What is remembered is bounded ([`table`]); which bounds hold is said by
//! whoever asks, from the configuration in force. It answers nobody and closes nothing.

pub mod arrivals;
pub mod device;
pub(crate) mod hold;
pub mod pace;
pub mod seat;
pub mod source;
pub mod table;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::live::Peer;
use crate::rate::{Mark, Rate};
use arrivals::Settings as ArrivalSettings;
use arrivals::Verdict;
use device::{Connections, Device, Limited};
use seat::Seat;
use source::{Shed, Source};
use table::{Remembered, Table, TableKey};

/// The most connections that are held back at once, of all devices together. Each is a descriptor and some kilobytes.
const MAX_HELD: usize = 1000;

/// How much is remembered; what is held by open connections comes on top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Devices; as many again for what they ask of single routes.
    pub devices: usize,
    /// Sources.
    pub sources: usize,
}

/// All that is remembered.
#[derive(Debug)]
pub struct Limits {
    start: Instant,
    connections: Mutex<Mark>,
    sources: Table<Source>,
    devices: Table<Device>,
    routes: Table<RouteUse>,
    held: AtomicUsize,
}

/// What is remembered of one device's requests to one route.
#[derive(Debug, Default)]
struct RouteUse(Mutex<Mark>);

impl Remembered for RouteUse {
    fn worth(&self, now: u64) -> u64 {
        self.0.lock().saturating_sub(now)
    }
}

impl Limits {
    /// Nothing remembered yet at `start`.
    pub fn new(capacity: Capacity, start: Instant) -> Arc<Self> {
        Arc::new(Self {
            start,
            connections: Mutex::default(),
            sources: Table::new(capacity.sources),
            devices: Table::new(capacity.devices),
            routes: Table::new(capacity.devices),
            held: AtomicUsize::new(0),
        })
    }

    fn nanoseconds(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.start).as_nanos();
        u64::try_from(since).unwrap_or(u64::MAX)
    }

    /// Judges a connection from `address` that was accepted at `now`.
    ///
    /// # Errors
    /// It is to be turned away.
    pub fn accept(
        &self,
        address: IpAddr,
        settings: &source::Settings,
        now: Instant,
    ) -> Result<SourceSlot, Shed> {
        let now = self.nanoseconds(now);
        let mut slot = SourceSlot(None);
        // The source first: what it is not allowed is not taken from the others.
        if settings.looks_at_sources() {
            let key = self.sources.key(settings.source(address));
            let source = self.sources.get(key, now);
            source.open(settings, now)?;
            slot = SourceSlot(Some(source));
        }
        if let Some(rate) = settings.connections {
            rate.take(&mut self.connections.lock(), now, 1)
                .map_err(|_| Shed::Rate)?;
        }
        Ok(slot)
    }

    /// Says that the handshake of the connection with `slot` failed at `now` by its own fault.
    pub fn handshake_failed(&self, slot: &SourceSlot, settings: &source::Settings, now: Instant) {
        if let (Some(source), Some(rate)) = (&slot.0, settings.failed_handshakes) {
            source.failed(rate, self.nanoseconds(now));
        }
    }

    /// What `peer`, who connected from `address`, uses.
    pub fn usage(self: &Arc<Self>, peer: &Peer, address: IpAddr, now: Instant) -> Usage {
        let key = match &peer.device {
            Some(device) => self.devices.key((&*peer.trust_domain, device.device_id())),
            None => self
                .devices
                .key((&*peer.trust_domain, address.to_canonical())),
        };
        let is_known = peer.device.is_some();
        Usage {
            device: is_known.then(|| self.devices.get(key, self.nanoseconds(now))),
            limits: Arc::clone(self),
            key,
            seat: None,
        }
    }
}

/// A connection at its source; counts as open there until it is dropped.
#[derive(Debug)]
pub struct SourceSlot(Option<Arc<Source>>);

impl Drop for SourceSlot {
    fn drop(&mut self) {
        if let Some(source) = &self.0 {
            source.close();
        }
    }
}

/// What the device of one connection uses. A peer without a certificate is bounded by route only, as its address.
#[derive(Debug)]
pub struct Usage {
    limits: Arc<Limits>,
    key: TableKey,
    device: Option<Arc<Device>>,
    seat: Option<Arc<Seat>>,
}

/// Counts a request as being answered until it is dropped.
#[derive(Debug)]
pub struct InProgress(Arc<Device>);

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.end_request();
    }
}

/// Counts a connection as held back until it is dropped.
#[derive(Debug)]
pub struct Held {
    limits: Arc<Limits>,
    device: Arc<Device>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.limits.held.fetch_sub(1, Ordering::Relaxed);
        self.device.done_waiting();
    }
}

/// What is to happen to a connection whose handshake is done.
#[derive(Debug)]
pub enum Arrival {
    /// Nothing.
    Serve,
    /// It is to wait for so long.
    Hold(Duration, Held),
    /// Too many wait already.
    Refuse,
}

impl Usage {
    /// The device's handshake was done at `now`.
    pub fn arrive(&self, settings: Option<&ArrivalSettings>, now: Instant) -> Arrival {
        let (Some(device), Some(settings)) = (&self.device, settings) else {
            return Arrival::Serve;
        };
        match device.arrive(settings, self.limits.nanoseconds(now)) {
            Verdict::Serve => Arrival::Serve,
            Verdict::Refuse => Arrival::Refuse,
            Verdict::Hold(delay) => {
                let others = self.limits.held.fetch_add(1, Ordering::Relaxed);
                let held = Held {
                    limits: Arc::clone(&self.limits),
                    device: Arc::clone(device),
                };
                match others < MAX_HELD {
                    true => Arrival::Hold(delay, held),
                    false => Arrival::Refuse,
                }
            }
        }
    }

    /// Takes one of the device's seats for this connection; how many others are ended for it, or `None` where it is one
    /// too many.
    pub fn sit(&mut self, limit: Option<Connections>) -> Option<usize> {
        let (Some(device), Some(limit)) = (&self.device, limit) else {
            return Some(0);
        };
        let (seat, ended) = device.sit(limit)?;
        self.seat = Some(seat);
        Some(ended)
    }

    /// The connection's seat, if it needed one.
    pub fn seat(&self) -> Option<&Arc<Seat>> {
        self.seat.as_ref()
    }

    /// Starts a request at `now`; it counts as being answered until the answer is dropped.
    ///
    /// # Errors
    /// The limit that it met.
    pub fn start_request(
        &self,
        settings: &device::Settings,
        now: Instant,
    ) -> Result<Option<InProgress>, Limited> {
        if settings.requests.is_none() && settings.concurrent_requests.is_none() {
            return Ok(None);
        }
        let Some(device) = &self.device else {
            return Ok(None);
        };
        let counted = device.start_request(settings, self.limits.nanoseconds(now))?;
        Ok(counted.then(|| InProgress(Arc::clone(device))))
    }

    /// Takes a request to the route named `route` from what is allowed there.
    ///
    /// # Errors
    /// It is too soon, for so long.
    pub fn take_from_route(&self, route: u64, rate: Rate, now: Instant) -> Result<(), Duration> {
        let now = self.limits.nanoseconds(now);
        let key = self.limits.routes.key((self.key, route));
        let used = self.limits.routes.get(key, now);
        let mut mark = used.0.lock();
        rate.take(&mut mark, now, 1)
    }
}

impl Drop for Usage {
    fn drop(&mut self) {
        if let (Some(device), Some(seat)) = (&self.device, &self.seat) {
            device.leave(seat);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::{Arrival, ArrivalSettings, Capacity, Limits, MAX_HELD, Peer, Shed, Usage, source};
    use crate::clock;
    use crate::identity::Identified;
    use crate::rate::Rate;
    use crate::trust::RulesId;

    fn limits() -> (Arc<Limits>, Instant) {
        let start = clock::now();
        let capacity = Capacity {
            devices: 10_000,
            sources: 10_000,
        };
        (Limits::new(capacity, start), start)
    }

    fn one_a_second(burst: u64) -> Rate {
        Rate::new(1, Duration::from_secs(1), burst)
    }

    const UNBOUNDED: source::Settings = source::Settings {
        connections: None,
        rate: None,
        open: None,
        failed_handshakes: None,
        ipv6_prefix: 64,
    };

    fn usage(limits: &Arc<Limits>, id: Option<&str>, address: &str) -> Usage {
        let peer = Peer {
            trust_domain: "default".into(),
            rules: RulesId::default(),
            device: id.map(|id| Arc::new(Identified::for_tests(id, 0, 10))),
        };
        limits.usage(&peer, address.parse().unwrap(), clock::now())
    }

    #[test]
    fn a_source_takes_nothing_from_others_that_it_may_not_have() {
        let (limits, now) = limits();
        let settings = source::Settings {
            connections: Some(one_a_second(3)),
            rate: Some(one_a_second(1)),
            ..UNBOUNDED
        };
        let accept = |address: &str| {
            let address: IpAddr = address.parse().unwrap();
            limits.accept(address, &settings, now).map(|_| ())
        };
        assert_eq!(accept("192.0.2.1"), Ok(()));
        for _ in 0..5 {
            assert_eq!(accept("192.0.2.1"), Err(Shed::SourceRate));
        }
        assert_eq!((accept("192.0.2.2"), accept("192.0.2.3")), (Ok(()), Ok(())));
        assert_eq!(accept("192.0.2.4"), Err(Shed::Rate));
    }

    #[test]
    fn a_connection_counts_at_its_source_until_it_is_gone() {
        let (limits, now) = limits();
        let settings = source::Settings {
            open: Some(1),
            connections: Some(one_a_second(2)),
            ..UNBOUNDED
        };
        let address: IpAddr = "2001:db8::1".parse().unwrap();
        let neighbour: IpAddr = "2001:db8::2".parse().unwrap();
        let first = limits.accept(address, &settings, now).unwrap();
        assert_eq!(
            limits.accept(neighbour, &settings, now).err(),
            Some(Shed::SourceOpen)
        );
        drop(first);
        drop(limits.accept(neighbour, &settings, now).unwrap());
        // Turned away by the global rate, it is not open at its source either.
        assert_eq!(
            limits.accept(address, &settings, now).err(),
            Some(Shed::Rate)
        );
        assert_eq!(
            limits.accept(address, &settings, now).err(),
            Some(Shed::Rate)
        );
    }

    #[test]
    fn those_held_back_are_bounded_and_counted_back() {
        let (limits, now) = limits();
        let settings = ArrivalSettings {
            rate: Rate::new(1, Duration::from_secs(60), 1),
            delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(1),
        };
        let arrive = |id: usize| {
            let usage = usage(&limits, Some(&format!("device-{id}")), "192.0.2.1");
            usage.arrive(Some(&settings), now)
        };
        let mut held = Vec::new();
        for id in 0..MAX_HELD {
            assert!(matches!(arrive(id), Arrival::Serve));
            held.push(arrive(id));
        }
        assert!(
            held.iter()
                .all(|arrival| matches!(arrival, Arrival::Hold(..)))
        );
        assert!(matches!(arrive(0), Arrival::Refuse));
        drop(held);
        assert!(matches!(arrive(0), Arrival::Hold(..)));
    }

    #[test]
    fn routes_are_bounded_for_each_device_and_for_addresses_without_one() {
        let (limits, now) = limits();
        let rate = one_a_second(1);
        let ask = |id, address, route| {
            usage(&limits, id, address)
                .take_from_route(route, rate, now)
                .is_ok()
        };
        assert!(ask(Some("a"), "192.0.2.1", 1) && !ask(Some("a"), "192.0.2.2", 1));
        assert!(ask(Some("a"), "192.0.2.1", 2) && ask(Some("b"), "192.0.2.1", 1));
        assert!(ask(None, "192.0.2.1", 1) && !ask(None, "192.0.2.1", 1));
        assert!(ask(None, "192.0.2.2", 1));
    }

    /// What a check costs. A figure to look at (`--nocapture`, release) with a bound that only a mistake of kind exceeds.
    #[test]
    fn a_check_costs_little() {
        let (limits, now) = limits();
        let settings = source::Settings {
            connections: Some(one_a_second(1_000_000)),
            rate: Some(one_a_second(1_000_000)),
            ..UNBOUNDED
        };
        const CHECKS: u32 = 100_000;
        let start = clock::now();
        for index in 0..CHECKS {
            let address = IpAddr::from((0x0a00_0000 | (index % 5000)).to_be_bytes());
            let _ = limits.accept(address, &settings, now);
        }
        let each = clock::now().duration_since(start) / CHECKS;
        println!("{each:?} for each connection");
        assert!(each < Duration::from_micros(50));
    }
}

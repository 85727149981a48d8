//! What the whole process knows about an upstream: its endpoints, how they are, and how many requests were repeated.
//!
//! It outlives a reload that does not change the upstream. It sends nothing and looks up nothing; workers and `upkeep` tell
//! it what they found.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::metrics::upstream::Events;
use crate::upstream::Settings;
use crate::upstream::connect::{Address, Target};
use crate::upstream::endpoint::{Endpoint, LastCheck};
use crate::upstream::retry::Budget;

/// The endpoints of an upstream that there are now.
#[derive(Debug)]
pub struct Set {
    /// Counts changes.
    pub version: u64,
    /// All of them, those of the first entry first.
    pub all: Vec<Arc<Endpoint>>,
}

/// An upstream as the whole process shares it.
#[derive(Debug)]
pub struct Endpoints {
    settings: Settings,
    /// How each entry of the configuration is reached, in its order.
    targets: Vec<Target>,
    /// Times are counted from here.
    origin: Instant,
    set: ArcSwap<Set>,
    /// The latest version of the set; told of first look-ups too.
    changed: watch::Sender<u64>,
    /// Host names that were not looked up yet.
    first_look_ups: AtomicUsize,
    /// One ejection is decided at a time, so that two workers do not take the last room for one twice.
    ejecting: Mutex<()>,
    budget: Mutex<Budget>,
    events: Events,
}

impl Endpoints {
    /// An upstream whose endpoints are all taken for healthy; `targets` says how each entry is reached. Host names have no
    /// addresses until [`Endpoints::resolved`].
    pub fn new(settings: Settings, targets: Vec<Target>, events: Events, now: Instant) -> Self {
        let fixed = settings.endpoints.iter().zip(&targets).enumerate();
        let all = fixed
            .filter(|(_, (entry, _))| !matches!(entry.address, Address::Name { .. }))
            .map(|(index, (entry, target))| {
                Arc::new(Endpoint::new(target.clone(), index, entry.weight, None))
            })
            .collect();
        let names = targets
            .iter()
            .filter(|target| matches!(target.address, Address::Name { .. }));
        Self {
            first_look_ups: AtomicUsize::new(names.count()),
            settings,
            targets,
            origin: now,
            set: ArcSwap::from_pointee(Set { version: 0, all }),
            changed: watch::Sender::new(0),
            ejecting: Mutex::default(),
            budget: Mutex::default(),
            events,
        }
    }

    /// What is configured.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Its counters.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// `now` as the endpoints count time.
    pub fn time(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.origin)
    }

    /// The endpoints that there are now.
    pub fn set(&self) -> Guard<Arc<Set>> {
        self.set.load()
    }

    /// Goes on with the addresses that `before` knows for the same host names, so that a changed configuration does not have to
    /// wait for a resolver.
    pub fn inherit(&self, before: &Self, now: Instant) {
        let known = before.set.load();
        for (index, target) in self.targets.iter().enumerate() {
            let mut others = before.targets.iter();
            let Some(other) = others.position(|other| other.address == target.address) else {
                continue;
            };
            let addresses = known
                .all
                .iter()
                .filter(|endpoint| endpoint.entry() == other);
            let addresses: Vec<SocketAddr> = addresses
                .filter_map(|endpoint| match endpoint.address() {
                    Address::Socket(address) => Some(*address),
                    _ => None,
                })
                .collect();
            if matches!(target.address, Address::Name { .. }) && !addresses.is_empty() {
                self.resolved(index, &addresses, now);
            }
        }
    }

    /// Whether the first look-up of a host name is still to come.
    pub fn is_first_look_up_pending(&self) -> bool {
        self.first_look_ups.load(Ordering::Relaxed) > 0
    }

    /// Takes in that a host name was looked up for the first time, whatever came of it.
    pub(super) fn looked_up_first(&self) {
        let _ = self
            .first_look_ups
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            });
        self.changed.send_modify(|_| {});
    }

    /// Told of each change of the set.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Puts the addresses that the entry with index `entry` has at `now` in place of those that it had. Endpoints that stay keep
    /// their state; those that are new beside others start slowly.
    pub fn resolved(&self, entry: usize, addresses: &[SocketAddr], now: Instant) {
        let configured = self.settings.endpoints.get(entry);
        let Some((configured, target)) = configured.zip(self.targets.get(entry)) else {
            return;
        };
        let before = self.set.load();
        let is_known = before.all.iter().any(|endpoint| endpoint.entry() == entry);
        let back_since = is_known.then(|| self.time(now));
        let endpoint = |address: &SocketAddr| {
            let address = Address::Socket(*address);
            let stays = before
                .all
                .iter()
                .find(|known| known.entry() == entry && *known.address() == address);
            stays.cloned().unwrap_or_else(|| {
                let target = Target {
                    address,
                    ..target.clone()
                };
                Arc::new(Endpoint::new(target, entry, configured.weight, back_since))
            })
        };
        let mut all: Vec<Arc<Endpoint>> = addresses.iter().map(endpoint).collect();
        let others = before.all.iter().filter(|other| other.entry() != entry);
        all.extend(others.cloned());
        all.sort_by_key(|endpoint| endpoint.entry());
        let same = all.len() == before.all.len()
            && all.iter().zip(&before.all).all(|(a, b)| Arc::ptr_eq(a, b));
        if same {
            return;
        }
        let version = before.version + 1;
        self.set.store(Arc::new(Set { version, all }));
        self.changed.send_replace(version);
    }

    /// Takes in what became of a request that `endpoint` was sent. `now` is asked only where it matters.
    pub fn observe(&self, endpoint: &Endpoint, is_good: bool, now: impl FnOnce() -> Instant) {
        let Some(settings) = &self.settings.ejection else {
            return;
        };
        match is_good {
            true if !endpoint.is_failing() => {}
            true => endpoint.succeeded(),
            false => {
                let _one_at_a_time = self.ejecting.lock();
                let now = self.time(now());
                let set = self.set.load();
                // Without the endpoint itself, which is locked, and not out.
                let is_other = |other: &&Arc<Endpoint>| !std::ptr::eq(other.as_ref(), endpoint);
                let out = || {
                    let others = set.all.iter().filter(is_other);
                    others.filter(|other| other.is_ejected(now)).count()
                };
                let has_room = || settings.has_room(out(), set.all.len());
                if endpoint.failed(now, settings, has_room) {
                    self.events.ejected();
                    let (upstream, address) = (&self.settings.name, endpoint.address());
                    tracing::warn!(%upstream, endpoint = %address, "an endpoint is ejected: it failed too often in a row");
                }
            }
        }
    }

    /// Takes in what a check of `endpoint` found at `now`: `ok`, or why it failed.
    pub fn checked(&self, endpoint: &Endpoint, outcome: Result<(), &'static str>, now: Instant) {
        let Some(settings) = &self.settings.health_check else {
            return;
        };
        let label = outcome.err().unwrap_or("ok");
        self.events.checked(label);
        let check = LastCheck {
            outcome: label,
            at: self.time(now),
        };
        if endpoint.checked(check, outcome.is_ok(), settings.thresholds) {
            let (upstream, address) = (&self.settings.name, endpoint.address());
            match outcome {
                Ok(()) => {
                    tracing::info!(%upstream, endpoint = %address, "an endpoint is healthy again")
                }
                Err(reason) => {
                    tracing::warn!(%upstream, endpoint = %address, reason, "an endpoint is unhealthy")
                }
            }
        }
    }

    /// Takes in `count` requests that a worker made up to `now`.
    pub fn count_requests(&self, count: u64, now: Instant) {
        self.budget.lock().requests(count, self.time(now));
    }

    /// Whether one more request may be repeated at `now`; if so, it counts.
    pub fn withdraw_retry(&self, now: Instant) -> bool {
        let share = self.settings.retry.budget;
        self.budget.lock().withdraw(share, self.time(now))
    }
}

#[cfg(test)]
mod tests;

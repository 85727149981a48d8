//! The verified-chain cache: a hash of what was presented → what the full verification found.
//!
//! Only positive verdicts enter, so an attacker without certificates cannot fill it. An entry holds what cannot change
//! (signatures checked, validity window, anchor, whatever the caller parsed); what can change, the time and the set of
//! trusted anchors, is checked on every look-up. The cache proves nothing about the handshake: CertificateVerify is
//! checked in every full handshake, hit or not.
//!
//! Bounded by entry count. Eviction is second-chance first-in-first-out (CLOCK): an entry that was used since the hand
//! last passed stays for another round. It does not persist and does not expire by time.

use std::collections::VecDeque;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::digest;
use dashmap::DashMap;
use parking_lot::Mutex;

use crate::verify::{AnchorId, VerifiedChain};

/// SHA-256 of a presented chain: of every byte of it, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainHash([u8; 32]);

impl ChainHash {
    pub(crate) fn new(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key of this chain's entry inside `namespace`.
    pub fn key(&self, namespace: &[u8; 32]) -> CacheKey {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(namespace);
        context.update(&self.0);
        let mut key = [0; 32];
        key.copy_from_slice(context.finish().as_ref());
        CacheKey(key)
    }
}

/// Names an entry: a presented chain inside a trust domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheKey([u8; 32]);

impl Hash for CacheKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The key is a cryptographic hash already; eight bytes of it are as good as any hash of them.
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        state.write_u64(u64::from_ne_bytes([a, b, c, d, e, f, g, h]));
    }
}

/// Passes the eight bytes of a [`CacheKey`] through.
#[derive(Debug, Default)]
pub struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

#[derive(Debug)]
struct Entry<V> {
    value: Arc<V>,
    anchor: AnchorId,
    not_before: u64,
    not_after: u64,
    used: AtomicBool,
}

/// What a look-up found.
#[derive(Debug)]
pub enum Lookup<V> {
    /// Verified before, and what can change still holds.
    Hit(Arc<V>),
    /// Verified before, but out of its validity window now, or its anchor is not trusted any more.
    Stale,
    /// Not known.
    Miss,
}

/// A bounded, shared map from presented chains to values of type `V`.
#[derive(Debug)]
pub struct ChainCache<V> {
    entries: DashMap<CacheKey, Entry<V>, BuildHasherDefault<Identity>>,
    hand: Mutex<VecDeque<CacheKey>>,
    capacity: usize,
}

impl<V> ChainCache<V> {
    /// A cache of at most `capacity` chains; 0 switches it off.
    pub fn new(capacity: usize) -> Self {
        Self {
            entries: DashMap::with_hasher(BuildHasherDefault::default()),
            hand: Mutex::new(VecDeque::new()),
            capacity,
        }
    }

    /// Looks `key` up. `now` is in seconds since the Unix epoch; `trusted` says whether an anchor is trusted now.
    pub fn get(&self, key: &CacheKey, now: u64, trusted: impl Fn(&AnchorId) -> bool) -> Lookup<V> {
        let Some(entry) = self.entries.get(key) else {
            return Lookup::Miss;
        };
        if now < entry.not_before || now > entry.not_after || !trusted(&entry.anchor) {
            return Lookup::Stale;
        }
        if !entry.used.load(Ordering::Relaxed) {
            entry.used.store(true, Ordering::Relaxed);
        }
        Lookup::Hit(Arc::clone(&entry.value))
    }

    /// Records that `chain` was verified, with what the caller made of it.
    pub fn insert(&self, key: CacheKey, chain: &VerifiedChain, value: Arc<V>) {
        self.put(
            key,
            *chain.anchor(),
            (chain.not_before(), chain.not_after()),
            value,
        );
    }

    fn put(
        &self,
        key: CacheKey,
        anchor: AnchorId,
        (not_before, not_after): (u64, u64),
        value: Arc<V>,
    ) {
        if self.capacity == 0 {
            return;
        }
        // One lock around both structures keeps them in step; only misses come here, after 0.1 ms of verification.
        let mut hand = self.hand.lock();
        let entry = Entry {
            value,
            anchor,
            not_before,
            not_after,
            used: AtomicBool::new(false),
        };
        if self.entries.insert(key, entry).is_none() {
            hand.push_back(key);
        }
        while hand.len() > self.capacity {
            self.evict_one(&mut hand);
        }
    }

    /// Number of chains held.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn evict_one(&self, hand: &mut VecDeque<CacheKey>) {
        // One round clears every mark, so a victim is found within two, however busy the other threads are.
        for _ in 0..hand.len() {
            let Some(oldest) = hand.pop_front() else {
                return;
            };
            let used = self
                .entries
                .get(&oldest)
                .is_some_and(|entry| entry.used.swap(false, Ordering::Relaxed));
            if !used {
                self.entries.remove(&oldest);
                return;
            }
            hand.push_back(oldest);
        }
        if let Some(oldest) = hand.pop_front() {
            self.entries.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AnchorId, Arc, CacheKey, ChainCache, ChainHash, Lookup};
    use crate::verify::AuthorityId;

    fn anchor() -> AnchorId {
        AnchorId::new(&AuthorityId::new(b"anchor", b"key"), None, None)
    }

    fn hash(n: u8) -> CacheKey {
        ChainHash::new([n; 32]).key(&[1; 32])
    }

    #[test]
    fn a_chain_has_another_key_in_another_namespace() {
        let chain = ChainHash::new([7; 32]);
        assert_ne!(chain.key(&[1; 32]), chain.key(&[2; 32]));
    }

    fn cache_of(capacity: usize, chains: &[u8]) -> ChainCache<u8> {
        let cache = ChainCache::new(capacity);
        for chain in chains {
            cache.put(hash(*chain), anchor(), (100, 200), Arc::new(*chain));
        }
        cache
    }

    fn hits(cache: &ChainCache<u8>, chain: u8) -> bool {
        matches!(cache.get(&hash(chain), 150, |_| true), Lookup::Hit(value) if *value == chain)
    }

    #[test]
    fn a_verdict_is_found_again() {
        let cache = cache_of(4, &[1]);
        assert!(hits(&cache, 1));
        assert!(matches!(cache.get(&hash(2), 150, |_| true), Lookup::Miss));
    }

    #[test]
    fn what_can_change_is_checked_on_every_use() {
        let cache = cache_of(4, &[1]);
        for now in [99, 201] {
            assert!(
                matches!(cache.get(&hash(1), now, |_| true), Lookup::Stale),
                "{now}"
            );
        }
        assert!(matches!(
            cache.get(&hash(1), 150, |it| *it != anchor()),
            Lookup::Stale
        ));
        assert!(
            hits(&cache, 1),
            "a stale look-up does not spoil the entry for a domain that trusts it"
        );
    }

    #[test]
    fn the_bound_holds_and_used_entries_stay() {
        let cache = cache_of(3, &[1, 2, 3]);
        assert!(hits(&cache, 1));
        cache.put(hash(4), anchor(), (100, 200), Arc::new(4));
        assert_eq!(cache.len(), 3);
        assert!(hits(&cache, 1), "used since the hand last passed");
        assert!(!hits(&cache, 2), "the oldest unused entry went");
        assert!(hits(&cache, 3) && hits(&cache, 4));
    }

    #[test]
    fn eviction_ends_when_every_entry_was_used() {
        let cache = cache_of(3, &[1, 2, 3]);
        assert!([1, 2, 3].into_iter().all(|chain| hits(&cache, chain)));
        cache.put(hash(4), anchor(), (100, 200), Arc::new(4));
        assert_eq!(cache.len(), 3);
    }

    #[test]
    fn verifying_again_replaces_and_does_not_grow() {
        let cache = cache_of(2, &[1, 1, 1, 2, 2, 1]);
        assert_eq!(cache.len(), 2);
        assert_eq!(cache.hand.lock().len(), 2);
    }

    #[test]
    fn capacity_zero_is_off() {
        let cache = cache_of(0, &[1]);
        assert!(cache.is_empty());
    }
}

//! A table of what is remembered about many, in bounded memory whoever asks.
//!
//! Shared by all workers: a device may land on any of them. Locks are for a shard and for a few instructions. When a shard
//! is full, the least worth remembering of a few entries makes place; what somebody holds is never forgotten, and that is
//! bounded by what is open. It knows neither devices nor limits.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};
use std::sync::Arc;

use parking_lot::Mutex;

/// How many locks there are. Workers are few.
const SHARDS: usize = 16;

/// How many entries are compared when one has to go.
const COMPARED: usize = 32;

/// What a table remembers.
pub trait Remembered {
    /// What is lost if this is forgotten at `now`: the more the worse, and nothing at all at zero.
    fn worth(&self, now: u64) -> u64;
}

/// Names an entry: a hash of whom it is about under keys that nobody outside knows, so that an entry has one size, and
/// nobody can choose names that fall together. Two of a billion share one with a chance of 10^-21.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableKey {
    high: u64,
    low: u64,
}

impl Hash for TableKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.low);
    }
}

/// Passes the half of a [`TableKey`] through, which is a hash already.
#[derive(Debug, Default)]
pub struct Half(u64);

impl Hasher for Half {
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

/// At most so many of `V`, besides those that are held.
#[derive(Debug)]
pub struct Table<V> {
    shards: Box<[Mutex<Shard<V>>]>,
    in_shard: usize,
    keys: [RandomState; 2],
}

#[derive(Debug)]
struct Shard<V> {
    entries: HashMap<TableKey, Arc<V>, BuildHasherDefault<Half>>,
    /// Every key once; those at the front are looked at next.
    order: VecDeque<TableKey>,
}

impl<V: Default + Remembered> Table<V> {
    /// An empty table for `capacity` entries. Memory is taken as they come.
    pub fn new(capacity: usize) -> Self {
        let shard = || {
            Mutex::new(Shard {
                entries: HashMap::default(),
                order: VecDeque::new(),
            })
        };
        Self {
            shards: (0..SHARDS).map(|_| shard()).collect(),
            in_shard: capacity.div_ceil(SHARDS).max(1),
            keys: [RandomState::new(), RandomState::new()],
        }
    }

    /// The key of whatever `name` says.
    pub fn key(&self, name: impl Hash) -> TableKey {
        let [high, low] = self.keys.each_ref().map(|key| key.hash_one(&name));
        TableKey { high, low }
    }

    /// What is remembered under `key`, from now on if nothing was. It is not forgotten while the answer is held.
    pub fn get(&self, key: TableKey, now: u64) -> Arc<V> {
        let Some(shard) = self.shards.get(key.high as usize % SHARDS) else {
            return Arc::default();
        };
        let mut shard = shard.lock();
        if let Some(known) = shard.entries.get(&key) {
            return Arc::clone(known);
        }
        if shard.entries.len() >= self.in_shard {
            shard.make_place(now, self.in_shard);
        }
        let entry = Arc::<V>::default();
        shard.entries.insert(key, Arc::clone(&entry));
        shard.order.push_back(key);
        entry
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        let lengths = self.shards.iter().map(|shard| shard.lock().entries.len());
        lengths.sum()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<V: Remembered> Shard<V> {
    /// Looks at the next few entries: forgets those that nobody holds and that are worth nothing, until there are fewer than
    /// `wanted`, and if there were none, the least of the others. A table that had to grow over what is held shrinks again.
    fn make_place(&mut self, now: u64, wanted: usize) {
        let mut least: Option<(u64, TableKey)> = None;
        let mut forgotten = false;
        for _ in 0..COMPARED.min(self.order.len()) {
            if self.entries.len() < wanted {
                break;
            }
            let Some(key) = self.order.pop_front() else {
                break;
            };
            // The table's own is the only one where nobody holds it; under the lock nobody can begin to.
            let entry = self.entries.get(&key);
            let worth = entry
                .filter(|entry| Arc::strong_count(entry) == 1)
                .map(|entry| entry.worth(now));
            match (worth, least) {
                (Some(0), _) => {
                    self.entries.remove(&key);
                    forgotten = true;
                }
                (Some(worth), Some((lowest, _))) if worth >= lowest => self.order.push_back(key),
                (Some(worth), dearer) => {
                    self.order.extend(dearer.map(|(_, dearer)| dearer));
                    least = Some((worth, key));
                }
                (None, _) => self.order.push_back(key),
            }
        }
        match least {
            Some((_, key)) if !forgotten => {
                self.entries.remove(&key);
            }
            kept => self.order.extend(kept.map(|(_, key)| key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use proptest::prelude::*;

    use super::{COMPARED, Remembered, SHARDS, Table};

    #[derive(Debug, Default)]
    struct Until(AtomicU64);

    impl Remembered for Until {
        fn worth(&self, now: u64) -> u64 {
            self.0.load(Ordering::Relaxed).saturating_sub(now)
        }
    }

    fn remember(table: &Table<Until>, name: u64, until: u64) -> Arc<Until> {
        let entry = table.get(table.key(name), 0);
        entry.0.store(until, Ordering::Relaxed);
        entry
    }

    #[test]
    fn one_name_has_one_entry() {
        let table = Table::<Until>::new(100);
        remember(&table, 1, 7);
        assert_eq!(table.get(table.key(1_u64), 0).0.load(Ordering::Relaxed), 7);
        assert_eq!(table.len(), 1);
        assert_ne!(table.key("a"), table.key("b"));
    }

    #[test]
    fn hostile_names_do_not_grow_it_nor_drive_out_what_matters() {
        let table = Table::<Until>::new(COMPARED * SHARDS);
        for name in 0..40_u64 {
            remember(&table, name, 1000);
        }
        for name in 1000..200_000 {
            remember(&table, name, 0);
        }
        assert!(table.len() <= COMPARED * SHARDS, "{}", table.len());
        for name in 0..40_u64 {
            let entry = table.get(table.key(name), 0);
            assert_eq!(entry.0.load(Ordering::Relaxed), 1000, "{name}");
        }
    }

    #[test]
    fn what_is_held_stays_and_the_table_shrinks_after_it() {
        let table = Table::<Until>::new(SHARDS);
        let held: Vec<_> = (0..1000).map(|name| remember(&table, name, 5)).collect();
        assert_eq!(table.len(), 1000);
        for (name, entry) in (0u64..).zip(&held) {
            assert!(Arc::ptr_eq(entry, &table.get(table.key(name), 0)));
        }
        drop(held);
        for name in 10_000..20_000_u64 {
            table.get(table.key(name), 10);
        }
        assert!(table.len() <= SHARDS, "{}", table.len());
    }

    proptest! {
        #[test]
        fn it_is_bounded_by_its_capacity_and_what_is_held(
            capacity in 1usize..200,
            names in prop::collection::vec((0u64..500, 0u64..20, any::<bool>()), 1..600),
        ) {
            let table = Table::<Until>::new(capacity);
            let mut held = Vec::new();
            for (name, until, hold) in names {
                let entry = remember(&table, name, until);
                if hold {
                    held.push(entry);
                }
                prop_assert!(table.len() <= capacity.div_ceil(SHARDS).max(1) * SHARDS + 2 * held.len());
            }
        }
    }
}

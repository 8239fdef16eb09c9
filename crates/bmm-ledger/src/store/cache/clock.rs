//! A map bounded in bytes, which lets go of what has not been asked for lately.

use alloy_primitives::map::{DefaultHashBuilder, HashMap};
use std::{
    hash::{BuildHasher, Hash},
    sync::atomic::{AtomicBool, Ordering},
};

/// Parts that fill, grow and forget on their own: none grows or moves much at once.
const SHARDS: usize = 64;

/// Entries that the hand passes over, at most, to make room for a new one.
const MAX_STEPS: usize = 32;

/// Bytes that an entry takes beside its key and value: its part of the index, and what an allocation costs.
const OVERHEAD: usize = 64;

/// A map of at most so many bytes. Reading needs no exclusive access; an entry read since the hand last passed over it is
/// given a second round.
pub(in crate::store) struct Clock<K, V> {
    hasher: DefaultHashBuilder,
    shards: Vec<Shard<K, V>>,
}

struct Shard<K, V> {
    /// Hash of a key to where it lies. Of two keys with one hash, the later one stays.
    index: HashMap<u64, usize>,
    entries: Vec<Entry<K, V>>,
    hand: usize,
    bytes: usize,
    limit: usize,
}

struct Entry<K, V> {
    hash: u64,
    key: K,
    value: V,
    bytes: usize,
    asked: AtomicBool,
}

impl<K: Eq + Hash, V: Clone> Clock<K, V> {
    /// Makes an empty map of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        let shard =
            |_| Shard { index: HashMap::default(), entries: Vec::new(), hand: 0, bytes: 0, limit: limit / SHARDS };
        Self { hasher: DefaultHashBuilder::default(), shards: (0..SHARDS).map(shard).collect() }
    }

    pub fn get(&self, key: &K) -> Option<V> {
        let hash = self.hasher.hash_one(key);
        let shard = &self.shards[shard_of(hash)];
        let entry = shard.entries.get(*shard.index.get(&hash)?).filter(|entry| entry.key == *key)?;
        if !entry.asked.load(Ordering::Relaxed) {
            entry.asked.store(true, Ordering::Relaxed);
        }
        Some(entry.value.clone())
    }

    /// Keeps a value of so many bytes outside of itself, in place of an earlier one.
    pub fn put(&mut self, key: K, value: V, heap_bytes: usize) {
        let bytes = heap_bytes.saturating_add(OVERHEAD).saturating_add(size_of::<Entry<K, V>>());
        let hash = self.hasher.hash_one(&key);
        self.shards[shard_of(hash)].put(Entry { hash, key, value, bytes, asked: AtomicBool::new(false) });
    }

    pub fn remove(&mut self, key: &K) {
        let hash = self.hasher.hash_one(key);
        let shard = &mut self.shards[shard_of(hash)];
        if let Some(&at) = shard.index.get(&hash)
            && shard.entries[at].key == *key
        {
            shard.take(at);
        }
    }

    /// Returns how many bytes the entries take.
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.bytes).sum()
    }
}

/// The index hashes by the lower bits, so that the shard is chosen by others.
fn shard_of(hash: u64) -> usize {
    usize::from(hash.to_be_bytes()[0]) % SHARDS
}

impl<K, V> Shard<K, V> {
    fn put(&mut self, entry: Entry<K, V>) {
        if let Some(&at) = self.index.get(&entry.hash) {
            if let Some(old) = self.entries.get_mut(at)
                && let Some(bytes) = self.bytes.saturating_sub(old.bytes).checked_add(entry.bytes)
                && bytes <= self.limit
            {
                // Most that is put is there already, and stays where it lies.
                self.bytes = bytes;
                *old = Entry { asked: AtomicBool::new(*old.asked.get_mut()), ..entry };
                return;
            }
            self.take(at);
        }
        if entry.bytes > self.limit {
            return;
        }
        while self.bytes.saturating_add(entry.bytes) > self.limit {
            self.evict();
        }
        self.bytes = self.bytes.saturating_add(entry.bytes);
        self.index.insert(entry.hash, self.entries.len());
        self.entries.push(entry);
    }

    /// Lets go of the first entry from the hand on that nobody asked for; of the last one looked at if all were asked for.
    fn evict(&mut self) {
        for step in 1..=MAX_STEPS {
            if self.hand >= self.entries.len() {
                self.hand = 0;
            }
            let Some(entry) = self.entries.get_mut(self.hand) else { return };
            let at = self.hand;
            // What comes to lie where the hand was, the youngest entry, waits for the hand's next round.
            self.hand = self.hand.saturating_add(1);
            if !std::mem::take(entry.asked.get_mut()) || step == MAX_STEPS {
                self.take(at);
                return;
            }
        }
    }

    /// Removes an entry; the last one takes its place.
    fn take(&mut self, at: usize) {
        let gone = self.entries.swap_remove(at);
        self.bytes = self.bytes.saturating_sub(gone.bytes);
        self.index.remove(&gone.hash);
        if let Some(moved) = self.entries.get(at) {
            self.index.insert(moved.hash, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection, prelude::*};
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn what_is_kept_is_what_was_put_last(steps in collection::vec((0u16..600, any::<Option<u8>>(), 0usize..300), 0..1_500)) {
            let limit = SHARDS * 1_000;
            let mut clock = Clock::new(limit);
            let mut all = BTreeMap::new();
            for (key, value, bytes) in steps {
                if let Some(value) = value {
                    clock.put(key, value, bytes);
                    all.insert(key, value);
                } else {
                    clock.remove(&key);
                    all.remove(&key);
                }
                prop_assert!(clock.bytes() <= limit);
                prop_assert!(clock.get(&key).is_none_or(|kept| Some(&kept) == all.get(&key)));
            }
            for key in 0..600 {
                prop_assert!(clock.get(&key).is_none_or(|kept| Some(&kept) == all.get(&key)));
            }
            let counted: usize = clock.shards.iter().flat_map(|shard| &shard.entries).map(|entry| entry.bytes).sum();
            prop_assert_eq!(clock.bytes(), counted);
        }
    }

    #[test]
    fn what_is_asked_for_stays() {
        let mut clock = Clock::new(SHARDS * 2_000);
        for key in 0..100_000 {
            clock.put(key, key, 100);
            assert_eq!(clock.get(&0), Some(0), "lost after {key}");
        }
        assert_eq!(clock.get(&50), None);
        assert!(clock.get(&99_999).is_some());
        assert!(clock.bytes() > SHARDS * 1_000);
    }

    #[test]
    fn what_is_larger_than_the_limit_is_not_kept() {
        let mut clock = Clock::new(SHARDS * 200);
        clock.put(1, 1, 1_000);
        assert_eq!((clock.get(&1), clock.bytes()), (None, 0));
    }
}

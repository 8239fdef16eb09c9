//! The smallest hashes that this node's miner found, by epoch and contributor, kept over restarts.

use crate::{chain::Chain, error::ChainError};
use alloy_primitives::{Address, B256, U256};
use alloy_rlp::{RlpDecodable, RlpEncodable, decode_exact};
use bmm_pow::ProofBook;
use bmm_types::{AuxPow, system::resource_leaf};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

/// Epochs whose hashes are kept, the present one included: work is proven in the epoch after its own, and a chain may be reorganised.
const KEPT_EPOCHS: u64 = 3;

/// What hashes are collected for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WorkKey {
    /// The epoch.
    pub epoch: u64,
    /// Its seed; two branches may have different ones.
    pub seed: B256,
    /// Whose work it is.
    pub contributor: Address,
}

impl WorkKey {
    /// Returns what the work commits to.
    pub fn leaf(&self) -> B256 {
        resource_leaf(self.contributor, self.seed)
    }
}

/// One book as it lies in the file.
#[derive(RlpEncodable, RlpDecodable)]
struct Entry {
    epoch: u64,
    seed: B256,
    contributor: Address,
    solutions: Vec<AuxPow>,
}

#[derive(Default)]
struct Books {
    of: BTreeMap<WorkKey, ProofBook>,
    changed: bool,
}

/// The smallest hashes of each work, shared by who mines and who proves.
pub struct Solutions {
    count: usize,
    file: Option<PathBuf>,
    books: Mutex<Books>,
}

impl Solutions {
    /// Begins with nothing, and keeps nothing beyond the process: `count` hashes of each work, as many as a proof holds.
    pub fn in_memory(count: usize) -> Self {
        Self { count, file: None, books: Mutex::default() }
    }

    /// Opens what `file` keeps; begins with nothing if there is none. What in it is no proof of work is left out.
    ///
    /// # Errors
    /// When the file cannot be read, or is no such file.
    pub fn open(file: &Path, count: usize) -> io::Result<Self> {
        let bytes = match std::fs::read(file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let entries: Vec<Entry> = if bytes.is_empty() {
            Vec::new()
        } else {
            decode_exact(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?
        };
        let of = entries.into_iter().map(|entry| {
            let key = WorkKey { epoch: entry.epoch, seed: entry.seed, contributor: entry.contributor };
            (key, ProofBook::with(key.leaf(), count, entry.solutions))
        });
        let books = Books { of: of.collect(), changed: false };
        Ok(Self { count, file: Some(file.to_owned()), books: Mutex::new(books) })
    }

    /// Returns how many hashes of each work are kept.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Notes a hash of the work, with its solution if it is among the smallest, and returns whether it is. The caller answers for the
    /// commitment and for the hash.
    pub fn note(&self, key: &WorkKey, hash: U256, solution: impl FnOnce() -> AuxPow) -> bool {
        let mut books = self.books.lock();
        if !books.of.contains_key(key) {
            let oldest = key.epoch.saturating_add(1).saturating_sub(KEPT_EPOCHS);
            books.of.retain(|kept, _| kept.epoch >= oldest);
            books.of.insert(*key, ProofBook::new(key.leaf(), self.count));
        }
        let noted = books.of.get_mut(key).is_some_and(|book| book.note(hash, solution));
        books.changed |= noted;
        noted
    }

    /// Returns the proof of the work, in the order in which the chain takes it, and the estimate of its hashes; `None` while there are not enough.
    pub fn proof(&self, key: &WorkKey) -> Option<(Vec<AuxPow>, U256)> {
        let books = self.books.lock();
        let book = books.of.get(key)?;
        let hashes = book.hashes()?;
        Some((book.solutions().cloned().collect(), hashes))
    }

    /// Returns how many hashes of the work are kept.
    pub fn len(&self, key: &WorkKey) -> usize {
        self.books.lock().of.get(key).map_or(0, |book| book.solutions().len())
    }

    /// Whether nothing of the work is kept.
    pub fn is_empty(&self, key: &WorkKey) -> bool {
        self.len(key) == 0
    }

    /// Writes what has changed to the file: a crash leaves the old one or the new one.
    ///
    /// # Errors
    /// When it cannot be written; it is tried again with the next call.
    pub fn save(&self) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let bytes = {
            let mut books = self.books.lock();
            if !std::mem::take(&mut books.changed) {
                return Ok(());
            }
            let entry = |(key, book): (&WorkKey, &ProofBook)| {
                let WorkKey { epoch, seed, contributor } = *key;
                Entry { epoch, seed, contributor, solutions: book.solutions().cloned().collect() }
            };
            alloy_rlp::encode(books.of.iter().map(entry).collect::<Vec<_>>())
        };
        let beside = file.with_extension("new");
        let written = std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, file));
        if written.is_err() {
            self.books.lock().changed = true;
        }
        written
    }
}

impl Chain {
    /// Returns the epoch of the block that comes after `parent`, and its seed: the id of the block before the epoch's first one. `None` on a
    /// chain without a resource ledger.
    ///
    /// # Errors
    /// [`ChainError::Store`].
    pub fn epoch_after(&self, parent: B256, number: u64) -> Result<Option<(u64, B256)>, ChainError> {
        if self.params.resources.is_none() {
            return Ok(None);
        }
        let next = number.saturating_add(1);
        let Some(epoch) = next.checked_div(self.params.epoch_blocks) else { return Ok(None) };
        let before_first = epoch.saturating_mul(self.params.epoch_blocks).saturating_sub(1);
        let seed = if before_first == number { Some(parent) } else { self.canonical(before_first)? };
        Ok(seed.map(|seed| (epoch, seed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bmm_pow::{AuxTree, SyntheticParent, resource::solution_hash};
    use bmm_types::system::RESOURCE_AUX_CHAIN_ID;

    fn key(epoch: u64) -> WorkKey {
        WorkKey { epoch, seed: B256::repeat_byte(7), contributor: Address::repeat_byte(1) }
    }

    fn feed(solutions: &Solutions, key: &WorkKey, nonces: std::ops::Range<u32>) {
        let tree = AuxTree::new(&[(RESOURCE_AUX_CHAIN_ID, key.leaf())]).expect("one chain");
        let parent = SyntheticParent::of_tree(&tree, 0, 1);
        for nonce in nonces {
            let aux = parent.assemble(nonce);
            solutions.note(key, solution_hash(&aux), || aux);
        }
    }

    #[test]
    fn a_restart_keeps_the_smallest() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("solutions");
        let solutions = Solutions::open(&file, 4).expect("nothing there");
        feed(&solutions, &key(5), 0..3);
        assert_eq!((solutions.proof(&key(5)), solutions.len(&key(5))), (None, 3));
        feed(&solutions, &key(5), 3..30);
        let proof = solutions.proof(&key(5)).expect("enough");
        solutions.save().expect("written");
        assert_eq!(Solutions::open(&file, 4).expect("readable").proof(&key(5)), Some(proof));
        std::fs::write(&file, b"no list").expect("written");
        assert!(Solutions::open(&file, 4).is_err());
    }

    #[test]
    fn old_epochs_go() {
        let solutions = Solutions::in_memory(2);
        for epoch in 1..=4 {
            feed(&solutions, &key(epoch), 0..2);
        }
        assert_eq!([1, 2, 3, 4].map(|epoch| solutions.len(&key(epoch))), [0, 2, 2, 2]);
        assert!(solutions.is_empty(&key(1)));
    }
}

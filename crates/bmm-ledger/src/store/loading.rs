//! A store in the making: headers and a state that come from elsewhere, piece by piece, until the state is that of a block.
//!
//! Until then it has no head and no journal. Pieces go to memory and from there to the tables, many in one transaction and in the
//! order in which they came, each with the note of what comes next. So a crash loses the last few pieces, and what is on the
//! disk always agrees with itself: every record of a trie with the leaves below it, and both with the note.

use super::{
    Head, Store, StoreError, StoreOptions,
    batch::Batch,
    flush::{Core, FlushLimits},
    layer::TrieRecords,
    open::{identify, start_flusher},
    snapshot::{Base, Snapshot},
    source::SnapshotTrie,
    stage::usual_threads,
    tables::{self, META_BODIES, META_HEAD, META_PRUNED, Record, Table},
};
use crate::{
    diff::Account,
    trie::{self, Change, EMPTY_ROOT_HASH, Leaf, TrieUpdate, Walk, WalkError},
};
use alloy_primitives::{B256, Bytes, U256};
use alloy_rlp::Decodable;
use alloy_trie::TrieAccount;
use bmm_types::{BlockBody, Header, Seal, SealedBlock};
use std::{path::Path, sync::Arc, time::Duration};

/// When pieces go to the tables: a crash loses what came since.
const FLUSH: FlushLimits =
    FlushLimits { entries: 400_000, bytes: 64 << 20, age: Duration::from_secs(5), stall_factor: 2 };

/// In the notes: where a caller is.
const PROGRESS: &[u8] = b"loading/progress";

/// A header that was checked, to be stored as the next canonical one.
#[derive(Clone, Debug)]
pub struct NewHeader {
    /// The block's id.
    pub id: B256,
    /// The header.
    pub header: Header,
    /// The seal on whose randomness the next header builds.
    pub seal: Seal,
    /// Work of the block and all its ancestors.
    pub work: U256,
}

/// A store in the making.
pub struct Loading {
    store: Store,
}

impl Loading {
    /// Opens the store in the making in `folder`, beginning it if there is none.
    ///
    /// # Errors
    /// As [`Store::open_with`].
    pub fn open(folder: &Path, params: B256, options: StoreOptions) -> Result<Self, StoreError> {
        let in_folder = |source| StoreError::Folder { folder: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(in_folder)?;
        let db = Arc::new(super::disk::Disk::default()).open_database(folder, options.page_cache_bytes)?;
        identify(&db, folder.to_owned(), params)?;
        let snapshot = Snapshot::new(Arc::new(Base::take(&db)?), Vec::new())?;
        let mut store = Store::over(Core::without_journal(db, snapshot, FLUSH), options);
        store.flusher = Some(start_flusher(&store.core, folder)?);
        Ok(Self { store })
    }

    /// Returns the head once the store is complete.
    pub fn head(&self) -> Option<Head> {
        self.store.head()
    }

    /// Returns the caller's note, as it came with the last piece that is stored.
    pub fn progress(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.snapshot().read(tables::NOTES, PROGRESS, |bytes| Ok(bytes.to_vec()))
    }

    /// Brings everything to the disk.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.store.flush()
    }

    /// Returns the last of the canonical headers; `None` before genesis.
    pub fn last_header(&self) -> Result<Option<NewHeader>, StoreError> {
        let snapshot = self.store.snapshot();
        // Canonical numbers are without gaps.
        let (mut low, mut high) = (0u64, 1u64);
        if snapshot.canonical_id(0)?.is_none() {
            return Ok(None);
        }
        while snapshot.canonical_id(high)?.is_some() {
            (low, high) = (high, high.saturating_mul(2));
        }
        while high.saturating_sub(low) > 1 {
            let middle = low.midpoint(high);
            if snapshot.canonical_id(middle)?.is_some() { low = middle } else { high = middle }
        }
        self.header(low)
    }

    /// Returns the canonical header of that number.
    pub fn header(&self, number: u64) -> Result<Option<NewHeader>, StoreError> {
        let snapshot = self.store.snapshot();
        let Some(id) = snapshot.canonical_id(number)? else { return Ok(None) };
        let (Some(header), Some(seal)) = (snapshot.header(id)?, snapshot.seal(id)?) else { return Ok(None) };
        let work = self.store.work(id)?.ok_or_else(|| StoreError::corrupt("work", id, "entry is missing"))?;
        Ok(Some(NewHeader { id, header, seal, work }))
    }

    /// Returns the id of the canonical header of that number.
    pub fn canonical(&self, number: u64) -> Result<Option<B256>, StoreError> {
        self.store.canonical(number)
    }

    /// Returns the number of a canonical header.
    pub fn number_of(&self, id: B256) -> Result<Option<u64>, StoreError> {
        self.store.snapshot().canonical_number(id)
    }

    /// Stores genesis: its header, and its body, which nobody else needs to give.
    pub fn put_genesis(&self, genesis: &SealedBlock) -> Result<(), StoreError> {
        let header = genesis.block.header.clone();
        let (id, work) = (genesis.id(), header.difficulty);
        self.put_headers(&[NewHeader { id, header, seal: genesis.seal.clone(), work }])?;
        self.store.core.change(false, |_, batch| {
            batch.put(tables::BODIES, id.as_slice(), &alloy_rlp::encode(&genesis.block.body));
            batch.put(tables::RECEIPTS, &0u64.to_be_bytes(), &tables::receipts_to_bytes(&[]));
            Ok(TrieRecords::default())
        })
    }

    /// Stores the body of a block. Who asks for the head's must not be left without, even if nothing has come after it yet.
    pub fn put_body(&self, id: B256, body: &BlockBody) -> Result<(), StoreError> {
        self.store.core.change(false, |_, batch| {
            batch.put(tables::BODIES, id.as_slice(), &alloy_rlp::encode(body));
            Ok(TrieRecords::default())
        })
    }

    /// Puts another seal of a block in the place of the stored one.
    pub fn put_seal(&self, id: B256, seal: &Seal) -> Result<(), StoreError> {
        self.store.core.change(false, |_, batch| {
            batch.put(tables::SEALS, id.as_slice(), &alloy_rlp::encode(seal));
            Ok(TrieRecords::default())
        })
    }

    /// Stores headers that follow one another. Those from the first one's number on that were there before go.
    pub fn put_headers(&self, headers: &[NewHeader]) -> Result<(), StoreError> {
        let Some(first) = headers.first() else { return Ok(()) };
        self.store.core.change(false, |snapshot, batch| {
            remove_headers(snapshot, batch, first.header.number)?;
            for NewHeader { id, header, seal, work } in headers {
                let place = Head { number: header.number, id: *id };
                batch.put(tables::HEADERS, id.as_slice(), &alloy_rlp::encode(header));
                batch.put(tables::SEALS, id.as_slice(), &alloy_rlp::encode(seal));
                batch.put(tables::WORK, id.as_slice(), &work.to_be_bytes::<32>());
                batch.put(tables::NUMBERS, &place.to_bytes(), &[]);
                batch.put(tables::CANONICAL, &header.number.to_be_bytes(), id.as_slice());
            }
            Ok(TrieRecords::default())
        })
    }

    /// Removes the headers from a number on.
    pub fn remove_headers(&self, from: u64) -> Result<(), StoreError> {
        self.store.core.change(false, |snapshot, batch| {
            remove_headers(snapshot, batch, from)?;
            Ok(TrieRecords::default())
        })
    }

    /// Notes where the caller is.
    pub fn note(&self, progress: &[u8]) -> Result<(), StoreError> {
        self.store.core.change(false, |_, batch| {
            batch.put(tables::NOTES, PROGRESS, progress);
            Ok(TrieRecords::default())
        })
    }

    /// Returns those of the codes that are not stored yet.
    pub fn missing_codes(&self, hashes: impl IntoIterator<Item = B256>) -> Result<Vec<B256>, StoreError> {
        let snapshot = self.store.snapshot();
        let missing =
            hashes.into_iter().filter_map(|hash| match snapshot.read(tables::CODE, hash.as_slice(), |_| Ok(())) {
                Ok(Some(())) => None,
                Ok(None) => Some(Ok(hash)),
                Err(error) => Some(Err(error)),
            });
        missing.collect()
    }

    /// Stores codes under their hashes.
    pub fn put_codes(&self, codes: &[(B256, Bytes)]) -> Result<(), StoreError> {
        self.store.core.change(false, |_, batch| {
            for (hash, code) in codes {
                batch.put(tables::CODE, hash.as_slice(), code);
            }
            Ok(TrieRecords::default())
        })
    }

    /// Applies changes to the account trie, ascending by key, and leaves a note. Returns the new root.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when a value is no account.
    pub fn change_accounts(&self, changes: &[Change], progress: Option<&[u8]>) -> Result<B256, StoreError> {
        let mut root = EMPTY_ROOT_HASH;
        self.store.core.change(false, |snapshot, batch| {
            put_note(batch, progress);
            let mut records = TrieRecords::default();
            root = apply(snapshot, None, changes, &mut records, |key, value| {
                let record = value.map(|value| account(key, value)).transpose()?;
                put(batch, tables::ACCOUNTS, key.as_slice(), record.map(Record::to_bytes));
                Ok(())
            })?;
            Ok(records)
        })?;
        Ok(root)
    }

    /// Applies changes to the storage tries of accounts, each ascending by key, and leaves a note. Returns the new roots. The
    /// accounts themselves may be there or not.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when a value is no word.
    pub fn change_slots(
        &self,
        owners: &[(B256, Vec<Change>)],
        progress: Option<&[u8]>,
    ) -> Result<Vec<B256>, StoreError> {
        let mut roots = Vec::with_capacity(owners.len());
        self.store.core.change(false, |snapshot, batch| {
            put_note(batch, progress);
            let mut records = TrieRecords::default();
            for (owner, changes) in owners {
                roots.push(apply(snapshot, Some(*owner), changes, &mut records, |slot, value| {
                    let word = value.map(|value| word(slot, value)).transpose()?;
                    put(batch, tables::STORAGE, &tables::slot_key(owner, &slot), word.map(tables::word_to_bytes));
                    Ok(())
                })?);
            }
            Ok(records)
        })?;
        Ok(roots)
    }

    /// Returns the accounts from one hashed address up to another, both included, of which slots are stored.
    pub fn owners_of_slots(&self, from: B256, to: B256) -> Result<Vec<B256>, StoreError> {
        let snapshot = self.store.snapshot();
        let mut owners = Vec::new();
        let mut next = Some(from);
        while let Some(from) = next.take() {
            let mut found = None;
            snapshot.scan(tables::STORAGE, from.as_slice(), |key, _| {
                found = key.get(..32).map(B256::from_slice);
                Ok(false)
            })?;
            let Some(owner) = found.filter(|owner| *owner <= to) else { break };
            next = trie::following(&owner);
            owners.push(owner);
        }
        Ok(owners)
    }

    /// Removes all slots of an account.
    pub fn remove_slots(&self, owner: B256) -> Result<(), StoreError> {
        loop {
            let mut changes = Vec::new();
            self.store.snapshot().slots(&owner, &B256::ZERO, |slot, _| {
                changes.push(Change::Remove(slot));
                changes.len() < MAX_REMOVED
            })?;
            if changes.is_empty() {
                return Ok(());
            }
            self.change_slots(&[(owner, changes)], None)?;
        }
    }

    /// Returns an account with its storage root, as a leaf says it.
    pub fn account(&self, owner: &B256) -> Result<Option<TrieAccount>, StoreError> {
        let record = self.store.snapshot().record(owner)?;
        Ok(record.map(|Record { account, storage_root }| {
            TrieAccount::new(account.nonce, account.balance, storage_root, account.code_hash)
        }))
    }

    /// Returns the root of the account trie or, with an owner, of the slots that are stored of an account.
    pub fn root(&self, owner: Option<B256>) -> Result<B256, StoreError> {
        let snapshot = self.store.snapshot();
        Ok(trie::update(&SnapshotTrie::new(&snapshot, owner), &trie::Batch::default(), 1)?.root)
    }

    /// Takes a step of a walk over the account trie or, with an owner, a storage trie. See [`Walk::take`].
    pub fn walk(
        &self,
        owner: Option<B256>,
        walk: &mut Walk,
        nodes: &[Bytes],
    ) -> Result<Vec<Change>, WalkError<StoreError>> {
        let snapshot = self.store.snapshot();
        walk.take(&SnapshotTrie::new(&snapshot, owner), nodes)
    }

    /// Makes the store one whose head is that block, with no bodies, receipts and diffs below the next one: it can be opened by
    /// [`Store::open`] after this one was dropped.
    ///
    /// # Errors
    /// [`StoreError::NotCanonical`] when there is no such header; [`StoreError::Unfit`] when the state is not the block's.
    pub fn finish(&self, id: B256) -> Result<(), StoreError> {
        let snapshot = self.store.snapshot();
        let number = snapshot.canonical_number(id)?.ok_or_else(|| StoreError::NotCanonical(id.to_string()))?;
        let header = snapshot.header(id)?.ok_or_else(|| StoreError::NotCanonical(id.to_string()))?;
        let root = self.root(None)?;
        if root != header.state_root {
            let what = format!("state root {} in the header, {root} in the store", header.state_root);
            return Err(StoreError::Unfit { block: id, what });
        }
        self.store.core.change(false, |snapshot, batch| {
            let next = number.saturating_add(1);
            remove_headers(snapshot, batch, next)?;
            batch.put(tables::META, META_HEAD, &Head { number, id }.to_bytes());
            batch.put(tables::META, META_BODIES, &next.to_be_bytes());
            batch.put(tables::META, META_PRUNED, &next.to_be_bytes());
            batch.remove(tables::NOTES, PROGRESS);
            Ok(TrieRecords::default())
        })?;
        self.store.flush()
    }
}

/// Slots that one change removes, at most.
const MAX_REMOVED: usize = 50_000;

fn remove_headers(snapshot: &Snapshot, batch: &mut Batch, from: u64) -> Result<(), StoreError> {
    snapshot.scan(tables::CANONICAL, &from.to_be_bytes(), |key, id| {
        let number = u64::from_be_bytes(tables::fixed("canonical", key, key)?);
        super::history::remove_block(batch, number, B256::from(tables::fixed::<32>("canonical", key, id)?));
        batch.remove(tables::CANONICAL, key);
        Ok(true)
    })
}

fn put_note(batch: &mut Batch, progress: Option<&[u8]>) {
    if let Some(progress) = progress {
        batch.put(tables::NOTES, PROGRESS, progress);
    }
}

fn put(batch: &mut Batch, table: Table, key: &[u8], value: Option<Vec<u8>>) {
    match value {
        Some(value) => batch.put(table, key, &value),
        None => batch.remove(table, key),
    }
}

/// Works out what changes do to a trie, shows each to `put`, and returns the new root.
fn apply(
    snapshot: &Snapshot,
    owner: Option<B256>,
    changes: &[Change],
    records: &mut TrieRecords,
    mut put: impl FnMut(B256, Option<&[u8]>) -> Result<(), StoreError>,
) -> Result<B256, StoreError> {
    let mut leaves = trie::Batch::with_capacity(changes.len());
    for change in changes {
        let value = match change {
            Change::Set(Leaf { value, .. }) => Some(value.as_slice()),
            Change::Remove(_) => None,
        };
        put(change.key(), value)?;
        leaves.set(change.key(), value);
    }
    let TrieUpdate { root, nodes } = trie::update(&SnapshotTrie::new(snapshot, owner), &leaves, usual_threads())?;
    records.extend(nodes.into_iter().map(|(path, node)| ((owner, path), node)));
    Ok(root)
}

/// Reads the value of a slot's leaf.
fn word(slot: B256, mut rlp: &[u8]) -> Result<U256, StoreError> {
    let word = U256::decode(&mut rlp).ok().filter(|word| rlp.is_empty() && !word.is_zero());
    word.ok_or_else(|| StoreError::corrupt("storage", slot, "value is no word"))
}

/// Reads the value of an account's leaf.
fn account(key: B256, mut rlp: &[u8]) -> Result<Record, StoreError> {
    let wrong = |error: &dyn std::fmt::Display| StoreError::corrupt("accounts", key, format!("value: {error}"));
    let account = TrieAccount::decode(&mut rlp).map_err(|error| wrong(&error))?;
    if !rlp.is_empty() {
        return Err(wrong(&"longer than an account"));
    }
    let TrieAccount { nonce, balance, storage_root, code_hash } = account;
    Ok(Record { account: Account { nonce, balance, code_hash }, storage_root })
}

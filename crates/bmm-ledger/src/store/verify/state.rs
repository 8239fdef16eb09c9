//! The flat state, hashed up to the state root in one pass, by other code than that which keeps the tries.

use super::{VerifyStep, Walk};
use crate::{
    store::{
        StoreError,
        snapshot::Snapshot,
        source::{SnapshotTrie, encode_account},
        tables::{self, Record},
    },
    trie::{EMPTY_ROOT_HASH, Nibbles, prove},
};
use alloy_primitives::{B256, KECCAK256_EMPTY, U256, keccak256};
use alloy_trie::{HashBuilder, proof::verify_proof};
use redb::ReadableTableMetadata;

impl Walk<'_> {
    /// Walks codes, accounts and slots. `false` if told to stop.
    pub(super) fn state(&mut self) -> Result<bool, StoreError> {
        let snapshot = self.snapshot.clone();
        let mut codes = 0u64;
        snapshot.scan(tables::CODE, &[], |key, code| {
            codes = codes.saturating_add(1);
            let sound = keccak256(code).as_slice() == key;
            if sound { Ok(true) } else { Err(StoreError::corrupt("code", key, "the code has another hash")) }
        })?;
        self.found.codes = codes;
        let base = snapshot.base();
        let whole = base.table(tables::ACCOUNTS).len()?.saturating_add(base.table(tables::STORAGE).len()?);
        let mut slots = Slots::new(&snapshot);
        let mut root = HashBuilder::default();
        let (mut going, mut done) = (true, 0u64);
        snapshot.scan(tables::ACCOUNTS, &[], |key, bytes| {
            let owner = B256::from(tables::fixed::<32>("accounts", key, key)?);
            let record = Record::from_bytes(key, bytes)?;
            check_code(&snapshot, &owner, &record)?;
            let before = slots.count;
            let storage_root = slots.root_of(&owner, |slots| {
                done = done.saturating_add(1);
                self.found.slots = slots;
                going = self.tell(VerifyStep::State, done, whole);
                going
            })?;
            if going && storage_root != record.storage_root {
                let what =
                    format!("its slots lead to the storage root {storage_root}, it says {}", record.storage_root);
                return Err(StoreError::corrupt("accounts", key, what));
            }
            check_root(&snapshot, Some(&owner), slots.count.saturating_sub(before))?;
            root.add_leaf(Nibbles::unpack(owner), &leaf_of(&record));
            self.found.accounts = self.found.accounts.saturating_add(1);
            done = done.saturating_add(1);
            going = going && self.tell(VerifyStep::State, done, whole);
            Ok(going)
        })?;
        if !going {
            return Ok(false);
        }
        slots.nothing_left()?;
        check_root(&snapshot, None, self.found.accounts)?;
        let header = snapshot.header(self.head.id)?;
        let wanted = header.map_or(B256::ZERO, |header| header.state_root);
        if root.root() != wanted {
            return Err(find_damage(&snapshot, wanted)?);
        }
        Ok(true)
    }
}

fn check_code(snapshot: &Snapshot, owner: &B256, record: &Record) -> Result<(), StoreError> {
    let hash = record.account.code_hash;
    if hash == KECCAK256_EMPTY || snapshot.read(tables::CODE, hash.as_slice(), |_| Ok(()))?.is_some() {
        return Ok(());
    }
    Err(StoreError::corrupt("code", hash, format!("code of the account with key {owner} is missing")))
}

/// A trie of two leaves or more has a recorded root. Where there is one, the walk over the tries has gone through all of it.
fn check_root(snapshot: &Snapshot, owner: Option<&B256>, leaves: u64) -> Result<(), StoreError> {
    if leaves < 2 || snapshot.trie_record(owner, &Nibbles::new())?.is_some() {
        return Ok(());
    }
    let (table, key) = owner.map_or(("account_trie", B256::ZERO), |owner| ("storage_trie", *owner));
    Err(StoreError::corrupt(table, key, "the root of the trie is missing"))
}

/// Key and value as they lie in a table.
type Entry = (Vec<u8>, Vec<u8>);

/// The slots of all accounts, in the order of their owners.
struct Slots<'a> {
    snapshot: &'a Snapshot,
    /// Where the next owner's slots begin.
    next: Option<Entry>,
    count: u64,
    begun: bool,
}

impl<'a> Slots<'a> {
    fn new(snapshot: &'a Snapshot) -> Self {
        Self { snapshot, next: None, count: 0, begun: false }
    }

    /// Hashes the slots of an account; `each` gets the number of all slots so far and says whether to go on.
    fn root_of(&mut self, owner: &B256, mut each: impl FnMut(u64) -> bool) -> Result<B256, StoreError> {
        if !self.begun {
            self.begun = true;
            self.next = self.first_from(&[])?;
        }
        let Some((key, _)) = &self.next else { return Ok(EMPTY_ROOT_HASH) };
        if key.as_slice() < owner.as_slice() {
            return Err(StoreError::corrupt("storage", key, "slot of an account that does not exist"));
        }
        if !key.starts_with(owner.as_slice()) {
            return Ok(EMPTY_ROOT_HASH);
        }
        let mut root = HashBuilder::default();
        let mut following = None;
        self.snapshot.scan(tables::STORAGE, owner.as_slice(), |key, value| {
            let Some(slot) = key.strip_prefix(owner.as_slice()) else {
                following = Some((key.to_vec(), value.to_vec()));
                return Ok(false);
            };
            let slot = B256::from(tables::fixed::<32>("storage", key, slot)?);
            let word: U256 = tables::word_from_bytes(key, value)?;
            root.add_leaf(Nibbles::unpack(slot), &alloy_rlp::encode(word));
            self.count = self.count.saturating_add(1);
            Ok(each(self.count))
        })?;
        self.next = following;
        Ok(root.root())
    }

    fn first_from(&self, from: &[u8]) -> Result<Option<Entry>, StoreError> {
        let mut found = None;
        self.snapshot.scan(tables::STORAGE, from, |key, value| {
            found = Some((key.to_vec(), value.to_vec()));
            Ok(false)
        })?;
        Ok(found)
    }

    /// After the last account nothing is left.
    fn nothing_left(&mut self) -> Result<(), StoreError> {
        if !self.begun {
            self.next = self.first_from(&[])?;
        }
        match &self.next {
            Some((key, _)) => Err(StoreError::corrupt("storage", key, "slot of an account that does not exist")),
            None => Ok(()),
        }
    }
}

/// The value of an account's leaf.
fn leaf_of(record: &Record) -> Vec<u8> {
    let mut leaf = Vec::with_capacity(110);
    encode_account(record, &mut leaf);
    leaf
}

/// Finds the first account that the state root does not commit to, now that one is known to be damaged: the tries are sound, so that
/// an account's proof shows it.
fn find_damage(snapshot: &Snapshot, root: B256) -> Result<StoreError, StoreError> {
    let mut found = None;
    snapshot.scan(tables::ACCOUNTS, &[], |key, bytes| {
        let owner = B256::from(tables::fixed::<32>("accounts", key, key)?);
        let leaf = leaf_of(&Record::from_bytes(key, bytes)?);
        let proof = prove(&SnapshotTrie::new(snapshot, None), owner);
        let sound =
            proof.is_ok_and(|proof| verify_proof(root, Nibbles::unpack(owner), Some(leaf), &proof.nodes).is_ok());
        if !sound {
            found = Some(StoreError::corrupt("accounts", key, "the state root commits to another account"));
        }
        Ok(sound)
    })?;
    Ok(found.unwrap_or_else(|| {
        StoreError::corrupt("accounts", root, "an account that the state root commits to is missing")
    }))
}

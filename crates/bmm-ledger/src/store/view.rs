//! The state as it was after one block.

use super::{
    Head, MAX_VIEW_BYTES, MAX_VIEW_DEPTH, Store, StoreError,
    cache::Generations,
    history,
    snapshot::Snapshot,
    stage::{OlderTries, stage_view},
    tables::{self, Record, hash_address, hash_slot},
};
use crate::{
    diff::{Account, StateDiff},
    exec::StateRead,
    trie::EMPTY_ROOT_HASH,
};
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, map::HashMap};
use parking_lot::Mutex;
use revm::{bytecode::Bytecode, database_interface::DatabaseRef, state::AccountInfo};
use std::{collections::BTreeMap, sync::Arc};

/// With an archive, older states than this are read out of it; for younger ones few diffs are laid over the head's state.
const MAX_ARCHIVE_STEPS: u64 = 16;

/// Analysed code by its hash.
pub(super) type CodeCache = Mutex<Generations<B256, Bytecode>>;

/// What lies between the head and an older block: values as they were at the latter, by hashed keys.
#[derive(Default)]
struct Overlay {
    accounts: BTreeMap<B256, Option<Account>>,
    slots: HashMap<(B256, B256), U256>,
}

/// A block that is not committed yet.
#[derive(Clone)]
struct Ahead {
    block: Head,
    diff: Arc<StateDiff>,
}

impl Ahead {
    /// The value of a slot after the block, if it changed.
    fn slot(&self, address: Address, slot: U256) -> Option<U256> {
        let account = self.diff.accounts.get(&address)?;
        let named = account.storage.get(&slot).map(|(_, after)| *after);
        // No slot outlives its account.
        named.or_else(|| account.after.is_none().then_some(U256::ZERO))
    }
}

impl Overlay {
    /// Lays the values before a diff over what is there; they win.
    fn lay_before(&mut self, diff: StateDiff) {
        for (address, account) in diff.accounts {
            let owner = hash_address(address);
            self.accounts.insert(owner, account.before);
            let named = account.storage.into_iter().map(|(slot, change)| (hash_slot(slot), change));
            let changes = named.chain(account.unnamed);
            self.slots.extend(changes.map(|(slot, (before, _))| ((owner, slot), before)));
        }
    }
}

/// The state after one block, unchanging, however the chain moves on. Cheap to clone. Drop it soon: while it lives, the
/// database keeps the pages it reads.
#[derive(Clone)]
pub struct StateView {
    snapshot: Arc<Snapshot>,
    codes: Arc<CodeCache>,
    block: Head,
    /// Blocks above the snapshot's head, the newest first; the first that names a key wins.
    ahead: Vec<Ahead>,
    overlay: Option<Arc<Overlay>>,
    /// Whether older values come out of the archive.
    archived: bool,
}

/// Proof of an account and some of its slots against a state root (EIP-1186).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountProof {
    /// The account; `None` if the proof shows that it does not exist.
    pub account: Option<Account>,
    /// Root of its storage trie.
    pub storage_root: B256,
    /// Trie nodes (RLP) from the root to the account or to where it would be.
    pub nodes: Vec<Bytes>,
    /// Proofs of the slots, in the order asked for.
    pub slots: Vec<SlotProof>,
}

/// Proof of a storage slot against its account's storage root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotProof {
    /// The slot.
    pub slot: U256,
    /// Its value; zero if the proof shows that it was never set.
    pub value: U256,
    /// Trie nodes (RLP) from the storage root to the slot or to where it would be.
    pub nodes: Vec<Bytes>,
}

impl Store {
    /// Returns the state at the head.
    ///
    /// # Errors
    /// [`StoreError::Empty`] before genesis.
    pub fn view(&self) -> Result<StateView, StoreError> {
        let snapshot = self.snapshot();
        let block = snapshot.head.ok_or(StoreError::Empty)?;
        Ok(StateView { snapshot, codes: self.codes.clone(), block, ahead: Vec::new(), overlay: None, archived: false })
    }

    /// Returns the state after the canonical block `id`.
    ///
    /// # Errors
    /// [`StoreError::NotCanonical`]; [`StoreError::TooDeep`] when it is more than [`MAX_VIEW_DEPTH`] blocks, or more
    /// than [`MAX_VIEW_BYTES`] of diffs, below the head.
    pub fn view_at(&self, id: B256) -> Result<StateView, StoreError> {
        let view = self.view()?;
        let number = view.snapshot.canonical_number(id)?.ok_or_else(|| StoreError::NotCanonical(id.to_string()))?;
        view.back_to(Head { number, id }, MAX_VIEW_BYTES)
    }

    /// Returns the state after the canonical block of that number. Errors as [`Self::view_at`].
    pub fn view_at_number(&self, number: u64) -> Result<StateView, StoreError> {
        let view = self.view()?;
        let id = view.snapshot.canonical_id(number)?.ok_or_else(|| StoreError::NotCanonical(number.to_string()))?;
        view.back_to(Head { number, id }, MAX_VIEW_BYTES)
    }
}

impl StateView {
    /// Returns the state after one more block, which changed what `diff` says and is not committed yet.
    #[must_use]
    pub fn ahead(&self, block: Head, diff: Arc<StateDiff>) -> Self {
        let mut view = self.clone();
        view.ahead.insert(0, Ahead { block, diff });
        view.block = block;
        view
    }

    /// Lays the values before each block above `block` over the head's; older ones win. Refuses to read more than `budget` bytes.
    pub(super) fn back_to(mut self, block: Head, budget: usize) -> Result<Self, StoreError> {
        let depth = self.block.number.saturating_sub(block.number);
        if depth == 0 {
            return Ok(self);
        }
        if depth > MAX_ARCHIVE_STEPS && self.reaches(block.number)? {
            self.block = block;
            self.archived = true;
            return Ok(self);
        }
        self.laid_back(block, budget)
    }

    /// As [`Self::back_to`], without the archive.
    fn laid_back(mut self, block: Head, mut budget: usize) -> Result<Self, StoreError> {
        let depth = self.block.number.saturating_sub(block.number);
        let kept = history::kept_below(&self.snapshot, self.block.number)?.min(MAX_VIEW_DEPTH);
        if depth > kept {
            return Err(StoreError::TooDeep { number: block.number, depth, limit: kept });
        }
        let mut overlay = Overlay::default();
        for number in (block.number.saturating_add(1)..=self.block.number).rev() {
            let missing =
                || StoreError::corrupt("diffs", number.to_be_bytes(), "entry of a canonical block is missing");
            let bytes = self.snapshot.diff_bytes(number)?.ok_or_else(missing)?;
            budget = budget.checked_sub(bytes.len()).ok_or(StoreError::TooDeep {
                number: block.number,
                depth,
                limit: self.block.number.saturating_sub(number),
            })?;
            overlay.lay_before(Snapshot::decode_diff(number, &bytes)?);
        }
        self.block = block;
        self.overlay = Some(Arc::new(overlay));
        Ok(self)
    }

    /// Whether the archive goes back to a block.
    fn reaches(&self, number: u64) -> Result<bool, StoreError> {
        Ok(history::number_in_meta(&self.snapshot, tables::META_ARCHIVE)?
            .is_some_and(|first| first <= number.saturating_add(1)))
    }

    /// Returns the block after which this is the state.
    pub fn block(&self) -> Head {
        self.block
    }

    /// Returns an account, if it exists.
    pub fn account(&self, address: Address) -> Result<Option<Account>, StoreError> {
        if let Some(account) = self.ahead.iter().find_map(|ahead| ahead.diff.accounts.get(&address)) {
            return Ok(account.after);
        }
        let owner = hash_address(address);
        if let Some(account) = self.overlay.as_ref().and_then(|overlay| overlay.accounts.get(&owner)) {
            return Ok(*account);
        }
        if self.archived
            && let Some(bytes) =
                history::lookup(&self.snapshot, tables::ACCOUNT_HISTORY, owner.as_slice(), self.block.number)?
        {
            let record = (!bytes.is_empty()).then(|| Record::from_bytes(owner.as_slice(), &bytes)).transpose()?;
            return Ok(record.map(|record| record.account));
        }
        Ok(self.snapshot.record(&owner)?.map(|record| record.account))
    }

    /// Returns a storage slot; zero if it was never set.
    pub fn storage(&self, address: Address, slot: U256) -> Result<U256, StoreError> {
        if let Some(value) = self.ahead.iter().find_map(|ahead| ahead.slot(address, slot)) {
            return Ok(value);
        }
        let key = (hash_address(address), hash_slot(slot));
        if let Some(value) = self.overlay.as_ref().and_then(|overlay| overlay.slots.get(&key)) {
            return Ok(*value);
        }
        if self.archived {
            let stored = tables::slot_key(&key.0, &key.1);
            let before = history::lookup(&self.snapshot, tables::STORAGE_HISTORY, &stored, self.block.number)?;
            if let Some(bytes) = before {
                return if bytes.is_empty() { Ok(U256::ZERO) } else { tables::word_from_bytes(&stored, &bytes) };
            }
        }
        self.snapshot.slot(&key.0, &key.1)
    }

    /// Returns code by its hash; `None` if no account ever had it.
    pub fn code(&self, hash: B256) -> Result<Option<Bytes>, StoreError> {
        if hash == KECCAK256_EMPTY {
            return Ok(Some(Bytes::new()));
        }
        if let Some(code) = self.ahead.iter().find_map(|ahead| ahead.diff.code.get(&hash)) {
            return Ok(Some(code.clone()));
        }
        self.snapshot.get(tables::CODE, hash.as_slice())
    }

    /// Returns the id of the canonical block `number`, if it is not above this state's block.
    pub fn block_id(&self, number: u64) -> Result<Option<B256>, StoreError> {
        if number > self.block.number {
            return Ok(None);
        }
        match self.ahead.iter().find(|ahead| ahead.block.number == number) {
            Some(ahead) => Ok(Some(ahead.block.id)),
            None => self.snapshot.canonical_id(number),
        }
    }

    /// Calls `each` with keccak of the address and the account, for every account, in the order of the former.
    pub fn for_each_account(&self, mut each: impl FnMut(B256, Account)) -> Result<(), StoreError> {
        if self.archived {
            return Err(self.too_deep());
        }
        let mut overlaid: BTreeMap<B256, Option<Account>> =
            self.overlay.as_ref().map(|overlay| overlay.accounts.clone()).unwrap_or_default();
        for ahead in self.ahead.iter().rev() {
            overlaid
                .extend(ahead.diff.accounts.iter().map(|(address, account)| (hash_address(*address), account.after)));
        }
        let mut older = overlaid.into_iter().peekable();
        self.snapshot.scan(tables::ACCOUNTS, &[], |key, value| {
            let owner = B256::from(tables::fixed::<32>("accounts", key, key)?);
            while let Some((owner, account)) = older.next_if(|(older, _)| *older < owner) {
                if let Some(account) = account {
                    each(owner, account);
                }
            }
            match older.next_if(|(older, _)| *older == owner) {
                Some((_, Some(account))) => each(owner, account),
                Some((_, None)) => {}
                None => each(owner, Record::from_bytes(key, value)?.account),
            }
            Ok(true)
        })?;
        for (owner, account) in older {
            if let Some(account) = account {
                each(owner, account);
            }
        }
        Ok(())
    }

    /// What cannot be had of a state that only the archive holds.
    fn too_deep(&self) -> StoreError {
        let (number, head) = (self.block.number, self.snapshot.head.map_or(0, |head| head.number));
        StoreError::TooDeep { number, depth: head.saturating_sub(number), limit: MAX_VIEW_DEPTH }
    }

    /// Proves an account and slots of it against the state root in the header of this state's block. Below the head the tries are
    /// worked out from what has changed since.
    ///
    /// # Errors
    /// [`StoreError::TooDeep`] when the block is further below the head than [`MAX_VIEW_DEPTH`] or [`MAX_VIEW_BYTES`], also with
    /// an archive; [`StoreError::NoProof`] when the block is not committed yet.
    pub fn prove(&self, address: Address, slots: &[U256]) -> Result<AccountProof, StoreError> {
        let tries = self.tries()?;
        let owner = hash_address(address);
        let record = tries.record(&owner)?;
        let slots = slots.iter().map(|&slot| {
            let nodes = tries.prove_slot(owner, hash_slot(slot))?.nodes;
            Ok(SlotProof { slot, value: self.storage(address, slot)?, nodes })
        });
        Ok(AccountProof {
            slots: slots.collect::<Result<_, StoreError>>()?,
            account: record.map(|record| record.account),
            storage_root: record.map_or(EMPTY_ROOT_HASH, |record| record.storage_root),
            nodes: tries.prove_account(owner)?.nodes,
        })
    }

    /// Works out the tries of this state.
    pub(super) fn tries(&self) -> Result<OlderTries, StoreError> {
        if !self.ahead.is_empty() {
            return Err(StoreError::NoProof(self.block.number));
        }
        if self.archived {
            let mut head = self.clone();
            head.block = self.snapshot.head.ok_or(StoreError::Empty)?;
            head.archived = false;
            return head.laid_back(self.block, MAX_VIEW_BYTES)?.tries();
        }
        let header = self.snapshot.header(self.block.id)?.ok_or(StoreError::NoProof(self.block.number))?;
        let unchanged = Overlay::default();
        let changed = self.overlay.as_deref().unwrap_or(&unchanged);
        let slots_changed = changed.slots.iter().map(|(key, value)| (*key, *value));
        let tries = stage_view(self.snapshot.clone(), &changed.accounts, slots_changed)?;
        if tries.root != header.state_root {
            let what = format!("the state is {}, not {} as in the header", tries.root, header.state_root);
            return Err(StoreError::corrupt("trie", self.block.id, what));
        }
        Ok(tries)
    }
}

impl StateRead for StateView {
    /// Of a state below the head, whether the account has storage at the head.
    fn has_storage(&self, address: Address) -> Result<bool, StoreError> {
        let record = self.snapshot.record(&hash_address(address))?;
        Ok(record.is_some_and(|record| record.storage_root != EMPTY_ROOT_HASH))
    }
}

impl DatabaseRef for StateView {
    type Error = StoreError;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, StoreError> {
        Ok(self.account(address)?.map(|account| AccountInfo {
            balance: account.balance,
            nonce: account.nonce,
            code_hash: account.code_hash,
            code: None,
            ..AccountInfo::default()
        }))
    }

    fn code_by_hash_ref(&self, hash: B256) -> Result<Bytecode, StoreError> {
        if hash == KECCAK256_EMPTY {
            return Ok(Bytecode::default());
        }
        if let Some(code) = self.codes.lock().get(&hash) {
            return Ok(code);
        }
        let bytes =
            self.code(hash)?.ok_or_else(|| StoreError::corrupt("code", hash, "code of an account is missing"))?;
        let code = Bytecode::new_raw_checked(bytes).map_err(|error| StoreError::corrupt("code", hash, error))?;
        self.codes.lock().put(hash, code.clone());
        Ok(code)
    }

    fn storage_ref(&self, address: Address, slot: U256) -> Result<U256, StoreError> {
        self.storage(address, slot)
    }

    /// The EVM asks for the last 256 blocks only; of numbers that it must not know, zero is the answer.
    fn block_hash_ref(&self, number: u64) -> Result<B256, StoreError> {
        Ok(self.block_id(number)?.unwrap_or_default())
    }
}

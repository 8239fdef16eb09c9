use super::*;
use crate::diff::Account;
use alloy_primitives::{Address, Bytes, U256};
use revm::{bytecode::Bytecode, database_interface::DatabaseRef, state::AccountInfo};
pub(super) struct Snapshot;
/// The state after one block, unchanging, however the chain moves on. Cheap to clone. Drop it soon: while it lives, the
/// database keeps the pages it reads.
#[derive(Clone)]
pub struct StateView;
/// Proof of an account and some of its slots against a state root (EIP-1186).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountProof {
    /// The account; `None` proves that it does not exist.
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
    /// Its value.
    pub value: U256,
    /// Trie nodes (RLP) from the storage root to the slot or to where it would be.
    pub nodes: Vec<Bytes>,
}
impl Store {
    /// Returns the state at the head.
    ///
    /// # Errors
    /// [`StoreError::Empty`] before genesis.
    pub fn view(&self) -> Result<StateView, StoreError> { todo!() }
    /// Returns the state after the canonical block `id`.
    ///
    /// # Errors
    /// [`StoreError::NotCanonical`]; [`StoreError::TooDeep`] when it is more than [`MAX_VIEW_DEPTH`] below the head.
    pub fn view_at(&self, id: B256) -> Result<StateView, StoreError> { todo!("{id}") }
    /// Returns the state after the canonical block of that number. Errors as [`Self::view_at`].
    pub fn view_at_number(&self, number: u64) -> Result<StateView, StoreError> { todo!("{number}") }
}
impl StateView {
    /// Returns the block after which this is the state.
    pub fn block(&self) -> Head { todo!() }
    /// Returns an account, if it exists.
    pub fn account(&self, address: Address) -> Result<Option<Account>, StoreError> { todo!("{address}") }
    /// Returns a storage slot; zero if it was never set.
    pub fn storage(&self, address: Address, slot: U256) -> Result<U256, StoreError> { todo!("{address} {slot}") }
    /// Returns code by its hash; `None` if no account ever had it.
    pub fn code(&self, hash: B256) -> Result<Option<Bytes>, StoreError> { todo!("{hash}") }
    /// Returns the id of the canonical block `number` at or below this state's block.
    pub fn block_id(&self, number: u64) -> Result<Option<B256>, StoreError> { todo!("{number}") }
    /// Calls `each` with every account and keccak of its address, in the order of the latter.
    pub fn for_each_account(&self, each: impl FnMut(B256, Account)) -> Result<(), StoreError> { let _ = each; todo!() }
    /// Proves an account and slots of it against the head's state root.
    ///
    /// # Errors
    /// [`StoreError::NoProofBelowHead`] for a state below the head.
    pub fn prove(&self, address: Address, slots: &[U256]) -> Result<AccountProof, StoreError> { todo!("{address} {slots:?}") }
}
impl DatabaseRef for StateView {
    type Error = StoreError;
    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, StoreError> { todo!("{address}") }
    fn code_by_hash_ref(&self, code_hash: B256) -> Result<Bytecode, StoreError> { todo!("{code_hash}") }
    fn storage_ref(&self, address: Address, index: U256) -> Result<U256, StoreError> { todo!("{address} {index}") }
    fn block_hash_ref(&self, number: u64) -> Result<B256, StoreError> { todo!("{number}") }
}

use super::*;
use crate::diff::StateDiff;
/// A diff worked out against the head: the root it leads to and the trie nodes it changes. Nothing is written yet.
#[derive(Debug)]
pub struct Staged { parent: B256, root: B256, diff: StateDiff }
impl Staged {
    /// Returns the state root after the diff.
    pub fn root(&self) -> B256 { self.root }
    /// Returns the block that the diff applies to; zero for genesis.
    pub fn parent(&self) -> B256 { self.parent }
    /// Returns the diff, with the unnamed slots of removed accounts filled in.
    pub fn diff(&self) -> &StateDiff { &self.diff }
}
impl Store {
    /// Works out the state root after `diff` on top of the block `parent`, which must be the head (zero in an empty store).
    /// Reads only.
    ///
    /// # Errors
    /// [`StoreError::NotHead`]; [`StoreError::WrongBefore`] when an account's `before` is not what the head holds.
    pub fn stage(&self, parent: B256, diff: StateDiff) -> Result<Staged, StoreError> { todo!("{parent} {diff:?}") }
}

//! What another node, or a file, is given of the canonical chain.

use crate::{
    chain::Chain,
    error::{ChainError, ImportError},
};
use alloy_rlp::{RlpDecodable, RlpEncodable};
#[cfg(doc)]
use bmm_ledger::store::Store;
use bmm_ledger::store::{Backup, StoreStats};
use bmm_types::{Block, Header, Seal, SealedBlock};
use std::path::Path;

/// A header as it travels: with the seal that proves its work.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub struct SealedHeader {
    /// The header.
    pub header: Header,
    /// The proof of work over its block's id.
    pub seal: Seal,
}

impl Chain {
    /// Copies the database into a folder while the chain goes on. See [`Store::backup`].
    pub fn backup(&self, folder: &Path, progress: &mut dyn FnMut(u64, u64) -> bool) -> Result<Backup, ChainError> {
        Ok(self.store.backup(folder, progress)?)
    }

    /// Counts what the database holds. See [`Store::stats`].
    pub fn store_stats(&self) -> Result<StoreStats, ChainError> {
        Ok(self.store.stats()?)
    }

    /// Writes what is only in the journal so far into the database's tables. See [`Store::flush`].
    pub fn flush(&self) -> Result<(), ChainError> {
        Ok(self.store.flush()?)
    }

    /// Returns the canonical block of that number as others need it: with the seal on whose randomness its canonical child builds.
    /// `None` above the head, and for a block whose body is not stored.
    pub fn sealed_block(&self, number: u64) -> Result<Option<SealedBlock>, ChainError> {
        let Some(id) = self.store.canonical(number)? else { return Ok(None) };
        let (Some(body), Some(sealed)) = (self.store.body(id)?, self.sealed_header(number)?) else {
            return Ok(None);
        };
        let block = SealedBlock { block: Block { header: sealed.header, body }, seal: sealed.seal };
        // The chain may have changed its branch in between.
        Ok(Some(block).filter(|block| block.id() == id))
    }

    /// Returns the canonical header of that number with its seal, chosen as [`Self::sealed_block`] does.
    pub fn sealed_header(&self, number: u64) -> Result<Option<SealedHeader>, ChainError> {
        let Some(id) = self.store.canonical(number)? else { return Ok(None) };
        let Some(header) = self.store.header(id)? else { return Ok(None) };
        let seals = self.seals_of(id).map_err(|error| match error {
            ImportError::Store(error) => ChainError::Store(error),
            other => ChainError::Import(Box::new(other)),
        })?;
        let child = number.checked_add(1).map_or(Ok(None), |next| self.store.canonical(next))?;
        let wanted = child.map_or(Ok(None), |child| self.store.header(child))?.map(|child| child.mix_hash);
        let mut seals = seals.into_iter();
        let Some(first) = seals.next() else { return Ok(None) };
        let wanted = wanted.filter(|wanted| first.randomness(id) != *wanted);
        let chosen = wanted.and_then(|wanted| seals.find(|seal| seal.randomness(id) == wanted));
        Ok(Some(SealedHeader { header, seal: chosen.unwrap_or(first) }))
    }
}

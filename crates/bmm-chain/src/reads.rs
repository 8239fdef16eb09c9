//! What others ask of the chain.

use crate::{
    chain::{Chain, HeadBlock},
    error::{ChainError, ImportError},
};
use alloy_consensus::transaction::SignerRecoverable;
use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::{Address, B256};
use bmm_ledger::store::{Receipt, StateView, TransactionPlace};
use bmm_pow::Work;
use bmm_types::{BlockBody, Header, Seal, SealedBlock, Transaction};
use std::sync::Arc;

/// A transaction of a canonical block.
#[derive(Clone, Debug)]
pub struct FoundTransaction {
    /// The transaction.
    pub transaction: Transaction,
    /// Who signed it.
    pub sender: Address,
    /// The block's header.
    pub header: Header,
    /// The block's id.
    pub block: B256,
    /// Index in the block.
    pub index: usize,
}

/// The block that would come next, built from the pool, unsigned and without a seal.
#[derive(Clone, Debug)]
pub struct PendingBlock {
    /// Its header. State root and extraData are not final.
    pub header: Header,
    /// Its transactions.
    pub body: BlockBody,
    /// Their receipts.
    pub receipts: Vec<Receipt>,
}

impl Chain {
    /// Finds the stored block that `at` means; `None` if there is none. `pending` means the head here. A block named by its id need
    /// not be canonical unless `at` requires it.
    ///
    /// # Errors
    /// [`ChainError::NoFinality`] for `safe` and `finalized` on a chain without footstones.
    pub fn resolve(&self, at: BlockId) -> Result<Option<Arc<HeadBlock>>, ChainError> {
        let id = match at {
            BlockId::Hash(hash) => {
                let canonical_only = hash.require_canonical == Some(true);
                if canonical_only && !self.store.is_canonical(hash.block_hash)? {
                    return Ok(None);
                }
                Some(hash.block_hash)
            }
            BlockId::Number(BlockNumberOrTag::Latest | BlockNumberOrTag::Pending) => return Ok(Some(self.head())),
            BlockId::Number(BlockNumberOrTag::Earliest) => Some(self.genesis),
            BlockId::Number(BlockNumberOrTag::Safe) => {
                Some(self.finality().ok_or(ChainError::NoFinality)?.justified.id)
            }
            BlockId::Number(BlockNumberOrTag::Finalized) => {
                Some(self.finality().ok_or(ChainError::NoFinality)?.finalised.id)
            }
            BlockId::Number(BlockNumberOrTag::Number(number)) => self.store.canonical(number)?,
        };
        id.map_or(Ok(None), |id| self.stored(id))
    }

    /// Reads a block's header and work.
    fn stored(&self, id: B256) -> Result<Option<Arc<HeadBlock>>, ChainError> {
        let (Some(header), Some(work)) = (self.store.header(id)?, self.store.work(id)?) else { return Ok(None) };
        Ok(Some(Arc::new(HeadBlock { id, header, work: Work::from_stored(work) })))
    }

    /// Returns a block's header.
    pub fn header(&self, id: B256) -> Result<Option<Header>, ChainError> {
        Ok(self.store.header(id)?)
    }

    /// Returns the number of the first block whose body and receipts are here, with those of all later ones: above 0 when the chain
    /// was begun from a snapshot.
    pub fn oldest_body(&self) -> Result<u64, ChainError> {
        Ok(self.store.oldest_body()?)
    }

    /// Returns a block's transactions.
    pub fn body(&self, id: B256) -> Result<Option<BlockBody>, ChainError> {
        Ok(self.store.body(id)?)
    }

    /// Returns a block's seal, the first that came.
    pub fn seal(&self, id: B256) -> Result<Option<Seal>, ChainError> {
        Ok(self.store.seal(id)?)
    }

    /// Returns header, body and seal.
    pub fn block(&self, id: B256) -> Result<Option<SealedBlock>, ChainError> {
        Ok(self.store.block(id)?)
    }

    /// Returns the id of the canonical block of that number.
    pub fn canonical(&self, number: u64) -> Result<Option<B256>, ChainError> {
        Ok(self.store.canonical(number)?)
    }

    /// Returns whether a block is part of the canonical chain.
    pub fn is_canonical(&self, id: B256) -> Result<bool, ChainError> {
        Ok(self.store.is_canonical(id)?)
    }

    /// Returns the receipts of a canonical block.
    pub fn receipts(&self, id: B256) -> Result<Option<Vec<Receipt>>, ChainError> {
        Ok(self.store.receipts(id)?)
    }

    /// Returns the senders of a block's transactions, in order.
    pub fn senders(&self, body: &BlockBody) -> Result<Vec<Address>, ChainError> {
        self.senders_of(body).map_err(|error| match error {
            ImportError::Store(error) => ChainError::Store(error),
            other => ChainError::Import(Box::new(other)),
        })
    }

    /// Returns where a transaction of the canonical chain is.
    pub fn transaction_place(&self, hash: B256) -> Result<Option<TransactionPlace>, ChainError> {
        Ok(self.store.transaction_place(hash)?)
    }

    /// Finds a transaction of the canonical chain.
    pub fn transaction(&self, hash: B256) -> Result<Option<FoundTransaction>, ChainError> {
        let Some(place) = self.store.transaction_place(hash)? else { return Ok(None) };
        let unknown = || ChainError::UnknownBlock(place.block.to_string());
        let header = self.store.header(place.block)?.ok_or_else(unknown)?;
        let mut body = self.store.body(place.block)?.ok_or_else(unknown)?;
        let index = usize::try_from(place.index).unwrap_or(usize::MAX);
        if index >= body.transactions.len() {
            return Err(unknown());
        }
        let transaction = body.transactions.swap_remove(index);
        let sender = transaction.recover_signer().map_err(|_| unknown())?;
        Ok(Some(FoundTransaction { transaction, sender, header, block: place.block, index }))
    }

    /// Returns the state after the block that `at` means. `pending` means the head's state: use [`Chain::pending_nonce`]
    /// for nonces.
    ///
    /// # Errors
    /// [`ChainError::UnknownBlock`]; [`ChainError::Store`] for a block that is not canonical or too deep below the head;
    /// [`ChainError::NoFinality`].
    pub fn state(&self, at: BlockId) -> Result<StateView, ChainError> {
        if matches!(at, BlockId::Number(BlockNumberOrTag::Latest | BlockNumberOrTag::Pending)) {
            return Ok(self.store.view()?);
        }
        let block = self.resolve(at)?.ok_or_else(|| ChainError::UnknownBlock(describe(at)))?;
        Ok(self.store.view_at(block.id)?)
    }

    /// Returns the base fee of the next block, in units per gas.
    pub fn next_base_fee(&self) -> u64 {
        bmm_ledger::exec::header::next_base_fee(&self.head().header)
    }
}

fn describe(at: BlockId) -> String {
    match at {
        BlockId::Hash(hash) => hash.block_hash.to_string(),
        BlockId::Number(number) => number.to_string(),
    }
}

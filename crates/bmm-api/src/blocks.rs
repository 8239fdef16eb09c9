//! Blocks that were read lately, ready to be answered with.
//!
//! What everybody asks for is the newest few blocks, again and again: decoding them, recovering their senders and writing them as
//! JSON is done once. Keyed by block id, so that nothing here can become wrong.

use crate::{
    error::{RpcError, RpcResult},
    methods::Json,
};
use alloy_primitives::{Address, B256, map::HashMap};
use alloy_rlp::Encodable as _;
use bmm_chain::Chain;
use bmm_ledger::store::Receipt;
use bmm_types::{Block, BlockBody, Header};
use parking_lot::Mutex;
use std::sync::{Arc, OnceLock};

/// Weight of all kept blocks, in bytes; half of it may be blocks that have not been asked for lately.
const MAX_WEIGHT: usize = 192 << 20;

/// Weight of a block beside its encoding: header, tables, and what an empty one is written as.
const BASE_WEIGHT: usize = 4 << 10;

/// What a block weighs, in lengths of its encoding: decoded, with receipts, and twice as JSON in hex.
const WEIGHT_FACTOR: usize = 16;

/// The receipts of a block, and where each one's logs stand among the block's.
pub(crate) struct Receipts {
    pub(crate) all: Vec<Receipt>,
    first_logs: Vec<usize>,
}

impl Receipts {
    fn new(all: Vec<Receipt>) -> Self {
        let mut next = 0;
        let mut first_logs = Vec::with_capacity(all.len());
        for receipt in &all {
            first_logs.push(next);
            next += receipt.logs().len();
        }
        Self { all, first_logs }
    }

    /// Returns a receipt, the gas that the block had used before, and the number of its first log in the block.
    pub(crate) fn get(&self, index: usize) -> Option<(&Receipt, u64, usize)> {
        let before = index.checked_sub(1).and_then(|before| self.all.get(before));
        Some((self.all.get(index)?, before.map_or(0, Receipt::cumulative_gas_used), *self.first_logs.get(index)?))
    }
}

/// A block as it was read, and what has been worked out of it.
pub(crate) struct ReadBlock {
    pub(crate) id: B256,
    pub(crate) header: Header,
    pub(crate) body: BlockBody,
    /// Length of header and body, in bytes (RLP).
    pub(crate) len: usize,
    senders: OnceLock<Vec<Address>>,
    receipts: OnceLock<Receipts>,
    /// As JSON, with the hashes of its transactions.
    pub(crate) with_hashes: OnceLock<Json>,
    /// As JSON, with its transactions.
    pub(crate) hydrated: OnceLock<Json>,
}

impl ReadBlock {
    /// Reads a block; `None` where it is not stored.
    pub(crate) fn read(chain: &Chain, id: B256) -> RpcResult<Option<Self>> {
        let (Some(header), Some(body)) = (chain.header(id)?, chain.body(id)?) else { return Ok(None) };
        let block = Block { header, body };
        let len = block.length();
        Ok(Some(Self {
            id,
            header: block.header,
            body: block.body,
            len,
            senders: OnceLock::new(),
            receipts: OnceLock::new(),
            with_hashes: OnceLock::new(),
            hydrated: OnceLock::new(),
        }))
    }

    /// Returns who signed its transactions, in order.
    pub(crate) fn senders(&self, chain: &Chain) -> RpcResult<&[Address]> {
        if let Some(senders) = self.senders.get() {
            return Ok(senders);
        }
        let senders = chain.senders(&self.body)?;
        Ok(self.senders.get_or_init(|| senders))
    }

    /// Returns its receipts; `None` where it has left the chain before they were read.
    pub(crate) fn receipts(&self, chain: &Chain) -> RpcResult<Option<&Receipts>> {
        if let Some(receipts) = self.receipts.get() {
            return Ok(Some(receipts));
        }
        let Some(all) = chain.receipts(self.id)? else { return Ok(None) };
        if all.len() != self.body.transactions.len() {
            let words =
                format!("block {} has {} transactions, {} receipts", self.id, self.body.transactions.len(), all.len());
            return Err(RpcError::Internal(words));
        }
        Ok(Some(self.receipts.get_or_init(|| Receipts::new(all))))
    }

    fn weight(&self) -> usize {
        BASE_WEIGHT.saturating_add(self.len.saturating_mul(WEIGHT_FACTOR))
    }
}

/// The blocks read lately. Those asked for since the last change of generations are young; the old ones go at the next.
#[derive(Default)]
pub(crate) struct Blocks(Mutex<Generations>);

#[derive(Default)]
struct Generations {
    young: HashMap<B256, Arc<ReadBlock>>,
    young_weight: usize,
    old: HashMap<B256, Arc<ReadBlock>>,
}

impl Generations {
    fn get(&mut self, id: B256) -> Option<Arc<ReadBlock>> {
        if let Some(block) = self.young.get(&id) {
            return Some(Arc::clone(block));
        }
        let block = self.old.remove(&id)?;
        self.put(Arc::clone(&block));
        Some(block)
    }

    fn put(&mut self, block: Arc<ReadBlock>) {
        if self.young_weight.saturating_add(block.weight()) > MAX_WEIGHT / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_weight = 0;
        }
        let weight = block.weight();
        if self.young.insert(block.id, block).is_none() {
            self.young_weight = self.young_weight.saturating_add(weight);
        }
    }
}

impl Blocks {
    /// Returns a block if it is kept.
    pub(crate) fn kept(&self, id: B256) -> Option<Arc<ReadBlock>> {
        self.0.lock().get(id)
    }

    /// Returns a block, and keeps it; `None` where it is not stored.
    pub(crate) fn get(&self, chain: &Chain, id: B256) -> RpcResult<Option<Arc<ReadBlock>>> {
        if let Some(block) = self.kept(id) {
            return Ok(Some(block));
        }
        let Some(block) = ReadBlock::read(chain, id)? else { return Ok(None) };
        let block = Arc::new(block);
        self.0.lock().put(Arc::clone(&block));
        Ok(Some(block))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(number: u64, len: usize) -> Arc<ReadBlock> {
        let header = Header { number, ..Header::default() };
        Arc::new(ReadBlock {
            id: header.hash_slow(),
            header,
            body: BlockBody::default(),
            len,
            senders: OnceLock::new(),
            receipts: OnceLock::new(),
            with_hashes: OnceLock::new(),
            hydrated: OnceLock::new(),
        })
    }

    #[test]
    fn what_is_asked_for_stays_and_the_weight_is_bounded() {
        let blocks = Blocks::default();
        let asked = block(0, 1 << 20);
        blocks.0.lock().put(Arc::clone(&asked));
        for number in 1..100 {
            blocks.0.lock().put(block(number, 1 << 20));
            assert!(blocks.kept(asked.id).is_some(), "asked for all the time");
            let kept = blocks.0.lock();
            let weight: usize = kept.young.values().chain(kept.old.values()).map(|block| block.weight()).sum();
            assert!(weight <= MAX_WEIGHT, "{weight}");
        }
        assert!(blocks.kept(block(1, 0).id).is_none());
        assert!(blocks.kept(block(99, 0).id).is_some());
    }
}

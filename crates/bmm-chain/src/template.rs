//! Blocks to be mined.

use crate::{
    chain::{Chain, HeadBlock},
    engine,
    error::ChainError,
    extra::{MAX_VANITY_BYTES, append_signature},
    pool::PoolTransaction,
    reads::PendingBlock,
};
use alloy_consensus::Transaction as _;
use alloy_primitives::{Address, B256, Bytes, Signature};
use bmm_ledger::{
    BlockBuilder, BlockPlan, Built, TxError, TxOutcome,
    store::{StateView, StoreError},
};
use bmm_pow::{Difficulty, Target};
use bmm_types::{Block, Engine};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// How often a template is begun anew because the head moved while it was built.
const ATTEMPTS: usize = 5;
/// How long a pending block is good for while the head stays.
const PENDING_MAX_AGE: Duration = Duration::from_millis(250);

/// What a producer wants in its block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TemplateRequest {
    /// Who produces the block and gets its reward; signs it.
    pub beneficiary: Address,
    /// Free bytes for extraData, at most 32.
    pub vanity: Bytes,
}

/// A block that lacks only its seal.
#[derive(Clone, Debug)]
pub struct Template {
    /// The block, signed.
    pub block: Block,
    /// Its id: what the proof of work commits to.
    pub id: B256,
    /// What the proof's hash must not pass.
    pub target: Target,
}

/// The last pending block that was built.
#[derive(Default)]
pub(crate) struct PendingCache {
    last: Option<(B256, Instant, Arc<PendingBlock>)>,
}

impl Chain {
    /// Builds the next block from the pool and has it signed: `sign` gets the hash to sign with the beneficiary's key.
    ///
    /// # Errors
    /// [`ChainError::NoProducer`], [`ChainError::Vanity`], [`ChainError::Build`], [`ChainError::Store`].
    pub fn template(
        &self,
        request: &TemplateRequest,
        sign: &dyn Fn(B256) -> Signature,
    ) -> Result<Template, ChainError> {
        if self.params.engine == Engine::NoSeal {
            return Err(ChainError::NoProducer);
        }
        if request.vanity.len() > MAX_VANITY_BYTES {
            return Err(ChainError::Vanity(request.vanity.len()));
        }
        for _ in 0..ATTEMPTS {
            let Some((parent, state)) = self.consistent_head()? else { continue };
            let Built { mut header, body, executed } = self.build(&parent, state, request)?;
            header.difficulty = engine::next_difficulty(&self.params, &self.asert, &parent.header);
            header.state_root = match self.store.stage(parent.id, executed.diff) {
                Ok(staged) => staged.root(),
                Err(StoreError::NotHead { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            let signature = sign(crate::extra::signing_hash(&header));
            append_signature(&mut header, &signature);
            let target = Difficulty::new(header.difficulty).unwrap_or(Difficulty::ONE).target();
            let id = header.hash_slow();
            return Ok(Template { block: Block { header, body }, id, target });
        }
        Err(ChainError::HeadMoves)
    }

    /// Returns the block that would come next: built from the pool, for nobody, unsigned. At most a quarter of a second old.
    pub fn pending_block(&self) -> Result<Arc<PendingBlock>, ChainError> {
        let mut cache = self.pending.lock();
        if let Some((head, built, block)) = &cache.last
            && *head == self.head().id
            && built.elapsed() < PENDING_MAX_AGE
        {
            return Ok(block.clone());
        }
        for _ in 0..ATTEMPTS {
            let Some((parent, state)) = self.consistent_head()? else { continue };
            let built = self.build(&parent, state, &TemplateRequest::default())?;
            let mut header = built.header;
            header.difficulty = engine::next_difficulty(&self.params, &self.asert, &parent.header);
            let block = Arc::new(PendingBlock { header, body: built.body, receipts: built.executed.receipts });
            cache.last = Some((parent.id, Instant::now(), block.clone()));
            return Ok(block);
        }
        Err(ChainError::HeadMoves)
    }

    /// Returns the head and its state, or `None` if the one has moved on while the other was read.
    fn consistent_head(&self) -> Result<Option<(Arc<HeadBlock>, StateView)>, ChainError> {
        let state = self.store.view()?;
        let head = self.head();
        Ok((state.block().id == head.id).then_some((head, state)))
    }

    /// Executes waiting transactions, the best first, as long as they fit.
    fn build(&self, parent: &HeadBlock, state: StateView, request: &TemplateRequest) -> Result<Built, ChainError> {
        let seal = self.store.seal(parent.id)?.unwrap_or_default();
        let plan = BlockPlan {
            beneficiary: request.beneficiary,
            timestamp: self.now_secs().max(parent.header.timestamp.saturating_add(1)),
            mix_hash: seal.randomness(parent.id),
            gas_limit: self.params.gas_limit,
            extra_data: request.vanity.clone(),
        };
        let mut best = self.pool.lock().best();
        let mut builder = BlockBuilder::begin(&self.params, &parent.header, plan, state)?;
        let mut useless = Vec::new();
        while let Some((tx, queue)) = best.next() {
            if tx.transaction.gas_limit() > builder.gas_left() {
                continue;
            }
            match builder.try_add(&tx.transaction, tx.sender)? {
                TxOutcome::Included { .. } => best.included(queue),
                TxOutcome::Skipped(error) if is_for_ever(&error) => {
                    tracing::debug!(hash = %tx.hash, %error, "a waiting transaction can never be in a block");
                    useless.push(tx);
                }
                TxOutcome::Skipped(_) => {}
            }
        }
        self.discard(&useless);
        Ok(builder.finish()?)
    }

    fn discard(&self, transactions: &[Arc<PoolTransaction>]) {
        let mut pool = self.pool.lock();
        for tx in transactions {
            // It may have been replaced since.
            if pool.get(tx.hash).is_some() {
                pool.remove(tx.sender, tx.transaction.nonce());
            }
        }
    }
}

/// Whether a transaction that was skipped for this reason will never fit into any block.
fn is_for_ever(error: &TxError) -> bool {
    match error {
        TxError::NonceTooLow { .. }
        | TxError::NonceTooHigh { .. }
        | TxError::Funds { .. }
        | TxError::BlockGas { .. }
        | TxError::BlockBytes { .. }
        | TxError::FeeTooLow { .. } => false,
        TxError::Signature
        | TxError::Blob
        | TxError::ChainId { .. }
        | TxError::IntrinsicGas { .. }
        | TxError::GasCap { .. }
        | TxError::TipAboveFee
        | TxError::SenderIsContract
        | TxError::InitCodeTooLong
        | TxError::Other(_) => true,
    }
}

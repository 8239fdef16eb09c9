//! Blocks to be mined.

use crate::{
    chain::{Chain, HeadBlock},
    engine,
    error::ChainError,
    extra::{MAX_VANITY_BYTES, append_signature},
    finality::state_error,
    pool::{Best, PoolTransaction},
    reads::PendingBlock,
};
use alloy_consensus::Transaction as _;
use alloy_primitives::{Address, B256, Bytes, Signature, U256};
use bmm_ledger::{
    BlockBuilder, BlockPlan, Built, TxError, TxOutcome, emission,
    rights::may_produce,
    store::{Receipt, Staged, StateView, StoreError},
};
use bmm_pow::{Difficulty, Target};
use bmm_types::{Block, BlockBody, Engine, Header};
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

/// How often a template is begun anew because the head moved while it was built.
const ATTEMPTS: usize = 5;
/// How long a pending block is good for while the head stays.
const PENDING_MAX_AGE: Duration = Duration::from_millis(250);
/// One that took long to build is good for so many times as long, so that asking for it takes a fifth of a core at most.
const PENDING_AGE_FACTOR: u32 = 4;

/// How many templates' effects are kept for the case that they become blocks. A miner works on the last one; a pool of miners may
/// hand in the one before.
const MAX_BUILT: usize = 3;

/// Transactions of one sender that are fetched at once.
const RUN: usize = 16;
/// After so many transactions in a row that could not be in the block it is taken to be full.
const MAX_SKIPPED: usize = 4_096;
/// Least gas of a transaction.
const LEAST_GAS: u64 = 21_000;

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
    /// What the beneficiary gets for it, in units: its share of the emission, and the tips.
    pub reward: U256,
}

/// The last pending block that was built, the id of the head below it, and until when it is good.
#[derive(Default)]
pub(crate) struct PendingCache {
    last: Option<(B256, Instant, Arc<PendingBlock>)>,
}

/// What a template's block does, worked out when it was built.
pub(crate) struct BuiltBlock {
    /// The block's id. It binds header and, through the header's roots, body: who has the id has the same block.
    id: B256,
    /// Its receipts.
    pub receipts: Vec<Receipt>,
    /// Its effect on the state of its parent.
    pub staged: Staged,
}

/// The last few templates' effects, so that a block of our own need not be executed a second time when it comes in.
#[derive(Default)]
pub(crate) struct BuiltBlocks(Mutex<VecDeque<BuiltBlock>>);

impl BuiltBlocks {
    fn put(&self, block: BuiltBlock) {
        let mut blocks = self.0.lock();
        // What was built on another head than this one's can be no block any more.
        blocks.retain(|other| other.staged.parent() == block.staged.parent());
        if blocks.len() >= MAX_BUILT {
            blocks.pop_front();
        }
        blocks.push_back(block);
    }

    /// Takes out what the block of that id does, and forgets the others: a block that is asked for becomes the head.
    ///
    /// The caller has checked that the block's body has the roots that its header says.
    pub fn take(&self, id: B256) -> Option<BuiltBlock> {
        std::mem::take(&mut *self.0.lock()).into_iter().find(|block| block.id == id)
    }
}

impl Chain {
    /// Builds the next block from the pool and has it signed: `sign` gets the hash to sign with the beneficiary's key.
    ///
    /// # Errors
    /// [`ChainError::NoProducer`], [`ChainError::NoRight`], [`ChainError::Vanity`], [`ChainError::Build`], [`ChainError::Store`].
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
            self.hold_right(&state, &parent.header, request.beneficiary)?;
            let Built { mut header, body, executed } = self.build(&parent, state, request)?;
            header.difficulty = engine::next_difficulty(&self.params, &self.asert, &parent.header);
            let staged = match self.store.stage(parent.id, executed.diff) {
                Ok(staged) => staged,
                Err(StoreError::NotHead { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            header.state_root = staged.root();
            let signature = sign(crate::extra::signing_hash(&header));
            append_signature(&mut header, &signature);
            let target = Difficulty::new(header.difficulty).unwrap_or(Difficulty::ONE).target();
            let id = header.hash_slow();
            let reward = self.reward(&header, &body, &executed.receipts);
            self.built.put(BuiltBlock { id, receipts: executed.receipts, staged });
            return Ok(Template { block: Block { header, body }, id, target, reward });
        }
        Err(ChainError::HeadMoves)
    }

    /// Refuses to build a block that nobody would take. It is built a moment later, which opens a door and shuts none.
    fn hold_right(&self, state: &StateView, parent: &Header, beneficiary: Address) -> Result<(), ChainError> {
        let timestamp = self.now_secs().max(parent.timestamp.saturating_add(1));
        let may = may_produce(&self.params, state, parent, beneficiary, timestamp);
        let may = may.map_err(|error| ChainError::Import(Box::new(state_error(error))))?;
        if may { Ok(()) } else { Err(ChainError::NoRight(beneficiary)) }
    }

    /// What a block brings its beneficiary, in units.
    fn reward(&self, header: &Header, body: &BlockBody, receipts: &[Receipt]) -> U256 {
        let base_fee = header.base_fee_per_gas.unwrap_or_default();
        let mut before = 0;
        let tips = body.transactions.iter().zip(receipts).map(|(tx, receipt)| {
            let after = receipt.cumulative_gas_used();
            let gas = U256::from(after.saturating_sub(std::mem::replace(&mut before, after)));
            // No sum of money here comes near 2^256.
            gas.saturating_mul(U256::from(tx.effective_tip_per_gas(base_fee).unwrap_or_default()))
        });
        let payments = emission::payments(&self.params, header);
        let mined = payments.first().map_or(U256::ZERO, |(_, amount)| *amount);
        tips.fold(mined, U256::saturating_add)
    }

    /// Returns the block that would come next: built from the pool, for nobody, unsigned. At most a quarter of a second old, or
    /// four times as old as it took to build.
    pub fn pending_block(&self) -> Result<Arc<PendingBlock>, ChainError> {
        let mut cache = self.pending.lock();
        if let Some((head, until, block)) = &cache.last
            && *head == self.head().id
            && Instant::now() < *until
        {
            return Ok(block.clone());
        }
        for _ in 0..ATTEMPTS {
            let Some((parent, state)) = self.consistent_head()? else { continue };
            let begun = Instant::now();
            let built = self.build(&parent, state, &TemplateRequest::default())?;
            let mut header = built.header;
            header.difficulty = engine::next_difficulty(&self.params, &self.asert, &parent.header);
            let block = Arc::new(PendingBlock { header, body: built.body, receipts: built.executed.receipts });
            let age = begun.elapsed().saturating_mul(PENDING_AGE_FACTOR).max(PENDING_MAX_AGE);
            cache.last = Instant::now().checked_add(age).map(|until| (parent.id, until, block.clone()));
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

    /// Executes waiting transactions, the best first, as long as they fit and the time allowed is not over.
    fn build(&self, parent: &HeadBlock, state: StateView, request: &TemplateRequest) -> Result<Built, ChainError> {
        let seal = self.store.seal(parent.id)?.unwrap_or_default();
        let plan = BlockPlan {
            beneficiary: request.beneficiary,
            timestamp: self.now_secs().max(parent.header.timestamp.saturating_add(1)),
            mix_hash: seal.randomness(parent.id),
            gas_limit: self.params.gas_limit,
            extra_data: request.vanity.clone(),
        };
        let best = self.pool.lock().best();
        let mut builder = BlockBuilder::begin(&self.params, &parent.header, plan, state)?;
        self.fill(&mut builder, best)?;
        Ok(builder.finish()?)
    }

    fn fill(&self, builder: &mut BlockBuilder<'_, StateView>, mut best: Best) -> Result<(), ChainError> {
        let begun = Instant::now();
        let (mut skipped, mut useless) = (0, Vec::new());
        while builder.gas_left() >= LEAST_GAS && skipped < MAX_SKIPPED && begun.elapsed() < self.options.max_build {
            let Some(tx) = best.next() else { break };
            skipped = skipped.saturating_add(1);
            if tx.transaction.gas_limit() > builder.gas_left() {
                continue;
            }
            match builder.try_add(&tx.transaction, tx.sender)? {
                TxOutcome::Included { .. } => {
                    skipped = 0;
                    best.included(&tx, || self.pool.lock().after(&tx, RUN));
                }
                TxOutcome::Skipped(error) if is_for_ever(&error) => {
                    tracing::debug!(hash = %tx.hash, %error, "a waiting transaction can never be in a block");
                    useless.push(tx);
                }
                TxOutcome::Skipped(_) => {}
            }
        }
        self.discard(&useless);
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ChainOptions, ImportError, ManualClock};
    use alloy_consensus::{SignableTransaction, TxEip1559};
    use alloy_primitives::TxKind;
    use alloy_signer::SignerSync;
    use alloy_signer_local::PrivateKeySigner;
    use bmm_ledger::exec::{execute_block, recover_senders};
    use bmm_types::{ChainParams, Seal, SealedBlock};

    struct World {
        chain: Arc<Chain>,
        key: PrivateKeySigner,
    }

    impl World {
        fn new() -> Self {
            let key = PrivateKeySigner::from_bytes(&B256::repeat_byte(7)).expect("a key");
            let mut params = ChainParams::dev(key.address(), 1_900_000_000);
            params.engine = Engine::Dev;
            let clock = Arc::new(ManualClock::new(1_900_000_100));
            Self { chain: Chain::in_memory(params, clock, ChainOptions::default()).expect("a chain"), key }
        }

        fn pay(&self, nonce: u64) {
            let tx = TxEip1559 {
                chain_id: self.chain.params.chain_id,
                nonce,
                gas_limit: 21_000,
                max_fee_per_gas: 10_000_000_000,
                max_priority_fee_per_gas: 7,
                to: TxKind::Call(Address::repeat_byte(9)),
                value: U256::ONE,
                ..TxEip1559::default()
            };
            let signature = self.key.sign_hash_sync(&tx.signature_hash()).expect("signing works");
            self.chain.submit(tx.into_signed(signature).into()).expect("valid");
        }

        fn template(&self, vanity: &'static [u8]) -> Template {
            let request = TemplateRequest { beneficiary: self.key.address(), vanity: vanity.into() };
            self.chain.template(&request, &|hash| self.key.sign_hash_sync(&hash).expect("signing works")).expect("room")
        }

        fn kept(&self) -> Vec<B256> {
            self.chain.built.0.lock().iter().map(|block| block.id).collect()
        }
    }

    fn sealed(template: &Template) -> SealedBlock {
        SealedBlock { block: template.block.clone(), seal: Seal::None }
    }

    #[test]
    fn what_is_kept_is_what_execution_gives() {
        let world = World::new();
        (0..3).for_each(|nonce| world.pay(nonce));
        let template = world.template(b"one");
        let block = &template.block;
        let senders = recover_senders(&block.body.transactions).expect("signed");
        let view = world.chain.store.view().expect("a store");
        let executed = execute_block(&world.chain.params, block, &senders, view).expect("valid");
        let staged = world.chain.store.stage(block.header.parent_hash, executed.diff).expect("the head");
        let built = world.chain.built.take(template.id).expect("kept");
        assert_eq!((built.receipts, built.staged.root()), (executed.receipts, staged.root()));
        assert_eq!((built.staged.diff(), built.staged.parent()), (staged.diff(), staged.parent()));
    }

    #[test]
    fn a_block_of_our_own_is_not_executed_again() {
        let world = World::new();
        (0..3).for_each(|nonce| world.pay(nonce));
        let template = world.template(b"one");
        // What was kept shows in the store: so it was taken from there.
        world.chain.built.0.lock()[0].receipts.reverse();
        world.chain.import(&sealed(&template)).expect("valid");
        let receipts = world.chain.receipts(template.id).expect("a store").expect("there");
        let gas: Vec<u64> =
            receipts.iter().map(|receipt| receipt.as_receipt().expect("one").cumulative_gas_used).collect();
        assert_eq!(gas, [63_000, 42_000, 21_000]);
        assert!(world.kept().is_empty());
        assert_eq!(world.chain.pool_status().pending, 0);
    }

    #[test]
    fn a_template_tells_its_reward_to_the_unit() {
        let world = World::new();
        (0..3).for_each(|nonce| world.pay(nonce));
        let key = PrivateKeySigner::from_bytes(&B256::repeat_byte(8)).expect("a key");
        let request = TemplateRequest { beneficiary: key.address(), vanity: Bytes::new() };
        let signed = world.chain.template(&request, &|hash| key.sign_hash_sync(&hash).expect("signing works"));
        let template = signed.expect("room");
        assert!(world.chain.import(&sealed(&template)).expect("valid").became_head);
        let state = world.chain.state(template.id.into()).expect("a store");
        let account = state.account(key.address()).expect("a store").expect("there");
        assert_eq!(template.reward, account.balance);
    }

    #[test]
    fn an_altered_body_gets_nothing_for_its_id() {
        let world = World::new();
        (0..3).for_each(|nonce| world.pay(nonce));
        let template = world.template(b"one");
        let mut altered = sealed(&template);
        altered.block.body.transactions.pop();
        assert_eq!(altered.id(), template.id);
        assert!(matches!(world.chain.import(&altered), Err(ImportError::Block(_))));
        assert_eq!(world.kept(), [template.id]);
        assert!(world.chain.import(&sealed(&template)).expect("valid").became_head);
    }

    #[test]
    fn few_are_kept_and_none_of_another_head() {
        let world = World::new();
        let ids: Vec<B256> =
            [&b"1"[..], b"2", b"3", b"4"].into_iter().map(|vanity| world.template(vanity).id).collect();
        assert_eq!(world.kept(), ids[1..]);
        // An older one than those that are kept is executed.
        let oldest = world.template(b"1");
        let others = [b"5", b"6", b"7"].map(|vanity| world.template(vanity));
        assert!(!world.kept().contains(&oldest.id));
        assert!(world.chain.import(&sealed(&oldest)).expect("valid").became_head);
        assert!(world.kept().is_empty(), "the head has moved");
        assert!(!world.chain.import(&sealed(&others[2])).expect("a valid block beside the head").became_head);
    }
}

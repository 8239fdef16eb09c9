//! A small world for tests: accounts with keys, chains with a clock that stands still, blocks made by hand.

use alloy_consensus::{SignableTransaction, TxEip1559};
use alloy_primitives::{Address, B256, Signature, TxKind, U256, keccak256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use bmm_chain::{Chain, ChainOptions, Imported, ManualClock, Template, TemplateRequest};
use bmm_pow::{Difficulty, MiningJob, Throttle, mine};
use bmm_types::{Amount, Block, ChainParams, Engine, Seal, SealedBlock, Transaction, params::Allocation};
use std::sync::{Arc, atomic::AtomicBool};

pub const GENESIS_TIME: u64 = 1_900_000_000;
pub const GWEI: u128 = 1_000_000_000;

/// The n-th account; all of them are rich at genesis.
pub fn key(n: u64) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&keccak256(n.to_be_bytes())).expect("a key")
}

pub fn params(engine: Engine) -> ChainParams {
    let mut params = ChainParams::dev(key(0).address(), GENESIS_TIME);
    params.engine = engine;
    params.min_difficulty = U256::from(2);
    params.asert_half_life_secs = 10_000;
    for n in 1..8 {
        params.alloc.push(Allocation { address: key(n).address(), balance: Amount::from_bmm(1_000) });
    }
    params
}

/// A chain in memory with its clock.
pub struct World {
    pub chain: Arc<Chain>,
    pub clock: Arc<ManualClock>,
}

impl World {
    pub fn new(engine: Engine) -> Self {
        Self::with(params(engine), ChainOptions::default())
    }

    pub fn with(params: ChainParams, options: ChainOptions) -> Self {
        let clock = Arc::new(ManualClock::new(GENESIS_TIME + 1_000));
        let chain = Chain::in_memory(params, clock.clone(), options).expect("a chain");
        Self { chain, clock }
    }

    /// Builds the next block, signed by the account `producer`, without a seal.
    pub fn template(&self, producer: u64) -> Template {
        let request = TemplateRequest { beneficiary: key(producer).address(), vanity: b"test".into() };
        self.chain.template(&request, &|hash| sign(producer, hash)).expect("a template")
    }

    /// Builds the next block with its seal.
    pub fn next(&self, producer: u64) -> SealedBlock {
        seal(&self.chain, self.template(producer).block)
    }

    /// Builds and imports the next block.
    pub fn grow(&self, producer: u64) -> Imported {
        self.clock.advance(1);
        self.chain.import(&self.next(producer)).expect("a valid block")
    }

    pub fn pay(&self, from: u64, nonce: u64, value: u64) -> B256 {
        self.chain.submit(transfer(&self.chain, from, nonce, key(9).address(), value)).expect("a valid transaction")
    }
}

pub fn sign(account: u64, hash: B256) -> Signature {
    key(account).sign_hash_sync(&hash).expect("signing works")
}

/// Works for a block's seal, as the engine wants it.
pub fn seal(chain: &Chain, block: Block) -> SealedBlock {
    let seal = match chain.params().engine {
        Engine::Pow => proof(&block, 0),
        Engine::Dev | Engine::NoSeal => Seal::None,
    };
    SealedBlock { block, seal }
}

/// Works for a block from some extra nonce on.
pub fn proof(block: &Block, extra_nonce: u64) -> Seal {
    let target = Difficulty::new(block.header.difficulty).expect("not zero").target();
    let job = MiningJob { block_id: block.header.hash_slow(), target, time: 0, extra_nonce };
    let proof = mine(&job, &(0..=u32::MAX), &AtomicBool::new(false), Throttle::NONE).expect("not stopped");
    Seal::AuxPow(Box::new(proof))
}

/// Signs a changed header again.
pub fn resign(mut block: Block, producer: u64) -> Block {
    let extra = &block.header.extra_data;
    block.header.extra_data = extra.slice(..extra.len() - 65);
    let signature = sign(producer, bmm_chain::signing_hash(&block.header));
    let signed = [&block.header.extra_data[..], &signature.as_rsy()].concat();
    block.header.extra_data = signed.into();
    block
}

pub fn unsigned(chain: &Chain, nonce: u64, to: Address, value: u64) -> TxEip1559 {
    TxEip1559 {
        chain_id: chain.params().chain_id,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: 10 * GWEI,
        max_priority_fee_per_gas: GWEI,
        to: TxKind::Call(to),
        value: U256::from(value),
        ..TxEip1559::default()
    }
}

pub fn signed(from: u64, tx: TxEip1559) -> Transaction {
    let signature = sign(from, tx.signature_hash());
    tx.into_signed(signature).into()
}

pub fn transfer(chain: &Chain, from: u64, nonce: u64, to: Address, value: u64) -> Transaction {
    signed(from, unsigned(chain, nonce, to, value))
}

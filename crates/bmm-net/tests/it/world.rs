//! Chains for tests: accounts with keys, a clock that is moved by hand, blocks made by hand.

use alloy_consensus::{SignableTransaction, TxEip1559};
use alloy_primitives::{B256, Signature, TxKind, U256, keccak256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use bmm_chain::{Chain, ChainOptions, ManualClock, TemplateRequest};
use bmm_pow::{Difficulty, MiningJob, Throttle, mine};
use bmm_types::{Amount, Block, ChainParams, Engine, Seal, SealedBlock, params::Allocation};
use std::sync::{Arc, atomic::AtomicBool};

pub const GENESIS_TIME: u64 = 1_900_000_000;

/// The n-th account; the first ones are rich at genesis.
pub fn key(n: u64) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&keccak256(n.to_be_bytes())).expect("a key")
}

/// A chain with work that is easy.
pub fn params() -> ChainParams {
    let mut params = ChainParams::dev(key(0).address(), GENESIS_TIME);
    params.engine = Engine::Pow;
    params.min_difficulty = U256::from(2);
    params.asert_half_life_secs = 100_000;
    for n in 1..8 {
        params.alloc.push(Allocation { address: key(n).address(), balance: Amount::from_bmm(1_000) });
    }
    params
}

/// The clock that all chains of a test share.
pub fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(GENESIS_TIME + 1_000))
}

/// A chain in memory.
pub fn chain(clock: &Arc<ManualClock>) -> Arc<Chain> {
    Chain::in_memory(params(), clock.clone(), ChainOptions::default()).expect("a chain")
}

fn sign(account: u64, hash: B256) -> Signature {
    key(account).sign_hash_sync(&hash).expect("signing works")
}

/// Builds the next block with its seal.
pub fn next(chain: &Chain, producer: u64) -> SealedBlock {
    let request = TemplateRequest { beneficiary: key(producer).address(), vanity: b"test".into() };
    let block = chain.template(&request, &|hash| sign(producer, hash)).expect("a template").block;
    SealedBlock { seal: proof(&block), block }
}

/// Works for a block.
pub fn proof(block: &Block) -> Seal {
    let target = Difficulty::new(block.header.difficulty).expect("not zero").target();
    let job = MiningJob { block_id: block.header.hash_slow(), target, time: 0, extra_nonce: 0 };
    let proof = mine(&job, &(0..=u32::MAX), &AtomicBool::new(false), Throttle::NONE).expect("not stopped");
    Seal::AuxPow(Box::new(proof))
}

/// Builds and imports blocks, a second apart.
pub fn grow(chain: &Chain, clock: &ManualClock, producer: u64, blocks: u64) {
    for _ in 0..blocks {
        clock.advance(1);
        chain.import(&next(chain, producer)).expect("a valid block");
    }
}

/// Copies the first blocks of a chain into another.
pub fn copy(from: &Chain, to: &Chain, up_to: u64) {
    let blocks = (1..=up_to).map(|number| from.sealed_block(number).expect("readable").expect("there"));
    to.import_all(blocks, |_| {}).expect("valid blocks");
}

/// Sends some coins to nobody, from an account whose nonce is known.
pub fn pay(chain: &Chain, from: u64, nonce: u64) -> B256 {
    let transaction = TxEip1559 {
        chain_id: chain.params().chain_id,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: 10_000_000_000,
        max_priority_fee_per_gas: 1_000_000_000,
        to: TxKind::Call(key(99).address()),
        value: U256::from(5),
        ..TxEip1559::default()
    };
    let signature = sign(from, transaction.signature_hash());
    chain.submit(transaction.into_signed(signature).into()).expect("a valid transaction")
}

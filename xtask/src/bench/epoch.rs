//! What the end of an epoch and a claim cost, with few contributors and with many: the resource ledger keeps sums, and loops over nobody.
//!
//! Both are epochs of one chain, so that the state is the same size: in epoch 0 all contribute, in epoch 1 the first of them.

use super::{
    Outcome, Report, number,
    report::{BarIs, Figure},
};
use alloy_consensus::{SignableTransaction, TxEip1559};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolCall;
use bmm_chain::{Chain, ChainOptions, ManualClock, PoolLimits, TemplateRequest};
use bmm_pow::{SyntheticParent, hash_ahead, resource::solution_hash};
use bmm_types::{
    Amount, ChainParams, Engine, Seal, SealedBlock, Transaction,
    params::Allocation,
    system::{RESOURCES, Resources, resource_leaf},
};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

/// Contributors of the second epoch.
const FEW: usize = 100;
/// Hashes of a proof: as few as there may be, since their making is not what is measured.
const PROOF_HASHES: u16 = 3;
const EPOCH_BLOCKS: u64 = 1_200;
/// Gas of a block, so that all proofs get into the first quarter of an epoch.
const BLOCK_GAS: u64 = 300_000_000;
const PROVE_GAS: u64 = 400_000;
const CLAIM_GAS: u64 = 300_000;
/// Proofs that are made and sent at once.
const AT_ONCE: u32 = 64;
/// Claims of the block of claims.
const CLAIMS: u32 = 64;
/// How often each block is built; the fastest counts.
const TIMES: u32 = 30;
const GENESIS: u64 = 1_900_000_000;

/// A chain on the disk, in whose epoch 0 many have contributed.
struct World {
    chain: Arc<Chain>,
    clock: Arc<ManualClock>,
    keys: Vec<PrivateKeySigner>,
    producer: PrivateKeySigner,
}

/// What was measured of one epoch, in milliseconds.
struct Measured {
    ordinary: f64,
    epoch: f64,
    claim: f64,
    claim_gas: u64,
}

/// Runs it.
pub fn run(contributors: u32) -> Outcome {
    let dir = tempfile::tempdir()?;
    let world = World::new(dir.path(), contributors)?;
    let many = world.measure(0, world.keys.len())?;
    let few = world.measure(1, FEW)?;
    let millis = |name: &str, value: f64| Figure::new(name, value, "ms");
    let times = |name: &str, value: f64| Figure::new(name, value, "x").held_against(BarIs::AtMost, 1.5);
    let more_gas = many.claim_gas.saturating_sub(few.claim_gas);
    let figures = vec![
        millis("an ordinary block", many.ordinary),
        millis("the first block of an epoch", many.epoch),
        millis("a claim", many.claim),
        times("the first block of an epoch, of that with few contributors", many.epoch / few.epoch),
        times("a claim, of one with few contributors", many.claim / few.claim),
        Figure::new("a claim's gas above one with few contributors", number(more_gas), "")
            .held_against(BarIs::AtMost, 0.0),
    ];
    let reference = vec![
        millis("an ordinary block", few.ordinary),
        millis("the first block of an epoch", few.epoch),
        millis("a claim", few.claim),
    ];
    let notes = [
        "ours: an epoch with as many contributors as --contributors says, each with a proof that was checked",
        "reference: the next epoch of the same chain, with 100",
        "a block is built on the database's state and not stored; the fastest of 30 counts; the claim is one of 64 in a block",
    ];
    Ok(Report::new("epoch", figures, Some(reference), &notes))
}

impl World {
    fn new(dir: &Path, contributors: u32) -> Outcome<Self> {
        let key = |number: u32| PrivateKeySigner::from_bytes(&keccak256(number.to_be_bytes()));
        let keys = (0..contributors).map(key).collect::<Result<Vec<_>, _>>()?;
        let mut params = ChainParams::dev(Address::repeat_byte(0xd), GENESIS);
        (params.engine, params.epoch_blocks, params.gas_limit) = (Engine::Dev, EPOCH_BLOCKS, BLOCK_GAS);
        params
            .alloc
            .extend(keys.iter().map(|key| Allocation { address: key.address(), balance: Amount::from_bmm(100) }));
        let rules = params.resources.as_mut().ok_or("a development chain has resources")?;
        (rules.proof_hashes, rules.sols_per_unit) = (PROOF_HASHES, 1);
        let clock = Arc::new(ManualClock::new(GENESIS));
        let options = ChainOptions { max_build: Duration::MAX, pool: PoolLimits::default(), ..ChainOptions::default() };
        let chain = Chain::open(params, dir, clock.clone(), options)?;
        let producer = PrivateKeySigner::from_bytes(&B256::repeat_byte(9))?;
        Ok(Self { chain, clock, keys, producer })
    }

    /// Has the first `contributors` contribute in an epoch, and measures its end and their claims.
    fn measure(&self, epoch: u64, contributors: usize) -> Outcome<Measured> {
        self.advance_to((epoch + 1) * EPOCH_BLOCKS - 1)?;
        self.prove(epoch, contributors)?;
        // The epoch after it ends: what nobody can claim is let go.
        self.advance_to((epoch + 2) * EPOCH_BLOCKS - 2)?;
        let ordinary = self.build_time()?;
        self.advance()?;
        let first = self.build_time()?;
        self.advance()?;
        let empty = self.build_time()?;
        let claim_gas = self.send_claims(epoch)?;
        let claim = (self.build_time()? - empty) / f64::from(CLAIMS);
        Ok(Measured { ordinary, epoch: first, claim, claim_gas })
    }

    /// Builds the next block.
    fn build(&self) -> Outcome<SealedBlock> {
        let request = TemplateRequest { beneficiary: self.producer.address(), vanity: Bytes::new() };
        let sign = |hash: B256| self.producer.sign_hash_sync(&hash).expect("a local key signs");
        let template = self.chain.template(&request, &sign)?;
        Ok(SealedBlock { block: template.block, seal: Seal::None })
    }

    /// Returns the milliseconds that the next block takes at least.
    fn build_time(&self) -> Outcome<f64> {
        let mut best = f64::INFINITY;
        for _ in 0..TIMES {
            let begun = Instant::now();
            self.build()?;
            best = best.min(begun.elapsed().as_secs_f64() * 1e3);
        }
        Ok(best)
    }

    fn advance(&self) -> Outcome<usize> {
        self.clock.advance(1);
        let block = self.build()?;
        self.chain.import(&block)?;
        Ok(block.block.body.transactions.len())
    }

    fn advance_to(&self, height: u64) -> Outcome<()> {
        while self.chain.head().number() < height {
            self.advance()?;
        }
        Ok(())
    }

    /// Has the first `contributors` prove their work of an epoch.
    fn prove(&self, epoch: u64, contributors: usize) -> Outcome<()> {
        let before = (epoch * EPOCH_BLOCKS).saturating_sub(1);
        let seed = self.chain.canonical(before)?.ok_or("the epoch has not begun")?;
        let keys = &self.keys[..contributors];
        for (number, keys) in keys.chunks(AT_ONCE as usize).enumerate() {
            let parents = keys.iter().map(|key| SyntheticParent::new(resource_leaf(key.address(), seed), 0, 0));
            let solutions: Vec<Vec<_>> =
                parents.map(|parent| (0..PROOF_HASHES.into()).map(|nonce| parent.assemble(nonce)).collect()).collect();
            hash_ahead(solutions.iter().flatten().map(|solution: &bmm_types::AuxPow| &solution.parent_header.0));
            for (key, mut solutions) in keys.iter().zip(solutions) {
                solutions.sort_by_cached_key(solution_hash);
                let proofs = solutions.iter().map(|solution| alloy_rlp::encode(solution).into()).collect();
                let call = Resources::proveCall { epoch, proofs };
                self.chain.submit(self.transaction(key, PROVE_GAS, &call)?)?;
            }
            // As many as a block holds.
            if number % 8 == 7 {
                self.advance()?;
            }
        }
        while self.advance()? > 0 {}
        let last = self.chain.head().number();
        if last > (epoch + 1) * EPOCH_BLOCKS + EPOCH_BLOCKS / 4 {
            return Err(format!("{contributors} proofs took until block {last}, which is too late").into());
        }
        Ok(())
    }

    /// Has the first contributors claim; returns the gas that one may use.
    fn send_claims(&self, epoch: u64) -> Outcome<u64> {
        for key in self.keys.iter().take(CLAIMS as usize) {
            let call = Resources::claimCall { epoch, contributor: key.address() };
            self.chain.submit(self.transaction(key, CLAIM_GAS, &call)?)?;
        }
        let block = self.build()?;
        if block.block.body.transactions.len() != CLAIMS as usize {
            return Err("not all claims are in the block".into());
        }
        Ok(block.block.header.gas_used / u64::from(CLAIMS))
    }

    fn transaction(&self, key: &PrivateKeySigner, gas_limit: u64, call: &impl SolCall) -> Outcome<Transaction> {
        let nonce = self.chain.pending_nonce(key.address())?;
        let tx = TxEip1559 {
            chain_id: self.chain.params().chain_id,
            nonce,
            gas_limit,
            max_fee_per_gas: 100_000_000_000,
            max_priority_fee_per_gas: 1_000_000_000,
            to: TxKind::Call(RESOURCES),
            value: U256::ZERO,
            input: call.abi_encode().into(),
            ..TxEip1559::default()
        };
        let signature = key.sign_hash_sync(&tx.signature_hash())?;
        Ok(tx.into_signed(signature).into())
    }
}

//! A chain whose footstones have proven work, locked their bonds and got their seats: where every simulation begins.

use alloy_consensus::{SignableTransaction, TxEip1559};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolCall;
use bmm_chain::{Chain, ChainOptions, ManualClock, TemplateRequest};
use bmm_pow::{SyntheticParent, resource::solution_hash};
use bmm_types::{
    Amount, ChainParams, Engine, Seal, SealedBlock, Transaction,
    params::Allocation,
    system::{FOOTSTONES, Footstones, MICRO, RESOURCES, Resources, resource_leaf},
};
use std::{sync::Arc, time::Duration};

/// Unix seconds of genesis.
pub const GENESIS_TIME: u64 = 1_900_000_000;
/// Seconds between blocks.
pub const BLOCK_SECS: u64 = 6;
/// Blocks of an epoch and between checkpoints: few, so that sets change within a simulation.
pub const EPOCH_BLOCKS: u64 = 16;
pub const CHECKPOINT_BLOCKS: u64 = 4;
/// Blocks above a checkpoint before it is bet on.
pub const BET_DEPTH: u64 = 1;
/// Hashes of a proof.
const PROOF_HASHES: u16 = 3;
/// Bond of a footstone of weight 1, in BMM.
const BOND: u64 = 1_000;

/// Options of a chain whose blocks do not depend on how fast the machine is.
pub fn chain_options() -> ChainOptions {
    ChainOptions { max_build: Duration::MAX, ..ChainOptions::default() }
}

/// Parameters, keys, and the first blocks.
pub struct Town {
    pub params: ChainParams,
    pub keys: Vec<PrivateKeySigner>,
    /// Bonds and weights, in units.
    pub weights: Vec<U256>,
    pub blocks: Vec<SealedBlock>,
}

impl Town {
    pub fn new(footstones: usize) -> Self {
        let key = |n: usize| PrivateKeySigner::from_bytes(&keccak256([b"footstone", &n.to_be_bytes()[..]].concat()));
        let keys: Vec<PrivateKeySigner> = (0..footstones).map(|n| key(n).expect("a key")).collect();
        let bmm = |n: usize| Amount::from_bmm(BOND * (1 + u64::try_from(n % 3).unwrap_or(0)));
        let weights = (0..footstones).map(|n| bmm(n).units()).collect();
        let params = params(&keys);
        let mut town = Self { params, keys, weights, blocks: Vec::new() };
        town.blocks = town.begin();
        town
    }

    /// Makes the blocks until the footstones have their seats: epoch 0 is proven and bonds are locked in epoch 1; epoch 2 has the first set.
    fn begin(&self) -> Vec<SealedBlock> {
        let clock = Arc::new(ManualClock::new(GENESIS_TIME));
        let chain = Chain::in_memory(self.params.clone(), clock.clone(), chain_options()).expect("a chain in memory");
        let mut blocks = Vec::new();
        for number in 1..=2 * EPOCH_BLOCKS {
            clock.advance(BLOCK_SECS);
            for (key, bond) in self.keys.iter().zip(&self.weights) {
                let (to, value, data) = match number {
                    EPOCH_BLOCKS => (RESOURCES, U256::ZERO, proof(key.address(), 0, chain.genesis())),
                    // The proof is in, and closed.
                    20 => (FOOTSTONES, *bond, Footstones::joinCall {}.abi_encode().into()),
                    _ => continue,
                };
                let nonce = chain.pending_nonce(key.address()).expect("a nonce");
                let sent = transaction(key, &self.params, nonce, to, value, data);
                chain.submit(sent).expect("the pool takes it");
            }
            let block = next_block(&chain, &self.keys[0]).expect("anybody may produce before there are footstones");
            chain.import(&block).expect("a valid block");
            blocks.push(block);
        }
        let finality = chain.finality().expect("a chain with footstones");
        assert!(finality.rights.enabled, "the footstones have their seats");
        assert_eq!(finality.rights.current.members.len(), self.keys.len());
        blocks
    }
}

fn params(keys: &[PrivateKeySigner]) -> ChainParams {
    let mut params = ChainParams::dev(Address::repeat_byte(0xd), GENESIS_TIME);
    params.engine = Engine::Dev;
    params.block_secs = BLOCK_SECS;
    params.epoch_blocks = EPOCH_BLOCKS;
    let alloc = |key: &PrivateKeySigner| Allocation { address: key.address(), balance: Amount::from_bmm(100_000) };
    params.alloc.extend(keys.iter().map(alloc));
    if let Some(rules) = &mut params.resources {
        (rules.proof_hashes, rules.sols_per_unit) = (PROOF_HASHES, 1);
    }
    if let Some(rules) = &mut params.footstones {
        (rules.checkpoint_blocks, rules.bet_depth) = (CHECKPOINT_BLOCKS, BET_DEPTH);
        // Any work is enough, so that weights are the bonds.
        rules.least_power = MICRO / 1_000;
        rules.bond_per_unit = Amount::from_bmm(1_000_000);
        rules.least_weight = Amount::from_bmm(BOND);
        rules.open_door_intervals = 1_000;
    }
    params
}

/// Builds the next block of a chain, if its producer has the right to.
pub fn next_block(chain: &Chain, key: &PrivateKeySigner) -> Option<SealedBlock> {
    let request = TemplateRequest { beneficiary: key.address(), vanity: Bytes::new() };
    let template = chain.template(&request, &|hash| key.sign_hash_sync(&hash).expect("a local key signs")).ok()?;
    Some(SealedBlock { block: template.block, seal: Seal::None })
}

/// Proves the work of a contributor in an epoch: as many real hashes as a proof holds.
pub fn proof(contributor: Address, epoch: u64, seed: B256) -> Bytes {
    let parent = SyntheticParent::new(resource_leaf(contributor, seed), 0, 0);
    let mut solutions: Vec<_> = (0..u32::from(PROOF_HASHES)).map(|nonce| parent.assemble(nonce)).collect();
    solutions.sort_by_cached_key(solution_hash);
    let proofs = solutions.iter().map(|solution| alloy_rlp::encode(solution).into()).collect();
    Resources::proveCall { epoch, proofs }.abi_encode().into()
}

/// Signs a call.
pub fn transaction(
    key: &PrivateKeySigner,
    params: &ChainParams,
    nonce: u64,
    to: Address,
    value: U256,
    input: Bytes,
) -> Transaction {
    let tx = TxEip1559 {
        chain_id: params.chain_id,
        nonce,
        gas_limit: 3_000_000,
        max_fee_per_gas: 100_000_000_000,
        max_priority_fee_per_gas: 1_000_000_000,
        to: TxKind::Call(to),
        value,
        input,
        ..TxEip1559::default()
    };
    let signature = key.sign_hash_sync(&tx.signature_hash()).expect("a local key signs");
    tx.into_signed(signature).into()
}

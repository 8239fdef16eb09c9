//! Worlds in which some accounts are footstones from genesis on, and what they bet.

use crate::world::{GENESIS_TIME, World, key, params, sign};
use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::SolStruct as _;
use bmm_chain::{Chain, ChainOptions, Checkpoint, Heard, ManualClock, SignedBet};
use bmm_ledger::{diff::StateDiff, genesis, store::Store};
use bmm_types::{
    Block, ChainParams, Engine, Seal, SealedBlock,
    system::{Bet, FOOTSTONES, footstone_state, footstones_domain},
};
use std::{path::Path, sync::Arc};

/// Blocks between checkpoints.
pub const INTERVAL: u64 = 6;
/// The footstones; each has the same weight.
pub const FOOTSTONE_KEYS: [u64; 4] = [1, 2, 3, 4];

/// Parameters of a chain whose set stays for the whole test.
pub fn footstone_params() -> ChainParams {
    let mut params = params(Engine::Dev);
    params.epoch_blocks = 60_000;
    let rules = params.footstones.as_mut().expect("a development chain has footstones");
    rules.checkpoint_blocks = INTERVAL;
    params
}

fn weight() -> u128 {
    100 * 10u128.pow(18)
}

/// The first slot of what the contract keeps of a footstone.
fn record(footstone: Address) -> U256 {
    keccak256([footstone.into_word(), U256::from(5).into()].concat()).into()
}

/// Genesis and its state, in which the contract has a set (see its layout: the set's place, the set, its members).
pub fn genesis_with_footstones(params: &ChainParams) -> (Block, StateDiff) {
    let mut diff = genesis::genesis_diff(params);
    let account = diff.accounts.get_mut(&FOOTSTONES).expect("the contract is there");
    let mut put_at = |slot: U256, word: U256| account.storage.insert(slot, (U256::ZERO, word));
    // A candidate with its bond, and its seat in the first set.
    for n in FOOTSTONE_KEYS {
        let record = record(key(n).address());
        put_at(record, U256::from(weight()) | U256::from(footstone_state::CANDIDATE) << 96);
        put_at(record + U256::from(2), U256::from(1) | U256::from(weight()) << 64);
    }
    let mut put = |slot: u64, word: U256| put_at(U256::from(slot), word);
    let members = FOOTSTONE_KEYS.len();
    let whole = U256::from(weight() * u128::try_from(members).expect("few"));
    put(2, U256::from(1));
    put(3, whole | whole << 96 | U256::from(members) << 240);
    for (index, n) in (16..).zip(FOOTSTONE_KEYS) {
        let address: U256 = U256::from_be_bytes(key(n).address().into_word().0);
        put(index, address | U256::from(weight()) << 160);
    }
    let store = Store::in_memory(params.digest()).expect("a store");
    let root = store.stage(B256::ZERO, diff.clone()).expect("a state").root();
    (genesis::genesis_block(params, root), diff)
}

/// A chain in memory with footstones.
pub fn world() -> World {
    let params = footstone_params();
    let (genesis, diff) = genesis_with_footstones(&params);
    world_from(params, genesis, diff)
}

/// The same, with one of them slashed.
pub fn world_with_slashed(footstone: u64) -> World {
    let params = footstone_params();
    let (_, mut diff) = genesis_with_footstones(&params);
    let slot = record(key(footstone).address());
    let state = U256::from(footstone_state::SLASHED) << 96;
    let account = diff.accounts.get_mut(&FOOTSTONES).expect("the contract is there");
    account.storage.insert(slot, (U256::ZERO, state));
    let store = Store::in_memory(params.digest()).expect("a store");
    let root = store.stage(B256::ZERO, diff.clone()).expect("a state").root();
    let genesis = genesis::genesis_block(&params, root);
    world_from(params, genesis, diff)
}

fn world_from(params: ChainParams, genesis: Block, diff: StateDiff) -> World {
    let clock = Arc::new(ManualClock::new(GENESIS_TIME + 1_000));
    let chain = Chain::in_memory_from(params, genesis, diff, clock.clone(), ChainOptions::default());
    World { chain: chain.expect("a chain"), clock }
}

/// Opens the chain with footstones in a folder, beginning it there.
pub fn open(folder: &Path) -> World {
    let params = footstone_params();
    {
        let store = Store::open(folder, params.digest()).expect("nobody else has it open");
        if store.head().is_none() {
            let (block, diff) = genesis_with_footstones(&params);
            store.init(&SealedBlock { block, seal: Seal::None }, diff).expect("a new store");
        }
    }
    let clock = Arc::new(ManualClock::new(GENESIS_TIME + 1_000));
    World { chain: Chain::open(params, folder, clock.clone(), ChainOptions::default()).expect("a chain"), clock }
}

impl World {
    /// Grows to a block number.
    pub fn grow_to(&self, number: u64, producer: u64) {
        while self.chain.head().number() < number {
            self.grow(producer);
        }
    }

    /// The checkpoint of a number on the canonical chain.
    pub fn checkpoint(&self, number: u64) -> Checkpoint {
        let id = self.chain.canonical(number * INTERVAL).expect("a store").expect("so long a chain");
        Checkpoint { number, id }
    }

    /// The canonical blocks of these numbers.
    pub fn blocks(&self, numbers: std::ops::RangeInclusive<u64>) -> Vec<SealedBlock> {
        let block = |number| self.chain.sealed_block(number).expect("a store").expect("so long a chain");
        numbers.map(block).collect()
    }

    /// Has footstones bet all they have on a link.
    pub fn bet(&self, footstones: &[u64], source: Checkpoint, target: Checkpoint) -> Vec<Heard> {
        let bets: Vec<SignedBet> =
            footstones.iter().map(|n| bet(&self.chain, *n, source, target, U256::from(weight()))).collect();
        self.chain.hear_bets(&bets)
    }

    pub fn justified(&self) -> Checkpoint {
        self.chain.finality().expect("a chain with footstones").justified
    }

    pub fn finalised(&self) -> Checkpoint {
        self.chain.finality().expect("a chain with footstones").finalised
    }
}

/// A signed bet.
pub fn bet(chain: &Chain, footstone: u64, source: Checkpoint, target: Checkpoint, amount: U256) -> SignedBet {
    let address: Address = key(footstone).address();
    let bet = Bet {
        footstone: address,
        source: source.number,
        sourceHash: source.id,
        target: target.number,
        targetHash: target.id,
        amount,
    };
    let hash = bet.eip712_signing_hash(&footstones_domain(chain.params().chain_id));
    SignedBet::new(bet, &sign(footstone, hash).as_bytes()).expect("65 bytes")
}

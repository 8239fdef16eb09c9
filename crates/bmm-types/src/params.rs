//! Chain parameters: what genesis fixes.

use crate::{
    amount::Amount,
    system::{self, MICRO},
};
use alloy_primitives::{Address, B256, U256, keccak256};
use serde::{Deserialize, Serialize};

/// How blocks of a chain come to be valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// Scrypt proof of work by AuxPoW.
    Pow,
    /// No proof of work; a block at once when there is a transaction. For development.
    Dev,
    /// No proof of work, no signature, Ethereum's own rules. For foreign test vectors.
    NoSeal,
}

/// The EVM rules that a chain runs by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fork {
    /// Ethereum's Cancun (foreign vectors).
    Cancun,
    /// Ethereum's Osaka.
    Osaka,
}

/// The schedule of new coins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Emission {
    /// Units that mining releases over all time.
    pub mined_total: Amount,
    /// Blocks after which the rate halves.
    pub blocks_per_era: u64,
    /// Share of the block's producer, in basis points.
    pub producer_bps: u16,
    /// Share of the resource pot, in basis points.
    pub resources_bps: u16,
    /// Share of the betting footstones, in basis points.
    pub footstones_bps: u16,
}

/// Rules of the escrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobRules {
    /// Longest time from opening to deadline, in seconds.
    pub max_duration_secs: u64,
    /// Time after the deadline in which providers may claim from an unsettled job, in seconds.
    pub claim_secs: u64,
    /// Time after settlement in which a provider may claim what the settlement left out, in seconds.
    pub challenge_secs: u64,
    /// Share of every payment that goes to the resource pot, in basis points.
    pub fee_bps: u16,
}

/// Rules of the resource ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourceRules {
    /// Scrypt hashes that a proof of the hash class holds: k. The estimate's relative error is about 1/sqrt(k − 2).
    pub proof_hashes: u16,
    /// Scrypt evaluations that make one resource unit.
    pub sols_per_unit: u64,
    /// Units of protocol fee, paid for a provider's settled work, that make one resource unit.
    pub fee_per_unit: Amount,
    /// Share of an epoch's pot for the hash class, in basis points; the compute class has the rest.
    pub hash_bps: u16,
    /// What a contributor earns by the compute class at most, in basis points of the fees paid for its work.
    pub fee_return_bps: u16,
    /// Epochs of contribution after which the persistence has doubled.
    pub epochs_to_double: u16,
    /// What a referrer gets of the reward of whom it referred, in basis points.
    pub referral_bps: u16,
}

/// Rules of the footstones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FootstoneRules {
    /// Blocks from one checkpoint to the next; divides `epoch_blocks`.
    pub checkpoint_blocks: u64,
    /// How deep a checkpoint is before footstones bet on it, in blocks.
    pub bet_depth: u64,
    /// Least PP of a footstone, in µRU.
    pub least_power: u64,
    /// Bond that gives a footstone's PP its whole weight, in units for one resource unit.
    pub bond_per_unit: Amount,
    /// Weight of the set below which nothing becomes final, and anybody may produce, in units.
    pub least_weight: Amount,
    /// Intervals without a block after which anybody may produce the next.
    pub open_door_intervals: u64,
    /// Time from leaving until the bond is free, in seconds.
    pub unbonding_secs: u64,
    /// What a reporter gets of a bond that is taken, in basis points.
    pub bounty_bps: u16,
    /// What a lost bet costs at most, in basis points of its amount.
    pub lost_bet_bps: u16,
    /// Weight that those who do not bet lose in an epoch in which nothing became final, in basis points.
    pub leak_bps: u16,
}

/// Coins that exist at genesis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allocation {
    /// The account.
    pub address: Address,
    /// Its balance at genesis.
    pub balance: Amount,
}

/// Everything that genesis fixes. Two chains with the same parameters are the same chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainParams {
    /// A short name for people.
    pub name: String,
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// How blocks are sealed.
    pub engine: Engine,
    /// The EVM rules.
    pub fork: Fork,
    /// Unix seconds of the genesis block.
    pub genesis_time: u64,
    /// Wanted seconds between blocks.
    pub block_secs: u64,
    /// How far ahead of the node's clock a block's time may be, in seconds.
    pub max_ahead_secs: u64,
    /// Chain id in AuxPoW trees.
    pub aux_chain_id: u32,
    /// Difficulty of genesis, and the least there is.
    pub min_difficulty: U256,
    /// Half-life of the difficulty adjustment (ASERT), in seconds.
    pub asert_half_life_secs: u64,
    /// Gas limit of a block.
    pub gas_limit: u64,
    /// Base fee of the first block, in units per gas.
    pub initial_base_fee: u64,
    /// Blocks per epoch.
    pub epoch_blocks: u64,
    /// New coins, if there are any.
    pub emission: Option<Emission>,
    /// Where the base fee goes; nowhere (burnt, as on Ethereum) if absent.
    pub base_fee_to: Option<Address>,
    /// Rules of the escrow; without them the chain has no system contracts.
    pub jobs: Option<JobRules>,
    /// Rules of the resource ledger; only where there are `jobs`.
    pub resources: Option<ResourceRules>,
    /// Rules of the footstones; only where there are `resources`.
    pub footstones: Option<FootstoneRules>,
    /// Coins that exist at genesis.
    pub alloc: Vec<Allocation>,
}

/// 1.39 billion BMM: all that can ever exist.
pub fn supply_cap() -> Amount {
    Amount::from_bmm(1_390_000_000)
}

const DAY: u64 = 86_400;

impl ChainParams {
    /// Returns the parameters of the public chain.
    pub fn main() -> Self {
        Self {
            name: "bmm".into(),
            chain_id: 20_190,
            engine: Engine::Pow,
            fork: Fork::Osaka,
            genesis_time: 1_798_761_600,
            block_secs: 6,
            max_ahead_secs: 15,
            aux_chain_id: 0x0BB3,
            min_difficulty: U256::from(1u64 << 16),
            asert_half_life_secs: 3_600,
            gas_limit: 60_000_000,
            initial_base_fee: 1_000_000_000,
            epoch_blocks: 14_400,
            emission: Some(Emission {
                mined_total: Amount::from_bmm(1_251_000_000),
                blocks_per_era: 21_038_400,
                producer_bps: 4_500,
                resources_bps: 4_500,
                footstones_bps: 1_000,
            }),
            base_fee_to: Some(system::RESOURCES),
            jobs: Some(JobRules { max_duration_secs: 90 * DAY, claim_secs: DAY, challenge_secs: 3_600, fee_bps: 100 }),
            resources: Some(ResourceRules {
                proof_hashes: 32,
                // A million sol·h.
                sols_per_unit: 3_600_000_000,
                fee_per_unit: Amount::from_bmm(1),
                hash_bps: 6_000,
                // No more than what the hash class leaves of a pot that fees fill: see docs/economy.md.
                fee_return_bps: 4_000,
                epochs_to_double: 30,
                referral_bps: 500,
            }),
            footstones: Some(FootstoneRules {
                checkpoint_blocks: 32,
                bet_depth: 8,
                least_power: 1_000 * MICRO,
                bond_per_unit: Amount::from_bmm(1),
                least_weight: Amount::from_bmm(150_000),
                open_door_intervals: 100,
                unbonding_secs: 14 * DAY,
                bounty_bps: 400,
                lost_bet_bps: 100,
                // Of two equal halves the silent one is down to half after 22 epochs: later than bonds are free.
                leak_bps: 312,
            }),
            alloc: vec![
                Allocation { address: system::AIRDROP, balance: Amount::from_bmm(27_800_000) },
                Allocation { address: system::VESTING, balance: Amount::from_bmm(27_800_000) },
                Allocation { address: system::TREASURY, balance: Amount::from_bmm(83_400_000) },
            ],
        }
    }

    /// Returns the parameters of a private chain for development: short blocks, easy work, and the airdrop's share in `wallet`.
    pub fn dev(wallet: Address, genesis_time: u64) -> Self {
        let mut params = Self::main();
        params.name = "bmm-dev".into();
        params.chain_id = 20_191;
        params.genesis_time = genesis_time;
        params.block_secs = 1;
        params.min_difficulty = U256::from(16);
        params.asert_half_life_secs = 30;
        params.epoch_blocks = 60;
        params.jobs = Some(JobRules { max_duration_secs: 90 * DAY, claim_secs: 60, challenge_secs: 2, fee_bps: 0 });
        params.resources = params.resources.map(|rules| ResourceRules { sols_per_unit: 1_000, ..rules });
        params.footstones = params.footstones.map(|rules| FootstoneRules {
            checkpoint_blocks: 6,
            bet_depth: 2,
            least_power: 10 * MICRO,
            least_weight: Amount::from_bmm(10),
            unbonding_secs: 1_200,
            ..rules
        });
        params.alloc[0].address = wallet;
        params
    }

    /// Returns the units that exist at genesis.
    pub fn genesis_supply(&self) -> Amount {
        self.alloc.iter().map(|a| a.balance).sum()
    }

    /// Returns keccak of the parameters' postcard encoding; the genesis block's `extraData` carries it.
    pub fn digest(&self) -> B256 {
        keccak256(postcard::to_allocvec(self).expect("plain values encode"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn genesis_holds_a_tenth_and_mining_the_rest() {
        for params in [ChainParams::main(), ChainParams::dev(Address::repeat_byte(7), 1)] {
            assert_eq!(params.genesis_supply(), Amount::from_bmm(139_000_000));
            let emission = params.emission.expect("both chains emit");
            assert_eq!(params.genesis_supply().checked_add(emission.mined_total), Some(supply_cap()));
            assert_eq!(u32::from(emission.producer_bps + emission.resources_bps + emission.footstones_bps), 10_000);
        }
    }
}

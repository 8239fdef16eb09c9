//! What a block brings beside its transactions.
//!
//! The producer's share of the emission is the block's reward, `rewardType` `block`. The shares of the resource pot and of the
//! footstones' pot are `external`, as OpenEthereum called what a rule of the chain pays to somebody else; so the rewards of a
//! block add up to what it emits. The base fee, which goes to the resource pot, is nothing new and no reward.

use alloy_eips::BlockNumHash;
use alloy_primitives::B256;
use alloy_rpc_types_trace::parity::{LocalizedTransactionTrace, RewardAction, RewardType};
use bmm_ledger::emission;
use bmm_types::{ChainParams, Header};
use serde::{Serialize, Serializer, ser::Error as _};

/// One entry of a block's traces: a call, or a share of the emission.
pub(super) struct Entry {
    pub(super) trace: LocalizedTransactionTrace,
    /// Whether it is a share that is not the producer's.
    is_external: bool,
}

impl From<LocalizedTransactionTrace> for Entry {
    fn from(trace: LocalizedTransactionTrace) -> Self {
        Self { trace, is_external: false }
    }
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.is_external {
            return self.trace.serialize(serializer);
        }
        // The library has no name for it.
        let mut value = serde_json::to_value(&self.trace).map_err(S::Error::custom)?;
        value["action"]["rewardType"] = "external".into();
        value.serialize(serializer)
    }
}

/// Returns the rewards of a block; genesis has none.
pub(super) fn of(params: &ChainParams, header: &Header, id: B256) -> impl Iterator<Item = Entry> {
    let block = BlockNumHash { number: header.number, hash: id };
    // The producer's share comes first.
    emission::payments(params, header).into_iter().enumerate().map(move |(index, (author, value))| {
        let reward = RewardAction { author, reward_type: RewardType::Block, value };
        Entry { trace: reward.into_localized_trace(block), is_external: index > 0 }
    })
}

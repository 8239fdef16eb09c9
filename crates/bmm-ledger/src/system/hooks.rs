//! Calls of system contracts that the chain itself makes before a block's transactions.

use alloy_primitives::{Address, B256, Bytes};
use alloy_sol_types::SolCall;
use bmm_types::{
    ChainParams, Header,
    system::{FOOTSTONES, Footstones::onBlockCall, RESOURCES, Resources::onEpochCall},
};

/// One hook: whom it calls, when it is due at a block number, and with what, given the parent's id.
struct Hook {
    contract: Address,
    is_due: fn(&ChainParams, u64) -> bool,
    input: fn(B256) -> Vec<u8>,
}

/// The hooks, in the order in which they are called.
const HOOKS: [Hook; 2] = [
    // At block 1 and at each epoch's first block, which names the epoch's seed and closes the pot of the one before.
    Hook {
        contract: RESOURCES,
        is_due: |params, number| params.resources.is_some() && (number == 1 || begins_epoch(params, number)),
        input: |parent| onEpochCall { parent }.abi_encode(),
    },
    // After each checkpoint, whose id the contract keeps, and at each epoch's first block, which makes the set.
    Hook {
        contract: FOOTSTONES,
        is_due: |params, number| {
            params.footstones.is_some_and(|rules| {
                let after_checkpoint = number.checked_sub(1).and_then(|n| n.checked_rem(rules.checkpoint_blocks));
                after_checkpoint == Some(0) || begins_epoch(params, number)
            })
        },
        input: |parent| onBlockCall { parent }.abi_encode(),
    },
];

/// Whether the block of that number is an epoch's first, genesis not counted.
pub(crate) fn begins_epoch(params: &ChainParams, number: u64) -> bool {
    number > 0 && number.checked_rem(params.epoch_blocks) == Some(0)
}

/// Returns the hooks that are due before the transactions of the block of `header`, contract and data.
pub(crate) fn due<'a>(params: &'a ChainParams, header: &'a Header) -> impl Iterator<Item = (Address, Bytes)> + 'a {
    let due = HOOKS.iter().filter(|hook| params.jobs.is_some() && (hook.is_due)(params, header.number));
    due.map(|hook| (hook.contract, (hook.input)(header.parent_hash).into()))
}

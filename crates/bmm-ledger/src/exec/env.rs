//! The environment that a header makes for the EVM.

use super::{StateRead, header, overlay::Overlay};
use crate::system::{Builtins, hooks};
use alloy_eips::{eip2935::HISTORY_STORAGE_ADDRESS, eip4788::BEACON_ROOTS_ADDRESS};
use alloy_evm::{
    Database, EthEvm, EvmEnv,
    eth::{EthEvmBuilder, EthEvmContext},
};
use alloy_primitives::{Address, Bytes, U256};
use bmm_types::{ChainParams, Header, params::Fork};
use revm::{
    Inspector,
    context::{BlockEnv, CfgEnv},
    inspector::NoOpInspector,
    primitives::hardfork::SpecId,
};

/// The machine over a block's state.
pub(super) type Machine<'a, DB> = EthEvm<Overlay<DB>, NoOpInspector, Builtins<'a>>;

fn spec(fork: Fork) -> SpecId {
    match fork {
        Fork::Cancun => SpecId::CANCUN,
        Fork::Osaka => SpecId::OSAKA,
    }
}

/// Returns configuration and block values for executing in the block of `header`.
pub(super) fn env(params: &ChainParams, header: &Header) -> EvmEnv {
    let spec = spec(params.fork);
    let blobs = header::blob_params(params.fork);
    let fraction = u64::try_from(blobs.update_fraction).unwrap_or(u64::MAX);
    let mut cfg =
        CfgEnv::new_with_spec(spec).with_chain_id(params.chain_id).with_max_blobs_per_tx(blobs.max_blobs_per_tx);
    cfg.blob_base_fee_update_fraction = Some(fraction);
    let mut block = BlockEnv {
        number: U256::from(header.number),
        beneficiary: header.beneficiary,
        timestamp: U256::from(header.timestamp),
        gas_limit: header.gas_limit,
        basefee: header.base_fee_per_gas.unwrap_or(0),
        difficulty: header.difficulty,
        prevrandao: Some(header.mix_hash),
        ..BlockEnv::default()
    };
    block.set_blob_excess_gas_and_price(header.excess_blob_gas.unwrap_or(0), fraction);
    EvmEnv::new(cfg, block)
}

/// Begins a block's changes over `db`.
pub(super) fn overlay<DB: StateRead>(params: &ChainParams, db: DB) -> Overlay<DB> {
    // Only states that were made here are known to keep this chain's rules.
    Overlay::new(db, !header::has_fixed_fields(params))
}

/// Builds the machine: the fork's precompiles, and the system contracts where the chain has them.
pub(super) fn machine<DB: StateRead>(params: &ChainParams, env: EvmEnv, db: DB) -> Machine<'_, DB> {
    let builtins = Builtins::new(params, env.cfg_env.spec);
    let machine = EthEvmBuilder::new(overlay(params, db), env).build().into_inner();
    EthEvm::new(machine.with_precompiles(builtins), false)
}

/// Builds the same machine over any database, with an inspector that sees every step.
pub(super) fn inspected<DB: Database, I: Inspector<EthEvmContext<DB>>>(
    params: &ChainParams,
    env: EvmEnv,
    db: DB,
    inspector: I,
) -> EthEvm<DB, I, Builtins<'_>> {
    let builtins = Builtins::new(params, env.cfg_env.spec);
    let machine = EthEvmBuilder::new(db, env).inspector(inspector).build().into_inner();
    EthEvm::new(machine.with_precompiles(builtins), true)
}

/// Returns the calls that come before a block's transactions, contract and data.
///
/// EIP-2935 (from Prague on): the parent's id goes into the ring of past block ids. EIP-4788 (where there is a beacon chain): so
/// does the beacon root. Then the hooks of the system contracts.
pub(super) fn calls_before(params: &ChainParams, header: &Header) -> Vec<(Address, Bytes)> {
    let mut calls = Vec::new();
    if params.fork == Fork::Osaka {
        calls.push((HISTORY_STORAGE_ADDRESS, header.parent_hash.into()));
    }
    if let Some(root) = header.parent_beacon_block_root.filter(|_| !header::has_fixed_fields(params)) {
        calls.push((BEACON_ROOTS_ADDRESS, root.into()));
    }
    calls.extend(hooks::due(params, header));
    calls
}

/// Returns whether calls of `address` run a precompile of the fork or a system contract rather than the account's code.
pub fn is_built_in(params: &ChainParams, address: Address) -> bool {
    Builtins::new(params, spec(params.fork)).has(&address)
}

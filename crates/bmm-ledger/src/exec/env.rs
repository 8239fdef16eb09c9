//! The environment that a header makes for the EVM.

use super::{StateRead, header, overlay::Overlay};
use crate::system;
use alloy_evm::{EthEvm, EvmEnv, eth::EthEvmBuilder, precompiles::PrecompilesMap};
use alloy_primitives::U256;
use bmm_types::{ChainParams, Header, params::Fork};
use revm::{
    context::{BlockEnv, CfgEnv},
    inspector::NoOpInspector,
    precompile::{PrecompileSpecId, Precompiles},
    primitives::hardfork::SpecId,
};

/// The machine over a block's state.
pub(super) type Machine<DB> = EthEvm<Overlay<DB>, NoOpInspector, PrecompilesMap>;

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

/// Builds the machine: the fork's precompiles, and the system contracts where the chain has them.
pub(super) fn machine<DB: StateRead>(params: &ChainParams, env: EvmEnv, db: DB) -> Machine<DB> {
    let mut precompiles =
        PrecompilesMap::from_static(Precompiles::new(PrecompileSpecId::from_spec_id(env.cfg_env.spec)));
    system::install(params, &mut precompiles);
    // Only states that were made here are known to keep this chain's rules.
    let foreign = !header::has_fixed_fields(params);
    EthEvmBuilder::new(Overlay::new(db, foreign), env).precompiles(precompiles).build()
}

//! System contracts: code of the chain at fixed addresses, called as any contract is.
//!
//! The machine runs them as precompiles, which take precedence over the one byte of code that genesis gives their accounts.
//! Their storage lies in those accounts' slots as Solidity would lay it out, so that `eth_getProof` proves it.

mod frame;
mod gas;
mod jobs;
mod slots;
#[cfg(test)]
mod tests;
mod token;

use alloy_evm::precompiles::{DynPrecompile, PrecompileInput, PrecompilesMap};
use alloy_primitives::{Address, B256, U256};
use bmm_types::{
    ChainParams, Emission,
    params::JobRules,
    system::{
        ACCOUNTS, AIRDROP, APPS, CHAINS, FOOTSTONES, JOBS, RESOURCES, REVENUE, TOKEN, TREASURY, VESTING, jobs_domain,
        token_domain,
    },
};
use frame::{Frame, Stop};
use revm::precompile::{PrecompileId, PrecompileResult};

/// All addresses that belong to the system, with or without rules in this version.
pub const ADDRESSES: [Address; 11] =
    [TOKEN, ACCOUNTS, RESOURCES, FOOTSTONES, JOBS, APPS, CHAINS, REVENUE, AIRDROP, VESTING, TREASURY];

/// What the contracts need to know of the chain.
#[derive(Clone, Copy)]
struct Rules {
    chain_id: u64,
    genesis_supply: U256,
    emission: Option<Emission>,
    jobs: JobRules,
    token_separator: B256,
    jobs_separator: B256,
}

/// Installs the system contracts where the chain has them.
pub(crate) fn install(params: &ChainParams, precompiles: &mut PrecompilesMap) {
    let Some(jobs) = params.jobs else { return };
    let rules = Rules {
        chain_id: params.chain_id,
        genesis_supply: params.genesis_supply().units(),
        emission: params.emission,
        jobs,
        token_separator: token_domain(params.chain_id).separator(),
        jobs_separator: jobs_domain(params.chain_id).separator(),
    };
    precompiles.extend_precompiles([
        (TOKEN, contract("token", rules, token::run)),
        (JOBS, contract("jobs", rules, jobs::run)),
    ]);
}

/// A system contract: reads its call data, acts through the frame, returns ABI-encoded data.
type Contract = fn(&mut Frame<'_>, &Rules, &[u8]) -> Result<Vec<u8>, Stop>;

fn contract(name: &'static str, rules: Rules, run: Contract) -> DynPrecompile {
    let call = move |input: PrecompileInput<'_>| -> PrecompileResult {
        let (data, reservoir) = (input.data, input.reservoir);
        let mut frame = Frame::new(input);
        let result = frame.enter(data).and_then(|()| run(&mut frame, &rules, data));
        frame.leave(result, reservoir)
    };
    DynPrecompile::new_stateful(PrecompileId::Custom(name.into()), call)
}

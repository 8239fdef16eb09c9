//! System contracts: code of the chain at fixed addresses, called as any contract is.
//!
//! The machine runs them as precompiles, which take precedence over the one byte of code that genesis gives their accounts.
//! Their storage lies in those accounts' slots as Solidity would lay it out, so that `eth_getProof` proves it.

mod accounts;
pub(crate) mod footstones;
mod frame;
mod gas;
pub(crate) mod hooks;
mod jobs;
mod resources;
mod slots;
mod stakes;
#[cfg(test)]
mod tests;
mod token;

use crate::exec::short::Budget;
use alloy_evm::{Database, EvmInternals, eth::EthEvmContext, precompiles::PrecompileInput};
use alloy_primitives::{Address, B256, U256, map::AddressSet};
use bmm_types::{
    ChainParams, Emission,
    market::market_domain,
    params::{FootstoneRules, JobRules, ResourceRules},
    system::{
        ACCOUNTS, AIRDROP, APPS, CHAINS, FOOTSTONES, JOBS, RESOURCES, REVENUE, TOKEN, TREASURY, VESTING,
        accounts_domain, footstones_domain, jobs_domain, token_domain,
    },
};
use frame::{Frame, Stop};
use parking_lot::Mutex;
pub use resources::{Entitlement, entitlement};
use revm::{
    context::ContextTr,
    handler::{PrecompileProvider, precompile_output_to_interpreter_result},
    interpreter::{CallInputs, InterpreterResult},
    precompile::{PrecompileSpecId, Precompiles},
    primitives::hardfork::SpecId,
};
use std::sync::LazyLock;

/// All addresses that belong to the system, with or without rules in this version.
pub const ADDRESSES: [Address; 11] =
    [TOKEN, ACCOUNTS, RESOURCES, FOOTSTONES, JOBS, APPS, CHAINS, REVENUE, AIRDROP, VESTING, TREASURY];

/// What the contracts need to know of the chain.
#[derive(Clone, Copy)]
struct Rules {
    chain_id: u64,
    genesis_supply: U256,
    emission: Option<Emission>,
    epoch_blocks: u64,
    jobs: JobRules,
    resources: Option<ResourceRules>,
    footstones: Option<FootstoneRules>,
}

impl Rules {
    fn of(params: &ChainParams, jobs: JobRules) -> Self {
        Self {
            chain_id: params.chain_id,
            genesis_supply: params.genesis_supply().units(),
            emission: params.emission,
            epoch_blocks: params.epoch_blocks,
            jobs,
            resources: params.resources,
            footstones: params.footstones,
        }
    }

    /// What messages to the Token are signed for (EIP-712).
    fn token_separator(&self) -> B256 {
        token_domain(self.chain_id).separator()
    }

    /// What messages to the Accounts are signed for (EIP-712).
    fn accounts_separator(&self) -> B256 {
        accounts_domain(self.chain_id).separator()
    }

    /// What receipts of the market are signed for (EIP-712).
    fn market_separator(&self) -> B256 {
        market_domain(self.chain_id).separator()
    }

    /// What bets are signed for (EIP-712).
    fn footstones_separator(&self) -> B256 {
        footstones_domain(self.chain_id).separator()
    }

    /// What messages to the Jobs are signed for (EIP-712).
    fn jobs_separator(&self) -> B256 {
        jobs_domain(self.chain_id).separator()
    }
}

/// Says whether a chain with system contracts has a certain one.
type OnChain = fn(&ChainParams) -> bool;

/// The contracts that have rules: where they are, what they do, and on which of the chains with system contracts.
const CONTRACTS: [(Address, Contract, OnChain); 5] = [
    (TOKEN, token::run, |_| true),
    (JOBS, jobs::run, |_| true),
    (ACCOUNTS, accounts::run, |params| params.resources.is_some()),
    (RESOURCES, resources::run, |params| params.resources.is_some()),
    (FOOTSTONES, footstones::run, |params| params.footstones.is_some()),
];

/// Addresses that run without code on chains of one fork that have the same contracts.
struct Known {
    fork: PrecompileSpecId,
    has: [bool; CONTRACTS.len()],
    addresses: &'static AddressSet,
}

/// What runs without code: the fork's precompiles, and the system contracts where the chain has them. Making one costs nothing, which
/// simulated calls, each on a machine of its own, are glad of.
pub(crate) struct Builtins<'a> {
    params: &'a ChainParams,
    of_the_fork: &'static Precompiles,
    addresses: &'static AddressSet,
    /// What calls may take, if that is bounded beside their gas limit.
    budget: Option<&'a Budget>,
}

impl<'a> Builtins<'a> {
    /// Returns those of a chain.
    pub(crate) fn new(params: &'a ChainParams, spec: SpecId) -> Self {
        static KNOWN: LazyLock<Mutex<Vec<Known>>> = LazyLock::new(Mutex::default);
        let fork = PrecompileSpecId::from_spec_id(spec);
        let of_the_fork = Precompiles::new(fork);
        let has = CONTRACTS.map(|(_, _, has)| params.jobs.is_some() && has(params));
        let addresses = if params.jobs.is_none() {
            of_the_fork.addresses_set()
        } else {
            // One for each fork and kind of chain there is, kept for ever.
            let mut known = KNOWN.lock();
            let found = known.iter().find(|known| known.fork == fork && known.has == has).map(|known| known.addresses);
            found.unwrap_or_else(|| {
                let system = CONTRACTS.iter().zip(has).filter(|(_, has)| *has).map(|((address, ..), _)| *address);
                let with = of_the_fork.addresses_set().iter().copied().chain(system).collect();
                let addresses: &'static AddressSet = Box::leak(Box::new(with));
                known.push(Known { fork, has, addresses });
                addresses
            })
        };
        Self { params, of_the_fork, addresses, budget: None }
    }

    /// Bounds what calls take, see [`Budget`].
    pub(crate) fn within(self, budget: &'a Budget) -> Self {
        Self { budget: Some(budget), ..self }
    }

    /// Returns the addresses that they have.
    pub(crate) const fn addresses(&self) -> &'static AddressSet {
        self.addresses
    }

    /// Whether calls of `address` run one of them rather than the account's code.
    pub(crate) fn has(&self, address: &Address) -> bool {
        self.addresses.contains(address)
    }

    /// The system contract at an address.
    fn contract(&self, address: Address) -> Option<(Contract, Rules)> {
        let jobs = self.params.jobs?;
        let (_, run, _) = CONTRACTS.iter().find(|(known, _, has)| *known == address && has(self.params))?;
        Some((*run, Rules::of(self.params, jobs)))
    }
}

impl<DB: Database> PrecompileProvider<EthEvmContext<DB>> for Builtins<'_> {
    type Output = InterpreterResult;

    fn set_spec(&mut self, _: SpecId) -> bool {
        // A chain keeps its fork.
        false
    }

    fn run(&mut self, context: &mut EthEvmContext<DB>, call: &CallInputs) -> Result<Option<InterpreterResult>, String> {
        let address = call.bytecode_address;
        if !self.has(&address) {
            return Ok(None);
        }
        let (block, tx, cfg, journal, (), local) = context.all_mut();
        let data = call.input.as_bytes_local(local);
        // What they return depends on their gas only where it is not enough.
        let most = self.budget.map_or(u64::MAX, Budget::left);
        let gas = call.gas_limit.min(most);
        let result = if let Some(precompile) = self.of_the_fork.get(&address) {
            precompile.execute(data.as_ref(), gas, call.reservoir)
        } else if let Some((run, rules)) = self.contract(address) {
            let mut frame = Frame::new(PrecompileInput {
                data: data.as_ref(),
                gas,
                reservoir: call.reservoir,
                caller: call.caller,
                value: call.call_value(),
                is_static: call.is_static,
                internals: EvmInternals::new(journal, block, cfg, tx),
                target_address: call.target_address,
                bytecode_address: address,
            });
            let result = frame.enter(data.as_ref()).and_then(|()| run(&mut frame, &rules, data.as_ref()));
            frame.leave(result, call.reservoir)
        } else {
            return Ok(None);
        };
        let output = result.map_err(|error| error.to_string())?;
        if let Some(budget) = self.budget {
            // What fails may have worked for all its gas, and may not have failed with more.
            let starved = output.is_halt() && gas < call.gas_limit;
            if starved {
                budget.leave();
            }
            if starved || !budget.take(if output.is_halt() { gas } else { output.gas_used }) {
                return Err("more than a short call".to_owned());
            }
        }
        Ok(Some(precompile_output_to_interpreter_result(output, call.gas_limit)))
    }

    fn warm_addresses(&self) -> &AddressSet {
        self.addresses
    }

    fn contains(&self, address: &Address) -> bool {
        self.has(address)
    }
}

/// A system contract: reads its call data, acts through the frame, returns ABI-encoded data.
type Contract = fn(&mut Frame<'_>, &Rules, &[u8]) -> Result<Vec<u8>, Stop>;

//! One of Ethereum's blockchain tests, run through the import that every block takes.

use alloy_primitives::{Address, B256, Bytes, U64, U256, keccak256};
use bmm_chain::{Chain, ChainOptions, ManualClock};
use bmm_ledger::{
    ExecMode,
    diff::{Account, AccountDiff, StateDiff},
    store::StateView,
};
use bmm_types::{Block, ChainParams, Engine, Seal, SealedBlock, params::Fork};
use serde::Deserialize;
use std::{collections::BTreeMap, sync::Arc};

/// One case, without the fields that nothing here has a use for.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Case {
    #[serde(rename = "genesisRLP")]
    genesis: Bytes,
    pre: BTreeMap<Address, State>,
    blocks: Vec<Step>,
    #[serde(rename = "lastblockhash")]
    last: B256,
    post_state: Option<BTreeMap<Address, State>>,
    post_state_hash: Option<B256>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Step {
    rlp: Bytes,
    expect_exception: Option<String>,
}

#[derive(Deserialize)]
struct State {
    nonce: U64,
    balance: U256,
    code: Bytes,
    storage: BTreeMap<U256, U256>,
}

impl State {
    fn account(&self) -> Account {
        Account { nonce: self.nonce.to(), balance: self.balance, code_hash: keccak256(&self.code) }
    }
}

/// Returns the fork whose rules a test's `network` names, if they are among those that the ledger knows.
pub fn fork(network: &str) -> Option<Fork> {
    match network {
        "Cancun" => Some(Fork::Cancun),
        "Osaka" => Some(Fork::Osaka),
        _ => None,
    }
}

/// Ethereum, as far as parameters go.
fn params(fork: Fork) -> ChainParams {
    ChainParams {
        name: "ethereum".into(),
        chain_id: 1,
        engine: Engine::NoSeal,
        fork,
        emission: None,
        base_fee_to: None,
        jobs: None,
        resources: None,
        footstones: None,
        alloc: Vec::new(),
        ..ChainParams::main()
    }
}

fn state(pre: &BTreeMap<Address, State>) -> StateDiff {
    let mut diff = StateDiff::default();
    for (&address, state) in pre {
        let slots = state.storage.iter().filter(|(_, value)| !value.is_zero());
        let storage = slots.map(|(&slot, &value)| (slot, (U256::ZERO, value))).collect();
        let after = Some(state.account());
        diff.accounts.insert(address, AccountDiff { after, storage, ..AccountDiff::default() });
        diff.code.insert(keccak256(&state.code), state.code.clone());
    }
    diff
}

impl Case {
    /// Runs the case; an error says what differs.
    pub fn run(&self, fork: Fork, exec: ExecMode) -> Result<(), String> {
        let genesis: Block = alloy_rlp::decode_exact(&self.genesis).map_err(|error| format!("genesis: {error}"))?;
        let (clock, options) = (Arc::new(ManualClock::default()), ChainOptions { exec, ..ChainOptions::default() });
        let chain = Chain::in_memory_from(params(fork), genesis, state(&self.pre), clock, options)
            .map_err(|error| format!("genesis: {error}"))?;
        for (index, step) in self.blocks.iter().enumerate() {
            let block = alloy_rlp::decode_exact::<Block>(&step.rlp).map_err(|error| error.to_string());
            let taken = block.and_then(|block| {
                chain.import(&SealedBlock { block, seal: Seal::None }).map_err(|error| error.to_string())
            });
            match (taken, &step.expect_exception) {
                (Ok(_), None) | (Err(_), Some(_)) => {}
                (Ok(_), Some(rule)) => return Err(format!("block {index} was taken, against {rule}")),
                (Err(error), None) => return Err(format!("block {index}: {error}")),
            }
        }
        let head = chain.head();
        if head.id != self.last {
            return Err(format!("head {} should be {}", head.id, self.last));
        }
        if self.post_state_hash.is_some_and(|root| root != head.header.state_root) {
            return Err(format!("state root {}", head.header.state_root));
        }
        let view = chain.state(head.id.into()).map_err(|error| error.to_string())?;
        self.post_state.iter().flatten().try_for_each(|(address, state)| compare(&view, *address, state))
    }
}

/// The state root is checked by the import already; this shows that reads agree with it.
fn compare(view: &StateView, address: Address, wanted: &State) -> Result<(), String> {
    let got = view.account(address).map_err(|error| error.to_string())?;
    if got != Some(wanted.account()) {
        return Err(format!("account {address} is {got:?}"));
    }
    for (&slot, &value) in &wanted.storage {
        let got = view.storage(address, slot).map_err(|error| error.to_string())?;
        if got != value {
            return Err(format!("slot {slot} of {address} is {got}, not {value}"));
        }
    }
    Ok(())
}

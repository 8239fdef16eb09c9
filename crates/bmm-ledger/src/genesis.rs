//! The first block and the state that it begins with.

use crate::{
    diff::{Account, AccountDiff, StateDiff},
    exec::header,
    system,
};
use alloy_consensus::EMPTY_ROOT_HASH;
use alloy_eips::eip2935::{HISTORY_STORAGE_ADDRESS, HISTORY_STORAGE_CODE};
use alloy_primitives::{B256, Bytes, U256, keccak256};
use bmm_types::{Block, BlockBody, ChainParams, Header, params::Fork};

/// Code of the system contracts' accounts: the opcode INVALID.
///
/// Some byte must be there, so that EXTCODESIZE tells a contract and callers compiled by Solidity agree to call. Addresses
/// whose rules come with a later version refuse every call and every coin sent until then.
const SYSTEM_CODE: [u8; 1] = [0xfe];

/// Returns the state at genesis as a change of the empty state: the allocation, the accounts of the system contracts (where
/// the chain has them), and the contract of past block ids (EIP-2935, from Osaka on).
///
/// The EIP-2935 contract is there because contracts of the wider world rely on it and because a bridge reads past
/// block ids with it; it costs one slot a block. The beacon root's contract (EIP-4788) and those of execution requests
/// (EIP-7002, EIP-7251) are not there: there is no beacon chain.
pub fn genesis_diff(params: &ChainParams) -> StateDiff {
    let mut diff = StateDiff::default();
    for allocation in &params.alloc {
        let account = account_mut(&mut diff, allocation.address);
        account.balance = account.balance.saturating_add(allocation.balance.units());
    }
    if params.jobs.is_some() {
        for address in system::ADDRESSES {
            set_code(&mut diff, address, Bytes::from_static(&SYSTEM_CODE));
        }
    }
    if params.fork == Fork::Osaka && header::has_fixed_fields(params) {
        set_code(&mut diff, HISTORY_STORAGE_ADDRESS, HISTORY_STORAGE_CODE.clone());
    }
    diff.accounts.retain(|_, account| account.after.is_some_and(|after| !after.is_empty()));
    diff
}

fn account_mut(diff: &mut StateDiff, address: alloy_primitives::Address) -> &mut Account {
    let entry = diff
        .accounts
        .entry(address)
        .or_insert_with(|| AccountDiff { after: Some(Account::default()), ..AccountDiff::default() });
    entry.after.get_or_insert_default()
}

fn set_code(diff: &mut StateDiff, address: alloy_primitives::Address, code: Bytes) {
    let code_hash = keccak256(&code);
    let account = account_mut(diff, address);
    account.nonce = 1;
    account.code_hash = code_hash;
    diff.code.insert(code_hash, code);
}

/// Returns the genesis block over `state_root`, the root of [`genesis_diff`]'s state. `extraData` holds the digest of the
/// parameters, so that chains of different parameters have different ids.
pub fn genesis_block(params: &ChainParams, state_root: B256) -> Block {
    let header = Header {
        state_root,
        difficulty: params.min_difficulty,
        gas_limit: params.gas_limit,
        timestamp: params.genesis_time,
        extra_data: params.digest().into(),
        base_fee_per_gas: Some(params.initial_base_fee),
        withdrawals_root: Some(EMPTY_ROOT_HASH),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(B256::ZERO),
        requests_hash: header::empty_requests_hash(params.fork),
        ..Header::default()
    };
    let body = BlockBody { transactions: Vec::new(), ommers: Vec::new(), withdrawals: Some(Vec::new().into()) };
    Block { header, body }
}

/// Returns the sum of all balances at genesis, in units.
pub fn genesis_supply(params: &ChainParams) -> U256 {
    params.genesis_supply().units()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::Address;
    use bmm_types::{Engine, system as abi};

    #[test]
    fn the_public_chain_begins_with_its_allocation() {
        let params = ChainParams::main();
        let diff = genesis_diff(&params);
        let sum: U256 = diff.accounts.values().filter_map(|a| a.after).map(|a| a.balance).sum();
        assert_eq!(sum, params.genesis_supply().units());
        let treasury = diff.accounts[&abi::TREASURY].after.expect("listed");
        assert_eq!((treasury.nonce, treasury.code_hash), (1, keccak256([0xfe])));
        let history = diff.accounts[&HISTORY_STORAGE_ADDRESS].after.expect("listed");
        assert_eq!(diff.code[&history.code_hash], HISTORY_STORAGE_CODE);
    }

    #[test]
    fn the_header_binds_the_parameters() {
        let (main, dev) = (ChainParams::main(), ChainParams::dev(Address::repeat_byte(1), 7));
        let block = genesis_block(&main, B256::repeat_byte(2));
        assert_eq!(block.header.extra_data, Bytes::from(main.digest()));
        assert_eq!(block.header.difficulty, main.min_difficulty);
        let other = genesis_block(&dev, B256::repeat_byte(2));
        assert_ne!(block.header.hash_slow(), other.header.hash_slow());
    }

    #[test]
    fn a_chain_without_jobs_has_no_system_accounts() {
        let params = ChainParams {
            engine: Engine::NoSeal,
            jobs: None,
            resources: None,
            footstones: None,
            ..ChainParams::main()
        };
        let diff = genesis_diff(&params);
        assert_eq!(diff.accounts.len(), params.alloc.len());
        assert!(diff.code.is_empty());
    }
}

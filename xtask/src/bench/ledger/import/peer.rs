//! The peer: revm alone, on the same state in memory.

use super::{
    Measured, Pace, Stopwatch,
    prepare::{BALANCE, Contents},
    workload::account,
};
use crate::bench::{Outcome, ledger::server::memory_peak_of};
use alloy_evm::FromRecoveredTx as _;
use alloy_primitives::{Address, U256};
use bmm_ledger::exec::recover_senders;
use bmm_types::SealedBlock;
use revm::{
    Context, ExecuteCommitEvm as _, MainBuilder as _, MainContext as _, MainnetEvm,
    context::{BlockEnv, CfgEnv, TxEnv},
    database::{CacheDB, EmptyDB},
    primitives::hardfork::SpecId,
    state::AccountInfo,
};
use std::time::Instant;

/// Runs all transactions of the prepared blocks.
pub fn run(contents: &Contents) -> Outcome<Measured> {
    let mut state = CacheDB::new(EmptyDB::default());
    let mut put = |address: Address, balance: U256| {
        state.insert_account_info(address, AccountInfo { balance, ..AccountInfo::default() });
    };
    contents.params.alloc.iter().for_each(|allocation| put(allocation.address, allocation.balance.units()));
    (0..contents.accounts).for_each(|index| put(account(index), U256::from(BALANCE)));

    let cfg = CfgEnv::new_with_spec(SpecId::OSAKA).with_chain_id(contents.params.chain_id);
    let mut machine = Context::mainnet().with_db(state).with_cfg(cfg).build_mainnet();
    for block in &contents.setup {
        execute(&mut machine, block, &recover_senders(&block.block.body.transactions)?)?;
    }
    let mut kinds = Vec::new();
    for blocks in &contents.load {
        let mut pace = Pace::of(blocks);
        let clock = Stopwatch::start();
        for block in blocks {
            let recovery = Instant::now();
            let senders = recover_senders(&block.block.body.transactions)?;
            pace.recovery_secs += recovery.elapsed().as_secs_f64();
            execute(&mut machine, block, &senders)?;
        }
        clock.stop(&mut pace);
        kinds.push(pace);
    }
    Ok(Measured { kinds, memory_bytes: memory_peak_of(std::process::id())? })
}

type Machine = MainnetEvm<Context<BlockEnv, TxEnv, CfgEnv, CacheDB<EmptyDB>>>;

/// Executes a block's transactions, and checks that they used the gas that its header says.
fn execute(machine: &mut Machine, block: &SealedBlock, senders: &[Address]) -> Outcome<()> {
    let header = &block.block.header;
    machine.ctx.block = BlockEnv {
        number: U256::from(header.number),
        beneficiary: header.beneficiary,
        timestamp: U256::from(header.timestamp),
        gas_limit: header.gas_limit,
        basefee: header.base_fee_per_gas.unwrap_or_default(),
        difficulty: header.difficulty,
        prevrandao: Some(header.mix_hash),
        ..BlockEnv::default()
    };
    let mut gas = 0;
    for (transaction, sender) in block.block.body.transactions.iter().zip(senders) {
        let done = machine.transact_commit(TxEnv::from_recovered_tx(transaction, *sender))?;
        gas += done.tx_gas_used();
    }
    if gas == header.gas_used {
        Ok(())
    } else {
        Err(format!("revm used {gas} gas in block {}, whose header says {}", header.number, header.gas_used).into())
    }
}

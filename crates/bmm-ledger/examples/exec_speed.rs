//! Prints how many transactions a second blocks are executed at, beside revm alone on the same transactions.
//!
//! `cargo run --release -p bmm-ledger --example exec_speed [TRANSACTIONS] [ACCOUNTS] [RUNS] [LOAD]`; the fastest of the
//! runs counts, and LOAD is a part of the name of those that are wanted.
#![expect(clippy::print_stdout, reason = "an example prints its results")]

use alloy_consensus::{SignableTransaction, TxEip1559, crypto::secp256k1};
use alloy_evm::FromRecoveredTx;
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256, keccak256, map::HashMap};
use bmm_ledger::{
    BlockBuilder, BlockPlan, ExecError, Executed, TxOutcome,
    diff::{Account, AccountDiff, StateDiff},
    exec::{ExecMode, StateRead, execute_block_with, recover_senders},
    genesis,
    store::Store,
};
use bmm_types::{Block, ChainParams, Header, Seal, SealedBlock, Transaction};
use revm::{
    Context, DatabaseRef, ExecuteCommitEvm, MainBuilder, MainContext,
    context::TxEnv,
    database::{CacheDB, EmptyDB},
    primitives::hardfork::SpecId,
    state::{AccountInfo, Bytecode},
};
use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Transfers as OpenZeppelin's ERC-20 does them: two balances, one event.
const TOKEN: Address = Address::repeat_byte(0x70);
/// Every call adds one to one slot.
const COUNTER: Address = Address::repeat_byte(0xc0);
/// Every call hashes in a loop and keeps the result in a slot of the caller's.
const BUSY: Address = Address::repeat_byte(0xb5);

/// A state as plain maps.
#[derive(Default)]
struct Memory {
    accounts: HashMap<Address, Account>,
    slots: HashMap<(Address, U256), U256>,
    code: HashMap<B256, Bytecode>,
}

impl Memory {
    fn new(diff: &StateDiff) -> Self {
        let mut this = Self::default();
        for (&address, change) in &diff.accounts {
            this.accounts.extend(change.after.map(|after| (address, after)));
            this.slots.extend(change.storage.iter().map(|(&slot, &(_, value))| ((address, slot), value)));
        }
        this.code.extend(diff.code.iter().map(|(&hash, code)| (hash, Bytecode::new_raw(code.clone()))));
        this
    }
}

impl StateRead for Memory {
    fn has_storage(&self, address: Address) -> Result<bool, Infallible> {
        Ok(self.slots.keys().any(|(owner, _)| *owner == address))
    }
}

impl DatabaseRef for Memory {
    type Error = Infallible;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, Infallible> {
        Ok(self.accounts.get(&address).map(|a| AccountInfo {
            balance: a.balance,
            nonce: a.nonce,
            code_hash: a.code_hash,
            code: None,
            account_id: None,
        }))
    }

    fn code_by_hash_ref(&self, hash: B256) -> Result<Bytecode, Infallible> {
        Ok(self.code.get(&hash).cloned().unwrap_or_default())
    }

    fn storage_ref(&self, address: Address, slot: U256) -> Result<U256, Infallible> {
        Ok(self.slots.get(&(address, slot)).copied().unwrap_or_default())
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, Infallible> {
        Ok(keccak256(number.to_be_bytes()))
    }
}

fn account(index: u64) -> Address {
    Address::from_word(keccak256(index.to_be_bytes()))
}

/// Slot of a balance in [`TOKEN`]: keccak(owner, 0).
fn balance_slot(owner: Address) -> U256 {
    let mut words = [0u8; 64];
    words[12..32].copy_from_slice(owner.as_slice());
    keccak256(words).into()
}

/// transfer(to at 4, amount at 36).
fn token_code() -> Vec<u8> {
    let mut code = vec![
        0x60, 0x24, 0x35, // amount
        0x33, 0x5f, 0x52, 0x60, 0x40, 0x5f, 0x20, // keccak(caller, 0)
        0x80, 0x54, // amount, slot, balance
        0x82, 0x81, 0x10, // balance < amount
    ];
    let fail = code.len();
    code.extend([0x60, 0, 0x57]); // → revert
    code.extend([0x82, 0x90, 0x03, 0x90, 0x55]); // slot ← balance - amount
    code.extend([0x60, 0x04, 0x35, 0x5f, 0x52, 0x60, 0x40, 0x5f, 0x20]); // keccak(to, 0)
    code.extend([0x80, 0x54, 0x82, 0x01, 0x90, 0x55]); // slot ← balance + amount
    code.extend([0x5f, 0x52, 0x60, 0x04, 0x35, 0x33, 0x7f]); // memory ← amount; to, caller, topic
    code.extend_from_slice(keccak256("Transfer(address,address,uint256)").as_slice());
    code.extend([0x60, 0x20, 0x5f, 0xa3]); // log3
    code.extend([0x60, 0x01, 0x5f, 0x52, 0x60, 0x20, 0x5f, 0xf3]); // return true
    code[fail + 1] = u8::try_from(code.len()).expect("short");
    code.extend([0x5b, 0x5f, 0x5f, 0xfd]);
    code
}

const COUNTER_CODE: [u8; 8] = [0x5f, 0x54, 0x60, 0x01, 0x01, 0x5f, 0x55, 0x00];

/// 200 times keccak over 64 bytes, then a slot.
fn busy_code() -> Vec<u8> {
    let mut code =
        vec![0x60, 200, 0x5b, 0x60, 0x40, 0x5f, 0x20, 0x5f, 0x52, 0x60, 0x01, 0x90, 0x03, 0x80, 0x60, 2, 0x57];
    code.extend([0x5f, 0x51, 0x33, 0x55, 0x00]);
    code
}

/// What the transactions do.
struct Load {
    name: &'static str,
    /// Sender and request of the transaction at an index.
    make: fn(u64) -> (u64, TxKind, U256, Bytes),
}

fn token_transfer(to: u64) -> Bytes {
    let mut data = vec![0xa9, 0x05, 0x9c, 0xbb];
    data.extend_from_slice(account(to).into_word().as_slice());
    data.extend_from_slice(&U256::from(1).to_be_bytes::<32>());
    data.into()
}

const LOADS: [Load; 7] = [
    Load { name: "transfers, all apart", make: |i| (2 * i, TxKind::Call(account(2 * i + 1)), U256::ONE, Bytes::new()) },
    Load {
        name: "transfers, 10 senders, many recipients",
        make: |i| (i % 10, TxKind::Call(account(1_000 + i)), U256::ONE, Bytes::new()),
    },
    Load {
        name: "transfers among 10 accounts",
        make: |i| (i % 10, TxKind::Call(account((i * 7 + 3) % 10)), U256::ONE, Bytes::new()),
    },
    Load { name: "ERC-20, all apart", make: |i| (2 * i, TxKind::Call(TOKEN), U256::ZERO, token_transfer(2 * i + 1)) },
    Load {
        name: "ERC-20 among 1,000 accounts",
        make: |i| ((i * 31) % 1_000, TxKind::Call(TOKEN), U256::ZERO, token_transfer((i * 17 + 5) % 1_000)),
    },
    Load { name: "calls of one counter", make: |i| (i, TxKind::Call(COUNTER), U256::ZERO, Bytes::new()) },
    Load { name: "calls of 20,000 steps, apart", make: |i| (i, TxKind::Call(BUSY), U256::ZERO, Bytes::new()) },
];

fn state(params: &ChainParams, accounts: u64) -> StateDiff {
    let mut diff = genesis::genesis_diff(params);
    let rich = Account { balance: U256::from(10).pow(U256::from(24)), ..Account::default() };
    for index in 0..accounts {
        diff.accounts.insert(account(index), AccountDiff { after: Some(rich), ..AccountDiff::default() });
    }
    for (address, code) in [(TOKEN, token_code()), (COUNTER, COUNTER_CODE.to_vec()), (BUSY, busy_code())] {
        let code_hash = keccak256(&code);
        let after = Some(Account { nonce: 1, code_hash, ..Account::default() });
        diff.accounts.insert(address, AccountDiff { after, ..AccountDiff::default() });
        diff.code.insert(code_hash, code.into());
    }
    let balances = (0..accounts).map(|index| (balance_slot(account(index)), (U256::ZERO, U256::from(1_000_000))));
    diff.accounts.entry(TOKEN).or_default().storage = balances.collect();
    diff
}

fn transactions(params: &ChainParams, load: &Load, count: u64) -> Vec<(Transaction, Address)> {
    let mut nonces: HashMap<u64, u64> = HashMap::default();
    let mut all = Vec::new();
    for index in 0..count {
        let (sender, to, value, input) = (load.make)(index);
        let nonce = nonces.entry(sender).or_default();
        let tx = TxEip1559 {
            chain_id: params.chain_id,
            nonce: *nonce,
            gas_limit: 100_000,
            max_fee_per_gas: 20_000_000_000,
            max_priority_fee_per_gas: 1_000_000_000,
            to,
            value,
            input,
            ..TxEip1559::default()
        };
        *nonce += 1;
        all.push((tx.into_signed(Signature::test_signature()).into(), account(sender)));
    }
    all
}

fn build<DB: StateRead>(
    params: &ChainParams,
    parent: &Header,
    state: DB,
    transactions: &[(Transaction, Address)],
) -> Outcome<Block> {
    let plan = BlockPlan {
        beneficiary: Address::repeat_byte(0xbb),
        timestamp: parent.timestamp + 6,
        gas_limit: params.gas_limit,
        ..BlockPlan::default()
    };
    let mut builder = BlockBuilder::begin(params, parent, plan, state)?;
    for (tx, sender) in transactions {
        match builder.try_add(tx, *sender)? {
            TxOutcome::Included { success: true, .. } => {}
            other => return Err(format!("{other:?}").into()),
        }
    }
    let built = builder.finish()?;
    Ok(Block { header: built.header, body: built.body })
}

/// Runs `each` several times and returns the time of the fastest.
fn fastest<T>(runs: u32, mut each: impl FnMut() -> Outcome<(Duration, T)>) -> Outcome<Duration> {
    let mut best = Duration::MAX;
    for _ in 0..runs {
        best = best.min(each()?.0);
    }
    Ok(best)
}

fn revm_alone(
    params: &ChainParams,
    block: &Block,
    senders: &[Address],
    memory: &Memory,
    runs: u32,
) -> Outcome<Duration> {
    let mut filled = CacheDB::new(EmptyDB::default());
    for address in memory.accounts.keys() {
        let mut info = memory.basic_ref(*address)?.unwrap_or_default();
        info.code = memory.code.get(&info.code_hash).cloned();
        filled.insert_account_info(*address, info);
    }
    for ((address, slot), value) in &memory.slots {
        filled.insert_account_storage(*address, *slot, *value)?;
    }
    fastest(runs, || {
        let mut evm = Context::mainnet()
            .with_db(filled.clone())
            .modify_cfg_chained(|cfg| {
                cfg.chain_id = params.chain_id;
                cfg.set_spec_and_mainnet_gas_params(SpecId::OSAKA);
            })
            .modify_block_chained(|env| {
                env.number = U256::from(block.header.number);
                env.timestamp = U256::from(block.header.timestamp);
                env.beneficiary = block.header.beneficiary;
                env.gas_limit = block.header.gas_limit;
                env.basefee = block.header.base_fee_per_gas.unwrap_or(0);
            })
            .build_mainnet();
        let start = Instant::now();
        let mut gas = 0;
        for (tx, sender) in block.body.transactions.iter().zip(senders) {
            gas += evm.transact_commit(TxEnv::from_recovered_tx(tx, *sender))?.tx_gas_used();
        }
        let took = start.elapsed();
        if gas == block.header.gas_used { Ok((took, evm)) } else { Err("revm alone uses other gas".into()) }
    })
}

fn ours<DB: StateRead>(
    runs: u32,
    mut state: impl FnMut() -> DB,
    execute: impl Fn(DB) -> Result<Executed, ExecError>,
) -> Outcome<Duration> {
    fastest(runs, || {
        let state = state();
        let start = Instant::now();
        let executed = execute(state)?;
        Ok((start.elapsed(), executed))
    })
}

fn rate(count: usize, time: Duration) -> f64 {
    f64::from(u32::try_from(count).expect("few")) / time.as_secs_f64()
}

fn recovery(params: &ChainParams, runs: u32) -> Outcome<()> {
    let signed: Vec<Transaction> = (1u64..=1_000)
        .map(|key| {
            let tx = TxEip1559 { chain_id: params.chain_id, nonce: key, ..TxEip1559::default() };
            let signature = secp256k1::sign_message(B256::from(U256::from(key)), tx.signature_hash())?;
            Ok(tx.into_signed(signature).into())
        })
        .collect::<Outcome<_>>()?;
    let took = fastest(runs, || {
        let start = Instant::now();
        let senders = recover_senders(&signed)?;
        Ok((start.elapsed(), senders))
    })?;
    println!("recovery of 1,000 senders: {:.0}/s", rate(1_000, took));
    Ok(())
}

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| arguments.next().map_or(Ok(default), |text| text.parse());
    let (count, accounts, runs) = (number(1_000)?, number(20_000)?, u32::try_from(number(30)?)?);
    let wanted = arguments.next().unwrap_or_default();
    let mut params = ChainParams::dev(Address::repeat_byte(0xdd), 1_000_000);
    params.gas_limit = 1_000_000_000;
    let diff = state(&params, accounts.max(2 * count));
    let memory = Memory::new(&diff);
    let folder = tempfile::tempdir()?;
    let store = Store::open(folder.path(), params.digest())?;
    let root = store.stage(B256::ZERO, diff.clone())?.root();
    let parent = genesis::genesis_block(&params, root);
    store.init(&SealedBlock { block: parent.clone(), seal: Seal::None }, diff)?;

    if "recovery".contains(&wanted) {
        recovery(&params, runs)?;
    }
    println!(
        "{count} transactions, {accounts} accounts, thousands of transactions a second, the fastest of {runs} runs"
    );
    println!("{:40}{:>7}{:>16}{:>16}{:>16}{:>16}", "", "revm", "memory", "2 threads", "store", "2 threads");
    for load in LOADS.iter().filter(|load| load.name.contains(&wanted)) {
        let transactions = transactions(&params, load, count);
        let senders: Vec<Address> = transactions.iter().map(|(_, sender)| *sender).collect();
        let block = build(&params, &parent.header, &memory, &transactions)?;
        let plain = rate(transactions.len(), revm_alone(&params, &block, &senders, &memory, runs)?);
        print!("{:40}{:>7.0}", load.name, plain / 1e3);
        let show = |time| {
            let rate = rate(transactions.len(), time);
            print!("{:>10.0} {:>4.0}%", rate / 1e3, 100.0 * rate / plain);
        };
        for mode in [ExecMode::Sequential, ExecMode::Parallel { threads: 2 }] {
            show(ours(runs, || &memory, |state| execute_block_with(&params, &block, &senders, state, mode))?);
        }
        for mode in [ExecMode::Sequential, ExecMode::Parallel { threads: 2 }] {
            let view = || store.view().expect("open");
            show(ours(runs, view, |state| execute_block_with(&params, &block, &senders, state, mode))?);
        }
        println!();
    }
    Ok(())
}

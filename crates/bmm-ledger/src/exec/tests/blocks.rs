//! What blocks do beside their transactions, and how wrong ones are named.

use crate::{
    diff::{Account, AccountDiff, StateDiff},
    emission,
    exec::{
        BlockBuilder, BlockError, BlockPlan, ExecError, StateRead, TxError, TxOutcome, execute_block, recover_senders,
    },
    testkit::{GAS, MINER, MemState, Person, Send, World, deployer},
};
use alloy_consensus::{SignableTransaction, TxLegacy};
use alloy_eips::{eip2935::HISTORY_STORAGE_ADDRESS, eip4895::Withdrawal, eip7685::EMPTY_REQUESTS_HASH};
use alloy_evm::ErasedError;
use alloy_primitives::{Address, B256, Bloom, Bytes, Signature, TxKind, U256};
use bmm_types::{Block, ChainParams, Engine, Transaction, params::Fork, system};
use revm::{
    DatabaseRef,
    state::{AccountInfo, Bytecode},
};

/// A chain and the next valid block on it, holding one transfer.
fn valid() -> (World, Block, Address) {
    let person = Person::new(0);
    let world = World::new(&[person]);
    let plan = BlockPlan { beneficiary: MINER, timestamp: world.now, gas_limit: 60_000_000, ..BlockPlan::default() };
    let mut builder = BlockBuilder::begin(&world.params, &world.head, plan, &world.state).expect("readable");
    let send = Send::new(person.address, Address::repeat_byte(5), U256::from(1), Bytes::new());
    builder.try_add(&send.transaction(world.params.chain_id, 0), person.address).expect("readable");
    let built = builder.finish().expect("readable");
    (world, Block { header: built.header, body: built.body }, person.address)
}

fn error_of(change: impl FnOnce(&mut Block)) -> BlockError {
    let (world, mut block, sender) = valid();
    change(&mut block);
    match execute_block(&world.params, &block, &[sender], &world.state) {
        Err(ExecError::Invalid(error)) => error,
        other => panic!("should be invalid, was {other:?}"),
    }
}

#[test]
fn names_what_the_header_got_wrong() {
    assert_eq!(error_of(|b| b.header.gas_used += 1), BlockError::GasUsed { got: 21_001, expected: 21_000 });
    assert!(matches!(error_of(|b| b.header.receipts_root = B256::ZERO), BlockError::ReceiptsRoot { .. }));
    assert_eq!(error_of(|b| b.header.logs_bloom = Bloom::repeat_byte(1)), BlockError::LogsBloom);
    let wrong = error_of(|b| b.header.requests_hash = None);
    assert_eq!(wrong, BlockError::RequestsHash { got: None, expected: Some(EMPTY_REQUESTS_HASH) });
    let wrong = error_of(|b| b.header.blob_gas_used = Some(7));
    assert_eq!(wrong, BlockError::BlobGasUsed { got: Some(7), expected: 0 });
    let twice = error_of(|b| b.body.transactions.push(b.body.transactions[0].clone()));
    assert_eq!(twice, BlockError::Senders { senders: 1, transactions: 2 });
    let (world, mut block, sender) = valid();
    block.body.transactions.push(block.body.transactions[0].clone());
    let error = execute_block(&world.params, &block, &[sender, sender], &world.state).expect_err("the same nonce");
    assert_eq!(
        error.to_string(),
        "the block is invalid: transaction 1: nonce 0 is used already, the account's next is 1"
    );
}

#[test]
fn no_coins_come_by_withdrawal() {
    let withdrawal = Withdrawal { amount: 1, ..Withdrawal::default() };
    let error = error_of(|b| b.body.withdrawals = Some(vec![withdrawal].into()));
    assert_eq!(error, BlockError::Field { field: "withdrawals", must: "empty" });
}

#[test]
fn fees_and_emission_arrive() {
    let (mut world, block, sender) = valid();
    let before = world.state.balance(sender);
    let pot = world.state.balance(system::RESOURCES);
    let executed = execute_block(&world.params, &block, &[sender], &world.state).expect("valid");
    world.state.apply(&executed.diff);
    let reward = emission::reward(world.params.emission.as_ref().expect("emits"), 1);
    let base_fee = block.header.base_fee_per_gas.expect("has one");
    let (gas, tip) = (U256::from(21_000), U256::from(1_000_000_000));
    assert_eq!(world.state.balance(MINER), reward.producer + gas * tip);
    assert_eq!(world.state.balance(system::RESOURCES) - pot, reward.resources + gas * U256::from(base_fee));
    assert_eq!(world.state.balance(system::FOOTSTONES), reward.footstones);
    assert_eq!(before - world.state.balance(sender), U256::from(1) + gas * (tip + U256::from(base_fee)));
}

#[test]
fn the_parents_id_is_kept() {
    let (mut world, block, sender) = valid();
    let executed = execute_block(&world.params, &block, &[sender], &world.state).expect("valid");
    world.state.apply(&executed.diff);
    // EIP-2935: block 1 writes its parent's id at (1 - 1) mod 8191.
    assert_eq!(world.state.slot(HISTORY_STORAGE_ADDRESS, U256::ZERO), U256::from_be_bytes(world.head.hash_slow().0));
}

/// A foreign chain: nothing of ours, no emission.
fn foreign(fork: Fork) -> ChainParams {
    let dev = ChainParams::dev(Address::repeat_byte(1), 1_000);
    ChainParams {
        engine: Engine::NoSeal,
        fork,
        emission: None,
        base_fee_to: None,
        jobs: None,
        resources: None,
        footstones: None,
        ..dev
    }
}

#[test]
fn foreign_blocks_credit_withdrawals() {
    for fork in [Fork::Cancun, Fork::Osaka] {
        let params = foreign(fork);
        let world = World::with_params(params);
        let plan = BlockPlan { timestamp: world.now, gas_limit: 60_000_000, ..BlockPlan::default() };
        let built = BlockBuilder::begin(&world.params, &world.head, plan, &world.state).expect("readable");
        let built = built.finish().expect("readable");
        let mut block = Block { header: built.header, body: built.body };
        let address = Address::repeat_byte(4);
        let withdrawal = Withdrawal { index: 0, validator_index: 0, address, amount: 3 };
        block.body.withdrawals = Some(vec![withdrawal].into());
        let executed = execute_block(&world.params, &block, &[], &world.state).expect("valid");
        let after = executed.diff.accounts[&address].after.expect("credited");
        assert_eq!(after.balance, U256::from(3_000_000_000u64));
        assert_eq!(executed.requests_hash, (fork == Fork::Osaka).then_some(EMPTY_REQUESTS_HASH));
    }
}

#[test]
fn a_balance_does_not_overflow() {
    let params = foreign(Fork::Cancun);
    let mut world = World::with_params(params);
    let rich = Address::repeat_byte(4);
    let mut diff = crate::diff::StateDiff::default();
    let account = Account { balance: U256::MAX, ..Account::default() };
    diff.accounts.entry(rich).or_default().after = Some(account);
    world.state.apply(&diff);
    let plan = BlockPlan { timestamp: world.now, gas_limit: 60_000_000, ..BlockPlan::default() };
    let built = BlockBuilder::begin(&world.params, &world.head, plan, &world.state).expect("readable");
    let built = built.finish().expect("readable");
    let mut block = Block { header: built.header, body: built.body };
    block.body.withdrawals = Some(vec![Withdrawal { address: rich, amount: 1, ..Withdrawal::default() }].into());
    let error = execute_block(&world.params, &block, &[], &world.state).expect_err("too much");
    assert!(matches!(error, ExecError::Invalid(BlockError::BalanceOverflow(address)) if address == rich));
}

/// EIP-7610: a contract is not created over storage, wherever that comes from.
#[test]
fn nothing_is_created_over_storage() {
    let person = Person::new(0);
    let params = ChainParams {
        engine: Engine::NoSeal,
        jobs: None,
        resources: None,
        footstones: None,
        emission: None,
        ..World::new(&[person]).params
    };
    let mut world = World::with_params(params);
    let target = person.address.create(0);
    let account = Account { balance: U256::from(7), ..Account::default() };
    let storage = [(U256::from(1), (U256::ZERO, U256::from(5)))].into();
    let change = AccountDiff { after: Some(account), storage, ..AccountDiff::default() };
    world.state.apply(&StateDiff { accounts: [(target, change)].into(), ..StateDiff::default() });

    let plan = BlockPlan { beneficiary: MINER, timestamp: world.now, gas_limit: 60_000_000, ..BlockPlan::default() };
    let mut builder = BlockBuilder::begin(&world.params, &world.head, plan, &world.state).expect("readable");
    let mut add = |send: Send, nonce| {
        builder.try_add(&send.transaction(world.params.chain_id, nonce), person.address).expect("readable")
    };
    let create = Send::create(person.address, U256::ZERO, &deployer(&[0x00]));
    assert_eq!(add(create, 0), TxOutcome::Included { gas_used: GAS, success: false });
    let pay = Send::new(person.address, target, U256::from(2), Bytes::new());
    assert!(matches!(add(pay, 1), TxOutcome::Included { success: true, .. }));
    // Creation as such works here.
    let create = Send::create(person.address, U256::ZERO, &deployer(&[0x00]));
    assert!(matches!(add(create, 2), TxOutcome::Included { success: true, .. }));
    let diff = builder.finish().expect("readable").executed.diff;
    let after = Account { balance: U256::from(9), ..account };
    assert_eq!(
        diff.accounts[&target],
        AccountDiff { before: Some(account), after: Some(after), ..AccountDiff::default() }
    );
}

fn disk_gone() -> ErasedError {
    ErasedError::new(std::io::Error::other("disk gone"))
}

/// A state whose disk fails.
struct Broken;

impl StateRead for Broken {
    fn has_storage(&self, _: Address) -> Result<bool, Self::Error> {
        Err(disk_gone())
    }
}

impl DatabaseRef for Broken {
    type Error = ErasedError;

    fn basic_ref(&self, _: Address) -> Result<Option<AccountInfo>, Self::Error> {
        Err(disk_gone())
    }
    fn code_by_hash_ref(&self, _: B256) -> Result<Bytecode, Self::Error> {
        Err(disk_gone())
    }
    fn storage_ref(&self, _: Address, _: U256) -> Result<U256, Self::Error> {
        Err(disk_gone())
    }
    fn block_hash_ref(&self, _: u64) -> Result<B256, Self::Error> {
        Err(disk_gone())
    }
}

/// A state whose accounts can be read and whose slots cannot.
struct NoSlots(MemState);

impl StateRead for NoSlots {
    fn has_storage(&self, _: Address) -> Result<bool, Self::Error> {
        Err(disk_gone())
    }
}

impl DatabaseRef for NoSlots {
    type Error = ErasedError;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, Self::Error> {
        Ok(self.0.basic_ref(address).unwrap_or_else(|never| match never {}))
    }
    fn code_by_hash_ref(&self, hash: B256) -> Result<Bytecode, Self::Error> {
        Ok(self.0.code_by_hash_ref(hash).unwrap_or_else(|never| match never {}))
    }
    fn storage_ref(&self, address: Address, slot: U256) -> Result<U256, Self::Error> {
        if address == system::TOKEN { Err(disk_gone()) } else { Ok(self.0.slot(address, slot)) }
    }
    fn block_hash_ref(&self, number: u64) -> Result<B256, Self::Error> {
        Ok(self.0.block_hash_ref(number).unwrap_or_else(|never| match never {}))
    }
}

#[test]
fn a_broken_disk_is_not_a_bad_block() {
    let (world, block, sender) = valid();
    let error = execute_block(&world.params, &block, &[sender], Broken).expect_err("unreadable");
    assert!(matches!(&error, ExecError::State(text) if text.contains("disk gone")), "{error}");
    // The same from within a system contract.
    let person = Person::new(0);
    let plan = BlockPlan { timestamp: world.now, gas_limit: 60_000_000, ..BlockPlan::default() };
    let db = NoSlots(world.state.clone());
    let mut builder = BlockBuilder::begin(&world.params, &world.head, plan, &db).expect("readable");
    let call = system::Token::approveCall { spender: MINER, value: U256::from(1) };
    let input = alloy_sol_types::SolCall::abi_encode(&call);
    let tx = Send::new(person.address, system::TOKEN, U256::ZERO, input).transaction(world.params.chain_id, 0);
    let error = builder.try_add(&tx, person.address).expect_err("unreadable");
    assert!(matches!(&error, ExecError::State(text) if text.contains("disk gone")), "{error}");
}

#[test]
fn senders_are_recovered_in_order() {
    let people: Vec<_> = (0..3).map(Person::new).collect();
    let tx = |n: u64| TxLegacy { nonce: n, chain_id: Some(1), to: TxKind::Call(MINER), ..TxLegacy::default() };
    let signed = |n: u64| -> Transaction {
        let person = people[usize::try_from(n).expect("small") % 3];
        let tx = tx(n);
        let signature = person.sign(tx.signature_hash());
        tx.into_signed(signature).into()
    };
    for count in [0, 1, 7, 8, 31] {
        let transactions: Vec<_> = (0..count).map(signed).collect();
        let senders = recover_senders(&transactions).expect("good signatures");
        let expected: Vec<_> = (0..transactions.len()).map(|n| people[n % 3].address).collect();
        assert_eq!(senders, expected);
    }
    let mut transactions: Vec<_> = (0..31).map(signed).collect();
    transactions[20] = tx(0).into_signed(Signature::new(U256::ZERO, U256::ZERO, false)).into();
    let error = recover_senders(&transactions).expect_err("a signature of zeros");
    assert_eq!(error, BlockError::Transaction { index: 20, error: TxError::Signature });
}

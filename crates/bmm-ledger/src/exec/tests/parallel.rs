//! Random blocks do the same on one thread and on several, whoever is fast and whoever is slow.

mod contracts;

use crate::{
    diff::{Account, AccountDiff, StateDiff},
    exec::{
        BlockBuilder, BlockPlan, ExecError, Executed, StateRead, TxOutcome,
        parallel::{self, Sharing},
        run,
    },
    testkit::{MINER, MemState, Person, Send, World, deployer, short_lived},
};
use alloy_consensus::{SignableTransaction, TxEip7702, TxLegacy};
use alloy_eips::eip7702::Authorization;
use alloy_evm::ErasedError;
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256, keccak256};
use alloy_sol_types::SolCall;
use bmm_types::{Block, Transaction, system};
use contracts::*;
use proptest::{collection, prelude::*};
use revm::{
    DatabaseRef,
    state::{AccountInfo, Bytecode},
};
use std::{
    fmt::Debug,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

const PEOPLE: u8 = 6;

/// A transaction to be: who, what kind, with whom, how much.
type Action = (u8, u8, u8, u8);

fn person(number: u8) -> Person {
    Person::new(number % PEOPLE)
}

fn world() -> World {
    let people: Vec<Person> = (0..PEOPLE).map(Person::new).collect();
    let mut world = World::new(&people);
    let mut diff = StateDiff::default();
    for (address, code) in CONTRACTS {
        let account = Account { nonce: 1, balance: U256::from(5), code_hash: keccak256(code) };
        diff.accounts.insert(address, AccountDiff { after: Some(account), ..AccountDiff::default() });
        diff.code.insert(account.code_hash, Bytes::from_static(code));
    }
    // Coins that go with the contracts that are made there.
    for person in people {
        let after = Some(Account { balance: U256::from(7), ..Account::default() });
        diff.accounts.insert(made(&short_lived(person.address)), AccountDiff { after, ..AccountDiff::default() });
    }
    world.state.apply(&diff);
    world
}

/// Who gets the tips: somebody who never acts, somebody who does, or a contract.
fn beneficiary(choice: u8) -> Address {
    match choice % 3 {
        0 => MINER,
        1 => person(0).address,
        _ => COUNTER.0,
    }
}

fn send((from, kind, with, amount): Action, beneficiary: Address) -> Send {
    let (from, other, value) = (person(from).address, person(with).address, U256::from(amount));
    let mut send = match kind {
        0..4 => Send::new(from, other, value, Bytes::new()),
        4 => Send::new(from, Address::repeat_byte(with), value, Bytes::new()),
        5 => Send::new(from, beneficiary, value, Bytes::new()),
        6 | 7 => Send::new(from, OWN_SLOT.0, value, Bytes::new()),
        8 => Send::new(from, COUNTER.0, U256::ZERO, Bytes::new()),
        9 => Send::new(from, COINBASE_READER.0, U256::ZERO, Bytes::new()),
        10 => Send::new(from, BALANCE_READER.0, value, other.into_word().to_vec()),
        11 => Send::new(from, FACTORY.0, value, short_lived(other)),
        12 => Send::new(from, FACTORY.0, value, deployer(&[amount % 2])),
        13 => Send::new(from, REVERTER.0, value, Bytes::new()),
        14 => Send::new(from, LOOP.0, value, Bytes::new()),
        15 => Send::new(from, TO_COINBASE.0, value, Bytes::new()),
        16 => Send::create(from, value, &short_lived(other)),
        17 => Send::create(from, value, &deployer(OWN_SLOT.1)),
        18 => {
            let call = system::Token::transferCall { to: other, value };
            Send::new(from, system::TOKEN, U256::ZERO, call.abi_encode())
        }
        19 => {
            let call = system::Token::approveCall { spender: other, value };
            Send::new(from, system::TOKEN, U256::ZERO, call.abi_encode())
        }
        20 => {
            let call = system::Token::transferFromCall { from: other, to: from, value };
            Send::new(from, system::TOKEN, U256::ZERO, call.abi_encode())
        }
        21 => {
            let (salt, spec) = (B256::with_last_byte(with), B256::repeat_byte(amount));
            let call = system::Jobs::openCall { salt, spec, deadline: 1_000_100 };
            Send::new(from, system::JOBS, value, call.abi_encode())
        }
        23 => Send::new(from, NONCE.0, U256::ZERO, Bytes::new()),
        24 => Send::new(from, FACTORY.0, U256::ZERO, FICKLE),
        25 => Send::new(from, made(FICKLE), U256::ZERO, Bytes::new()),
        26 => Send::new(from, FICKLE_PAYER.0, value, Bytes::new()),
        27 => Send::new(from, FICKLE_PAYER.0, value, vec![1]),
        28 => Send::new(from, PAID, value, Bytes::new()),
        29 => Send::new(from, made(&short_lived(other)), value, Bytes::new()),
        30 => Send::new(from, FACTORY.0, U256::ZERO, FICKLE_SLOT),
        31 => Send::new(from, made(FICKLE_SLOT), U256::ZERO, Bytes::new()),
        _ => Send::new(from, ANCESTOR.0, U256::ZERO, Bytes::new()),
    };
    send.gas = 150_000;
    send
}

/// Sets the delegation of `with` (by its own signature, for the nonce given) to a contract and calls it.
fn delegate((from, _, with, amount): Action, chain_id: u64, nonce: u64, nonce_of_with: u64) -> (Transaction, Address) {
    let (from, with) = (person(from).address, person(with));
    let (address, _) = CONTRACTS[usize::from(amount) % CONTRACTS.len()];
    let authorization = Authorization { chain_id: U256::from(chain_id), address, nonce: nonce_of_with };
    let signature = with.sign(authorization.signature_hash());
    let tx = TxEip7702 {
        chain_id,
        nonce,
        gas_limit: 150_000,
        max_fee_per_gas: 20_000_000_000,
        max_priority_fee_per_gas: u128::from(amount),
        to: with.address,
        authorization_list: vec![authorization.into_signed(signature)],
        ..TxEip7702::default()
    };
    (tx.into_signed(Signature::test_signature()).into(), from)
}

/// Builds a block of those actions that can be in one.
fn build(world: &World, beneficiary: Address, actions: &[Action]) -> (Block, Vec<Address>) {
    let plan = BlockPlan { beneficiary, timestamp: world.now, gas_limit: 60_000_000, ..BlockPlan::default() };
    let mut builder = BlockBuilder::begin(&world.params, &world.head, plan, &world.state).expect("readable");
    let mut nonces = [0u64; 256];
    let mut senders = Vec::new();
    for &action in actions {
        let who = action.0 % PEOPLE;
        let nonce = nonces[usize::from(who)];
        let with = action.2 % PEOPLE;
        let (tx, sender) = if action.1 == 22 {
            let of_with = nonces[usize::from(with)] + u64::from(with == who);
            delegate(action, world.params.chain_id, nonce, of_with)
        } else {
            let send = send(action, beneficiary);
            (send.transaction(world.params.chain_id, nonce), send.from)
        };
        if let TxOutcome::Included { .. } = builder.try_add(&tx, sender).expect("readable") {
            senders.push(sender);
            nonces[usize::from(who)] += 1;
            // An authorization that was good counts too; one that was not only makes later ones fail.
            nonces[usize::from(with)] += u64::from(action.1 == 22);
        }
    }
    let built = builder.finish().expect("readable");
    (Block { header: built.header, body: built.body }, senders)
}

/// A transaction that may not be where it is.
fn wrong(kind: u8, chain_id: u64) -> Transaction {
    let mut tx = TxLegacy {
        chain_id: Some(chain_id),
        gas_price: 20_000_000_000,
        gas_limit: 21_000,
        to: TxKind::Call(MINER),
        ..TxLegacy::default()
    };
    match kind % 5 {
        0 => tx.nonce = 1_000,
        1 => tx.value = U256::MAX >> 1,
        2 => tx.gas_limit = u64::MAX >> 1,
        3 => tx.gas_limit = 20_000,
        _ => tx.chain_id = Some(chain_id + 1),
    }
    tx.into_signed(Signature::test_signature()).into()
}

/// A state that lets other threads go first every now and then.
struct Jittery<'a> {
    state: &'a MemState,
    reads: AtomicUsize,
}

impl Jittery<'_> {
    fn pause(&self) {
        if self.reads.fetch_add(7, Ordering::Relaxed).is_multiple_of(3) {
            thread::yield_now();
        }
    }
}

impl StateRead for Jittery<'_> {
    fn has_storage(&self, address: Address) -> Result<bool, Self::Error> {
        self.state.has_storage(address)
    }
}

impl DatabaseRef for Jittery<'_> {
    type Error = <MemState as DatabaseRef>::Error;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, Self::Error> {
        self.pause();
        self.state.basic_ref(address)
    }
    fn code_by_hash_ref(&self, hash: B256) -> Result<Bytecode, Self::Error> {
        self.state.code_by_hash_ref(hash)
    }
    fn storage_ref(&self, address: Address, slot: U256) -> Result<U256, Self::Error> {
        self.pause();
        self.state.storage_ref(address, slot)
    }
    fn block_hash_ref(&self, number: u64) -> Result<B256, Self::Error> {
        self.state.block_hash_ref(number)
    }
}

/// A state of which one account cannot be read.
struct Damaged<'a> {
    state: &'a MemState,
    address: Address,
}

fn read<T>(result: Result<T, std::convert::Infallible>) -> T {
    result.unwrap_or_else(|never| match never {})
}

impl StateRead for Damaged<'_> {
    fn has_storage(&self, address: Address) -> Result<bool, Self::Error> {
        Ok(read(self.state.has_storage(address)))
    }
}

impl DatabaseRef for Damaged<'_> {
    type Error = ErasedError;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, Self::Error> {
        if address == self.address {
            return Err(ErasedError::new(std::io::Error::other("disk gone")));
        }
        Ok(read(self.state.basic_ref(address)))
    }
    fn code_by_hash_ref(&self, hash: B256) -> Result<Bytecode, Self::Error> {
        Ok(read(self.state.code_by_hash_ref(hash)))
    }
    fn storage_ref(&self, address: Address, slot: U256) -> Result<U256, Self::Error> {
        Ok(read(self.state.storage_ref(address, slot)))
    }
    fn block_hash_ref(&self, number: u64) -> Result<B256, Self::Error> {
        Ok(read(self.state.block_hash_ref(number)))
    }
}

/// One after the other, all on the parent's state, far ahead, near, and given up soon.
fn sharings() -> [Sharing; 5] {
    let patience = usize::MAX;
    [
        Sharing { chunk: 1, lead: 0, patience, wait: false },
        Sharing { chunk: 3, lead: 0, patience, wait: true },
        Sharing { chunk: 7, lead: 2, patience, wait: false },
        Sharing { chunk: 2, lead: 1, patience: 1, wait: true },
        Sharing::of(50),
    ]
}

fn text(outcome: &Result<Executed, ExecError>) -> String {
    fn debug(value: &dyn Debug) -> String {
        format!("{value:?}")
    }
    debug(outcome)
}

/// Holds every way of executing against the plain one, and returns what that one says.
fn check(world: &World, block: &Block, senders: &[Address]) -> Result<Executed, ExecError> {
    let plain = run(&world.params, block, senders, &world.state);
    for sharing in sharings() {
        for workers in [1, 3] {
            let outcome = parallel::run(&world.params, block, senders, &&world.state, workers, sharing);
            assert_eq!(text(&outcome), text(&plain), "{sharing:?}, {workers} workers");
            let jittery = Jittery { state: &world.state, reads: AtomicUsize::new(workers) };
            let outcome = parallel::run(&world.params, block, senders, &jittery, workers, sharing);
            assert_eq!(text(&outcome), text(&plain), "{sharing:?}, {workers} workers, jittery");
        }
    }
    plain
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    collection::vec((any::<u8>(), 0u8..33, any::<u8>(), 0u8..6), 0..50)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn random_blocks(choice in any::<u8>(), actions in actions()) {
        let world = world();
        let (block, senders) = build(&world, beneficiary(choice), &actions);
        check(&world, &block, &senders).expect("a built block is valid");
    }

    #[test]
    fn invalid_blocks(choice in any::<u8>(), actions in actions(), at in any::<usize>(), who in any::<u8>(), kind in any::<u8>()) {
        let world = world();
        let (mut block, mut senders) = build(&world, beneficiary(choice), &actions);
        let index = at % (senders.len() + 1);
        block.body.transactions.insert(index, wrong(kind, world.params.chain_id));
        senders.insert(index, person(who).address);
        let error = check(&world, &block, &senders).expect_err("a wrong transaction");
        prop_assert!(matches!(&error, ExecError::Invalid(_)), "{}", error);
        prop_assert!(error.to_string().contains(&format!("transaction {index}: ")), "{}", error);
    }

    #[test]
    fn damaged_states(choice in any::<u8>(), actions in actions(), who in any::<u8>()) {
        let world = world();
        let (block, senders) = build(&world, beneficiary(choice), &actions);
        let db = Damaged { state: &world.state, address: person(who).address };
        let plain = run(&world.params, &block, &senders, &db);
        prop_assert!(!matches!(plain, Err(ExecError::Invalid(_))));
        for sharing in sharings() {
            let outcome = parallel::run(&world.params, &block, &senders, &db, 2, sharing);
            prop_assert_eq!(text(&outcome), text(&plain));
        }
    }
}

/// Executes independent calls ahead, all of them; otherwise the tests above would show nothing.
#[test]
fn results_of_workers_are_used() {
    let world = world();
    let actions: Vec<Action> = (0..PEOPLE).map(|who| (who, 6, 0, 0)).collect();
    let (block, senders) = build(&world, MINER, &actions);
    let sharing = Sharing { chunk: 1, lead: 0, patience: usize::MAX, wait: true };
    let counts = parallel::counted(&world.params, &block, &senders, &&world.state, 1, sharing).expect("valid");
    assert_eq!(counts, (usize::from(PEOPLE), 0));
    // Calls of the counter hang on each other: the first alone can be right.
    let actions: Vec<Action> = (0..PEOPLE).map(|who| (who, 8, 0, 0)).collect();
    let (block, senders) = build(&world, MINER, &actions);
    let counts = parallel::counted(&world.params, &block, &senders, &&world.state, 3, sharing).expect("valid");
    assert_eq!(counts.0 + counts.1, usize::from(PEOPLE));
    assert!(counts.0 >= 1);
}

/// What a worker does on a state that is not that of the transaction's turn is of no use, whichever value differs.
#[test]
fn results_on_a_wrong_state_are_not_used() {
    let differing: [(&str, &[Action]); 9] = [
        ("balance", &[(1, 0, 2, 5), (3, 10, 2, 0)]),
        ("nonce", &[(1, 23, 0, 0), (2, 23, 0, 0), (3, 23, 0, 0)]),
        ("code", &[(1, 0, 2, 5), (2, 24, 0, 0), (3, 25, 0, 0)]),
        ("an account that appears", &[(1, 4, 0x77, 5), (2, 4, 0x77, 5), (3, 4, 0x77, 5)]),
        ("an account that goes", &[(1, 11, 2, 5), (2, 29, 2, 5), (3, 29, 2, 5)]),
        ("an account that is only the worker's", &[(1, 0, 2, 5), (2, 26, 0, 3), (3, 28, 0, 3)]),
        ("a slot", &[(1, 8, 0, 0), (2, 8, 0, 0), (3, 8, 0, 0)]),
        ("a slot that is only the worker's", &[(1, 0, 2, 5), (2, 26, 0, 0), (3, 27, 0, 0)]),
        ("a new account's slot that is only the worker's", &[(1, 0, 2, 5), (2, 30, 0, 0), (3, 31, 0, 0)]),
    ];
    let world = world();
    for (what, actions) in differing {
        let (block, senders) = build(&world, MINER, actions);
        assert_eq!(senders.len(), actions.len(), "{what}");
        for _ in 0..20 {
            let executed = check(&world, &block, &senders).expect(what);
            assert!(executed.gas_used > 0, "{what}");
        }
    }
}

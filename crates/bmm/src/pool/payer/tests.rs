//! Payments on a chain of this process's own: after a crash, to contracts that refuse, and with a nonce that is gone.

use super::*;
use crate::{
    config::StorageConfig,
    node::{Mine, Node, NodeOptions, dev_key},
    paths::DataDir,
};
use bmm_api::ApiConfig;
use bmm_pool::{
    BlockKey,
    books::{NewBlock, PaymentState},
    payout::{BLOCK_WEIGHT, Division, PayRule, Window},
};
use std::{collections::BTreeMap, net::SocketAddr, time::Instant};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Long enough on a busy machine; nothing waits so long unless it fails.
const LONG: Duration = Duration::from_mins(3);
const FEE: u128 = 7;
/// What each account has earned.
const EARNED: u128 = 1_000_000;

/// A dev chain that mines, books, and the chain's funded wallet.
struct World {
    payer: Payer,
    runtime: Runtime,
    _node: Node,
    _dir: TempDir,
}

impl World {
    /// Accounts have earned [`EARNED`] each, by a block that is mature.
    fn new(accounts: &[Address]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let data = DataDir::open(Some(dir.path())).expect("a data folder");
        let key = dev_key(&data).expect("a key");
        let rpc = ApiConfig { address: SocketAddr::from(([127, 0, 0, 1], 0)), ..ApiConfig::default() };
        let options = NodeOptions {
            chain: "dev".into(),
            rpc,
            mine: Some(Mine { key: key.clone(), percent: 20 }),
            mine_for: Vec::new(),
            contribute: false,
            storage: StorageConfig::default(),
            network: None,
            footstone: None,
            checkpoint: None,
        };
        let node = Node::start(&data, &options).expect("a node");
        let runtime = Runtime::new().expect("a runtime");
        let books = runtime.block_on(Books::open(&format!("sqlite://{}", dir.path().join("pool.db").display())));
        let payer = Payer {
            rpc: RpcClient::new(node.url()).expect("an address"),
            books: books.expect("new"),
            key,
            rules: PayoutRules { threshold: 100, fee: FEE, confirmations: 2, every: Duration::from_secs(1) },
            runtime: runtime.handle().clone(),
        };
        let world = Self { payer, runtime, _node: node, _dir: dir };
        world.earn(1, accounts);
        world
    }

    /// Books block `n`, which brings each of the accounts [`EARNED`].
    fn earn(&self, n: u128, accounts: &[Address]) {
        let count = u128::try_from(accounts.len()).expect("few");
        let rule = PayRule::new(1, 0).expect("in bounds");
        let weights: BTreeMap<_, _> = accounts.iter().map(|account| (*account, BLOCK_WEIGHT / count)).collect();
        let window = Window { filled: weights.values().sum(), weights, oldest: None };
        let pay = accounts.iter().map(|account| (*account, EARNED)).collect();
        let division = Division { fee: 0, reserve: 0, pay };
        let key = BlockKey { chain: CHAIN.into(), id: format!("{n:#x}") };
        let block = NewBlock {
            key: &key,
            height: 1,
            reward: EARNED * count,
            log: "pool",
            share: 1,
            root: B256::ZERO,
            finder: accounts[0],
            rule,
            window: &window,
            division: &division,
            effort: 1,
            at: 1,
        };
        self.runtime.block_on(self.payer.books.found(&block)).expect("booked");
        self.runtime.block_on(self.payer.books.mature(&key, 2)).expect("booked");
    }

    fn payments(&self) -> Vec<Payment> {
        self.runtime.block_on(self.payer.books.payments(None, None, 100)).expect("readable")
    }

    /// Goes on as a running pool does until every payment is final.
    fn settle(&self) {
        let begun = Instant::now();
        loop {
            self.payer.round().expect("the node answers");
            let payments = self.payments();
            if !payments.is_empty() && payments.iter().all(|payment| payment.state != PaymentState::Open) {
                break;
            }
            assert!(begun.elapsed() < LONG, "{payments:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
        let audit = self.runtime.block_on(self.payer.books.audit(CHAIN)).expect("readable");
        assert!(audit.is_balanced(), "{audit:?}");
    }

    fn balance(&self, account: Address) -> U256 {
        self.payer.rpc.balance(account).expect("an answer").units()
    }
}

fn account(n: u8) -> Address {
    Address::repeat_byte(n)
}

#[test]
fn what_was_written_down_and_not_sent_is_sent_after_a_crash_and_once() {
    let accounts = [account(0x31), account(0x32), account(0x33)];
    let world = World::new(&accounts);
    let receivers = accounts.map(|account| (account, EARNED));
    let raw = world.payer.prepare(&receivers).expect("written down");
    // The process ends here, before anything is sent.
    assert_eq!(world.balance(accounts[0]), U256::ZERO);
    world.settle();
    let payments = world.payments();
    assert_eq!(payments.len(), 1, "{payments:?}");
    assert_eq!((payments[0].state, payments[0].total, payments[0].fees), (PaymentState::Paid, 3 * EARNED, 3 * FEE));
    assert!(payments[0].cost > 0 && payments[0].block > 0);
    for account in accounts {
        assert_eq!(world.balance(account), U256::from(EARNED - FEE));
    }
    // Nothing is owed: another look pays nothing, and the old transaction is worth nothing any more.
    world.payer.round().expect("nothing to do");
    assert!(world.payer.send(&raw).is_err());
    assert_eq!(world.payments().len(), 1);
}

#[test]
fn a_receiver_that_refuses_stops_nobody() {
    // Sending a draft that creates a contract whose code reverts whatever comes: PUSH0 PUSH0 REVERT.
    let world = World::new(&[account(0x41)]);
    let init: Bytes = hex::decode("625f5ffd5f526003601df3").expect("hex").into();
    let transaction = world.payer.draft(init, U256::ZERO).expect("a contract");
    let signed = world.payer.sign(transaction).expect("signed");
    world.payer.send(&signed.raw).expect("taken");
    let receipt = world.payer.rpc.wait_receipt(signed.hash.parse().expect("a hash"), LONG).expect("in a block");
    let refuses = receipt.contract.expect("a contract");
    let plain = world.payer.rpc.estimate_gas(world.payer.key.address(), refuses, Amount::from_units(1), &Bytes::new());
    assert!(matches!(plain, Err(RpcError::Reverted { .. })), "it refuses plain transfers: {plain:?}");

    let accounts = [refuses, account(0x42), account(0x43)];
    world.earn(2, &accounts);
    world.settle();
    let payments = world.payments();
    assert!(payments.iter().all(|payment| payment.state == PaymentState::Paid), "{payments:?}");
    for account in accounts {
        assert_eq!(world.balance(account), U256::from(EARNED - FEE), "{account}");
    }
    let receipt =
        world.payer.rpc.receipt(payments[0].hash.parse().expect("a hash")).expect("an answer").expect("there");
    let made = receipt.contract.expect("a payment is a creation");
    assert_eq!(world.payer.rpc.call::<Bytes>("eth_getCode", (made, "latest")).expect("an answer"), Bytes::new());
    assert_eq!(world.balance(made), U256::ZERO);
}

#[test]
fn a_nonce_that_is_gone_stops_payments_until_a_person_decides() {
    let world = World::new(&[account(0x51)]);
    world.payer.prepare(&[(account(0x51), EARNED)]).expect("written down");
    // Somebody uses the wallet.
    let other = world.payer.rpc.send_transaction(&world.payer.key, account(0x52), Amount::from_units(1), Bytes::new());
    world.payer.rpc.wait_receipt(other.expect("sent").transaction, LONG).expect("in a block");
    world.earn(2, &[account(0x51)]);
    for _ in 0..2 {
        assert!(matches!(world.payer.round(), Err(PayError::NonceUsed { payment: 1, .. })));
    }
    assert_eq!(world.payments().len(), 1);
    world.runtime.block_on(world.payer.books.failed(1, 0, 9)).expect("open");
    world.settle();
    assert_eq!(world.balance(account(0x51)), U256::from(2 * EARNED - FEE));
}

#[test]
fn a_fee_that_became_too_low_is_doubled_with_the_same_nonce() {
    let world = World::new(&[account(0x61)]);
    let raw = world.payer.prepare(&[(account(0x61), EARNED)]).expect("written down");
    let payment = world.payments().remove(0);
    let fees = world.payer.rpc.fees().expect("an answer");
    assert!(world.payer.dearer(&payment, &raw, fees).expect("readable").is_none(), "it offers enough");
    let high = Fees { base_fee: fees.base_fee * 100, max_fee: fees.base_fee * 250, ..fees };
    let signed = world.payer.dearer(&payment, &raw, high).expect("readable").expect("it offers too little");
    let read = |raw: &str| {
        let bytes = hex::decode(raw).expect("hex");
        let envelope = TxEnvelope::decode_2718(&mut bytes.as_slice()).expect("a transaction");
        envelope.as_eip1559().expect("of EIP-1559").tx().clone()
    };
    let (before, after) = (read(&raw), read(&signed.raw));
    assert_eq!((before.nonce, &before.input, before.value), (after.nonce, &after.input, after.value));
    assert!(after.max_fee_per_gas >= 2 * before.max_fee_per_gas);
    world.runtime.block_on(world.payer.books.replace(1, &signed.hash, &signed.raw, 9)).expect("open");
    world.settle();
    assert_eq!(world.balance(account(0x61)), U256::from(EARNED - FEE), "one of the two happened");
}

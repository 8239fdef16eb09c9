//! The index over real chains, in SQLite and in PostgreSQL: what it holds, and that it follows a branch that is left.

use alloy_consensus::{SignableTransaction, TxEip1559};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, hex, keccak256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolCall;
use bmm_chain::{Chain, ChainOptions, ManualClock, TemplateRequest};
use bmm_index::{Index, IndexError, catch_up};
use bmm_types::{Amount, ChainParams, Engine, Seal, SealedBlock, Transaction, system};
use postgres::Postgres;
use sqlx::{AnyPool, Row as _};
use std::sync::{Arc, atomic::AtomicBool};

#[path = "../../bmm-pool/src/books/tests/postgres.rs"]
mod postgres;

const GENESIS_TIME: u64 = 1_900_000_000;

struct World {
    chain: Arc<Chain>,
    clock: Arc<ManualClock>,
    nonce: u64,
}

fn key(n: u64) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&keccak256(n.to_be_bytes())).expect("a key")
}

impl World {
    fn new() -> Self {
        let mut params = ChainParams::dev(key(0).address(), GENESIS_TIME);
        params.engine = Engine::Dev;
        let clock = Arc::new(ManualClock::new(GENESIS_TIME + 10_000));
        let chain = Chain::in_memory(params, clock.clone(), ChainOptions::default()).expect("a chain");
        Self { chain, clock, nonce: 0 }
    }

    fn send(&mut self, to: Address, value: U256, input: Bytes) {
        let transaction = TxEip1559 {
            chain_id: self.chain.params().chain_id,
            nonce: self.nonce,
            gas_limit: 200_000,
            max_fee_per_gas: 10_000_000_000,
            max_priority_fee_per_gas: 1_000_000_000,
            to: TxKind::Call(to),
            value,
            input,
            ..TxEip1559::default()
        };
        self.nonce += 1;
        let signature = key(0).sign_hash_sync(&transaction.signature_hash()).expect("signs");
        self.chain.submit(Transaction::from(transaction.into_signed(signature))).expect("a valid transaction");
    }

    /// Grows by blocks of `producer`, each with a transfer of the coin and one of the token.
    fn grow(&mut self, blocks: u64, producer: u64) -> Vec<SealedBlock> {
        let mut grown = Vec::new();
        for number in 0..blocks {
            self.clock.advance(1);
            let to = Address::left_padding_from(&(1_000 + producer * 1_000 + number % 7).to_be_bytes());
            self.send(to, Amount::from_bmm(1).units(), Bytes::new());
            let call = system::Token::transferCall { to, value: U256::from(number) };
            self.send(system::TOKEN, U256::ZERO, call.abi_encode().into());
            let request = TemplateRequest { beneficiary: key(producer).address(), ..TemplateRequest::default() };
            let sign = |hash: B256| key(producer).sign_hash_sync(&hash).expect("signs");
            let block = self.chain.template(&request, &sign).expect("a template").block;
            let sealed = SealedBlock { block, seal: Seal::None };
            self.chain.import(&sealed).expect("a valid block");
            grown.push(sealed);
        }
        grown
    }
}

/// Runs a scenario with two empty databases of SQLite, then of PostgreSQL, where that is installed.
fn on_both<F: AsyncFn(String, String)>(name: &str, scenario: F) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| format!("sqlite://{}", folder.path().join(name).display());
    runtime.block_on(scenario(file("one.sqlite"), file("other.sqlite")));
    if let Some(postgres) = Postgres::start() {
        runtime.block_on(async {
            let (one, other) = (postgres.url(name).await, postgres.url(&format!("{name}_other")).await);
            scenario(one, other).await;
        });
    }
}

/// Every row of every table, as text: the columns named first are bytes, those that follow are numbers.
async fn dump(url: &str) -> Vec<String> {
    let pool = AnyPool::connect(url).await.expect("opens");
    let mut rows = Vec::new();
    for (table, bytes, numbers, order) in [
        ("blocks", vec!["id", "producer"], vec!["number", "time", "transactions", "gas", "total"], "number"),
        ("touches", vec!["address"], vec!["block", "position", "role"], "address, block, position"),
        (
            "transfers",
            vec!["token", "sender", "recipient", "value"],
            vec!["block", "log", "position", "is_unique"],
            "block, log",
        ),
        ("tokens", vec!["address"], vec!["first", "is_unique"], "address"),
        ("events", vec!["contract", "topic", "subject"], vec!["block", "log", "position"], "block, log"),
    ] {
        let columns = [bytes.as_slice(), numbers.as_slice()].concat().join(", ");
        let query = format!("SELECT {columns} FROM {table} ORDER BY {order}");
        for row in sqlx::query(sqlx::AssertSqlSafe(query)).fetch_all(&pool).await.expect("rows") {
            let bytes = bytes.iter().map(|name| row.try_get::<Vec<u8>, _>(*name).map(hex::encode).expect("bytes"));
            let numbers = numbers.iter().map(|name| row.try_get::<i64, _>(*name).expect("a number").to_string());
            let values: Vec<String> = bytes.chain(numbers).collect();
            rows.push(format!("{table} {}", values.join(" ")));
        }
    }
    let work = sqlx::query("SELECT work FROM blocks ORDER BY number").fetch_all(&pool).await.expect("rows");
    rows.extend(work.iter().map(|row| row.try_get::<f64, _>(0).expect("a number").to_string()));
    pool.close().await;
    rows
}

async fn follows_a_branch(followed: String, fresh: String) {
    let (mut ours, mut theirs) = (World::new(), World::new());
    let stop = AtomicBool::new(false);
    let index = Index::open(&followed, ours.chain.genesis()).await.expect("opens");

    for block in ours.grow(20, 1) {
        theirs.clock.advance(1);
        theirs.chain.import(&block).expect("the same block");
    }
    theirs.nonce = ours.nonce;
    ours.grow(50, 2);
    catch_up(&ours.chain, &index, &stop).await.expect("follows");
    assert_eq!(index.tip().await.expect("reads").map(|tip| tip.0), Some(70));
    let before = dump(&followed).await;

    // Theirs is longer: ours is left, fifty blocks of it.
    ours.clock.advance(100);
    for block in theirs.grow(60, 3) {
        ours.chain.import(&block).expect("a valid block");
    }
    assert_eq!(ours.chain.head().id, theirs.chain.head().id, "the longer branch is taken");
    catch_up(&ours.chain, &index, &stop).await.expect("follows");
    assert_eq!(index.tip().await.expect("reads"), Some((80, theirs.chain.head().id)));

    let anew = Index::open(&fresh, theirs.chain.genesis()).await.expect("opens");
    catch_up(&theirs.chain, &anew, &stop).await.expect("follows");
    let (followed, fresh) = (dump(&followed).await, dump(&fresh).await);
    assert_ne!(before, followed, "something was left");
    assert!(fresh.len() > 80 * 5, "{} rows", fresh.len());
    assert_eq!(followed, fresh);
    assert!(!catch_up(&ours.chain, &index, &stop).await.expect("follows"), "nothing more to do");
}

#[test]
fn after_a_branch_of_fifty_blocks_was_left_the_index_is_as_if_made_anew() {
    on_both("branch", follows_a_branch);
}

async fn answers(url: String, _: String) {
    let mut world = World::new();
    world.grow(30, 1);
    let index = Index::open(&url, world.chain.genesis()).await.expect("opens");
    catch_up(&world.chain, &index, &AtomicBool::new(false)).await.expect("follows");

    let sender = key(0).address();
    let history = index.history(sender, (u64::MAX, u64::MAX), 100).await.expect("reads");
    assert_eq!(history.len(), 60, "every transaction of the only sender");
    assert!(history.iter().all(|entry| entry.role.is_sender()));
    let (first, rest) = (&history[..25], &history[25..]);
    let last = first.last().expect("25 entries");
    let page = index.history(sender, (last.block, last.position), 35).await.expect("reads");
    assert_eq!(page, rest, "the next page begins where the first ended");

    let transfers = index.transfers(system::TOKEN, (u64::MAX, u64::MAX), 100).await.expect("reads");
    assert_eq!(transfers.len(), 30);
    assert_eq!(transfers[0].value, U256::from(29));
    assert_eq!(index.tokens(10).await.expect("reads")[0].address, system::TOKEN);
    assert_eq!(index.blocks_of(key(1).address(), u64::MAX, 100).await.expect("reads").len(), 30);
    assert_eq!(index.events(system::TOKEN, (u64::MAX, u64::MAX), 100).await.expect("reads").len(), 30);
    let about = (system::TOKEN, sender.into_word());
    assert_eq!(index.events_about(about, (u64::MAX, u64::MAX), 100).await.expect("reads").len(), 30);
    let other = (system::TOKEN, Address::ZERO.into_word());
    assert_eq!(index.events_about(other, (u64::MAX, u64::MAX), 100).await.expect("reads").len(), 0);
    let summary = index.summary(world.chain.now_secs()).await.expect("reads");
    assert_eq!((summary.transactions, summary.blocks(), summary.producers.len()), (60, 30, 1));

    // Somebody else's index is not taken.
    index.close().await;
    let foreign = Index::open(&url, B256::repeat_byte(1)).await;
    assert!(matches!(foreign, Err(IndexError::Foreign { .. })), "{foreign:?}");
}

#[test]
fn the_index_answers_by_account_token_and_producer() {
    on_both("answers", answers);
}

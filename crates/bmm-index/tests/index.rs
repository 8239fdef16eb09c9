//! The index over real chains: what it holds, and that it follows a branch that is left.

use alloy_consensus::{SignableTransaction, TxEip1559};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolCall;
use bmm_chain::{Chain, ChainOptions, ManualClock, TemplateRequest};
use bmm_index::{Index, IndexError, catch_up};
use bmm_types::{Amount, ChainParams, Engine, Seal, SealedBlock, Transaction, system};
use sqlx::{AnyPool, Row as _};
use std::{
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

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

/// Every row of every table, as text.
async fn dump(path: &Path) -> Vec<String> {
    let pool = AnyPool::connect(&format!("sqlite://{}", path.display())).await.expect("opens");
    let mut rows = Vec::new();
    for query in [
        "SELECT 'b' || number || hex(id) || time || hex(producer) || work || '/' || transactions || '/' || gas || '/' || total FROM blocks ORDER BY number",
        "SELECT 't' || hex(address) || block || '/' || position || '/' || role FROM touches ORDER BY address, block, position",
        "SELECT 'x' || block || '/' || log || '/' || position || hex(token) || hex(sender) || hex(recipient) || hex(value) || is_unique FROM transfers ORDER BY block, log",
        "SELECT 'k' || hex(address) || first || '/' || is_unique FROM tokens ORDER BY address",
        "SELECT 'e' || block || '/' || log || '/' || position || hex(contract) || hex(topic) FROM events ORDER BY block, log",
    ] {
        for row in sqlx::query(query).fetch_all(&pool).await.expect("rows") {
            rows.push(row.try_get::<String, _>(0).expect("text"));
        }
    }
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_branch_of_fifty_blocks_was_left_the_index_is_as_if_made_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let (followed, fresh) = (folder.path().join("followed.sqlite"), folder.path().join("fresh.sqlite"));
    let (mut ours, mut theirs) = (World::new(), World::new());
    let stop = AtomicBool::new(false);
    let index = Index::open_file(&followed, ours.chain.genesis()).await.expect("opens");

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

    let anew = Index::open_file(&fresh, theirs.chain.genesis()).await.expect("opens");
    catch_up(&theirs.chain, &anew, &stop).await.expect("follows");
    let (followed, fresh) = (dump(&followed).await, dump(&fresh).await);
    assert_ne!(before, followed, "something was left");
    assert!(fresh.len() > 80 * 5, "{} rows", fresh.len());
    assert_eq!(followed, fresh);
    assert!(!catch_up(&ours.chain, &index, &stop).await.expect("follows"), "nothing more to do");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_index_answers_by_account_token_and_producer() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("index.sqlite");
    let mut world = World::new();
    world.grow(30, 1);
    let index = Index::open_file(&file, world.chain.genesis()).await.expect("opens");
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
    let summary = index.summary(world.chain.now_secs()).await.expect("reads");
    assert_eq!((summary.transactions, summary.blocks(), summary.producers.len()), (60, 30, 1));

    // Somebody else's index is not taken.
    drop(index);
    let foreign = Index::open_file(&file, B256::repeat_byte(1)).await;
    assert!(matches!(foreign, Err(IndexError::Foreign { .. })), "{foreign:?}");
}

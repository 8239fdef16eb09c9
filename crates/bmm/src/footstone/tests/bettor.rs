use crate::footstone::{BetPolicy, Bettor, KeeperState, write_policy};
use alloy_primitives::{B256, U256, keccak256};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use bmm_chain::{Chain, ChainOptions, ManualClock, TemplateRequest};
use bmm_ledger::{genesis, store::Store};
use bmm_types::{ChainParams, Engine, Seal, SealedBlock, system::FOOTSTONES};
use std::{path::Path, sync::Arc};

const INTERVAL: u64 = 6;
const GENESIS_TIME: u64 = 1_900_000_000;

fn key(n: u64) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&keccak256(n.to_be_bytes())).expect("a key")
}

fn weight() -> U256 {
    U256::from(10).pow(U256::from(20))
}

/// A chain on which three accounts are footstones from genesis on: the contract's slots hold their set.
struct World {
    chain: Arc<Chain>,
    clock: Arc<ManualClock>,
}

impl World {
    fn new() -> Self {
        let mut params = ChainParams::dev(key(0).address(), GENESIS_TIME);
        params.engine = Engine::Dev;
        params.epoch_blocks = 60_000;
        params.footstones.as_mut().expect("a development chain has footstones").checkpoint_blocks = INTERVAL;
        let mut diff = genesis::genesis_diff(&params);
        let account = diff.accounts.get_mut(&FOOTSTONES).expect("the contract is there");
        let mut put = |slot: U256, word: U256| account.storage.insert(slot, (U256::ZERO, word));
        let whole = weight() * U256::from(3);
        put(U256::from(2), U256::from(1));
        put(U256::from(3), whole | whole << 96 | U256::from(3) << 240);
        for n in 1..=3 {
            let address = U256::from_be_bytes(key(n).address().into_word().0);
            // A candidate with its bond, and its seat in the first set.
            let record: U256 = keccak256([key(n).address().into_word(), U256::from(5).into()].concat()).into();
            put(record, weight() | U256::from(1) << 96);
            put(record + U256::from(2), U256::from(1) | weight() << 64);
            put(U256::from(15 + n), address | weight() << 160);
        }
        let store = Store::in_memory(params.digest()).expect("a store");
        let root = store.stage(B256::ZERO, diff.clone()).expect("a state").root();
        let genesis = genesis::genesis_block(&params, root);
        let clock = Arc::new(ManualClock::new(GENESIS_TIME + 100));
        let chain = Chain::in_memory_from(params, genesis, diff, clock.clone(), ChainOptions::default());
        Self { chain: chain.expect("a chain"), clock }
    }

    fn grow_to(&self, number: u64) {
        while self.chain.head().number() < number {
            self.clock.advance(1);
            let request = TemplateRequest { beneficiary: key(1).address(), ..TemplateRequest::default() };
            let sign = |hash: B256| key(1).sign_hash_sync(&hash).expect("signing works");
            let block = self.chain.template(&request, &sign).expect("a template").block;
            self.chain.import(&SealedBlock { block, seal: Seal::None }).expect("valid");
        }
    }

    fn bettor(&self, folder: &Path, n: u64) -> Bettor {
        Bettor::open(self.chain.clone(), folder, key(n)).expect("a log")
    }

    fn bets_of(&self, n: u64) -> Vec<(u64, u64, U256)> {
        let bets = self.chain.bets_of(key(n).address());
        bets.into_iter().map(|signed| (signed.bet.source, signed.bet.target, signed.bet.amount)).collect()
    }
}

fn folders(count: usize) -> Vec<tempfile::TempDir> {
    (0..count).map(|_| tempfile::tempdir().expect("a folder")).collect()
}

#[test]
fn footstones_listen_and_then_bet_from_what_blocks_have_justified() {
    let (world, folders) = (World::new(), folders(3));
    let mut bettors: Vec<Bettor> = (1..).zip(&folders).map(|(n, folder)| world.bettor(folder.path(), n)).collect();
    let mut first = None;
    for number in 1..=4 * INTERVAL + 3 {
        world.grow_to(number);
        for bettor in &mut bettors {
            let state = bettor.look();
            assert_eq!(state == KeeperState::Betting, number >= INTERVAL, "block {number}: {state:?}");
        }
        first = first.or_else(|| world.bets_of(1).first().map(|_| number));
    }
    // Two blocks deep.
    assert_eq!(first, Some(INTERVAL + 2));
    let finality = world.chain.finality().expect("footstones");
    // The node counts them, but no block has brought them: they begin at genesis.
    assert_eq!((finality.justified.number, finality.finalised.number), (4, 0));
    assert_eq!(finality.rights.justified.number, 0);
    for n in 1..=3 {
        assert_eq!(world.bets_of(n), [1, 2, 3, 4].map(|target| (0, target, weight())));
    }
    assert!(world.chain.offences().is_empty());
}

#[test]
fn a_bet_may_grow_with_the_depth() {
    let (world, folders) = (World::new(), folders(1));
    write_policy(folders[0].path(), BetPolicy::More).expect("written");
    let mut bettor = world.bettor(folders[0].path(), 1);
    for number in 1..=2 * INTERVAL + 1 {
        world.grow_to(number);
        bettor.look();
    }
    assert_eq!(world.bets_of(1), [(0, 1, weight() * U256::from(3) / U256::from(4))], "6 to 7 blocks deep");
}

#[test]
fn an_old_copy_of_the_log_bets_nothing_until_the_operator_says_so() {
    let (world, folders) = (World::new(), folders(2));
    let (now, old) = (folders[0].path(), folders[1].path());
    let mut bettor = world.bettor(now, 1);
    for number in 1..=2 * INTERVAL + 2 {
        world.grow_to(number);
        bettor.look();
        if number == INTERVAL + 2 {
            std::fs::copy(now.join("bets.log"), old.join("bets.log")).expect("copied");
        }
    }
    assert_eq!(world.bets_of(1).len(), 2);
    drop(bettor);
    let mut restored = world.bettor(old, 1);
    world.grow_to(4 * INTERVAL + 2);
    let state = restored.look();
    assert!(matches!(&state, KeeperState::Stopped { why } if why.contains("accept-history")), "{state:?}");
    assert_eq!(world.bets_of(1).len(), 2);
    let report = restored.accept_history().expect("written");
    assert_eq!((report.bets, report.last_target), (2, 2));
    assert!(matches!(restored.look(), KeeperState::Listening { .. }));
    world.grow_to(5 * INTERVAL + 2);
    assert_eq!(restored.look(), KeeperState::Betting);
    assert_eq!(world.bets_of(1).last().map(|bet| bet.1), Some(5));
    assert!(world.chain.offences().is_empty());
}

#[test]
fn a_second_machine_with_the_key_is_heard_while_the_first_listens() {
    let (world, folders) = (World::new(), folders(2));
    let mut first = world.bettor(folders[0].path(), 1);
    world.grow_to(INTERVAL + 1);
    first.look();
    let mut second = world.bettor(folders[1].path(), 1);
    world.grow_to(INTERVAL + 2);
    assert!(matches!(second.look(), KeeperState::Listening { .. }));
    assert_eq!(first.look(), KeeperState::Betting);
    assert!(matches!(second.look(), KeeperState::Stopped { .. }), "a bet that it did not sign");
    // A bet of which only the chain's state tells.
    second.heard(9);
    second.accept_history().expect("written");
    world.grow_to(3 * INTERVAL);
    assert_eq!(second.look(), KeeperState::Betting);
    assert_eq!(world.bets_of(1).len(), 1, "nothing below what is unknown");
}

#[test]
fn who_has_no_seat_bets_nothing() {
    let (world, folders) = (World::new(), folders(1));
    let mut bettor = world.bettor(folders[0].path(), 7);
    world.grow_to(2 * INTERVAL);
    assert_eq!(bettor.look(), KeeperState::NoSeat);
    assert_eq!(bettor.report().footstone, key(7).address());
    assert!(world.bets_of(7).is_empty());
}

//! Beginning from a snapshot: of an honest source and of others, at one go and in pieces, while the source stands still and while
//! it goes on.

mod lies;

use crate::{
    sync::{Bent, go_on, same_head, source},
    world::{GWEI, World, key, params, signed, unsigned},
};
use alloy_primitives::{Address, Bytes, TxKind, U256, keccak256};
use bmm_chain::{
    Chain, ChainOptions, ManualClock,
    sync::{
        Answer, ChainSource, Checkpoint, Request, SnapshotOptions, SnapshotProgress, SnapshotStep, Source, SyncError,
        making, take_snapshot,
    },
};
use bmm_ledger::store::{Store, StoreOptions, Verified};
use bmm_types::{Amount, ChainParams, Engine, params::Allocation};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// Sets the slots from calldata's first word up to its second to its third; what comes after is to make codes differ.
const WRITER: [u8; 25] = [
    0x5f, 0x35, 0x5b, 0x60, 0x20, 0x35, 0x81, 0x10, 0x15, 0x60, 0x17, 0x57, 0x60, 0x40, 0x35, 0x81, 0x55, 0x60, 0x01,
    0x01, 0x60, 0x02, 0x56, 0x5b, 0x00,
];

/// A chain with contracts that can be changed at will.
struct Busy {
    world: World,
    nonces: AtomicU64,
    contracts: Vec<Address>,
    /// A source is asked by two threads at a time.
    making: Mutex<()>,
}

fn many(engine: Engine, accounts: u64) -> ChainParams {
    let mut params = params(engine);
    let allocation = |n: u64| Allocation {
        address: Address::from_word(keccak256((n + 1_000).to_be_bytes())),
        balance: Amount::from_units(u128::from(n) + 1),
    };
    params.alloc.extend((0..accounts).map(allocation));
    params
}

impl Busy {
    fn new(engine: Engine, accounts: u64, contracts: u64) -> Self {
        let world = World::with(many(engine, accounts), ChainOptions::default());
        let mut busy = Self { world, nonces: AtomicU64::new(0), contracts: Vec::new(), making: Mutex::default() };
        for n in 0..contracts {
            busy.create(n);
            if n % 20 == 19 {
                busy.grow();
            }
        }
        busy.grow();
        busy
    }

    /// Adds a contract with code of its own.
    fn create(&mut self, n: u64) {
        let code = [&WRITER[..], &n.to_be_bytes()].concat();
        let len = u8::try_from(code.len()).expect("short");
        let init = [&[0x60, len, 0x60, 0x0a, 0x5f, 0x39, 0x60, len, 0x5f, 0xf3], &code[..]].concat();
        let nonce = self.send(TxKind::Create, init.into(), 0);
        self.contracts.push(key(1).address().create(nonce));
    }

    fn send(&self, to: TxKind, input: Bytes, value: u64) -> u64 {
        let nonce = self.nonces.fetch_add(1, Ordering::Relaxed);
        let mut tx = unsigned(&self.world.chain, nonce, Address::ZERO, value);
        (tx.to, tx.input, tx.gas_limit, tx.max_priority_fee_per_gas) = (to, input, 12_000_000, GWEI);
        self.world.chain.submit(signed(1, tx)).expect("a valid transaction");
        nonce
    }

    /// Sets slots of a contract.
    fn write(&self, contract: usize, from: u64, to: u64, value: u64) {
        let words = [from, to, value].map(|word| U256::from(word).to_be_bytes::<32>());
        self.send(TxKind::Call(self.contracts[contract % self.contracts.len()]), words.concat().into(), 0);
    }

    fn pay(&self, to: u64) {
        self.send(TxKind::Call(Address::from_word(keccak256(to.to_be_bytes()))), Bytes::new(), 1);
    }

    fn grow(&self) {
        self.world.grow(0);
    }

    /// Makes a block that changes a bit of everything, by its number.
    fn busy_block(&self) {
        let _one_at_a_time = self.making.lock();
        let n = self.world.chain.head().number();
        let contract = usize::try_from(n).expect("small");
        self.write(contract, n, n + 7, n + 1);
        // Some slots go, and of some contracts all.
        self.write(contract + 3, 0, 60, 0);
        self.write(0, n % 900, n % 900 + 3, n % 2);
        self.pay(100_000 + n);
        self.pay(1_000 + n);
        self.grow();
    }

    fn source(&self) -> ChainSource {
        source(&self.world)
    }
}

/// A chain of 2,000 accounts, 60 contracts, one of them with 1,000 slots, and some 70 blocks.
fn busy(engine: Engine) -> Busy {
    let busy = Busy::new(engine, 2_000, 60);
    for part in 0..4 {
        busy.write(0, part * 250, part * 250 + 250, 9);
        busy.grow();
    }
    for contract in 1..60 {
        busy.write(contract, 0, u64::try_from(contract).expect("small"), 5);
        if contract % 10 == 0 {
            busy.grow();
        }
    }
    for _ in 0..50 {
        busy.busy_block();
    }
    busy
}

struct Place {
    _dir: tempfile::TempDir,
    folder: PathBuf,
    clock: Arc<ManualClock>,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let clock = Arc::new(ManualClock::new(crate::world::GENESIS_TIME + 100_000));
        Self { folder: dir.path().join("db"), _dir: dir, clock }
    }

    fn take(&self, params: &ChainParams, source: &dyn Source, options: &SnapshotOptions) -> Result<u64, SyncError> {
        self.take_telling(params, &[source], options, &mut |_| true)
    }

    fn take_telling(
        &self,
        params: &ChainParams,
        sources: &[&dyn Source],
        options: &SnapshotOptions,
        tell: &mut dyn FnMut(SnapshotProgress) -> bool,
    ) -> Result<u64, SyncError> {
        let head = take_snapshot(params, &self.folder, &*self.clock, sources, options, tell)?;
        Ok(head.map_or(0, |head| head.number))
    }

    fn open(&self, params: &ChainParams) -> Arc<Chain> {
        Chain::open(params.clone(), &self.folder, self.clock.clone(), ChainOptions::default()).expect("it opens")
    }

    fn verify(&self, params: &ChainParams) -> Verified {
        verify(&self.folder, params)
    }

    /// Follows the source to its end and holds everything against it and itself.
    fn holds(&self, busy: &Busy) {
        let params = busy.world.chain.params();
        let chain = self.open(params);
        chain.follow(&busy.source(), &mut go_on()).expect("a good source");
        same_head(&chain, &busy.world.chain);
        let all = |chain: &Chain| {
            let mut all = Vec::new();
            let view = chain.state(alloy_eips::BlockId::latest()).expect("the head");
            view.for_each_account(|owner, account| all.push((owner, account))).expect("readable");
            all
        };
        assert_eq!(all(&chain), all(&busy.world.chain));
        drop(chain);
        let found = self.verify(params);
        assert_eq!(found.headers, busy.world.chain.head().number() + 1);
    }
}

fn verify(folder: &Path, params: &ChainParams) -> Verified {
    let store = Store::open(folder, params.digest()).expect("it opens");
    store.verify(None, &mut |_| true).expect("all is in order").expect("not stopped")
}

/// Small pieces, so that there are many.
fn options() -> SnapshotOptions {
    let store = StoreOptions { page_cache_bytes: 8 << 20, trie_cache_bytes: 1 << 20, ..StoreOptions::default() };
    SnapshotOptions { store, pivot_depth: 8, range_bytes: 8_000, ..SnapshotOptions::default() }
}

#[test]
fn a_snapshot_is_what_full_sync_gives() {
    let busy = busy(Engine::Pow);
    let (place, params) = (Place::new(), busy.world.chain.params());
    let (mut steps, mut last) = (Vec::new(), None);
    let pivot = place
        .take_telling(params, &[&busy.source()], &options(), &mut |told| {
            if steps.last() != Some(&told.step) {
                steps.push(told.step);
            }
            last = Some(told);
            true
        })
        .expect("a good source");
    assert_eq!(steps, [SnapshotStep::Headers, SnapshotStep::State]);
    let head = busy.world.chain.head().number();
    assert_eq!(pivot, head - 8);
    let told = last.expect("told");
    assert!(told.accounts > 1_500 && told.slots > 1_000 && told.head == head && told.pivot == pivot, "{told:?}");
    assert!(!making(&place.folder).exists());

    let found = place.verify(params);
    assert_eq!((found.headers, found.oldest_body, found.bodies), (pivot + 1, pivot + 1, 0));
    assert!(found.codes >= 60 && found.accounts > 2_000, "{found:?}");
    let chain = place.open(params);
    assert_eq!(chain.head().number(), pivot);
    // Nothing goes back behind the beginning.
    assert!(chain.state((pivot - 1).into()).is_err());
    assert_eq!(chain.sealed_block(pivot).expect("readable"), busy.world.chain.sealed_block(pivot).expect("readable"));
    assert!(chain.sealed_block(pivot - 1).expect("readable").is_none());
    assert_eq!(chain.oldest_body().expect("readable"), pivot + 1);
    let followed = chain.follow(&busy.source(), &mut go_on()).expect("a good source");
    assert_eq!(followed.imported, 8);
    drop(chain);
    place.holds(&busy);

    let error = place.take(params, &busy.source(), &options()).expect_err("there is a chain");
    assert!(matches!(error, SyncError::NotNew { .. }), "{error}");
}

#[test]
fn a_chain_that_is_too_short_is_followed() {
    let busy = Busy::new(Engine::Dev, 10, 3);
    let place = Place::new();
    assert_eq!(place.take(busy.world.chain.params(), &busy.source(), &options()).expect("too short is no fault"), 0);
    assert!(!place.folder.exists() && !making(&place.folder).exists());
}

#[test]
fn a_folder_with_nothing_but_genesis_is_replaced() {
    let busy = busy(Engine::Dev);
    let place = Place::new();
    drop(place.open(busy.world.chain.params()));
    assert!(place.take(busy.world.chain.params(), &busy.source(), &options()).expect("a good source") > 0);
    place.holds(&busy);
}

/// The process ends again and again, at whatever question it is, with and without having brought its memory to the disk.
#[test]
fn it_goes_on_after_any_end() {
    let busy = busy(Engine::Dev);
    let place = Place::new();
    let params = busy.world.chain.params();
    let mut runs = 0u64;
    loop {
        runs += 1;
        let asked = AtomicU64::new(0);
        let ends_at = 3 + runs * 7 % 40;
        let ending = Bent(busy.source(), |_: &Request, answer: Answer| {
            let asked = asked.fetch_add(1, Ordering::Relaxed);
            assert!(asked < ends_at || runs.is_multiple_of(2), "the process ends here");
            if asked < ends_at { Ok(answer) } else { Err("nobody answers".into()) }
        });
        let result = catch_unwind(AssertUnwindSafe(|| place.take(params, &ending, &options())));
        match result {
            Ok(Ok(_)) => break,
            Ok(Err(error)) => assert!(matches!(error, SyncError::Source { .. }), "{error}"),
            Err(_) => {}
        }
        // The chain goes on meanwhile, sometimes.
        if runs.is_multiple_of(3) {
            busy.busy_block();
        }
        assert!(runs < 400, "it gets nowhere");
    }
    assert!(runs > 5, "{runs}");
    place.holds(&busy);
}

/// The source makes blocks while it is asked, and has the states of its last blocks only.
#[test]
fn the_pivot_moves_while_the_source_goes_on() {
    for every in [1, 3, 6] {
        let busy = busy(Engine::Dev);
        let place = Place::new();
        let (asked, mut pivots) = (AtomicU64::new(0), Vec::new());
        let moving = Bent(busy.source(), |request: &Request, answer: Answer| {
            let asked = asked.fetch_add(1, Ordering::Relaxed);
            let head = busy.world.chain.head().number();
            if asked.is_multiple_of(every) && head < 400 {
                busy.busy_block();
            }
            let (Request::Accounts { block, .. } | Request::Slots { block, .. } | Request::Nodes { block, .. }) =
                request
            else {
                return Ok(answer);
            };
            let number = busy.world.chain.header(*block).expect("readable").expect("known").number;
            if number + 20 > head {
                return Ok(answer);
            }
            Ok(match answer {
                Answer::Accounts(_) => Answer::Accounts(None),
                Answer::Slots(_) => Answer::Slots(None),
                _ => Answer::Nodes(None),
            })
        });
        let params = busy.world.chain.params();
        let small = SnapshotOptions { range_bytes: 3_000, ..options() };
        place
            .take_telling(params, &[&moving], &small, &mut |told| {
                if told.pivot > 0 && pivots.last() != Some(&told.pivot) {
                    pivots.push(told.pivot);
                }
                true
            })
            .expect("it ends well");
        assert!(pivots.len() > 1, "{pivots:?}");
        place.holds(&busy);
    }
}

/// The source goes over to another branch, in whose state accounts and slots of the first one do not exist.
#[test]
fn what_only_the_other_branch_had_goes() {
    let busy = busy(Engine::Dev);
    let fork = busy.world.chain.head().number();
    let other = World::with(busy.world.chain.params().clone(), ChainOptions::default());
    other.clock.advance(1_000);
    other.chain.follow(&busy.source(), &mut go_on()).expect("a good source");
    for _ in 0..30 {
        other.grow(2);
    }
    let mut busy = busy;
    busy.create(200);
    busy.write(60, 0, 300, 7);
    for _ in 0..16 {
        busy.busy_block();
    }
    let place = Place::new();
    let params = busy.world.chain.params();
    let asked = AtomicU64::new(0);
    let part = Bent(busy.source(), |request: &Request, answer: Answer| {
        let state = !matches!(request, Request::Head | Request::Headers { .. });
        if state && asked.fetch_add(1, Ordering::Relaxed) > 60 { Err("enough".into()) } else { Ok(answer) }
    });
    let error = place.take(params, &part, &options()).expect_err("it ends in the middle");
    assert!(matches!(error, SyncError::Source { .. }), "{error}");
    let pivot = place.take(params, &source(&other), &options()).expect("a good source");
    assert!(pivot > fork);
    let chain = place.open(params);
    chain.follow(&source(&other), &mut go_on()).expect("a good source");
    same_head(&chain, &other.chain);
    drop(chain);
    place.verify(params);
}

#[test]
fn another_source_goes_on_where_one_lies() {
    let busy = busy(Engine::Pow);
    let place = Place::new();
    let lied = AtomicBool::new(false);
    let liar = Bent(busy.source(), |_: &Request, mut answer: Answer| {
        if let Answer::Accounts(Some(range)) = &mut answer
            && range.accounts.len() > 3
            && range.accounts[0].key.0[0] > 100
        {
            lied.store(true, Ordering::Relaxed);
            range.accounts.remove(2);
        }
        Ok(answer)
    });
    let params = busy.world.chain.params();
    let error = place.take(params, &liar, &options()).expect_err("a lie");
    assert!(error.to_string().contains("gives accounts from 0x"), "{error}");
    assert!(lied.load(Ordering::Relaxed));
    let mut first = None;
    let sources: [&dyn Source; 2] = [&liar, &busy.source()];
    place
        .take_telling(params, &sources, &options(), &mut |told| {
            if told.step == SnapshotStep::State {
                first.get_or_insert(told.accounts);
            }
            true
        })
        .expect("the second source is honest");
    assert!(first.is_some_and(|accounts| accounts > 500), "it goes on where it was: {first:?}");
    place.holds(&busy);
}

#[test]
fn a_checkpoint_is_met_or_refused() {
    let busy = busy(Engine::Pow);
    let params = busy.world.chain.params();
    let id = |number| busy.world.chain.canonical(number).expect("readable").expect("there");
    // Proofs of work below a checkpoint are not looked at; but what a proof says of the randomness is fixed by the next header.
    let unproven = |below: u64| {
        Bent(busy.source(), move |_: &Request, mut answer: Answer| {
            if let Answer::Headers(headers) = &mut answer {
                for sealed in headers.iter_mut().filter(|sealed| sealed.header.number == below) {
                    sealed.header.difficulty = sealed.header.difficulty.saturating_add(U256::from(1));
                }
            }
            Ok(answer)
        })
    };
    let with = |number, id| SnapshotOptions { checkpoint: Some(Checkpoint { number, id }), ..options() };
    let place = Place::new();
    let wrong = with(20, id(21));
    let error = place.take(params, &busy.source(), &wrong).expect_err("another block");
    assert!(matches!(error, SyncError::Checkpoint { number: 20, .. }), "{error}");
    let error = place.take(params, &unproven(10), &with(20, id(20))).expect_err("a wrong difficulty");
    assert!(matches!(error, SyncError::Invalid { number: 10, .. }), "{error}");
    let far = busy.world.chain.head().number() + 5;
    let error = place.take(params, &busy.source(), &with(far, id(1))).expect_err("not there yet");
    assert!(error.to_string().contains("checkpoint"), "{error}");
    place.take(params, &busy.source(), &with(20, id(20))).expect("it is met");
    place.holds(&busy);
}

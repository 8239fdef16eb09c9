//! The books on both databases: every unit is somewhere, and nothing is booked twice.

use super::*;
use crate::{
    block::{BlockEvent, BlockKey},
    payout::{BLOCK_WEIGHT, Division, PayRule, Window},
};
use alloy_primitives::B256;
use postgres::Postgres;
use proptest::{prelude::*, test_runner::TestRunner};
use std::path::Path;

mod postgres;

fn sqlite(dir: &Path) -> String {
    format!("sqlite://{}", dir.join("pool.db").display())
}

/// Runs a scenario on both databases.
#[expect(clippy::needless_pass_by_value, reason = "scenarios are closures")]
fn on_both<F: AsyncFn(&str)>(name: &str, scenario: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let dir = tempfile::tempdir().expect("a folder");
    runtime.block_on(scenario(&sqlite(dir.path())));
    if let Some(postgres) = Postgres::start() {
        runtime.block_on(async { scenario(&postgres.url(name).await).await });
    }
}

fn account(n: u8) -> Address {
    Address::with_last_byte(n)
}

fn key(n: u64) -> BlockKey {
    BlockKey { chain: "bmm".into(), id: format!("0x{n:064x}") }
}

/// Books block `n`: two shares, by which accounts 1 and 2 get a quarter and three quarters; a fee of 1 %.
async fn find(books: &Books, n: u64, reward: u128) -> Booked {
    let rule = PayRule::new(1, 100).expect("in bounds");
    let weights = [(account(1), BLOCK_WEIGHT / 4), (account(2), BLOCK_WEIGHT / 4 * 3)];
    let window = Window { weights: weights.into(), filled: BLOCK_WEIGHT, oldest: Some(n) };
    let division = Division::of(rule, reward, &window);
    let block = NewBlock {
        key: &key(n),
        height: 100 + n,
        reward,
        log: "pool",
        share: n + 7,
        root: B256::with_last_byte(9),
        finder: account(2),
        rule,
        window: &window,
        division: &division,
        effort: BLOCK_WEIGHT,
        at: 1_000 + n,
    };
    books.found(&block).await.expect("room")
}

async fn prepare(books: &Books, amount: u128) -> Result<u64, BooksError> {
    let items = [PayItem { account: account(1), amount, fee: amount / 10 }];
    let (hash, raw) = (format!("0x{amount:x}"), "0x02".to_owned());
    let payment =
        NewPayment { chain: "bmm", sender: "0xpool", nonce: 5, items: &items, hash: &hash, raw: &raw, at: 2_000 };
    books.prepare(&payment).await
}

async fn balance(books: &Books, n: u8) -> u128 {
    books.account(account(n)).await.expect("readable").first().map_or(0, |row| row.balance)
}

#[test]
fn a_block_is_booked_when_it_is_mature_and_once() {
    on_both("mature", async |url| {
        let books = Books::open(url).await.expect("opens");
        for (n, reward) in [(1, 1_000), (9, 5)] {
            books.intend("pool", &key(n), 100 + n, reward, n + 7).await.expect("room");
            books.intend("pool", &key(n), 100 + n, reward, n + 7).await.expect("known");
        }
        assert_eq!(find(&books, 1, 1_000).await, Booked::Now);
        let left = BlockEvent::Found { key: key(9), height: 109, reward: 5, share: 16 };
        assert_eq!(books.intents("pool").await.expect("readable"), [left]);
        assert_eq!(find(&books, 1, 9_999).await, Booked::Before);
        assert_eq!(find(&books, 2, 1_000).await, Booked::Now);
        assert_eq!(balance(&books, 1).await, 0);
        assert_eq!(books.immature("bmm", account(1)).await.expect("readable"), 2 * 248);
        let watched: Vec<u64> =
            books.watched("pool").await.expect("readable").into_iter().map(|watched| watched.height).collect();
        assert_eq!(watched, [101, 102]);
        // Windows from share 1 to 8 and from 2 to 9, both open.
        assert_eq!(books.retirable("pool", 9_999).await.expect("readable"), 0);
        assert_eq!(books.mature(&key(1), 3_000).await.expect("known"), Booked::Now);
        assert_eq!(books.mature(&key(1), 3_000).await.expect("known"), Booked::Before);
        assert_eq!(books.orphaned(&key(2), 3_001).await.expect("known"), Booked::Now);
        assert_eq!(books.mature(&key(2), 3_002).await.expect("known"), Booked::Before);
        assert!(matches!(books.mature(&key(3), 1).await, Err(BooksError::Unknown(_))));
        // 990: a quarter is 247.5, three quarters 742.5; the unit that is left goes to the lower address.
        assert_eq!((balance(&books, 1).await, balance(&books, 2).await), (248, 742));
        let blocks = books.blocks(None, 10).await.expect("readable");
        assert_eq!(
            blocks.iter().map(|b| (b.number, b.state)).collect::<Vec<_>>(),
            [(2, BlockState::Orphaned), (1, BlockState::Mature)]
        );
        assert_eq!(books.blocks(Some(2), 10).await.expect("readable"), blocks[1..]);
        let credits = books.credits(1, Some(account(1)), 10).await.expect("readable");
        assert_eq!(credits, [Credit { account: account(2), weight: BLOCK_WEIGHT / 4 * 3, amount: 742 }]);
        let audit = books.audit("bmm").await.expect("readable");
        assert!(audit.is_balanced() && audit.rewards == 1_000, "{audit:?}");
        let fee = books.balances("bmm", "", 10).await.expect("readable");
        assert_eq!(fee.iter().map(|row| row.account.len()).collect::<Vec<_>>(), [42, 42, 3]);
        books.close().await;
    });
}

#[test]
fn payments_take_and_give_back_once() {
    on_both("payments", async |url| {
        let books = Books::open(url).await.expect("opens");
        find(&books, 1, 4_000).await;
        books.mature(&key(1), 1).await.expect("known");
        assert_eq!(balance(&books, 1).await, 990);
        assert_eq!(books.payable("bmm", 991, 9).await.expect("readable"), [(account(2), 2_970)]);
        assert_eq!(books.payable("bmm", 990, 9).await.expect("readable").len(), 2);
        books.hold("bmm", account(2), true).await.expect("there");
        assert_eq!(books.payable("bmm", 0, 9).await.expect("readable"), [(account(1), 990)]);
        assert!(matches!(prepare(&books, 991).await, Err(BooksError::Overdrawn { balance: 990, asked: 991, .. })));
        assert!(books.open_payments("bmm").await.expect("readable").is_empty(), "a refused payment leaves nothing");
        let first = prepare(&books, 600).await.expect("covered");
        assert!(prepare(&books, 391).await.is_err());
        books.replace(first, "0xbeef", "0x03", 2_001).await.expect("open");
        // A restart between writing down and sending finds the same transactions.
        books.close().await;
        let books = Books::open(url).await.expect("opens");
        let open = books.open_payments("bmm").await.expect("readable");
        assert_eq!((open.len(), open[0].nonce, open[0].total, open[0].fees), (1, 5, 600, 60));
        let hashes: Vec<String> =
            books.attempts(first).await.expect("readable").into_iter().map(|attempt| attempt.hash).collect();
        assert_eq!(hashes, ["0x258", "0xbeef"]);
        for _ in 0..2 {
            books.failed(first, 3, 2_002).await.expect("known");
            assert_eq!(balance(&books, 1).await, 990);
        }
        let second = prepare(&books, 990).await.expect("covered");
        for _ in 0..2 {
            books.paid(second, "0x3de", 77, 5, 2_003).await.expect("known");
            books.failed(second, 0, 2_004).await.expect("known");
            assert_eq!(balance(&books, 1).await, 0);
        }
        let paid = books.payments(Some(account(1)), None, 9).await.expect("readable");
        assert_eq!(
            paid.iter().map(|p| (p.id, p.state)).collect::<Vec<_>>(),
            [(2, PaymentState::Paid), (1, PaymentState::Failed)]
        );
        assert!(books.payments(Some(account(2)), None, 9).await.expect("readable").is_empty());
        let audit = books.audit("bmm").await.expect("readable");
        assert!(audit.is_balanced() && audit.paid == 891, "{audit:?}");
        books.close().await;
    });
}

#[test]
fn a_database_belongs_to_one_pool() {
    on_both("owner", async |url| {
        let books = Books::open(url).await.expect("opens");
        books.bind("bmm 0x01").await.expect("free");
        books.bind("bmm 0x01").await.expect("the same");
        assert!(matches!(books.bind("bmm 0x02").await, Err(BooksError::Foreign { .. })));
        sqlx::query("UPDATE meta SET value = '99' WHERE name = 'version'").execute(&books.pool).await.expect("written");
        books.close().await;
        assert!(matches!(Books::open(url).await, Err(BooksError::TooNew { found: 99, .. })));
    });
}

#[test]
fn addresses_are_shown_without_passwords() {
    assert_eq!(shown("postgres://me:secret@db.example.org/pool"), "postgres://…@db.example.org/pool");
    assert_eq!(shown("sqlite:///var/pool.db"), "sqlite:///var/pool.db");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let error = runtime.block_on(Books::open("mysql://me:secret@host/x")).expect_err("no such database");
    assert!(!error.to_string().contains("secret"), "{error}");
}

/// What may happen to the books.
#[derive(Clone, Debug)]
enum Deed {
    Find(u64, u128),
    Mature(u64),
    Orphan(u64),
    Pay(u128),
    End(u64, bool),
    Reopen,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        (1_u64..8, prop_oneof![0_u128..50, 0..10_u128.pow(24)]).prop_map(|(n, reward)| Deed::Find(n, reward)),
        (1_u64..8).prop_map(Deed::Mature),
        (1_u64..8).prop_map(Deed::Orphan),
        (0_u128..1_000).prop_map(Deed::Pay),
        (1_u64..6, any::<bool>()).prop_map(|(id, paid)| Deed::End(id, paid)),
        Just(Deed::Reopen),
    ];
    proptest::collection::vec(deed, 1..40)
}

#[test]
fn every_unit_stays_in_the_books() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut runner =
        TestRunner::new(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() });
    let checked = runner.run(&deeds(), |deeds| {
        let dir = tempfile::tempdir().expect("a folder");
        runtime.block_on(async {
            let mut books = Books::open(&sqlite(dir.path())).await.expect("opens");
            for deed in &deeds {
                // What is refused must leave no trace either.
                match deed {
                    Deed::Find(n, reward) => drop(find(&books, *n, *reward).await),
                    Deed::Mature(n) => drop(books.mature(&key(*n), 1).await),
                    Deed::Orphan(n) => drop(books.orphaned(&key(*n), 1).await),
                    Deed::Pay(permille) => {
                        let all = balance(&books, 1).await;
                        drop(prepare(&books, all / 1_000 * permille + permille % 2).await);
                    }
                    Deed::End(id, true) => drop(books.paid(*id, "0x1", 9, 1, 1).await),
                    Deed::End(id, false) => drop(books.failed(*id, 1, 1).await),
                    Deed::Reopen => {
                        books.close().await;
                        books = Books::open(&sqlite(dir.path())).await.expect("opens");
                    }
                }
                let audit = books.audit("bmm").await.expect("readable");
                assert!(audit.is_balanced(), "after {deed:?}: {audit:?}");
            }
            books.close().await;
        });
        Ok(())
    });
    checked.expect("balanced");
}

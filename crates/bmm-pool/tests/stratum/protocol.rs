//! What miners say, and what they are told.

use super::support::{ADDRESS, EASY, Pool, code, config, is_block, job, listen};
use bmm_pool::difficulty::{Limits, ShareDifficulty};
use bmm_pow::scrypt_hash;
use serde_json::json;
use tokio::time::timeout;

#[tokio::test]
async fn shares_are_accepted_once_and_kept() {
    let pool = Pool::start();
    let mut miner = pool.miner("rig").await;
    let found = miner.mine(None);
    assert_eq!(miner.submit(&found).await["result"], true);
    assert_eq!(pool.logged(), 1, "it was kept before it was acknowledged");
    assert_eq!(code(&miner.submit(&found).await), 22);
    let too_hard = miner.mine_where(None, |hash, target| hash > target);
    assert_eq!(code(&miner.submit(&too_hard).await), 23);
    miner.work().await;
    assert_eq!(pool.logged(), 2);

    let stats = pool.server.stats();
    let now = 1_800_000_000_000;
    let counts = stats.workers(None, now)[0].counts;
    assert_eq!((counts.accepted, counts.hashes, counts.rejected), (2, 2 * u128::from(EASY), [0, 0, 1, 1, 0, 0]));
    pool.server.drain().await;
}

#[tokio::test]
async fn blocks_go_out_with_the_number_of_their_share() {
    let mut pool = Pool::with(config(), job(1, 2, true));
    let mut miner = pool.miner("rig").await;
    miner.work().await;
    miner.work().await;
    for number in 0..2 {
        let solution = timeout(super::support::LONG, pool.solutions.recv()).await.unwrap().unwrap();
        assert_eq!((solution.share, solution.account), (number, ADDRESS.parse().unwrap()));
        assert_eq!(solution.hash, scrypt_hash(&solution.header));
        assert!(is_block(&solution.job, &solution.hash) && solution.solved().count() == 1);
        let rebuilt = solution.job.header(
            &solution.coinbase,
            solution.job.version,
            solution.job.time,
            u32::from_le_bytes(*solution.header.last_chunk().unwrap()),
        );
        assert_eq!(rebuilt, solution.header);
    }
    pool.server.drain().await;
}

#[tokio::test]
async fn what_is_not_allowed_has_its_code() {
    let pool = Pool::start();
    let mut miner = pool.connect().await;
    let share = |name: &str| json!([name, "10", "0000000000000000", "6553f100", "00000000"]);
    assert_eq!(code(&miner.call("mining.submit", share("x")).await), 25);
    miner.subscribe(json!([])).await;
    assert_eq!(code(&miner.call("mining.submit", share("x")).await), 24);
    assert_eq!(code(&miner.call("mining.authorize", json!(["nobody", "x"])).await), 24);
    miner.authorise("rig").await;
    let found = miner.mine(None);
    let mut with = async |place: usize, value: &str| {
        let mut found = found.clone();
        found.params[place] = json!(value);
        code(&miner.submit(&found).await)
    };
    assert_eq!([with(1, "ff0").await, with(1, "").await, with(1, "ä").await], [21; 3]);
    assert_eq!([with(2, "00").await, with(2, "00000000000000a1b2").await, with(2, "00000000000000xy").await], [20; 3]);
    // One second before the job's time, and beyond what networks take.
    assert_eq!([with(3, "6553f0ff").await, with(3, "65540c59").await, with(4, "0").await], [20; 3]);
    assert_eq!(with(2, "00fabe6d6d000000").await, 20, "the mark of merged mining");
    pool.server.drain().await;
}

#[tokio::test]
async fn versions_roll_where_it_was_agreed() {
    let pool = Pool::start();
    let mut miner = pool.connect().await;
    let asked = json!([["version-rolling", "unheard-of"], { "version-rolling.mask": "ffffffff" }]);
    let result = miner.call("mining.configure", asked).await["result"].clone();
    assert_eq!(result, json!({ "version-rolling": true, "version-rolling.mask": "1fffe000", "unheard-of": false }));
    miner.subscribe(json!(["test/1"])).await;
    miner.authorise("rig").await;
    let found = miner.mine(Some(0x0100_2000));
    assert_eq!(miner.submit(&found).await["result"], true);
    miner.work().await;
    let mut outside = found.clone();
    outside.params[5] = json!("80000000");
    assert_eq!(code(&miner.submit(&outside).await), 20);

    let mut plain = pool.miner("plain").await;
    let found = plain.mine(Some(0x0100_2000));
    assert_eq!(code(&plain.submit(&found).await), 20, "nothing was agreed");
    pool.server.drain().await;
}

#[tokio::test]
async fn old_jobs_count_until_one_is_clean() {
    let pool = Pool::start();
    let mut miner = pool.miner("rig").await;
    let (first, second) = (miner.mine(None), miner.mine(None));
    pool.jobs.send(job(2, 1 << 50, false)).unwrap();
    assert_eq!(miner.next("mining.notify").await["params"][8], false);
    assert_eq!(miner.submit(&first).await["result"], true);
    pool.jobs.send(job(3, 1 << 50, true)).unwrap();
    assert_eq!(miner.next("mining.notify").await["params"][8], true);
    assert_eq!(code(&miner.submit(&second).await), 21);
    miner.work().await;
    pool.server.drain().await;
}

#[tokio::test]
async fn difficulty_is_chosen_and_belongs_to_the_job() {
    let mut config = config();
    config.difficulty.limits = Limits { least: ShareDifficulty::parts(1), greatest: ShareDifficulty::whole(8) };
    config.listen = vec![listen(8, false), listen(1 << 18, false)];
    let pool = Pool::with(config, job(1, 1 << 50, true));
    let mut miner = pool.miner("rig").await;
    let parts = |parts: f64| parts / 65_536.0;
    assert!((miner.job.difficulty - parts(8.0)).abs() < f64::EPSILON);
    let before = miner.mine(None);
    for (asked, told) in [(json!(parts(32.0)), parts(32.0)), (json!("0.0009765625"), parts(64.0)), (json!(99.0), 8.0)] {
        assert_eq!(miner.call("mining.suggest_difficulty", json!([asked])).await["result"], true);
        if miner.job.difficulty.to_bits() != f64::to_bits(told) {
            miner.next("mining.notify").await;
        }
        assert!((miner.job.difficulty - told).abs() < f64::EPSILON, "{asked}: {}", miner.job.difficulty);
    }
    // What was handed out before is judged as it was handed out, and cannot be sent under an id with another difficulty.
    let mut dearer = before.clone();
    dearer.params[1] = miner.job.params[0].clone();
    assert_eq!(code(&miner.submit(&dearer).await), 23, "under the other id it is another header");
    assert_eq!(miner.submit(&before).await["result"], true);
    assert_eq!(pool.server.stats().workers(None, 0)[0].counts.hashes, 8);

    let mut miner = pool.connect().await;
    miner.subscribe(json!([])).await;
    miner.call("mining.authorize", json!([ADDRESS, "x,d=0.5"])).await;
    miner.next("mining.notify").await;
    assert!((miner.job.difficulty - 0.5).abs() < f64::EPSILON);
    let high = tokio::net::TcpStream::connect(pool.server.addresses()[1]).await.unwrap();
    let mut miner = super::support::Miner::over(high);
    miner.subscribe(json!([])).await;
    miner.authorise("big").await;
    assert!((miner.job.difficulty - 4.0).abs() < f64::EPSILON);
    pool.server.drain().await;
}

#[tokio::test]
async fn small_talk_is_answered() {
    let pool = Pool::start();
    let mut miner = pool.connect().await;
    assert_eq!(miner.call("mining.ping", json!([])).await["result"], "pong");
    assert_eq!(miner.call("mining.extranonce.subscribe", json!([])).await["result"], true);
    assert!(miner.call("client.get_version", json!([])).await["result"].as_str().unwrap().starts_with("bmm/"));
    assert_eq!(code(&miner.call("mining.unheard_of", json!([])).await), 20);
    miner.subscribe(json!([])).await;
    miner.authorise("rig").await;
    if !miner.notices.iter().any(|notice| notice["method"] == "client.get_version") {
        miner.next("client.get_version").await;
    }
    miner.send("{\"id\":\"version\",\"result\":\"asic <1>\",\"error\":null}\r\n").await;
    miner.work().await;
    assert_eq!(&*pool.server.stats().workers(None, 0)[0].agent, "asic<1>");
    pool.server.show_message("hello");
    assert_eq!(miner.next("client.show_message").await["params"], json!(["hello"]));
    pool.server.drain().await;
}

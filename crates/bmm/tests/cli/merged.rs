//! `bmm mine` at `bmm pool`, over TCP: the same shares make blocks of Litecoin, by its real nodes, and of BMM. Before and after MWEB.

#[path = "../../../bmm-pool/tests/sources/litecoind.rs"]
#[expect(dead_code, reason = "what other tests use")]
mod litecoind;

use crate::{
    chain::Chain,
    pool,
    run::{Bmm, Running},
};
use litecoind::{Litecoin, is_missing};
use serde_json::{Value, json};

/// Height of the first block with MWEB on Litecoin's regtest.
const MWEB: u64 = 432;
/// Blocks that the test sees before MWEB, and with it.
const BLOCKS: u64 = 3;
const MINER: &str = "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed.desk";

/// The pool's settings: both chains.
fn config(litecoin: &Litecoin, address: &str) -> String {
    let (url, cookie) = litecoin.rpc();
    format!(
        r#"
[pool]
listen = ["127.0.0.1:0"]
api_listen = ["127.0.0.1:0"]
wallet = "dev"
shares_per_minute = 100000
maturity = 3

[[pool.parents]]
name = "litecoin"
url = "{url}"
cookie = "{}"
address = "{address}"
"#,
        cookie.display()
    )
}

fn height(litecoin: &Litecoin) -> u64 {
    litecoin.call("getblockcount", json!([])).as_u64().expect("a number")
}

/// What the pool says of a chain.
fn chain(bmm: &Bmm, name: &str) -> Value {
    let status = bmm.json(&["pool", "status"]);
    let mut chains = status["sides"][0]["chains"].as_array().expect("rows").iter();
    chains.find(|chain| chain["name"] == name).cloned().unwrap_or_default()
}

/// Blocks of a chain that its node took from the pool.
fn taken(bmm: &Bmm, name: &str) -> u64 {
    chain(bmm, name)["taken"].as_u64().unwrap_or_default()
}

/// `bmm mine`, with shares of some thousand hashes.
fn mine(bmm: &Bmm, pool: &Value) -> Running {
    let url = format!("stratum+tcp://{}", pool["stratum"][0].as_str().expect("an address"));
    bmm.spawn(&["mine", "--threads", "1", "--pool", &url, "--user", MINER, "--password", "d=0.0625"])
}

#[test]
fn the_same_shares_make_blocks_of_litecoin_and_bmm() {
    if is_missing() {
        return;
    }
    let (bmm, litecoin) = (Bmm::new(), Litecoin::start());
    let address = litecoin.address("bech32");
    litecoin.generate(424, &address);
    std::fs::create_dir_all(bmm.data()).expect("a folder");
    std::fs::write(bmm.data().join("config.toml"), config(&litecoin, &address)).expect("written");
    let _chain = Chain::up(&bmm);
    let (mut pool, listening) = pool::start(&bmm, &["pool", "--json"]);

    // Before MWEB.
    let miner = mine(&bmm, &listening);
    litecoin.until("blocks before MWEB", || height(&litecoin) >= 424 + BLOCKS);
    drop(miner);
    // The first block with MWEB must have a payment into it. One at a time: shares on their way may still make blocks.
    while height(&litecoin) < MWEB - 1 {
        litecoin.generate(1, &address);
    }
    assert_eq!(height(&litecoin), MWEB - 1, "a block that no payment into MWEB is in would be refused");
    let into = litecoin.address("mweb");
    litecoin.call("sendtoaddress", json!([into, 1]));
    litecoin.until("a template for the first block with MWEB", || chain(&bmm, "litecoin")["height"] == MWEB);
    let before = taken(&bmm, "litecoin");
    assert!(before >= BLOCKS, "{before}");

    let miner = mine(&bmm, &listening);
    litecoin.until("blocks with MWEB", || height(&litecoin) >= MWEB + BLOCKS);
    litecoin.until("blocks of BMM", || taken(&bmm, "bmm") >= BLOCKS);
    drop(miner);
    let top = height(&litecoin);
    litecoin.until("the other node has them all", || litecoin.height_of_second().as_u64() >= Some(top));
    assert!(taken(&bmm, "litecoin") >= before + BLOCKS);
    for name in ["litecoin", "bmm"] {
        assert_eq!(chain(&bmm, name)["refused"], 0, "{}", chain(&bmm, name));
    }
    let block = litecoin.call("getblock", json!([litecoin.call("getblockhash", json!([MWEB])), 2]));
    assert!(block["mweb"].is_object(), "{block}");
    assert!(pool.lives(), "{}", pool.stderr());
}

//! Merged mining with the real Litecoin node: before and after the activation of MWEB.

use super::{
    litecoind::{Litecoin, is_missing},
    support::{Node, solve},
};
use alloy_primitives::hex;
use bmm_pool::{
    BlockEvent, Job, SourceConfig, Sources,
    source::{NodeUrl, ParentConfig, SourceError},
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::sync::{mpsc, watch};

/// Longest wait for something that must happen.
const PATIENCE: Duration = Duration::from_mins(1);
/// Height of the first block with MWEB on Litecoin's regtest.
const MWEB: u64 = 432;

fn parent(address: &str, nodes: &[(String, std::path::PathBuf)]) -> ParentConfig {
    let nodes = nodes.iter().map(|(url, cookie)| {
        let url: NodeUrl = url.parse().expect("an address");
        url.with_cookie(cookie.clone())
    });
    ParentConfig { name: "litecoin".into(), nodes: nodes.collect(), address: address.into(), maturity: 3 }
}

/// A pool without its server.
struct Pool {
    sources: Sources,
    jobs: watch::Receiver<Arc<Job>>,
    solutions: mpsc::Sender<bmm_pool::Solution>,
    events: mpsc::Receiver<BlockEvent>,
    share: u64,
}

impl Pool {
    fn start(parent: ParentConfig, node: &Node) -> Result<Self, SourceError> {
        let (solutions, queue) = mpsc::channel(16);
        let (sender, events) = mpsc::channel(1_024);
        let config = SourceConfig {
            parents: vec![parent],
            aux: vec![node.aux(3)],
            tag: "/bmm test/".into(),
            refresh: Duration::from_millis(500),
            pending: Vec::new(),
        };
        let sources = Sources::start(config, queue, &sender)?;
        Ok(Self { jobs: sources.jobs(), sources, solutions, events, share: 0 })
    }

    fn wait<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await }).expect("in time")
    }

    /// Waits for a job that is so.
    fn job(&mut self, is_so: impl Fn(&Job) -> bool) -> Arc<Job> {
        Arc::clone(&Self::wait(self.jobs.wait_for(|job| is_so(job))).expect("open"))
    }

    /// Finds the parent's block of that height, and returns what was told of it: its id and its reward.
    fn find(&mut self, height: u64, is_so: impl Fn(&Job) -> bool) -> (String, u128) {
        let job = self.job(|job| {
            job.chains.iter().any(|chain| &*chain.name == "litecoin" && chain.height == height) && is_so(job)
        });
        self.share += 1;
        // BMM's target is the harder one on these chains: a block of it is one of both.
        self.solutions.blocking_send(solve(&job, "bmm", self.share)).expect("open");
        loop {
            if let BlockEvent::Found { key, height: of_block, reward, .. } = self.event()
                && &*key.chain == "litecoin"
            {
                assert_eq!(of_block, height);
                return (key.id, reward);
            }
        }
    }

    fn event(&mut self) -> BlockEvent {
        Self::wait(self.events.recv()).expect("open")
    }
}

fn coinbase_of(block: &Value) -> &Value {
    &block["tx"][0]
}

#[test]
fn litecoin_and_bmm_are_mined_at_once_before_and_after_mweb() {
    if is_missing() {
        return;
    }
    let (litecoin, node) = (Litecoin::start(), Node::start());
    let address = litecoin.address("bech32");
    litecoin.generate(428, &address);
    let paid = litecoin.address("legacy");
    let mut pool = Pool::start(parent(&paid, &[litecoin.rpc()]), &node).expect("work");
    for height in 429..=MWEB + 4 {
        // Into MWEB, which its first block must have, and within it; before, a usual payment.
        let to = litecoin.address(if height >= MWEB { "mweb" } else { "bech32" });
        litecoin.call("sendtoaddress", json!([to, 1]));
        let (id, reward) = pool.find(height, |job| !job.branch.is_empty());
        let block = litecoin.call("getblock", json!([id, 2]));
        assert_eq!((&block["height"], &block["confirmations"]), (&json!(height), &json!(1)), "the tip");
        let output = &coinbase_of(&block)["vout"][0];
        assert_eq!(output["scriptPubKey"]["addresses"], json!([paid]));
        let coins = output["value"].as_f64().expect("a number") * 1e8;
        assert!((coins - f64::from(u32::try_from(reward).expect("small"))).abs() < 1.0, "{coins} {reward}");
        let script = coinbase_of(&block)["vin"][0]["coinbase"].as_str().expect("a script");
        assert!(script.contains("fabe6d6d") && script.contains(&hex::encode("/bmm test/")), "{script}");
        assert_eq!(block["mweb"].is_object(), height >= MWEB, "{block}");
    }
    litecoin.until("the other node has them all", || litecoin.height_of_second() == json!(MWEB + 4));
    assert!(node.chain.head().number() >= 2, "the same shares made blocks of BMM");
    assert!(node.solutions.len(&node.work()) >= 2, "and were work of the epoch");
    let status = pool.sources.status();
    assert_eq!((status[0].taken, status[0].refused, status[1].refused), (8, 0, 0), "{status:?}");
    ripen(&litecoin, &mut pool, &address);
}

/// The first blocks are final; the last one is abandoned for a longer branch.
fn ripen(litecoin: &Litecoin, pool: &mut Pool, address: &str) {
    let (last, _) = pool.find(MWEB + 5, |_| true);
    litecoin.call("invalidateblock", json!([last]));
    litecoin.generate(4, address);
    let (mut mature, mut orphaned) = (0, None);
    while orphaned.is_none() {
        match pool.event() {
            BlockEvent::Mature(key) if &*key.chain == "litecoin" => mature += 1,
            BlockEvent::Orphaned(key) => orphaned = Some(key.id),
            _ => {}
        }
    }
    assert_eq!((mature, orphaned), (8, Some(last)));
}

#[test]
fn the_second_node_takes_over_and_bmm_goes_on_alone() {
    if is_missing() {
        return;
    }
    let (mut litecoin, node) = (Litecoin::start(), Node::start());
    let address = litecoin.address("bech32");
    litecoin.generate(10, &address);
    litecoin.until("the other node has them all", || litecoin.height_of_second() == json!(10));
    for wrong in ["rltc1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq", "0x00", &litecoin.address("mweb")] {
        let error = Pool::start(parent(wrong, &[litecoin.rpc()]), &node).err().expect("refused");
        assert!(matches!(&error, SourceError::Parent(_)) && error.to_string().contains(wrong), "{error}");
    }
    let nodes = [litecoin.rpc(), litecoin.second_rpc()];
    let mut pool = Pool::start(parent(&address, &nodes), &node).expect("work");
    pool.find(11, |_| true);
    litecoin.until("the other node has it", || litecoin.height_of_second() == json!(11));
    litecoin.stop_first();
    // Without a peer the second node gives no templates (code -9), but it takes blocks: BMM is mined on either way.
    let job = pool.job(|job| job.chains.iter().any(|chain| &*chain.name == "bmm"));
    pool.solutions.blocking_send(solve(&job, "bmm", 77)).expect("open");
    loop {
        if let BlockEvent::Found { key, share: 77, .. } = pool.event()
            && &*key.chain == "litecoin"
        {
            break;
        }
    }
    assert_eq!(litecoin.height_of_second(), json!(12));
}

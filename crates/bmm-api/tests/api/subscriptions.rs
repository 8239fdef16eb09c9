//! Subscriptions over WebSocket through changes of branch: a plain client, ethers and viem see every event, in order. See `tools` for
//! what is needed.

use super::{
    node::{ECHO, Node},
    tools::Tools,
};
use alloy_consensus::TxEip1559;
use alloy_primitives::{B256, Bytes, TxKind};
use alloy_signer::SignerSync as _;
use bmm_chain::{Chain, ChainOptions, SystemClock, TemplateRequest};
use bmm_types::{Seal, SealedBlock};
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
    sync::{
        Arc,
        mpsc::{Receiver, channel},
    },
    time::Duration,
};
use tempfile::TempDir;

/// Longest silence of the clients.
const PATIENCE: Duration = Duration::from_mins(1);

/// How often the longer branch becomes the shorter one.
const REORGS: usize = 6;

/// A block, and the words that its logs carry.
#[derive(Clone)]
struct Logged {
    block: SealedBlock,
    words: Vec<u8>,
}

impl Logged {
    fn id(&self) -> B256 {
        self.block.id()
    }

    fn number(&self) -> u64 {
        self.block.block.header.number
    }
}

/// A chain of its own on which a branch is made.
struct Branch<'a> {
    node: &'a Node,
    chain: Arc<Chain>,
}

impl<'a> Branch<'a> {
    fn from(node: &'a Node, first: &Logged) -> Self {
        let branch = Self::at_genesis(node);
        branch.chain.import(&first.block).expect("valid");
        branch
    }

    fn at_genesis(node: &'a Node) -> Self {
        let params = node.chain.params().clone();
        let chain = Chain::in_memory(params, Arc::new(SystemClock), ChainOptions::default()).expect("a chain");
        Self { node, chain }
    }

    /// Sends a transaction of the wallet.
    fn submit(&self, to: TxKind, input: impl Into<Bytes>) {
        let key = &self.node.key;
        let tx = TxEip1559 {
            chain_id: self.node.chain_id(),
            nonce: self.chain.pending_nonce(key.address()).expect("a nonce"),
            gas_limit: 500_000,
            max_fee_per_gas: u128::from(self.chain.next_base_fee()) * 2 + 1_000_000_000,
            max_priority_fee_per_gas: 5,
            to,
            input: input.into(),
            ..TxEip1559::default()
        };
        self.chain.submit(Node::sign(key, tx)).expect("a valid transaction");
    }

    /// Makes the next block, in which the echo contract logs the words.
    fn grow(&self, words: &[u8]) -> Logged {
        let echo = self.node.key.address().create(0);
        for word in words {
            self.submit(echo.into(), B256::with_last_byte(*word));
        }
        let request = TemplateRequest { beneficiary: self.node.key.address(), vanity: Bytes::new() };
        let sign = |hash| self.node.key.sign_hash_sync(&hash).expect("a local key signs");
        let template = self.chain.template(&request, &sign).expect("a template");
        let block = SealedBlock { block: template.block, seal: Seal::None };
        self.chain.import(&block).expect("valid");
        Logged { block, words: words.to_vec() }
    }
}

/// What subscribers must be told.
#[derive(Default)]
struct Expected {
    canonical: Vec<Logged>,
    /// Ids, in order.
    heads: Vec<B256>,
    /// As clients print them, in order.
    logs: Vec<Value>,
    reorgs: usize,
}

impl Expected {
    /// Adds the news of one import: all blocks weigh the same, so that the longer branch wins, and of equals the first.
    fn import(&mut self, branch: &[Logged]) {
        let (Some(new), Some(head)) = (branch.last(), self.canonical.last()) else { panic!("blocks") };
        if new.number() <= head.number() {
            return;
        }
        let common = branch.iter().zip(&self.canonical).take_while(|(new, old)| new.id() == old.id()).count();
        let abandoned = self.canonical.split_off(common);
        self.reorgs += usize::from(!abandoned.is_empty());
        self.logs.extend(abandoned.iter().rev().flat_map(|block| logs(block, true).into_iter().rev()));
        let adopted = &branch[common..];
        self.logs.extend(adopted.iter().flat_map(|block| logs(block, false)));
        self.heads.extend(adopted.iter().map(Logged::id));
        self.canonical.extend_from_slice(adopted);
    }
}

/// A block's logs, as the clients print them.
fn logs(block: &Logged, removed: bool) -> Vec<Value> {
    let log = |(index, word): (usize, &u8)| json!({ "blockHash": block.id(), "data": B256::with_last_byte(*word), "logIndex": index, "removed": removed });
    block.words.iter().enumerate().map(log).collect()
}

/// The running clients.
struct Clients {
    process: Child,
    lines: Receiver<String>,
    /// What they have printed.
    events: Vec<Value>,
    _folder: TempDir,
}

impl Clients {
    /// Starts the clients and waits until all are subscribed.
    fn start(tools: &Tools, node: &Node, last: u64) -> Self {
        let (folder, mut command) = tools.prepare("subscriptions.mjs", node);
        let address = node.key.address().create(0);
        command.env("ADDRESS", address.to_string()).env("LAST_BLOCK", last.to_string());
        let mut process = command.stdout(Stdio::piped()).spawn().expect("node runs");
        let output = BufReader::new(process.stdout.take().expect("piped")).lines();
        let (sender, lines) = channel();
        std::thread::spawn(move || output.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let clients = Self { process, lines, events: Vec::new(), _folder: folder };
        assert_eq!(clients.lines.recv_timeout(PATIENCE).as_deref(), Ok("ready"), "no subscription");
        clients
    }

    /// Notes the next event; false at the end, and where there is none in time.
    fn next(&mut self) -> bool {
        let Ok(line) = self.lines.recv_timeout(PATIENCE) else { return false };
        self.events.push(serde_json::from_str(&line).expect("JSON"));
        true
    }

    /// Waits until the clients that tell hashes have told this head. viem asks for each block by number once it is told, so that the
    /// next change of branch has to wait for it.
    fn wait_for(&mut self, id: B256) {
        for client in ["plain", "viem"] {
            while !self.told(client, "head").iter().any(|head| head["hash"] == json!(id)) {
                assert!(self.next(), "{client} is not told of {id}: {:#?}", self.events);
            }
        }
    }

    /// Waits until they end.
    fn finish(&mut self) {
        while self.next() {}
        // The end of the lines, or a silence in which nothing will come any more.
        if self.process.try_wait().expect("a child").is_none() {
            self.process.kill().expect("a child");
        }
        assert!(self.process.wait().expect("a child").success(), "the clients wait for more than {:#?}", self.events);
    }

    /// What a client was told, of `head` or `log`.
    fn told(&self, client: &str, kind: &str) -> Vec<Value> {
        let mine = self.events.iter().filter(|event| event["client"] == client);
        mine.filter_map(|event| event.get(kind).cloned()).collect()
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Two branches that overtake each other: which one grows, and what its next block logs.
fn plan() -> Vec<(usize, Vec<u8>)> {
    let mut words = 0..;
    let mut plan = Vec::new();
    for round in 0..=REORGS {
        // The first round makes one block, so that one is enough to be level and two to overtake.
        for step in 0..if round == 0 { 1 } else { 2 } {
            plan.push((round % 2, words.by_ref().take((round + step + 1) % 3).collect()));
        }
    }
    plan.push((REORGS % 2, vec![0xff]));
    plan
}

/// A node, the blocks that it will import, and what subscribers must be told if they look after each.
struct Story {
    node: Node,
    imports: Vec<SealedBlock>,
    expected: Expected,
}

impl Story {
    fn new() -> Self {
        let node = Node::without_blocks(|_| {});
        let beginning = Branch::at_genesis(&node);
        beginning.submit(TxKind::Create, ECHO.to_vec());
        let first = beginning.grow(&[]);
        node.chain.import(&first.block).expect("valid");

        let makers = [Branch::from(&node, &first), Branch::from(&node, &first)];
        let mut branches = [vec![first.clone()], vec![first.clone()]];
        let mut expected = Expected { canonical: vec![first], ..Expected::default() };
        let mut imports = Vec::new();
        for (which, words) in plan() {
            let block = makers[which].grow(&words);
            imports.push(block.block.clone());
            branches[which].push(block);
            expected.import(&branches[which]);
        }
        assert_eq!(expected.reorgs, REORGS);
        Self { node, imports, expected }
    }

    /// Starts the clients and imports the blocks; `each` is called after every one.
    fn tell(&self, tools: &Tools, mut each: impl FnMut(&mut Clients)) -> Clients {
        let last = self.expected.canonical.last().expect("blocks");
        let mut clients = Clients::start(tools, &self.node, last.number());
        for block in &self.imports {
            self.node.chain.import(block).expect("valid");
            each(&mut clients);
        }
        assert_eq!(self.node.chain.head().id, last.id());
        clients.finish();
        clients
    }
}

#[test]
fn subscribers_see_every_change_of_branch_in_order() {
    let Some(tools) = Tools::with_packages(&["viem", "ethers", "ws"], &[]) else { return };
    let story = Story::new();
    let (node, expected) = (&story.node, &story.expected);
    // A branch that comes and goes before the node looks may be left out.
    let mut told = node.chain.head().id;
    let clients = story.tell(&tools, |clients| {
        let head = node.chain.head().id;
        if std::mem::replace(&mut told, head) != head {
            clients.wait_for(head);
        }
    });
    // To ethers, a log that is taken back is another event, to be asked for log by log.
    let kept: Vec<Value> = expected.logs.iter().filter(|log| log["removed"] == false).cloned().collect();
    for (client, logs) in [("plain", &expected.logs), ("viem", &expected.logs), ("ethers", &kept)] {
        assert_eq!(&clients.told(client, "log"), logs, "logs that {client} saw");
    }
    let header = |id: &B256| node.chain.header(*id).expect("a store").expect("known");
    let whole = |id: &B256| json!({ "hash": id, "parentHash": header(id).parent_hash });
    let heads: Vec<Value> = expected.heads.iter().map(whole).collect();
    assert_eq!(clients.told("plain", "head"), heads);
    let numbers: Vec<Value> = expected.heads.iter().map(|id| json!({ "number": header(id).number })).collect();
    assert_eq!(clients.told("ethers", "head"), numbers);
    // Of two blocks that viem asks for at once, either may come first.
    let sorted = |mut heads: Vec<Value>| {
        heads.sort_by_key(Value::to_string);
        heads
    };
    assert_eq!(sorted(clients.told("viem", "head")), sorted(heads));
}

#[test]
fn what_subscribers_see_of_branches_that_come_and_go_leads_to_the_head() {
    let Some(tools) = Tools::with_packages(&["viem", "ethers", "ws"], &[]) else { return };
    let story = Story::new();
    let expected = &story.expected;
    let mut known = vec![json!(story.node.chain.head().id)];
    let clients = story.tell(&tools, |_| {});
    let canonical: Vec<Value> = expected.canonical.iter().flat_map(|block| logs(block, false)).collect();
    // Not ethers, which keeps logs that are taken back to itself.
    for client in ["plain", "viem"] {
        let mut kept = Vec::new();
        for mut log in clients.told(client, "log") {
            let removed = log["removed"].take() == true;
            log["removed"] = json!(false);
            if removed {
                assert_eq!(kept.pop(), Some(log), "{client}: the newest is taken back first");
            } else {
                kept.push(log);
            }
        }
        assert_eq!(kept, canonical, "logs that {client} was left with");
    }
    for head in clients.told("plain", "head") {
        assert!(known.contains(&head["parentHash"]), "{head} follows nothing told: {known:?}");
        known.push(head["hash"].clone());
    }
    assert_eq!(known.last(), Some(&json!(story.node.chain.head().id)));
}

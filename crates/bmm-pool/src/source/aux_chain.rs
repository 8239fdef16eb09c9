//! A merge-mined chain: BMM, and any other whose node knows `createauxblock`.

use super::{
    confirm::{Dialect, Tip},
    rpc::{CALL_TIMEOUT, NodeError, NodeUrl, Nodes},
};
use alloy_primitives::{B256, U256, hex};
use bmm_pow::{auxpow::wire, difficulty::Target};
use bmm_types::AuxPow;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

/// Code of a method that there is not.
const NO_METHOD: i64 = -32601;
/// How often a node that cannot be waited for is asked.
const POLL: Duration = Duration::from_secs(1);

/// A merge-mined chain of the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuxConfig {
    /// Its name, such as `bmm`.
    pub name: Arc<str>,
    /// Its nodes, the preferred first.
    pub nodes: Vec<NodeUrl>,
    /// Who gets its blocks, as its node reads addresses.
    pub address: String,
    /// Blocks above one until it counts as final.
    pub maturity: u64,
}

/// A block to work on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuxWork {
    /// Its id, as displayed.
    pub id: B256,
    /// Block below, as displayed.
    pub previous: B256,
    /// The chain's id in trees.
    pub chain_id: u32,
    /// What a hash must not pass.
    pub target: Target,
    /// Its height.
    pub height: u64,
    /// What it brings, in base units.
    pub reward: u128,
    /// Which of the chain's nodes has made it, and only that one takes its proof.
    pub node: usize,
    /// The work of an epoch that its hashes may be besides, if its node collects that.
    pub effort: Option<Effort>,
}

/// What hashes must commit to for an epoch's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// What they commit to, as displayed.
    pub leaf: B256,
    /// Its id in trees.
    pub chain_id: u32,
    /// How many of the smallest are of use.
    pub count: usize,
}

#[derive(Deserialize)]
struct Raw {
    hash: String,
    chainid: u32,
    previousblockhash: String,
    coinbasevalue: u64,
    height: u64,
    #[serde(rename = "_target")]
    namecoin_target: Option<String>,
    target: Option<String>,
    reward: Option<String>,
    work: Option<RawEffort>,
}

#[derive(Deserialize)]
struct RawEffort {
    hash: String,
    chainid: u32,
    count: usize,
}

/// What a node said to a proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The block is the head.
    Accepted,
    /// The block, or another proof of it, is known: nothing new.
    Duplicate,
    /// It came too late.
    Stale(String),
    /// It breaks a rule.
    Refused(String),
}

/// A chain with its nodes.
#[derive(Debug)]
pub struct AuxChain {
    /// What the operator chose.
    pub config: AuxConfig,
    /// Its nodes.
    pub nodes: Nodes,
}

impl AuxChain {
    /// Takes the settings; asks nobody yet.
    pub fn new(config: AuxConfig) -> Self {
        Self { nodes: Nodes::new(config.nodes.clone()), config }
    }

    /// How ids are written and confirmations asked for: BMM's ids have `0x`.
    pub fn dialect(&self) -> Dialect {
        if &*self.config.name == super::BMM { Dialect::Bmm } else { Dialect::Bitcoin }
    }

    /// Asks for a block.
    pub fn work(&self) -> Result<AuxWork, NodeError> {
        let method = "createauxblock";
        let (answer, node) = self.nodes.call_within(method, &json!([self.config.address]), CALL_TIMEOUT)?;
        let wrong = |reason: &dyn std::fmt::Display| self.nodes.misunderstood(method, reason);
        let raw: Raw = serde_json::from_value(answer).map_err(|error| wrong(&error))?;
        let read = |text: &str| hex::decode_to_array::<_, 32>(text).map_err(|error| wrong(&error));
        let target = raw.namecoin_target.or(raw.target).ok_or_else(|| wrong(&"`target` is missing"))?;
        // As the bytes of a little-endian number.
        let target = Target::new(U256::from_le_bytes(read(&target)?)).ok_or_else(|| wrong(&"`target` is zero"))?;
        let reward = match raw.reward {
            Some(text) => text.parse().map_err(|_| wrong(&"`reward` is no number"))?,
            None => raw.coinbasevalue.into(),
        };
        let effort = match raw.work {
            Some(RawEffort { hash, chainid, count }) => {
                Some(Effort { leaf: read(&hash)?.into(), chain_id: chainid, count })
            }
            None => None,
        };
        Ok(AuxWork {
            effort,
            id: read(&raw.hash)?.into(),
            previous: read(&raw.previousblockhash)?.into(),
            chain_id: raw.chainid,
            target,
            height: raw.height,
            reward,
            node,
        })
    }

    /// Waits until there is another block than `previous` to build on, or for so long.
    pub fn wait(&self, previous: B256, patience: Duration) -> Result<(), NodeError> {
        let secs = patience.as_secs().max(1);
        let longer = Duration::from_secs(secs).saturating_add(CALL_TIMEOUT);
        if self.dialect() == Dialect::Bmm {
            let params = json!([previous, secs]);
            match self.nodes.call_within("bmm_waitHead", &params, longer) {
                Err(error) if error.code() == Some(NO_METHOD) => {}
                result => return result.map(|_| ()),
            }
        }
        std::thread::sleep(POLL.min(patience));
        Ok(())
    }

    /// Hands in a proof.
    pub fn submit(&self, work: &AuxWork, aux: &AuxPow) -> Result<Verdict, NodeError> {
        let params = json!([hex::encode(work.id), hex::encode(wire::encode(aux))]);
        match self.nodes.ask(work.node, "submitauxblock", &params, CALL_TIMEOUT) {
            Ok(Value::Bool(true)) => Ok(Verdict::Accepted),
            Ok(_) => Ok(Verdict::Stale("another block came first".into())),
            Err(NodeError::Refused { message, .. }) if message.contains("duplicate") => Ok(Verdict::Duplicate),
            Err(NodeError::Refused { message, .. }) if message.contains("unknown") => Ok(Verdict::Stale(message)),
            Err(NodeError::Refused { message, .. }) => Ok(Verdict::Refused(message)),
            Err(error) => Err(error),
        }
    }

    /// Hands in one of the smallest hashes of an epoch's work. Says whether the node had a use for it.
    pub fn submit_effort(&self, node: usize, leaf: B256, aux: &AuxPow) -> Result<bool, NodeError> {
        let params = json!([hex::encode(leaf), hex::encode(wire::encode(aux))]);
        self.nodes.ask(node, "submitauxwork", &params, CALL_TIMEOUT).map(|answer| answer == Value::Bool(true))
    }

    /// Asks for the newest height.
    pub fn tip(&self) -> Tip<'_> {
        Tip { nodes: &self.nodes, dialect: self.dialect() }
    }
}

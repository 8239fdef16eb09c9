//! A parent chain: Litecoin, through litecoind.

use super::{
    aux_chain::Verdict,
    confirm::{Dialect, Tip},
    rpc::{CALL_TIMEOUT, NodeError, NodeUrl, Nodes},
    template::{ParentTemplate, TemplateError},
};
use alloy_primitives::hex;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

/// How long a node is waited for that answers when it has a new template. It is not given up earlier: a node has few threads, and keeps
/// one busy for each question that is open.
const LONG_POLL: Duration = Duration::from_mins(30);
/// Longest script that is paid to.
const MAX_SCRIPT: usize = 520;

/// A parent chain of the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentConfig {
    /// Its name, such as `litecoin`.
    pub name: Arc<str>,
    /// Its nodes, the preferred first.
    pub nodes: Vec<NodeUrl>,
    /// Who gets its blocks: an address as its node reads it.
    pub address: String,
    /// Blocks above one until its coinbase can be spent: 100 on Litecoin.
    pub maturity: u64,
}

/// Why a parent is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParentError {
    /// Its node.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// Its node's template.
    #[error("the template of {name}: {error}")]
    Template {
        /// The chain.
        name: Arc<str>,
        /// What is wrong.
        error: TemplateError,
    },
    /// The address that is to be paid.
    #[error("the address {address} is none of {name}: {reason}; set one that its node's `getnewaddress` gives")]
    Address {
        /// The chain.
        name: Arc<str>,
        /// The address.
        address: String,
        /// What is wrong.
        reason: String,
    },
}

/// A parent chain with its nodes.
#[derive(Debug)]
pub struct Parent {
    /// What the operator chose.
    pub config: ParentConfig,
    /// Its nodes.
    pub nodes: Nodes,
}

impl Parent {
    /// Takes the settings; asks nobody yet.
    pub fn new(config: ParentConfig) -> Self {
        Self { nodes: Nodes::new(config.nodes.clone()), config }
    }

    /// Asks the node which script pays the address: the node knows its chain's forms of addresses.
    pub fn script(&self) -> Result<Vec<u8>, ParentError> {
        let method = "validateaddress";
        let answer = self.nodes.call(method, &json!([self.config.address]))?;
        let fail = |reason: &str| ParentError::Address {
            name: Arc::clone(&self.config.name),
            address: self.config.address.clone(),
            reason: reason.to_owned(),
        };
        if answer["isvalid"] != json!(true) {
            return Err(fail(answer["error"].as_str().unwrap_or("its node says that it is not valid")));
        }
        let script = answer["scriptPubKey"].as_str().and_then(|text| hex::decode(text).ok());
        let script = script.filter(|script| (1..=MAX_SCRIPT).contains(&script.len()));
        // MWEB's own addresses are valid, and no output of a coinbase can pay them.
        script.ok_or_else(|| fail("it has no script that a block could pay; MWEB addresses have none"))
    }

    /// Asks for a template.
    pub fn template(&self) -> Result<ParentTemplate, ParentError> {
        self.template_after(None, CALL_TIMEOUT)
    }

    /// Waits for a template that follows the one with this id.
    pub fn next_template(&self, long_poll_id: &str) -> Result<ParentTemplate, ParentError> {
        self.template_after(Some(long_poll_id), LONG_POLL)
    }

    fn template_after(&self, id: Option<&str>, patience: Duration) -> Result<ParentTemplate, ParentError> {
        let mut request = json!({ "rules": ["mweb", "segwit"], "capabilities": ["coinbasetxn", "workid"] });
        if let Some(id) = id.filter(|id| !id.is_empty()) {
            request["longpollid"] = id.into();
        }
        let (answer, _) = self.nodes.call_within("getblocktemplate", &json!([request]), patience)?;
        ParentTemplate::read(answer)
            .map_err(|error| ParentError::Template { name: Arc::clone(&self.config.name), error })
    }

    /// Hands in a block.
    pub fn submit(&self, block: &[u8]) -> Result<Verdict, NodeError> {
        let answer = self.nodes.call("submitblock", &json!([hex::encode(block)]))?;
        Ok(match answer.as_str() {
            None if answer == Value::Null => Verdict::Accepted,
            Some("duplicate" | "duplicate-inconclusive") => Verdict::Duplicate,
            Some(reason @ ("inconclusive" | "inconclusive-not-best-prevblk" | "stale-prevblk")) => {
                Verdict::Stale(reason.to_owned())
            }
            _ => Verdict::Refused(answer.to_string()),
        })
    }

    /// Returns the end of the chain.
    pub fn tip(&self) -> Tip<'_> {
        Tip { nodes: &self.nodes, dialect: Dialect::Bitcoin }
    }
}

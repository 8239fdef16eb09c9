//! What became of a block: whether it is still in its chain once so many blocks are above it.

use super::rpc::{NodeError, Nodes};
use serde_json::{Value, json};

/// How a chain's nodes are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// As Ethereum's; ids with `0x`.
    Bmm,
    /// As Bitcoin's.
    Bitcoin,
}

/// The end of a chain, as its nodes see it.
#[derive(Clone, Copy, Debug)]
pub struct Tip<'a> {
    /// The nodes.
    pub nodes: &'a Nodes,
    /// How they are asked.
    pub dialect: Dialect,
}

impl Tip<'_> {
    /// Returns the call that tells the height.
    pub fn height_method(&self) -> &'static str {
        match self.dialect {
            Dialect::Bmm => "eth_blockNumber",
            Dialect::Bitcoin => "getblockcount",
        }
    }

    /// Returns the height of the newest block.
    pub fn height(&self) -> Result<u64, NodeError> {
        let method = self.height_method();
        let answer = self.nodes.call(method, &json!([]))?;
        let height = match &answer {
            Value::String(hex) => hex.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok()),
            other => other.as_u64(),
        };
        height.ok_or_else(|| self.nodes.misunderstood(method, "it is no number"))
    }

    /// Returns the id of the chain's block at that height, as the chain writes it; `None` above its end.
    pub fn id_at(&self, height: u64) -> Result<Option<String>, NodeError> {
        match self.dialect {
            Dialect::Bmm => {
                let block = self.nodes.call("eth_getBlockByNumber", &json!([format!("{height:#x}"), false]))?;
                Ok(block.get("hash").and_then(Value::as_str).map(str::to_owned))
            }
            Dialect::Bitcoin => match self.nodes.call("getblockhash", &json!([height])) {
                Ok(answer) => Ok(answer.as_str().map(str::to_owned)),
                // Out of range.
                Err(error) if error.code() == Some(-8) => Ok(None),
                Err(error) => Err(error),
            },
        }
    }
}

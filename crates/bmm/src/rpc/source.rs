//! A node behind JSON-RPC as a source of blocks.

use super::{RpcClient, RpcError};
use alloy_primitives::{Bytes, U64};
use alloy_rlp::Decodable;
use bmm_chain::sync::{Answer, Request, Source};

/// Asks a node.
pub struct RpcSource(RpcClient);

impl RpcSource {
    /// Makes a source of the node at `url`.
    pub fn new(url: &str) -> Result<Self, RpcError> {
        Ok(Self(RpcClient::new(url)?))
    }

    fn list<T: Decodable>(&self, method: &str, first: u64, count: u64) -> Result<Vec<T>, String> {
        let answer: Vec<Bytes> =
            self.0.call(method, (U64::from(first), U64::from(count))).map_err(|error| error.to_string())?;
        let items = answer.iter().map(alloy_rlp::decode_exact);
        items
            .collect::<Result<_, _>>()
            .map_err(|error| format!("answers {method} with RLP that cannot be read: {error}"))
    }
}

impl Source for RpcSource {
    fn name(&self) -> String {
        format!("the node at {}", self.0.url())
    }

    fn ask(&self, request: &Request) -> Result<Answer, String> {
        match *request {
            Request::Head => self.0.block_number().map(Answer::Head).map_err(|error| error.to_string()),
            Request::Headers { first, count } => self.list("bmm_getHeaders", first, count).map(Answer::Headers),
            Request::Blocks { first, count } => self.list("bmm_getBlocks", first, count).map(Answer::Blocks),
        }
    }
}

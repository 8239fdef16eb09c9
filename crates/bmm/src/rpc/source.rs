//! A node behind JSON-RPC as a source of a chain.

use super::{RpcClient, RpcError};
use alloy_primitives::{Bytes, U64};
use alloy_rlp::Decodable;
use bmm_chain::sync::{Answer, Request, Source};
use serde::{Serialize, de::DeserializeOwned};

/// Asks a node.
pub struct RpcSource(RpcClient);

impl RpcSource {
    /// Makes a source of the node at `url`.
    pub fn new(url: &str) -> Result<Self, RpcError> {
        Ok(Self(RpcClient::new(url)?))
    }

    fn list<T: Decodable>(&self, method: &str, first: u64, count: u64) -> Result<Vec<T>, String> {
        let answer: Vec<Bytes> = self.call(method, (U64::from(first), U64::from(count)))?;
        decode_all(method, &answer)
    }

    fn call<T: DeserializeOwned>(&self, method: &str, params: impl Serialize) -> Result<T, String> {
        self.0.call(method, params).map_err(|error| error.to_string())
    }
}

fn decode_all<T: Decodable>(method: &str, items: &[Bytes]) -> Result<Vec<T>, String> {
    let items = items.iter().map(alloy_rlp::decode_exact);
    items.collect::<Result<_, _>>().map_err(|error| format!("answers {method} with RLP that cannot be read: {error}"))
}

impl Source for RpcSource {
    fn name(&self) -> String {
        format!("the node at {}", self.0.url())
    }

    fn ask(&self, request: &Request) -> Result<Answer, String> {
        Ok(match request {
            Request::Head => Answer::Head(self.0.block_number().map_err(|error| error.to_string())?),
            Request::Headers { first, count } => Answer::Headers(self.list("bmm_getHeaders", *first, *count)?),
            Request::Blocks { first, count } => Answer::Blocks(self.list("bmm_getBlocks", *first, *count)?),
            Request::Accounts { block, from, max_bytes } => {
                let method = "bmm_getAccountRange";
                let range: Option<Bytes> = self.call(method, (block, from, U64::from(*max_bytes)))?;
                let range = range.map(|range| decode_all(method, &[range])).transpose()?;
                Answer::Accounts(range.and_then(|mut range| range.pop()))
            }
            Request::Slots { block, owners, from, max_bytes } => {
                let method = "bmm_getSlotRanges";
                let ranges: Option<Vec<Bytes>> = self.call(method, (block, owners, from, U64::from(*max_bytes)))?;
                Answer::Slots(ranges.map(|ranges| decode_all(method, &ranges)).transpose()?)
            }
            Request::Nodes { block, owner, paths } => {
                let paths: Vec<Bytes> = paths.iter().map(|path| path.to_vec().into()).collect();
                Answer::Nodes(self.call("bmm_getStateNodes", (block, owner, paths))?)
            }
            Request::Codes { hashes } => Answer::Codes(self.call("bmm_getCodes", (hashes,))?),
        })
    }
}

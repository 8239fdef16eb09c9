//! Another chain of this process as a source.

use super::{Answer, BLOCKS_AT_ONCE, HEADERS_AT_ONCE, Request, Source};
use crate::{chain::Chain, error::ChainError};
use std::sync::Arc;

/// Answers from a chain.
pub struct ChainSource(pub Arc<Chain>);

impl Source for ChainSource {
    fn name(&self) -> String {
        format!("the chain {} of this process", self.0.params().name)
    }

    fn ask(&self, request: &Request) -> Result<Answer, String> {
        let chain = &self.0;
        let answer = match request {
            Request::Head => Ok(Answer::Head(chain.head().number())),
            Request::Headers { first, count } => {
                page(*first, HEADERS_AT_ONCE.min(*count), |number| chain.sealed_header(number)).map(Answer::Headers)
            }
            Request::Blocks { first, count } => {
                page(*first, BLOCKS_AT_ONCE.min(*count), |number| chain.sealed_block(number)).map(Answer::Blocks)
            }
            Request::Accounts { block, from, max_bytes } => {
                chain.account_range(*block, *from, *max_bytes).map(Answer::Accounts)
            }
            Request::Slots { block, owners, from, max_bytes } => {
                chain.slot_ranges(*block, owners, *from, *max_bytes).map(Answer::Slots)
            }
            Request::Nodes { block, owner, paths } => chain.state_nodes(*block, *owner, paths).map(Answer::Nodes),
            Request::Codes { hashes } => chain.codes(hashes).map(Answer::Codes),
        };
        answer.map_err(|error| error.to_string())
    }
}

/// Reads what stands under consecutive numbers until there is nothing more.
fn page<T>(first: u64, count: u64, read: impl Fn(u64) -> Result<Option<T>, ChainError>) -> Result<Vec<T>, ChainError> {
    (first..first.saturating_add(count)).map(|number| read(number).transpose()).map_while(|found| found).collect()
}

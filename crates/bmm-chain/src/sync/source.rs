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
        let answer = match *request {
            Request::Head => Ok(Answer::Head(self.0.head().number())),
            Request::Headers { first, count } => {
                page(first, count.min(HEADERS_AT_ONCE), |number| self.0.sealed_header(number)).map(Answer::Headers)
            }
            Request::Blocks { first, count } => {
                page(first, count.min(BLOCKS_AT_ONCE), |number| self.0.sealed_block(number)).map(Answer::Blocks)
            }
        };
        answer.map_err(|error| error.to_string())
    }
}

/// Reads what stands under consecutive numbers until there is nothing more.
fn page<T>(first: u64, count: u64, read: impl Fn(u64) -> Result<Option<T>, ChainError>) -> Result<Vec<T>, ChainError> {
    (first..first.saturating_add(count)).map(|number| read(number).transpose()).map_while(|found| found).collect()
}

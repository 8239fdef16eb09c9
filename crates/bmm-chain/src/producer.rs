//! A thread that produces blocks.

use crate::{chain::Chain, error::ChainError, template::TemplateRequest};
use alloy_primitives::{B256, Signature};
use bmm_pow::Throttle;
use std::{sync::Arc, time::Duration};

/// Signs the hash of a block with the beneficiary's key.
pub type BlockSigner = Arc<dyn Fn(B256) -> Signature + Send + Sync>;

/// How blocks are produced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerConfig {
    /// Beneficiary and free bytes.
    pub request: TemplateRequest,
    /// Share of a core that the miner may use (engine `pow`).
    pub throttle: Throttle,
    /// How old a template may be before new transactions replace it (engine `pow`).
    pub refresh_after: Duration,
}

/// Produces blocks on its own threads until it is stopped or dropped: by mining (engine `pow`), or one at once when a transaction
/// waits (engine `dev`).
pub struct Producer {}

impl Producer {
    /// Begins to produce blocks of `chain`.
    ///
    /// # Errors
    /// [`ChainError::NoProducer`] on a chain whose engine makes no blocks.
    pub fn start(chain: Arc<Chain>, config: ProducerConfig, signer: BlockSigner) -> Result<Self, ChainError> {
        todo!("{config:?} {} {}", chain.genesis(), signer(B256::ZERO))
    }

    /// Stops and waits until the threads have ended.
    pub fn stop(self) {}
}

//! Moving the head to another branch.

use crate::{chain::Chain, error::ChainError};

impl Chain {
    /// Ends a change of branch that was interrupted by a crash.
    pub(crate) fn finish_interrupted_reorg(&self) -> Result<(), ChainError> {
        todo!()
    }
}

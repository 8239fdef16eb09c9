//! Rules of the header, in the order in which they are checked: the cheap ones first, the seal last.

use crate::{chain::Chain, engine, error::ImportError, extra};
use alloy_primitives::B256;
use bmm_ledger::exec::header;
use bmm_types::{Engine, Header, Seal};

impl Chain {
    /// Checks every rule of a header and its seal, given the parent.
    pub(crate) fn check_header(
        &self,
        parent: &Header,
        id: B256,
        header: &Header,
        seal: &Seal,
    ) -> Result<(), ImportError> {
        header::check_header(&self.params, parent, header)?;
        engine::check_difficulty(&self.params, &self.asert, parent, header)?;
        if self.params.engine != Engine::NoSeal {
            self.check_not_ahead(header)?;
            extra::check_signer(header)?;
            self.check_mix_hash(header)?;
        }
        engine::check_seal(&self.params, id, header, seal)
    }

    /// Rule: the timestamp is at most `max_ahead_secs` ahead of the node's clock.
    fn check_not_ahead(&self, header: &Header) -> Result<(), ImportError> {
        let (timestamp, now, max_ahead_secs) = (header.timestamp, self.now_secs(), self.params.max_ahead_secs);
        if timestamp <= now.saturating_add(max_ahead_secs) {
            return Ok(());
        }
        Err(ImportError::TooFarAhead { timestamp, now, max_ahead_secs })
    }

    /// Rule: mixHash is the randomness of a valid seal of the parent. There may be several valid seals of one block, and the
    /// producer saw any of them.
    fn check_mix_hash(&self, header: &Header) -> Result<(), ImportError> {
        let got = header.mix_hash;
        let known = self.seals_of(header.parent_hash)?;
        if known.iter().any(|seal| seal.randomness(header.parent_hash) == got) {
            return Ok(());
        }
        Err(ImportError::MixHash { got })
    }
}

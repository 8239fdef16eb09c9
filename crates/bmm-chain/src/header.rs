//! Rules of the header, in the order in which they are checked: the cheap ones first, the seal last.

use crate::{chain::Chain, engine, error::ImportError, extra};
use alloy_primitives::B256;
use bmm_ledger::exec::header;
use bmm_pow::Asert;
use bmm_types::{ChainParams, Engine, Header, Seal};

/// What a header's rules need to know beside the header and its parent.
pub(crate) struct HeaderRules<'a> {
    pub params: &'a ChainParams,
    pub asert: &'a Asert,
    /// The node's clock, in Unix seconds.
    pub now: u64,
    /// Number and id of a block that the operator named.
    pub checkpoint: Option<(u64, B256)>,
}

impl HeaderRules<'_> {
    /// Checks every rule of a header and its seal, given the parent and its known valid seals.
    pub fn check(&self, parent: (&Header, &[Seal]), id: B256, header: &Header, seal: &Seal) -> Result<(), ImportError> {
        self.check_checkpoint(id, header)?;
        self.check_unsealed(parent, header)?;
        engine::check_seal(self.params, id, header, seal)
    }

    /// Checks every rule of a header but that of its own seal.
    pub fn check_unsealed(&self, parent: (&Header, &[Seal]), header: &Header) -> Result<(), ImportError> {
        let (parent, seals) = parent;
        header::check_header(self.params, parent, header)?;
        engine::check_difficulty(self.params, self.asert, parent, header)?;
        if self.params.engine != Engine::NoSeal {
            self.check_not_ahead(header)?;
            extra::check_signer(header)?;
            check_mix_hash(header, seals)?;
        }
        Ok(())
    }

    /// Rule of this node, not of consensus: the block of the number that the operator named is the one they named.
    fn check_checkpoint(&self, got: B256, header: &Header) -> Result<(), ImportError> {
        match self.checkpoint {
            Some((number, wanted)) if number == header.number && wanted != got => {
                Err(ImportError::OtherCheckpoint { number, got, wanted })
            }
            _ => Ok(()),
        }
    }

    /// Rule: the timestamp is at most `max_ahead_secs` ahead of the node's clock.
    fn check_not_ahead(&self, header: &Header) -> Result<(), ImportError> {
        let (timestamp, now, max_ahead_secs) = (header.timestamp, self.now, self.params.max_ahead_secs);
        if timestamp <= now.saturating_add(max_ahead_secs) {
            return Ok(());
        }
        Err(ImportError::TooFarAhead { timestamp, now, max_ahead_secs })
    }
}

/// Rule: mixHash is the randomness of a valid seal of the parent. There may be several valid seals of one block, and the
/// producer saw any of them.
fn check_mix_hash(header: &Header, seals: &[Seal]) -> Result<(), ImportError> {
    let got = header.mix_hash;
    if seals.iter().any(|seal| seal.randomness(header.parent_hash) == got) {
        return Ok(());
    }
    Err(ImportError::MixHash { got })
}

impl Chain {
    /// Returns what headers are checked by now.
    pub(crate) fn header_rules(&self) -> HeaderRules<'_> {
        let (params, asert, now) = (&self.params, &self.asert, self.now_secs());
        HeaderRules { params, asert, now, checkpoint: self.options.checkpoint }
    }

    /// Checks every rule of a header and its seal, given the parent.
    pub(crate) fn check_header(
        &self,
        parent: &Header,
        id: B256,
        header: &Header,
        seal: &Seal,
    ) -> Result<(), ImportError> {
        let rules = self.header_rules();
        // Without seals there is no randomness of theirs.
        let seals = if self.params.engine == Engine::NoSeal { Vec::new() } else { self.seals_of(header.parent_hash)? };
        rules.check((parent, &seals), id, header, seal)
    }
}

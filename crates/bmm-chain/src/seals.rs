//! The seals of a block. The first is stored with the block; further valid ones, which anybody can make who works on the same
//! block, are kept as well, since a child may build on the randomness of any of them.

use crate::{chain::Chain, engine, error::ImportError};
use alloy_primitives::B256;
use bmm_ledger::store::StoreError;
use bmm_types::Seal;

/// Seals that are kept of one block.
const MAX_SEALS: usize = 4;

impl Chain {
    /// Stores one more valid seal of a known block. Returns whether it is new: a seal over the same worked header is not.
    ///
    /// # Errors
    /// [`ImportError::UnknownBlock`], [`ImportError::TooManySeals`], and what is wrong with the seal.
    pub fn add_seal(&self, block: B256, seal: Seal) -> Result<bool, ImportError> {
        let header = self.store.header(block)?.ok_or(ImportError::UnknownBlock(block))?;
        if block == self.genesis {
            return Err(ImportError::SealUnexpected);
        }
        let is_known = |seals: &[Seal]| seals.iter().any(|known| known.randomness(block) == seal.randomness(block));
        if is_known(&self.seals_of(block)?) {
            return Ok(false);
        }
        engine::check_seal(&self.params, block, &header, &seal)?;
        // Seals of one block are written by one thread at a time.
        let _importing = self.importing.lock();
        let mut seals = self.seals_of(block)?;
        if is_known(&seals) {
            return Ok(false);
        }
        if seals.len() >= MAX_SEALS {
            return Err(ImportError::TooManySeals { block, max: MAX_SEALS });
        }
        seals.push(seal);
        let further = seals.split_off(1);
        self.store.put_note(&note_name(block), &alloy_rlp::encode(&further))?;
        Ok(true)
    }

    /// Returns the known valid seals of a block, the stored one first.
    pub(crate) fn seals_of(&self, block: B256) -> Result<Vec<Seal>, ImportError> {
        let mut seals: Vec<Seal> = self.store.seal(block)?.into_iter().collect();
        let name = note_name(block);
        if let Some(bytes) = self.store.note(&name)? {
            let further: Vec<Seal> = alloy_rlp::decode_exact(&bytes).map_err(|error| StoreError::Corrupt {
                table: "notes",
                key: name,
                what: error.to_string(),
            })?;
            seals.extend(further);
        }
        Ok(seals)
    }
}

fn note_name(block: B256) -> String {
    format!("chain/seals/{block:x}")
}

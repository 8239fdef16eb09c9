//! The seals of a block. The first is stored with the block; further valid ones, which anybody can make who works on the same
//! block, are kept as well, since a child may build on the randomness of any of them.

use crate::{chain::Chain, engine, error::ImportError};
use alloy_primitives::B256;
use bmm_ledger::store::StoreError;
use bmm_types::Seal;

/// Seals that are kept of one block.
const MAX_SEALS: usize = 4;

/// How far below the head a block may be for a further seal of it to be kept. Children are built near the head; and the work of
/// early blocks was easy, so that anybody could fill disks with seals of them.
const MAX_SEAL_DEPTH: u64 = 1_024;

impl Chain {
    /// Stores one more valid seal of a known block. Returns whether it is new: a seal over the same worked header is not.
    ///
    /// Beyond four, it takes the place of the oldest but the first. It is never refused for their number: a producer of five
    /// seals could else have some nodes refuse for ever what others build on.
    ///
    /// # Errors
    /// [`ImportError::UnknownBlock`], [`ImportError::SealTooLate`], and what is wrong with the seal.
    pub fn add_seal(&self, block: B256, seal: Seal) -> Result<bool, ImportError> {
        let header = self.store.header(block)?.ok_or(ImportError::UnknownBlock(block))?;
        if block == self.genesis {
            return Err(ImportError::SealUnexpected);
        }
        let is_known = |seals: &[Seal]| seals.iter().any(|known| known.randomness(block) == seal.randomness(block));
        if is_known(&self.seals_of(block)?) {
            return Ok(false);
        }
        let depth = self.head().number().saturating_sub(header.number);
        if depth > MAX_SEAL_DEPTH {
            return Err(ImportError::SealTooLate { block, depth, limit: MAX_SEAL_DEPTH });
        }
        engine::check_seal(&self.params, block, &header, &seal)?;
        // Seals of one block are written by one thread at a time.
        let _importing = self.importing.lock();
        let mut seals = self.seals_of(block)?;
        if is_known(&seals) {
            return Ok(false);
        }
        seals.push(seal);
        // The first is stored with the block.
        let further = seals.split_off(seals.len().saturating_sub(MAX_SEALS.saturating_sub(1)).max(1));
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

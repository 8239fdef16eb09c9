//! Storage as Solidity lays it out: mappings by keccak of key and slot.

use super::frame::{Frame, Stop};
use alloy_primitives::{Address, B256, U256, keccak256};

/// A mapping that stands at a slot.
#[derive(Clone, Copy)]
pub(crate) struct Mapping(U256);

impl Mapping {
    /// The mapping at `slot`.
    pub(crate) const fn at(slot: u64) -> Self {
        Self(U256::from_limbs([slot, 0, 0, 0]))
    }

    /// Returns the slot of `key`: keccak(key ‖ slot), both as words.
    pub(super) fn slot(self, frame: &mut Frame<'_>, key: impl IntoWord) -> Result<U256, Stop> {
        frame.keccak(&self.preimage(key)).map(Into::into)
    }

    /// Returns the slot of `key` for who reads a state without a machine.
    pub(crate) fn slot_of(self, key: impl IntoWord) -> U256 {
        keccak256(self.preimage(key)).into()
    }

    fn preimage(self, key: impl IntoWord) -> [u8; 64] {
        let mut bytes = [0u8; 64];
        bytes[..32].copy_from_slice(key.into_word().as_slice());
        bytes[32..].copy_from_slice(&self.0.to_be_bytes::<32>());
        bytes
    }

    /// Returns the mapping that stands at `key`, for mappings of mappings.
    pub(super) fn inner(self, frame: &mut Frame<'_>, key: impl IntoWord) -> Result<Self, Stop> {
        self.slot(frame, key).map(Self)
    }
}

/// Keys of mappings.
pub(crate) trait IntoWord {
    /// The key as a word, left-padded.
    fn into_word(self) -> B256;
}

impl IntoWord for B256 {
    fn into_word(self) -> B256 {
        self
    }
}

impl IntoWord for Address {
    fn into_word(self) -> B256 {
        Address::into_word(&self)
    }
}

impl IntoWord for u64 {
    fn into_word(self) -> B256 {
        U256::from(self).into()
    }
}

//! Offers: what a provider sells, at which price, signed.

use super::machine::Machine;
use super::signing::{SignatureBytes, offer_hash, recover};
use super::wire::{List, Wire, WireError, ensure, text};
use crate::Amount;
use alloy_primitives::{Address, U256};
use serde::{Deserialize, Serialize};

/// Highest price that an offer may name, in units: 10^9 BMM, so that no product of a price comes near 2^256.
const MAX_PRICE_UNITS: u128 = 1_000_000_000_000_000_000_000_000_000;

/// A kind of sandbox that a provider has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Runtime {
    /// WASI programs, modules and components, in the deterministic WebAssembly sandbox.
    Wasm,
    /// OCI images.
    Container,
    /// Scrypt hashes for a pool of the requester's: rentals.
    Miner,
}

impl std::fmt::Display for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Wasm => "wasm",
            Self::Container => "container",
            Self::Miner => "miner",
        })
    }
}

/// Scrypt hashes that a provider sells to who rents its miner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hashing {
    /// Price of 10^9 hashes that a pool accepted.
    pub price_per_ghash: Amount,
    /// Measured speed of the whole offer, hashes per second.
    pub hashes_per_second: u64,
}

/// What a provider sells. Limits are per task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The provider's address: who is paid, and the operator that replication tells apart.
    pub provider: Address,
    /// Price of 10^9 units of fuel.
    pub price_per_gfuel: Amount,
    /// Price of 1 GiB of collected output.
    pub price_per_gib: Amount,
    /// Tasks run at once.
    pub slots: u16,
    /// Most memory of a task, bytes.
    pub memory_bytes: u64,
    /// Longest run of a task, milliseconds.
    pub time_millis: u64,
    /// Most output of a task, bytes.
    pub output_bytes: u64,
    /// Sandboxes that the provider has.
    #[serde(with = "List::<8>")]
    pub runtimes: Vec<Runtime>,
    /// Instruction set, as `std::env::consts::ARCH` names it; floats may differ between instruction sets unless the job asks
    /// for canonical NaNs.
    pub isa: String,
    /// Measured speed of one slot, fuel per second.
    pub rating_fuel_per_second: u64,
    /// What its miner does, if it is for rent.
    pub hashing: Option<Hashing>,
    /// What the machine has.
    pub machine: Machine,
    /// End of the offer, Unix seconds.
    pub expires_at: u64,
    /// Grows with each offer of this provider; an older offer never replaces a newer one.
    pub sequence: u64,
}

impl Offer {
    /// Checks the ranges of the fields.
    pub fn check(&self) -> Result<(), WireError> {
        let max = U256::from(MAX_PRICE_UNITS);
        ensure(self.price_per_gfuel.units() <= max, "price_per_gfuel", "it is above 1000000000 BMM")?;
        ensure(self.price_per_gib.units() <= max, "price_per_gib", "it is above 1000000000 BMM")?;
        let per_ghash = self.hashing.map_or(Amount::ZERO, |hashing| hashing.price_per_ghash);
        ensure(per_ghash.units() <= max, "price_per_ghash", "it is above 1000000000 BMM")?;
        let mines = self.runtimes.contains(&Runtime::Miner);
        ensure(mines == self.hashing.is_some(), "hashing", "it and the miner runtime go together")?;
        ensure((1..=4_096).contains(&self.slots), "slots", "it is not between 1 and 4096")?;
        self.machine.check()?;
        text("isa", &self.isa, 32)
    }
}

/// An offer with its provider's signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedOffer {
    /// The offer.
    pub offer: Offer,
    /// Signature of `offer.provider` over [`offer_hash`].
    pub signature: SignatureBytes,
}

impl SignedOffer {
    /// Tells whether the provider itself signed the offer for the chain `chain_id`.
    pub fn is_signed(&self, chain_id: u64) -> bool {
        recover(&self.signature, offer_hash(chain_id, &self.offer)) == Some(self.offer.provider)
    }
}

impl Wire for SignedOffer {
    const MAX_BYTES: usize = 4_096;

    fn check(&self) -> Result<(), WireError> {
        self.offer.check()
    }
}

//! Rented hash power: a provider's miner works for a pool of the requester's, and is paid by the difficulty that the pool accepted.

use super::service::INTERVAL_MILLIS;
use super::wire::{Bytes, Wire, WireError, ensure, text};
use super::{JobAnnouncement, SignedVoucher};
use crate::{Amount, ContentHash};
use serde::{Deserialize, Serialize};

/// Hashes that a price is for: prices are in BMM per 10^9 hashes.
pub const HASHES_PER_PRICE: u64 = 1_000_000_000;
/// Longest part of the Stratum conversation that travels at once, bytes.
pub const MAX_STRATUM_BYTES: usize = 16_384;
/// Longest rental, milliseconds: a year.
const MAX_DURATION_MILLIS: u64 = 366 * 86_400_000;

/// The description of a rental; its SHA-256 is what the escrow records. The pool is not in it: providers need not know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RentalSpec {
    /// Name for people.
    pub name: String,
    /// Most that is paid for 10^9 hashes of Scrypt.
    pub max_price: Amount,
    /// How often accepted work is paid, milliseconds.
    pub interval_millis: u64,
    /// How long it lasts, milliseconds.
    pub duration_millis: u64,
}

impl Wire for RentalSpec {
    fn check(&self) -> Result<(), WireError> {
        text("name", &self.name, 256)?;
        ensure(INTERVAL_MILLIS.contains(&self.interval_millis), "interval", "it is not from a second to an hour")?;
        let lasts = self.interval_millis..=MAX_DURATION_MILLIS;
        ensure(lasts.contains(&self.duration_millis), "duration", "it is not from an interval to a year")
    }
}

impl RentalSpec {
    /// Returns the content name of the description.
    pub fn hash(&self) -> ContentHash {
        ContentHash::of(&self.encode())
    }
}

/// From who rents to a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToMiner {
    /// Work for this rental.
    Begin {
        /// The job in the escrow; its description is an encoded [`RentalSpec`].
        job: JobAnnouncement,
        /// What is paid for 10^9 accepted hashes.
        price: Amount,
    },
    /// What the Stratum server says.
    Stratum(#[serde(with = "Bytes::<MAX_STRATUM_BYTES>")] Vec<u8>),
    /// What was accepted is paid.
    Pay(SignedVoucher),
    /// Stop working.
    Stop,
}

impl Wire for ToMiner {
    fn check(&self) -> Result<(), WireError> {
        Ok(())
    }
}

/// From a provider that hashes to who rents it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromMiner {
    /// The miner is ready: what follows is Stratum.
    Begun,
    /// What the miner says.
    Stratum(#[serde(with = "Bytes::<MAX_STRATUM_BYTES>")] Vec<u8>),
    /// The provider works for it no longer.
    Over {
        /// Why, for people.
        reason: String,
    },
}

impl Wire for FromMiner {
    fn check(&self) -> Result<(), WireError> {
        match self {
            Self::Over { reason } => text("reason", reason, 4_096),
            Self::Begun | Self::Stratum(_) => Ok(()),
        }
    }
}

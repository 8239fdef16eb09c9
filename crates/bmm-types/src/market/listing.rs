//! Listings: an offer with the place where its provider can be reached, as told to a whole network.

use super::offer::Offer;
use super::signing::{SignatureBytes, listing_hash, recover};
use super::wire::{List, Wire, WireError, ensure};
use serde::{Deserialize, Serialize};

/// Longest time that a listing may hold, seconds: its provider says it again long before.
pub const MAX_LISTING_SECONDS: u64 = 600;
/// Longest encoded listing, bytes.
pub const MAX_LISTING_BYTES: usize = 4_096;
/// Most addresses of one listing.
pub const MAX_LISTING_ADDRESSES: usize = 16;
/// Longest address or peer id, bytes.
const MAX_ADDRESS_BYTES: usize = 160;

/// An offer, and where and until when it can be taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// What is sold.
    pub offer: Offer,
    /// The provider's libp2p peer id, as its multihash.
    pub peer: Vec<u8>,
    /// Where it listens, each a binary multiaddress without the peer id.
    #[serde(with = "List::<MAX_LISTING_ADDRESSES>")]
    pub addresses: Vec<Vec<u8>>,
    /// Slots without work.
    pub free_slots: u16,
    /// When this was said, Unix milliseconds; a later listing of the same provider replaces an earlier one.
    pub listed_at_millis: u64,
    /// End of the listing, Unix seconds; at most [`MAX_LISTING_SECONDS`] after it was said.
    pub expires_at: u64,
}

/// A listing with its provider's signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedListing {
    /// The listing.
    pub listing: Listing,
    /// Signature of `listing.offer.provider` over [`listing_hash`].
    pub signature: SignatureBytes,
}

impl SignedListing {
    /// Tells whether the provider itself signed the listing for the chain `chain_id`.
    pub fn is_signed(&self, chain_id: u64) -> bool {
        recover(&self.signature, listing_hash(chain_id, &self.listing)) == Some(self.listing.offer.provider)
    }
}

impl Wire for SignedListing {
    const MAX_BYTES: usize = MAX_LISTING_BYTES;

    fn check(&self) -> Result<(), WireError> {
        let listing = &self.listing;
        listing.offer.check()?;
        ensure(listing.peer.len() <= MAX_ADDRESS_BYTES, "peer", "it is too long")?;
        let short = listing.addresses.iter().all(|address| address.len() <= MAX_ADDRESS_BYTES);
        ensure(short, "addresses", "one is too long")?;
        ensure(listing.free_slots <= listing.offer.slots, "free_slots", "they are more than the offer has")?;
        let latest = (listing.listed_at_millis / 1_000).saturating_add(MAX_LISTING_SECONDS);
        ensure(listing.expires_at <= latest, "expires_at", "it is too far ahead")
    }
}

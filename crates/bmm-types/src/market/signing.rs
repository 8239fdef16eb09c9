//! What is signed in the market, by EIP-712, and who signed it.

use super::listing::Listing;
use super::offer::Offer;
use crate::system::{self, Voucher};
use alloy_primitives::{Address, B256, FixedBytes, Signature, keccak256};
use alloy_sol_types::{Eip712Domain, SolStruct, sol};

/// A signature as r, s and v (65 bytes, v of 0, 1, 27 or 28).
pub type SignatureBytes = FixedBytes<65>;

sol! {
    /// A provider's statement about one batch of results, EIP-712 signed.
    #[derive(Debug, PartialEq, Eq)]
    struct Receipt {
        bytes32 job;
        address provider;
        uint64 lease;
        uint64 batch;
        uint64 tasks;
        uint64 fuel;
        bytes32 results;
    }

    /// An offer as signed: `body` is the keccak of its encoding.
    #[derive(Debug, PartialEq, Eq)]
    struct SignedOfferBody {
        address provider;
        bytes32 body;
    }

    /// A listing as signed: `body` is the keccak of its encoding.
    #[derive(Debug, PartialEq, Eq)]
    struct SignedListingBody {
        address provider;
        bytes32 body;
    }

    /// Says that `operator` speaks through the connection between two libp2p peers, and in which role. Both sides sign one with the
    /// other's nonce in it, so that it is worth nothing in another connection.
    #[derive(Debug, PartialEq, Eq)]
    struct Session {
        address operator;
        string role;
        bytes32 genesis;
        bytes peer;
        bytes otherPeer;
        bytes32 nonce;
        bytes32 otherNonce;
    }
}

/// Returns the EIP-712 domain of offers, listings, sessions and receipts.
pub fn market_domain(chain_id: u64) -> Eip712Domain {
    let chain_id = Some(chain_id.try_into().expect("u64 fits"));
    Eip712Domain::new(Some("BMM Market".into()), Some("1".into()), chain_id, None, None)
}

/// Returns the hash that a provider signs for its offer.
pub fn offer_hash(chain_id: u64, offer: &Offer) -> B256 {
    let body = postcard::to_stdvec(offer).expect("a Vec grows, and offers hold nothing that postcard cannot encode");
    SignedOfferBody { provider: offer.provider, body: keccak256(body) }.eip712_signing_hash(&market_domain(chain_id))
}

/// Returns the hash that a provider signs for a listing of its offer.
pub fn listing_hash(chain_id: u64, listing: &Listing) -> B256 {
    let body =
        postcard::to_stdvec(listing).expect("a Vec grows, and listings hold nothing that postcard cannot encode");
    let provider = listing.offer.provider;
    SignedListingBody { provider, body: keccak256(body) }.eip712_signing_hash(&market_domain(chain_id))
}

/// Returns the hash by which an operator proves who speaks in a session.
pub fn session_hash(chain_id: u64, session: &Session) -> B256 {
    session.eip712_signing_hash(&market_domain(chain_id))
}

/// Returns the hash that a provider signs for a batch of results.
pub fn receipt_hash(chain_id: u64, receipt: &Receipt) -> B256 {
    receipt.eip712_signing_hash(&market_domain(chain_id))
}

/// Returns the hash that a requester signs for a voucher; `Jobs.claim` checks the same one.
pub fn voucher_hash(chain_id: u64, voucher: &Voucher) -> B256 {
    voucher.eip712_signing_hash(&system::jobs_domain(chain_id))
}

/// Returns who signed `hash`, or `None` if the signature is no canonical one (EIP-2: s in the lower half).
pub fn recover(signature: &SignatureBytes, hash: B256) -> Option<Address> {
    let signature = Signature::from_raw_array(&signature.0).ok()?;
    if signature.normalize_s().is_some() {
        return None;
    }
    signature.recover_address_from_prehash(&hash).ok()
}

//! The book of listings: what the providers of a network sell, as far as this node has heard of it.

use alloy_primitives::Address;
use bmm_types::market::{SignedListing, Wire};
use std::collections::BTreeMap;

/// Bounds of a book.
#[derive(Clone, Copy, Debug)]
pub struct BookLimits {
    /// Most providers in the book; the one whose listing ends first gives way to a new one.
    pub providers: usize,
    /// Shortest time between two listings of one provider, milliseconds.
    pub interval_millis: u64,
    /// How far ahead of this node's clock a listing may be dated, milliseconds.
    pub ahead_millis: u64,
}

impl Default for BookLimits {
    fn default() -> Self {
        Self { providers: 4_096, interval_millis: 1_000, ahead_millis: 60_000 }
    }
}

/// Says why a listing does not enter the book.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It cannot be read, or a field is out of its bounds.
    #[error("it cannot be read: {0}")]
    Malformed(#[from] bmm_types::market::WireError),
    /// It is not signed by its provider for this chain.
    #[error("it is not signed by its provider for this chain")]
    Unsigned,
    /// It has expired, or is dated ahead of the clock.
    #[error("it has expired, or is dated ahead of the clock")]
    NotNow,
    /// A later one of this provider is known, or this very one.
    #[error("it is known already, or a later one is")]
    Old,
    /// The provider lists itself too often.
    #[error("its provider lists itself too often")]
    TooOften,
    /// The peer that it names is not a libp2p peer.
    #[error("it names no libp2p peer")]
    NoPeer,
}

impl Refusal {
    /// Whether who passed it on broke the rules, rather than being late.
    pub fn is_fault(&self) -> bool {
        matches!(self, Self::Malformed(_) | Self::Unsigned | Self::NoPeer)
    }
}

/// Listings by provider: at most one each, signed, and valid now.
#[derive(Debug)]
pub struct Book {
    chain_id: u64,
    limits: BookLimits,
    listings: BTreeMap<Address, SignedListing>,
}

impl Book {
    /// Makes an empty book for offers on the chain `chain_id`.
    pub fn new(chain_id: u64, limits: BookLimits) -> Self {
        Self { chain_id, limits, listings: BTreeMap::new() }
    }

    /// Reads a listing from outside and enters it; `now_millis` is Unix time. Returns the listing as it stands in the book.
    pub fn hear(&mut self, bytes: &[u8], now_millis: u64) -> Result<&SignedListing, Refusal> {
        let signed = SignedListing::decode(bytes)?;
        libp2p::PeerId::from_bytes(&signed.listing.peer).map_err(|_| Refusal::NoPeer)?;
        let listing = &signed.listing;
        let dated_ahead = listing.listed_at_millis > now_millis.saturating_add(self.limits.ahead_millis);
        if dated_ahead || listing.expires_at <= now_millis / 1_000 || listing.offer.expires_at <= now_millis / 1_000 {
            return Err(Refusal::NotNow);
        }
        let provider = listing.offer.provider;
        if let Some(known) = self.listings.get(&provider) {
            let known = known.listing.listed_at_millis;
            if listing.listed_at_millis <= known {
                return Err(Refusal::Old);
            }
            if listing.listed_at_millis - known < self.limits.interval_millis {
                return Err(Refusal::TooOften);
            }
        }
        // Last, as it costs most.
        if !signed.is_signed(self.chain_id) {
            return Err(Refusal::Unsigned);
        }
        if !self.listings.contains_key(&provider) && self.listings.len() >= self.limits.providers {
            self.make_room(now_millis);
        }
        Ok(self.listings.entry(provider).insert_entry(signed).into_mut())
    }

    fn make_room(&mut self, now_millis: u64) {
        self.forget_expired(now_millis);
        if self.listings.len() >= self.limits.providers {
            let first = self.listings.iter().min_by_key(|(_, signed)| signed.listing.expires_at);
            if let Some(provider) = first.map(|(provider, _)| *provider) {
                self.listings.remove(&provider);
            }
        }
    }

    /// Drops listings that do not hold any more.
    pub fn forget_expired(&mut self, now_millis: u64) {
        let now = now_millis / 1_000;
        self.listings.retain(|_, signed| signed.listing.expires_at > now && signed.listing.offer.expires_at > now);
    }

    /// Returns the listings, by provider.
    pub fn listings(&self) -> impl Iterator<Item = &SignedListing> {
        self.listings.values()
    }

    /// Returns the listing of a provider.
    pub fn of(&self, provider: Address) -> Option<&SignedListing> {
        self.listings.get(&provider)
    }

    /// Returns the number of providers.
    pub fn len(&self) -> usize {
        self.listings.len()
    }

    /// Whether nobody is listed.
    pub fn is_empty(&self) -> bool {
        self.listings.is_empty()
    }
}

//! The provider's side: takes sessions, tells the network what is offered, and fetches what jobs need.

use super::{Place, dial::next_session, unix_millis};
use crate::{
    failure::{Failure, Outcome},
    jobs::{Input, Outlet, Session},
};
use alloy_primitives::B256;
use bmm_net::{
    PeerId, Stream,
    content::{Fetcher, Pin},
    market::{MARKET_PROTOCOL, Pulse, Role, Speaker, introduce, run_session},
};
use bmm_types::market::{JobSpec, Listing, MAX_LISTING_ADDRESSES, Offer, SignatureBytes, SignedListing, listing_hash};
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc::Sender;

/// Sessions at once, and those of one peer.
const SESSIONS: usize = 256;
const SESSIONS_PER_PEER: usize = 4;
/// How long a listing holds, seconds.
const LISTED_SECS: u64 = 120;
/// How often it is said again, when nothing is new.
const SAY_AGAIN: Duration = Duration::from_secs(20);
/// How often the number of free slots is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How often the fetch of one piece of content is tried.
const TRIES: u32 = 4;

/// Takes sessions of requesters, whose messages go to `provider`.
pub fn take_sessions(place: &Place, speaker: Speaker, provider: Sender<Input>) -> Outcome {
    let _entered = place.runtime().enter();
    let name = place.network().protocol(MARKET_PROTOCOL);
    let mut asked = place.network().accept(&name, SESSIONS_PER_PEER, SESSIONS).map_err(Failure::internal)?;
    tokio::spawn(async move {
        while let Some((peer, stream)) = asked.next().await {
            let (speaker, provider) = (speaker.clone(), provider.clone());
            tokio::spawn(async move {
                if let Err(error) = attend(peer, stream, &speaker, &provider).await {
                    tracing::debug!(%peer, error, "a session with a requester ended");
                }
            });
        }
    });
    Ok(())
}

/// Attends to one requester until the session ends.
async fn attend(peer: PeerId, mut stream: Stream, speaker: &Speaker, provider: &Sender<Input>) -> Result<(), String> {
    let requester = introduce(&mut stream, speaker, Role::Provider, &peer.to_bytes()).await;
    let requester = requester.map_err(|error| error.to_string())?;
    let number = next_session();
    let (sender, mut receiver) = run_session(stream, Pulse::default());
    let over = |_| "the provider ends".to_owned();
    let outlet = Outlet::Remote(peer, sender);
    provider.send(Input::Joined(Session { number, requester, outlet })).await.map_err(over)?;
    let ended = loop {
        match receiver.next().await {
            Ok(bytes) => provider.send(Input::Message { session: number, bytes }).await.map_err(over)?,
            Err(ended) => break ended,
        }
    };
    provider.send(Input::Gone { session: number }).await.map_err(over)?;
    Err(ended.to_string())
}

/// What a provider tells the network.
pub struct Advert {
    /// What it sells.
    pub offer: Offer,
    /// Returns its slots without work; `None` while it takes no work at all.
    pub free_slots: Arc<dyn Fn() -> Option<u16> + Send + Sync>,
    /// Signs with its key.
    pub sign: Arc<dyn Fn(B256) -> SignatureBytes + Send + Sync>,
}

impl Advert {
    /// Tells the network again and again, for as long as the place lives.
    pub fn tell(self, place: &Place) {
        let place = place.clone();
        let runtime = place.runtime().clone();
        runtime.spawn(async move {
            let (mut told, mut at) = (None, tokio::time::Instant::now());
            // Gossip takes a moment to find its ways, so it is said often at first, and when somebody new is there.
            let (mut pause, mut peers) = (LOOK, 0);
            loop {
                let connected = place.network().peers().len();
                if connected > peers {
                    pause = LOOK;
                }
                peers = connected;
                let stale = told.is_none() || at.elapsed() >= pause;
                let free = (self.free_slots)().filter(|free| stale || told != Some(*free));
                if let Some(free) = free {
                    place.list(&self.listing(&place, free)).await;
                    (told, at) = (Some(free), tokio::time::Instant::now());
                    pause = pause.saturating_mul(2).min(SAY_AGAIN);
                }
                tokio::time::sleep(LOOK).await;
            }
        });
    }

    fn listing(&self, place: &Place, free_slots: u16) -> SignedListing {
        let now = unix_millis();
        let addresses = place.addresses().iter().take(MAX_LISTING_ADDRESSES).map(bmm_net::Multiaddr::to_vec).collect();
        let listing = Listing {
            offer: self.offer.clone(),
            peer: place.network().peer_id().to_bytes(),
            addresses,
            free_slots: free_slots.min(self.offer.slots),
            listed_at_millis: now,
            expires_at: (now / 1_000).saturating_add(LISTED_SECS),
        };
        let signature = (self.sign)(listing_hash(place.chain_id(), &listing));
        SignedListing { listing, signature }
    }
}

/// Fetches what jobs need.
#[derive(Clone)]
pub struct ContentDesk {
    place: Place,
    fetcher: Fetcher<Stream>,
    limit: u64,
}

impl ContentDesk {
    /// Fetches into the fetcher's store, for one job at most `limit` bytes.
    pub fn new(place: Place, fetcher: Fetcher<Stream>, limit: u64) -> Self {
        Self { place, fetcher, limit }
    }

    /// Fetches program and inputs of a job from `peer`, and keeps them there while the pins live. Waits; not to be called within a tokio runtime.
    pub fn fetch(&self, spec: &JobSpec, peer: PeerId) -> Result<Vec<Pin>, String> {
        let contents = spec.contents();
        let bytes = contents.iter().fold(0u64, |sum, content| sum.saturating_add(content.size));
        if bytes > self.limit {
            return Err(format!("program and inputs are {bytes} bytes, more than the {} allowed here", self.limit));
        }
        let store = self.fetcher.store();
        let pins = contents.iter().map(|content| store.pin(content.hash)).collect();
        let fetch = async {
            for content in contents {
                let mut tries = 0;
                while let Err(error) = self.fetcher.fetch(content, &[peer]).await {
                    tries += 1;
                    if tries >= TRIES || error.is_fault() {
                        return Err(error.to_string());
                    }
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
            Ok(())
        };
        self.place.runtime().block_on(fetch)?;
        Ok(pins)
    }
}

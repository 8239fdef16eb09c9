//! A process's place on the network's market: who is there, and what they offer.

use crate::failure::{Failure, Outcome};
use alloy_primitives::B256;
use bmm_net::{
    Gossip, Incoming, Multiaddr, NetConfig, Network, PeerEvent, PeerId, Stream, Verdict,
    content::{CONTENT_PROTOCOL, ContentStore, Fetcher, Source, serve},
    frame::{read_frame, write_frame},
    market::{Book, BookLimits, LISTINGS_PROTOCOL, Refusal},
};
use bmm_types::market::{MAX_LISTING_BYTES, SignedListing, Wire};
use futures::FutureExt;
use parking_lot::Mutex;
use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    runtime::{Handle, Runtime},
    sync::Notify,
};

/// Topic of the listings.
const TOPIC: &str = "listings";
/// Listings that one answer holds at most.
const MAX_TOLD: usize = 1_024;
/// Under which providers say that they are there, and are looked for by who hears of nobody.
const MEETING_PLACE: &[u8] = b"bmm/market/1";
/// How often who knows of no offer looks there, and how often who knows of some.
const SEEK: Duration = Duration::from_secs(2);
const SEEK_SELDOM: Duration = Duration::from_mins(1);
/// Peers asked at once.
const SEEK_PEERS: usize = 16;
/// How long a peer may take for one listing.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long leaving may take.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How a process joins the market.
#[derive(Clone, Debug)]
pub struct Joining {
    /// The network.
    pub net: NetConfig,
    /// Chain on which is paid.
    pub chain_id: u64,
    /// Threads of the network.
    pub threads: usize,
}

/// A process's membership of the market; it leaves when this is dropped.
pub struct Membership {
    place: Place,
    runtime: Option<Runtime>,
}

impl Membership {
    /// Returns the place.
    pub fn place(&self) -> &Place {
        &self.place
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // What is queued for others goes out first, if they take it.
            let network = self.place.network.clone();
            let _ = runtime.block_on(async { tokio::time::timeout(LAST_WORDS, network.shutdown()).await });
            runtime.shutdown_timeout(LAST_WORDS);
        }
    }
}

/// A place on the market.
#[derive(Clone)]
pub struct Place {
    network: Network,
    runtime: Handle,
    chain_id: u64,
    genesis: B256,
    book: Arc<Mutex<Book>>,
    news: Arc<Notify>,
}

impl Place {
    /// Joins the network and listens for listings.
    pub fn join(joining: Joining) -> Outcome<Membership> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(joining.threads.max(1))
            .thread_name("bmm-net")
            .enable_all()
            .build()
            .map_err(|error| Failure::internal(format!("cannot start threads for the network: {error}")))?;
        let network = runtime.block_on(Network::start(joining.net)).map_err(|error| {
            Failure::config(error).hint("see network.listen and network.bootstrap in `bmm config show`")
        })?;
        let place = runtime.block_on(Self::attach(network, joining.chain_id))?;
        Ok(Membership { place, runtime: Some(runtime) })
    }

    /// Takes part in the market by a network that is joined already: hears listings, keeps them, and tells them to whoever asks. Runs in the
    /// current tokio runtime.
    pub async fn attach(network: Network, chain_id: u64) -> Outcome<Self> {
        let genesis = network.genesis();
        let book = Arc::new(Mutex::new(Book::new(chain_id, BookLimits::default())));
        let place = Self { network, runtime: Handle::current(), chain_id, genesis, book, news: Arc::default() };
        place.begin().await?;
        Ok(place)
    }

    async fn begin(&self) -> Outcome {
        let gossip = self.network.subscribe(&self.network.protocol(TOPIC)).await.map_err(Failure::internal)?;
        let asked = self.network.accept(&self.network.protocol(LISTINGS_PROTOCOL), 2, 64).map_err(Failure::internal)?;
        let peers = self.network.events();
        tokio::spawn(self.clone().hear(gossip));
        tokio::spawn(self.clone().tell(asked));
        tokio::spawn(self.clone().ask_whoever_joins(peers));
        Ok(())
    }

    /// Looks for providers where they say that they are, for as long as this process lives.
    pub fn seek(&self) {
        let place = self.clone();
        self.runtime.spawn(async move {
            loop {
                match place.network.find_providers(MEETING_PLACE, SEEK_PEERS).await {
                    Ok(peers) => {
                        for peer in peers {
                            tokio::spawn(place.clone().ask(peer));
                        }
                    }
                    Err(bmm_net::NetError::Closed) => return,
                    Err(error) => tracing::debug!(%error, "nobody was found"),
                }
                let pause = if place.listings().is_empty() { SEEK } else { SEEK_SELDOM };
                tokio::time::sleep(pause).await;
            }
        });
    }

    /// Says where others look that this process provides, once there is somebody to say it to.
    pub fn be_found(&self) {
        let (network, mut peers) = (self.network.clone(), self.network.events());
        self.runtime.spawn(async move {
            while network.peers().is_empty() {
                if matches!(peers.recv().await, Err(tokio::sync::broadcast::error::RecvError::Closed)) {
                    return;
                }
            }
            if let Err(error) = network.provide(MEETING_PLACE).await {
                tracing::debug!(%error, "this provider is known to its own peers only");
            }
        });
    }

    /// Returns the network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Returns what runs the network.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Returns the chain's id.
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// Returns the id of the chain's genesis block.
    pub fn genesis(&self) -> B256 {
        self.genesis
    }

    /// Returns all listings that hold now.
    pub fn listings(&self) -> Vec<SignedListing> {
        let mut book = self.book.lock();
        book.forget_expired(unix_millis());
        book.listings().cloned().collect()
    }

    /// Waits until something new is listed.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    /// Enters a listing of this process and tells it to the network.
    pub async fn list(&self, signed: &SignedListing) {
        let bytes = signed.encode();
        let _ = self.enter(&bytes);
        // Nobody may be there to hear it yet; who joins later asks.
        if let Err(error) = self.network.publish(&self.network.protocol(TOPIC), bytes).await {
            tracing::debug!(%error, "a listing was not told");
        }
    }

    fn enter(&self, bytes: &[u8]) -> Result<(), Refusal> {
        self.book.lock().hear(bytes, unix_millis())?;
        self.news.notify_waiters();
        Ok(())
    }

    async fn hear(self, mut gossip: tokio::sync::mpsc::Receiver<Gossip>) {
        while let Some(message) = gossip.recv().await {
            let verdict = match self.enter(&message.data) {
                Ok(()) => Verdict::Accept,
                Err(refusal) if refusal.is_fault() => Verdict::Reject,
                Err(_) => Verdict::Ignore,
            };
            if self.network.judge(&message, verdict).await.is_err() {
                return;
            }
        }
    }

    /// Answers everybody who asks for the listings known here: each in a frame, an empty one at the end.
    async fn tell(self, mut asked: Incoming) {
        while let Some((_, mut stream)) = asked.next().await {
            let listings: Vec<Vec<u8>> = self.listings().iter().take(MAX_TOLD).map(Wire::encode).collect();
            tokio::spawn(async move {
                for listing in listings {
                    write_frame(&mut stream, &listing, PATIENCE).await?;
                }
                write_frame(&mut stream, &[], PATIENCE).await
            });
        }
    }

    async fn ask_whoever_joins(self, mut peers: tokio::sync::broadcast::Receiver<PeerEvent>) {
        for peer in self.network.peers() {
            tokio::spawn(self.clone().ask(peer.peer));
        }
        loop {
            match peers.recv().await {
                Ok(PeerEvent::Joined(peer)) => {
                    tokio::spawn(self.clone().ask(peer));
                }
                Ok(PeerEvent::Left(_)) | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
                Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    /// Asks a peer for the listings that it knows. Not every node keeps them.
    async fn ask(self, peer: PeerId) {
        let protocol = self.network.protocol(LISTINGS_PROTOCOL);
        let Ok(mut stream) = self.network.open_stream(peer, &protocol).await else { return };
        for _ in 0..MAX_TOLD {
            match read_frame(&mut stream, MAX_LISTING_BYTES, PATIENCE).await {
                Ok(listing) if !listing.is_empty() => {
                    if self.enter(&listing).is_err_and(|refusal| refusal.is_fault()) {
                        self.network.report(peer, bmm_net::Offence::Rubbish);
                        return;
                    }
                }
                _ => return,
            }
        }
    }

    /// Serves content to whoever asks for it by name.
    pub fn serve_content(
        &self,
        find: impl Fn(bmm_types::ContentHash) -> Option<PathBuf> + Send + Sync + 'static,
    ) -> Outcome {
        let _entered = self.runtime.enter();
        let name = self.network.protocol(CONTENT_PROTOCOL);
        let mut asked = self.network.accept(&name, 16, 256).map_err(Failure::internal)?;
        let source = Source::new(find);
        tokio::spawn(async move {
            while let Some((peer, stream)) = asked.next().await {
                let source = source.clone();
                tokio::spawn(async move {
                    if let Err(error) = serve(stream, &source).await {
                        tracing::debug!(%peer, %error, "content was not served to its end");
                    }
                });
            }
        });
        Ok(())
    }

    /// Returns a fetcher into `store`; peers that send wrong bytes are reported, and banned if they go on.
    pub fn fetcher(&self, store: ContentStore) -> Fetcher<Stream> {
        let (network, name) = (self.network.clone(), self.network.protocol(CONTENT_PROTOCOL));
        let open = move |peer| {
            let (network, name) = (network.clone(), name.clone());
            async move { network.open_stream(peer, &name).await.map_err(std::io::Error::other) }.boxed()
        };
        let network = self.network.clone();
        Fetcher::new(store, Arc::new(open), move |peer, error| {
            tracing::warn!(%peer, %error, "a peer sent wrong content");
            network.report(peer, bmm_net::Offence::Invalid);
        })
    }

    /// Returns the addresses to be told to others, the best first.
    pub fn addresses(&self) -> Vec<Multiaddr> {
        let mut all = self.network.external_addrs();
        for address in self.network.listen_addrs() {
            if !all.contains(&address) && self.network.is_told(&address) {
                all.push(address);
            }
        }
        all
    }
}

/// Returns the time, Unix milliseconds.
pub fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

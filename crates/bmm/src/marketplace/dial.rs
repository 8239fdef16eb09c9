//! The requester's side: connects with providers whose listings match a job, and again when a session breaks.

use super::Place;
use crate::jobs::{RemoteProvider, ToDriver};
use alloy_primitives::Address;
use bmm_market::requester::explain_offers;
use bmm_net::{
    Multiaddr, Network, PeerId, Stream,
    content::{ContentStore, Fetcher},
    market::{MARKET_PROTOCOL, Pulse, Role, Speaker, introduce, run_session},
};
use bmm_types::market::{JobSpec, Listing, SignedListing};
use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};
use tokio::{
    sync::mpsc::Sender,
    task::{AbortHandle, JoinSet},
};

/// How often the listings are looked at when nothing is said to be new.
const LOOK: Duration = Duration::from_millis(500);
/// Pause after the first failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause.
const LAST_PAUSE: Duration = Duration::from_secs(30);
/// A session that lasted so long, or in which the provider said so much, makes up for earlier failures: relays end connections when enough
/// has gone through them.
const GOOD_SESSION: Duration = Duration::from_secs(10);
const GOOD_MESSAGES: u32 = 4;

/// What a requester looks for.
#[derive(Clone)]
pub struct Wanted {
    /// The job.
    pub spec: JobSpec,
    /// Most providers at once.
    pub most: usize,
    /// Who speaks.
    pub speaker: Speaker,
}

/// Keeps the sessions of one job. Dropping it ends them.
pub struct Dialer(AbortHandle);

impl Drop for Dialer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A provider that was dialled.
#[derive(Default)]
struct Contact {
    busy: bool,
    failures: u32,
    not_before: Option<Instant>,
}

/// What sessions need.
#[derive(Clone)]
struct Line {
    place: Place,
    wanted: Wanted,
    driver: Sender<ToDriver>,
    fetcher: Fetcher<Stream>,
}

/// Numbers the sessions of this process.
static SESSIONS: AtomicU64 = AtomicU64::new(1);

/// Returns a number that no other session of this process has.
pub(super) fn next_session() -> u64 {
    SESSIONS.fetch_add(1, Ordering::Relaxed)
}

impl Dialer {
    /// Begins to look for providers; what they say goes to `driver`, their large results into `store` on their way.
    pub fn start(place: &Place, wanted: Wanted, driver: Sender<ToDriver>, store: ContentStore) -> Self {
        let line = Line { place: place.clone(), wanted, driver, fetcher: place.fetcher(store) };
        Self(place.runtime().spawn(line.keep()).abort_handle())
    }
}

impl Line {
    async fn keep(self) {
        let mut contacts: HashMap<Address, Contact> = HashMap::new();
        let mut sessions: JoinSet<(Address, bool)> = JoinSet::new();
        loop {
            for signed in self.matching() {
                let provider = signed.listing.offer.provider;
                let contact = contacts.entry(provider).or_default();
                let resting = contact.not_before.is_some_and(|until| until > Instant::now());
                if contact.busy || resting || sessions.len() >= self.wanted.most {
                    continue;
                }
                contact.busy = true;
                let line = self.clone();
                sessions.spawn(async move {
                    let (began, mut heard) = (Instant::now(), 0);
                    if let Err(error) = line.talk(&signed.listing, &mut heard).await {
                        tracing::debug!(%provider, error, "no session with a provider");
                    }
                    (provider, began.elapsed() >= GOOD_SESSION || heard >= GOOD_MESSAGES)
                });
            }
            tokio::select! {
                () = self.place.news() => {}
                () = tokio::time::sleep(LOOK) => {}
                Some(Ok((provider, good))) = sessions.join_next() => {
                    let contact = contacts.entry(provider).or_default();
                    contact.busy = false;
                    contact.failures = if good { 0 } else { contact.failures.saturating_add(1) };
                    let pause = FIRST_PAUSE.saturating_mul(1 << contact.failures.saturating_sub(1).min(8)).min(LAST_PAUSE);
                    contact.not_before = Some(Instant::now() + pause);
                }
            }
        }
    }

    /// Returns the listings that meet the job's conditions, the cheapest first and, of equal ones, the fastest.
    fn matching(&self) -> Vec<SignedListing> {
        let now = crate::jobs::now_micros();
        let mut all = self.place.listings();
        all.retain(|signed| explain_offers(&self.wanted.spec, [&signed.listing.offer], now).matching == 1);
        all.sort_by_key(|signed| {
            let offer = &signed.listing.offer;
            (offer.price_per_gfuel, std::cmp::Reverse(offer.rating_fuel_per_second))
        });
        all
    }

    /// Talks with a provider until the session ends; counts in `heard` what it says.
    async fn talk(&self, listing: &Listing, heard: &mut u32) -> Result<(), String> {
        let peer = PeerId::from_bytes(&listing.peer).map_err(|error| error.to_string())?;
        let mut stream = reach(&self.place, peer, listing, MARKET_PROTOCOL).await?;
        let speaker = &self.wanted.speaker;
        let provider = introduce(&mut stream, speaker, Role::Requester, &listing.peer).await;
        let provider = provider.map_err(|error| error.to_string())?;
        if provider != listing.offer.provider {
            return Err(format!("the peer speaks for {provider}"));
        }
        let session = next_session();
        let way = network_way(self.place.network(), peer);
        tracing::info!(%provider, way, "a session with a provider begins");
        let (sender, mut receiver) = run_session(stream, Pulse::default());
        let (fetcher, runtime) = (self.fetcher.clone(), tokio::runtime::Handle::current());
        let remote = RemoteProvider { address: provider, session, peer, sender, fetcher, runtime };
        let gone = |_| "the job is over".to_owned();
        self.driver.send(ToDriver::Joined(Box::new(remote))).await.map_err(gone)?;
        let ended = loop {
            match receiver.next().await {
                Ok(bytes) => {
                    *heard = heard.saturating_add(1);
                    self.driver.send(ToDriver::Message { from: provider, bytes }).await.map_err(gone)?;
                }
                Err(ended) => break ended,
            }
        };
        self.driver.send(ToDriver::Lost { provider, session }).await.map_err(gone)?;
        Err(ended.to_string())
    }
}

/// Opens a stream to a provider, directly if that can be, by the addresses that it lists if there is no connection yet.
pub(crate) async fn reach(place: &Place, peer: PeerId, listing: &Listing, protocol: &str) -> Result<Stream, String> {
    let network = place.network();
    let name = network.protocol(protocol);
    let direct = network.peers().iter().any(|info| info.peer == peer && !info.is_relayed());
    if !direct {
        for address in &listing.addresses {
            let Ok(address) = Multiaddr::try_from(address.clone()) else { continue };
            let Ok(address) = address.with_p2p(peer) else { continue };
            match network.dial(address).await {
                Ok(_) => break,
                Err(error) => tracing::debug!(%peer, %error, "an address does not work"),
            }
        }
    }
    network.open_stream(peer, &name).await.map_err(|error| error.to_string())
}

/// Says how a peer is reached.
fn network_way(network: &Network, peer: PeerId) -> &'static str {
    match network.peers().into_iter().find(|info| info.peer == peer) {
        Some(info) if info.is_relayed() => "through a relay",
        Some(_) => "directly",
        None => "for a moment only",
    }
}

//! Keeps a service running somewhere: finds a provider, and another one when that is gone.

use super::{
    forward::Whereabouts,
    record::{ServiceFolder, ServiceRecord},
    session::Left,
};
use crate::{jobs::now_micros, marketplace::Place, output};
use alloy_primitives::Address;
use alloy_signer_local::PrivateKeySigner;
use bmm_market::service::{Payer, objection};
use bmm_net::{
    PeerId, Stream,
    content::{ContentStore, Fetcher, Pin},
    market::Speaker,
};
use bmm_types::market::{Content, Listing, ServiceSpec, Snapshot};
use std::{
    collections::{BTreeMap, HashMap},
    fmt::Display,
    sync::mpsc::Receiver,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// How often listings are looked at.
const LOOK: Duration = Duration::from_millis(300);
/// How long a provider rests after a failure, longer each time.
const REST: Duration = Duration::from_secs(5);
/// How often it is said that nobody hosts the service.
const SAY_AGAIN: Duration = Duration::from_secs(30);

/// What is known of the service.
pub(super) struct State {
    pub record: ServiceRecord,
    pub spec: ServiceSpec,
}

/// Everything that the requester of a service needs.
pub(super) struct Keeper {
    pub place: Place,
    pub speaker: Speaker,
    pub key: PrivateKeySigner,
    pub folder: ServiceFolder,
    pub state: State,
    pub payer: Payer,
    pub fetcher: Fetcher<Stream>,
    pub store: ContentStore,
    /// Pins of the snapshot in force, and of the one that is on its way.
    pins: (Vec<Pin>, Vec<Pin>),
    whereabouts: watch::Sender<Option<PeerId>>,
    interrupts: Receiver<()>,
    interrupted: bool,
    json: bool,
    /// How often a provider failed, and when it may be asked again.
    rests: HashMap<Address, (u32, Instant)>,
}

/// What a keeper is made of.
pub(super) struct KeeperParts {
    pub place: Place,
    pub speaker: Speaker,
    pub key: PrivateKeySigner,
    pub folder: ServiceFolder,
    pub state: State,
    pub store: ContentStore,
    pub interrupts: Receiver<()>,
    pub json: bool,
}

impl Keeper {
    pub fn new(parts: KeeperParts) -> (Self, Whereabouts) {
        let KeeperParts { place, speaker, key, folder, state, store, interrupts, json } = parts;
        let record = &state.record;
        let payer =
            Payer::new(&state.spec, record.account.budget_bmm, record.account.promised_bmm.clone(), record.intervals);
        let pin = |chunks: &[Content]| chunks.iter().map(|chunk| store.pin(chunk.hash)).collect();
        let pins = (record.snapshot.as_deref().map(pin).unwrap_or_default(), Vec::new());
        let (whereabouts, at) = watch::channel(None);
        let fetcher = place.fetcher(store.clone());
        let (interrupted, rests) = (false, HashMap::new());
        let keeper = Self {
            place,
            speaker,
            key,
            folder,
            state,
            payer,
            fetcher,
            store,
            pins,
            whereabouts,
            interrupts,
            interrupted,
            json,
            rests,
        };
        (keeper, at)
    }

    /// Keeps the service until it is over; false if the user interrupted.
    pub async fn keep(&mut self) -> Result<bool, String> {
        let mut said: Option<Instant> = None;
        loop {
            if self.is_interrupted() {
                return Ok(false);
            }
            if self.is_to_stop() || self.payer.is_over() {
                return Ok(true);
            }
            let Some(listing) = self.next_provider() else {
                if said.is_none_or(|at| at.elapsed() > SAY_AGAIN) {
                    said = Some(Instant::now());
                    self.note(self.nobody());
                }
                tokio::time::sleep(LOOK).await;
                continue;
            };
            said = None;
            let provider = listing.offer.provider;
            self.note(format!("asking {provider} to host it"));
            let left = self.stay(&listing).await;
            self.whereabouts.send_replace(None);
            (self.state.record.healthy, self.state.record.host) = (false, None);
            self.save()?;
            match left {
                Left::Over => return Ok(true),
                Left::Interrupted => return Ok(false),
                Left::Lost(reason) => {
                    self.note(format!("{provider} hosts it no longer: {reason}"));
                    let (count, at) = self.rests.entry(provider).or_insert((0, Instant::now()));
                    *count = count.saturating_add(1);
                    *at = Instant::now() + REST.saturating_mul((*count).min(12));
                }
            }
        }
    }

    /// Returns the cheapest provider that can host the service and does not rest.
    fn next_provider(&self) -> Option<Listing> {
        let mut able: Vec<Listing> = self.place.listings().into_iter().map(|signed| signed.listing).collect();
        able.retain(|listing| objection(&listing.offer, &self.state.spec).is_none());
        able.retain(|listing| {
            self.rests.get(&listing.offer.provider).is_none_or(|(_, until)| *until <= Instant::now())
        });
        able.into_iter().min_by_key(|listing| {
            let failures = self.rests.get(&listing.offer.provider).map_or(0, |(count, _)| *count);
            (failures, listing.offer.price_per_gfuel)
        })
    }

    /// Says why no provider is asked.
    fn nobody(&self) -> String {
        let mut reasons: BTreeMap<String, u32> = BTreeMap::new();
        for signed in self.place.listings() {
            let reason = objection(&signed.listing.offer, &self.state.spec);
            *reasons.entry(reason.unwrap_or_else(|| "it failed a moment ago".to_owned())).or_default() += 1;
        }
        let told: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count}: {reason}")).collect();
        if told.is_empty() {
            return "no provider is known; waiting for one".to_owned();
        }
        format!("no provider can host it now; waiting ({})", told.join("; "))
    }

    /// A provider has started the program.
    pub fn begun(&mut self, provider: Address, peer: PeerId) {
        self.payer.begin(now_micros());
        self.state.record.host = Some(provider);
        self.state.record.begun = self.state.record.begun.saturating_add(1);
        self.whereabouts.send_replace(Some(peer));
        if let Err(error) = self.save() {
            tracing::warn!(error, "the service's record is not kept");
        }
        self.note(format!("hosted by {provider}"));
    }

    pub fn save(&self) -> Result<(), String> {
        self.folder.save(&self.state.record).map_err(|failure| failure.message)
    }

    /// Holds on to chunks that come.
    pub fn pin(&mut self, chunks: &[Content]) {
        self.pins.1 = chunks.iter().map(|chunk| self.store.pin(chunk.hash)).collect();
    }

    /// A copy is here whole: it takes the place of the one before.
    pub fn keep_snapshot(&mut self, snapshot: Snapshot) -> Result<(), String> {
        let before = self.state.record.snapshot.replace(snapshot.chunks);
        self.save()?;
        self.pins.0 = std::mem::take(&mut self.pins.1);
        let now = self.state.record.snapshot.as_deref().unwrap_or_default();
        for chunk in before.unwrap_or_default() {
            if !now.contains(&chunk) {
                self.store.remove(chunk.hash);
            }
        }
        Ok(())
    }

    pub fn is_interrupted(&mut self) -> bool {
        self.interrupted |= self.interrupts.try_recv().is_ok();
        self.interrupted
    }

    pub fn is_to_stop(&self) -> bool {
        self.folder.stop_mark().exists()
    }

    pub fn note(&self, text: impl Display) {
        output::note(self.json, format!("{}: {text}", self.state.record.account.short_id()));
    }
}

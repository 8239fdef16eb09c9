//! Has providers hash for a rental: finds them, and others when they are gone, until time or budget is used up.

use super::record::{RentalFolder, RentalRecord};
use crate::{
    failure::{Failure, Outcome},
    jobs::now_secs,
    marketplace::Place,
    output,
};
use alloy_primitives::Address;
use alloy_signer_local::PrivateKeySigner;
use bmm_market::rental::{HashPayer, agree};
use bmm_net::market::Speaker;
use bmm_pool::{
    proxy::{Proxy, ProxyEvent},
    upstream::LinkConfig,
};
use bmm_types::{
    Amount,
    market::{Listing, RentalSpec},
};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, HashMap},
    fmt::Display,
    sync::{Arc, mpsc::Receiver},
    time::{Duration, Instant},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

/// How often listings, clock and user are looked at.
const LOOK: Duration = Duration::from_millis(300);
/// How long a pool may take to give work at the beginning.
const POOL_PATIENCE: Duration = Duration::from_secs(30);
/// How long a provider rests after a failure, longer each time.
const REST: Duration = Duration::from_secs(5);
/// How often it is said how it goes.
const SAY_AGAIN: Duration = Duration::from_secs(30);
/// How long providers may take to take leave.
const FAREWELL: Duration = Duration::from_secs(15);
/// Events of the pool that wait for being told.
const MAX_EVENTS: usize = 256;

/// How it ended.
pub(super) enum Over {
    /// Time or budget is used up, or the user has stopped it.
    Ended,
    /// The user wants this process to end.
    Interrupted,
}

/// What is written down.
pub(super) struct Book {
    pub record: RentalRecord,
    pub payer: HashPayer,
}

/// What every stay of a provider shares.
pub(super) struct Shared {
    pub place: Place,
    pub speaker: Speaker,
    pub key: PrivateKeySigner,
    pub folder: RentalFolder,
    pub spec: RentalSpec,
    pub book: Mutex<Book>,
    /// Whether the rental is over.
    pub over: watch::Sender<bool>,
    json: bool,
}

impl Shared {
    /// Writes down what the book says.
    pub fn save(&self, book: &mut Book) -> Result<(), String> {
        book.record.account.promised_bmm.clone_from(book.payer.totals());
        self.folder.save(&book.record).map_err(|failure| failure.message)
    }

    pub fn note(&self, text: impl Display) {
        output::note(self.json, format!("{}: {text}", self.book.lock().record.account.short_id()));
    }
}

/// See the module.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    /// How often a provider failed, and when it may be asked again.
    rests: HashMap<Address, (u32, Instant)>,
}

type Stays = JoinSet<(Address, Result<(), String>)>;

impl Keeper {
    pub fn new(
        place: Place,
        speaker: Speaker,
        key: PrivateKeySigner,
        folder: RentalFolder,
        (record, spec): (RentalRecord, RentalSpec),
        json: bool,
    ) -> Self {
        let payer = HashPayer::new(record.account.budget_bmm, record.account.promised_bmm.clone());
        let book = Mutex::new(Book { record, payer });
        let over = watch::Sender::new(false);
        Self { shared: Arc::new(Shared { place, speaker, key, folder, spec, book, over, json }), rests: HashMap::new() }
    }

    /// Has up to `most` providers hash until it is over.
    pub async fn keep(mut self, link: LinkConfig, most: usize, interrupts: &Receiver<()>) -> Outcome<Over> {
        let (told, mut events) = mpsc::channel(MAX_EVENTS);
        let proxy = Arc::new(Proxy::without_listener(link, told));
        self.await_work(&proxy, &mut events, interrupts).await?;
        let (mut stays, mut said) = (Stays::new(), Some(Instant::now()));
        let ended = loop {
            while let Ok(event) = events.try_recv() {
                self.tell(event);
            }
            while let Some(left) = stays.try_join_next() {
                self.left(left.map_err(Failure::internal)?);
            }
            if interrupts.try_recv().is_ok() {
                break Over::Interrupted;
            }
            if self.is_over() {
                break Over::Ended;
            }
            if proxy.has_work() {
                self.engage(&proxy, most, &mut stays);
            }
            if said.is_none_or(|at: Instant| at.elapsed() > SAY_AGAIN) {
                said = Some(Instant::now());
                self.shared.note(self.words());
            }
            tokio::time::sleep(LOOK).await;
        };
        self.shared.over.send_replace(true);
        let farewell = async {
            while let Some(left) = stays.join_next().await {
                self.left(left.map_err(Failure::internal)?);
            }
            Ok::<(), Failure>(())
        };
        // What is not paid until then is lost to whoever takes so long.
        tokio::time::timeout(FAREWELL, farewell).await.unwrap_or(Ok(()))?;
        let mut book = self.shared.book.lock();
        book.record.hosts.clear();
        self.shared.save(&mut book).map_err(Failure::internal)?;
        drop(book);
        Ok(ended)
    }

    /// Waits until a pool has taken the user and gives work, so that nobody is asked to hash for nothing.
    async fn await_work(
        &self,
        proxy: &Proxy,
        events: &mut mpsc::Receiver<ProxyEvent>,
        interrupts: &Receiver<()>,
    ) -> Outcome {
        let (asked, mut last) = (Instant::now(), String::new());
        while !proxy.has_work() {
            while let Ok(event) = events.try_recv() {
                if let ProxyEvent::Lost(why) = &event {
                    last.clone_from(why);
                }
                self.tell(event);
            }
            if asked.elapsed() > POOL_PATIENCE || interrupts.try_recv().is_ok() {
                let id = self.shared.book.lock().record.account.short_id();
                let why = if last.is_empty() { String::new() } else { format!(": {last}") };
                return Err(Failure::user(format!("no pool of mine.pools gives work{why}")).hint(format!(
                    "nothing was spent: `bmm rent resume {id}` tries again, `bmm rent stop {id}` takes the budget back"
                )));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    fn tell(&self, event: ProxyEvent) {
        match event {
            ProxyEvent::Connected(pool) => self.shared.note(format!("working for {pool}")),
            ProxyEvent::Lost(why) => self.shared.note(why),
            ProxyEvent::Words(words) => self.shared.note(format!("the pool says: {words}")),
        }
    }

    fn is_over(&self) -> bool {
        let book = self.shared.book.lock();
        book.payer.is_over() || now_secs() >= book.record.ends || self.shared.folder.stop_mark().exists()
    }

    /// A provider hashes no longer.
    fn left(&mut self, (provider, how): (Address, Result<(), String>)) {
        self.shared.book.lock().record.hosts.retain(|host| *host != provider);
        if let Err(reason) = how {
            self.shared.note(format!("{provider} hashes no longer: {reason}"));
            let (count, at) = self.rests.entry(provider).or_insert((0, Instant::now()));
            *count = count.saturating_add(1);
            *at = Instant::now() + REST.saturating_mul((*count).min(12));
        }
    }

    /// Asks the cheapest providers that do not hash yet.
    fn engage(&self, proxy: &Arc<Proxy>, most: usize, stays: &mut Stays) {
        let hosts = self.shared.book.lock().record.hosts.clone();
        let mut able: Vec<(Amount, Listing)> = Vec::new();
        for signed in self.shared.place.listings() {
            let provider = signed.listing.offer.provider;
            let rests = self.rests.get(&provider).is_some_and(|(_, until)| *until > Instant::now());
            if let Ok(price) = agree(&signed.listing.offer, &self.shared.spec)
                && !rests
                && !hosts.contains(&provider)
            {
                able.push((price, signed.listing));
            }
        }
        able.sort_by_key(|(price, listing)| (*price, listing.offer.provider));
        for (price, listing) in able.into_iter().take(most.saturating_sub(hosts.len())) {
            let (shared, proxy, provider) = (self.shared.clone(), proxy.clone(), listing.offer.provider);
            shared.book.lock().record.hosts.push(provider);
            stays.spawn(async move { (provider, super::stay::stay(&shared, &proxy, &listing, price).await) });
        }
    }

    /// Says how it goes.
    fn words(&self) -> String {
        let book = self.shared.book.lock();
        let record = &book.record;
        if record.hosts.is_empty() {
            return format!("nobody hashes; waiting for a provider ({})", self.nobody());
        }
        format!(
            "{} at work; {} accepted hashes, {} of {} spent",
            record.hosts.len(),
            record.all_hashes(),
            book.payer.spent(),
            record.account.budget_bmm
        )
    }

    fn nobody(&self) -> String {
        let mut reasons: BTreeMap<String, u32> = BTreeMap::new();
        for signed in self.shared.place.listings() {
            let reason = agree(&signed.listing.offer, &self.shared.spec).err();
            *reasons.entry(reason.unwrap_or_else(|| "it failed a moment ago".to_owned())).or_default() += 1;
        }
        let told: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count}: {reason}")).collect();
        if told.is_empty() { "none is known".to_owned() } else { told.join("; ") }
    }
}

//! The provider's side: hashes for who rents it, on the slots that have no other work.

use crate::{
    failure::{Failure, Outcome},
    jobs::{hosts::check_escrow, now_micros},
    marketplace::{Place, talk},
    mine::{Cores, Engine, Work, share_of},
    provide::Ledger,
    rpc::RpcClient,
};
use alloy_primitives::Address;
use bmm_market::rental::{HashMeter, agree};
use bmm_net::{
    PeerId, Stream,
    market::{RENTAL_PROTOCOL, Role, SessionSender, Speaker, introduce},
};
use bmm_pool::upstream::{LinkEvent, PoolAccount, PoolUrl, UpstreamWork, link};
use bmm_types::{
    Amount,
    market::{FromMiner, JobAnnouncement, MAX_STRATUM_BYTES, Offer, RentalSpec, ToMiner, Wire},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::{Semaphore, mpsc},
    time::timeout,
};

/// How long who rents may take to say what it wants.
const FIRST_WORD: Duration = Duration::from_secs(30);
/// How often slots, owner and pay are looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How long the own link may take to take a line.
const LINE_PATIENCE: Duration = Duration::from_secs(10);
/// Events and shares that wait.
const MAX_EVENTS: usize = 1_024;
const MAX_SHARES: usize = 1_024;
/// Bytes that wait between session and link.
const PIPE_BYTES: usize = 64 << 10;

/// What renting out takes.
#[derive(Clone)]
pub struct MinerParts {
    /// The network.
    pub place: Place,
    /// The own side of introductions.
    pub speaker: Speaker,
    /// What is offered, hashes among it.
    pub offer: Offer,
    /// Where vouchers are kept.
    pub ledger: Ledger,
    /// The chain.
    pub rpc: RpcClient,
    /// Slots without work; none while the owner wants a rest.
    pub free_slots: Arc<dyn Fn() -> Option<u16> + Send + Sync>,
}

/// Works for who rents, one at a time, if hashes are offered.
pub fn rent_out(parts: MinerParts) -> Outcome {
    let Some(_) = parts.offer.hashing else { return Ok(()) };
    let place = parts.place.clone();
    let _entered = place.runtime().enter();
    let network = place.network();
    let mut asked = network.accept(&network.protocol(RENTAL_PROTOCOL), 2, 16).map_err(Failure::internal)?;
    let room = Arc::new(Semaphore::new(1));
    tokio::spawn(async move {
        while let Some((peer, stream)) = asked.next().await {
            let (parts, room) = (parts.clone(), room.clone());
            tokio::spawn(async move {
                if let Err(error) = attend(peer, stream, &parts, &room).await {
                    tracing::info!(%peer, error, "a rental is over here");
                }
            });
        }
    });
    Ok(())
}

/// Works for one rental until it is over here.
async fn attend(peer: PeerId, mut stream: Stream, parts: &MinerParts, room: &Semaphore) -> Result<(), String> {
    let requester = introduce(&mut stream, &parts.speaker, Role::Provider, &peer.to_bytes()).await;
    let requester = requester.map_err(|error| error.to_string())?;
    let (sender, mut inbox) = talk::<ToMiner>(stream);
    let first = timeout(FIRST_WORD, inbox.recv()).await.ok().flatten();
    let Some(ToMiner::Begin { job, price }) = first else { return Err("it does not say what to do".to_owned()) };
    let ended = async {
        let _place = room.try_acquire().map_err(|_| "it works for another rental already".to_owned())?;
        let meter = begin(parts.clone(), job.clone(), price, requester).await?;
        let hashing = Hashing { parts, job, meter, sender: sender.clone(), inbox, work: None };
        hashing.run().await
    };
    let Err(reason) = ended.await else { return Ok(()) };
    let text = reason.chars().take(1_000).collect();
    let _ = sender.try_send(FromMiner::Over { reason: text }.encode());
    Err(reason)
}

/// Looks whether the rental is as it says, and its pay is there.
async fn begin(
    parts: MinerParts,
    job: JobAnnouncement,
    price: Amount,
    requester: Address,
) -> Result<HashMeter, String> {
    let look = move || {
        if job.requester != requester || job.chain_id != parts.speaker.chain_id {
            return Err("the job is another's, or of another chain".to_owned());
        }
        let spec = RentalSpec::decode(&job.spec).map_err(|error| error.to_string())?;
        let own = agree(&parts.offer, &spec)?;
        if price < own {
            return Err(format!("10^9 hashes cost {own} here, it wants to pay {price}"));
        }
        if (parts.free_slots)().is_none() {
            return Err("its owner wants a rest".to_owned());
        }
        check_escrow(&parts.rpc, &job)?;
        let before = parts.ledger.enter(&job).and_then(|()| parts.ledger.promised(job.job));
        Ok(HashMeter::new(&spec, price, before.map_err(|failure| failure.message)?, now_micros()))
    };
    tokio::task::spawn_blocking(look).await.map_err(|error| error.to_string())?
}

/// A miner at work for a rental.
struct Hashing<'a> {
    parts: &'a MinerParts,
    job: JobAnnouncement,
    meter: HashMeter,
    sender: SessionSender,
    inbox: mpsc::Receiver<ToMiner>,
    work: Option<Arc<UpstreamWork>>,
}

impl Hashing<'_> {
    /// Works until somebody wants no more; says why.
    async fn run(mut self) -> Result<(), String> {
        let slots = usize::from(self.parts.offer.slots);
        let (engine, mut hits) = Engine::start(slots, &Cores::default()).map_err(|failure| failure.message)?;
        let (own, miner) = tokio::io::duplex(PIPE_BYTES);
        let (told, mut events) = mpsc::channel(MAX_EVENTS);
        let (shares, queue) = mpsc::channel(MAX_SHARES);
        // Names that nobody looks at: the proxy at the other end knows who it is.
        let url = PoolUrl { host: "rental".to_owned(), port: 0, tls: false };
        let account = PoolAccount { url, user: self.parts.speaker.operator.to_string(), password: "x".to_owned() };
        let agent = format!("bmm/{}", env!("CARGO_PKG_VERSION"));
        self.say(&FromMiner::Begun)?;
        // It ends with the pipe.
        let mut talk = tokio::spawn(link::converse(miner, account, agent, told, queue));
        let (mut from, mut to) = tokio::io::split(own);
        let mut chunk = vec![0; MAX_STRATUM_BYTES];
        let mut clock = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                message = self.inbox.recv() => match message {
                    Some(ToMiner::Stop) => return Err("stopped by who rents".to_owned()),
                    Some(message) => self.hear(message, &mut to).await?,
                    None => return Err("who rents is gone".to_owned()),
                },
                read = from.read(&mut chunk) => {
                    let count = read.map_err(|error| error.to_string())?;
                    self.say(&FromMiner::Stratum(chunk.get(..count).unwrap_or_default().to_vec()))?;
                }
                event = events.recv() => self.happened(event, &engine)?,
                hit = hits.recv() => if let Some(share) = hit.and_then(share_of) {
                    // What does not fit is lost, as to any pool that is too slow.
                    let _ = shares.try_send(share);
                },
                ended = &mut talk => {
                    let ended = ended.map_err(|error| error.to_string())?;
                    return Err(ended.err().map_or_else(|| "the own miner has ended".to_owned(), |error| error.to_string()));
                }
                _ = clock.tick() => {
                    engine.limit((self.parts.free_slots)().map_or(0, usize::from));
                    if let Some(work) = &self.work {
                        let checked = self.meter.tick(now_micros(), engine.hashes(), work.share_hashes());
                        checked.map_err(|error| error.to_string())?;
                    }
                }
            }
        }
    }

    fn say(&self, message: &FromMiner) -> Result<(), String> {
        self.sender.try_send(message.encode()).map_err(|error| error.to_string())
    }

    async fn hear(&mut self, message: ToMiner, to: &mut tokio::io::WriteHalf<DuplexStream>) -> Result<(), String> {
        match message {
            ToMiner::Stratum(bytes) => {
                let written = timeout(LINE_PATIENCE, to.write_all(&bytes)).await;
                written.map_err(|_| "the own miner does not read".to_owned())?.map_err(|error| error.to_string())
            }
            ToMiner::Pay(voucher) => {
                if !self.meter.pay(&voucher, &self.job, self.parts.speaker.operator) {
                    return Err("a voucher is not good".to_owned());
                }
                let ledger = self.parts.ledger.clone();
                let kept = tokio::task::spawn_blocking(move || ledger.keep(&voucher)).await;
                kept.map_err(|error| error.to_string())?.map_err(|failure| failure.message)
            }
            ToMiner::Begin { .. } => Err("who rents begins twice".to_owned()),
            ToMiner::Stop => Ok(()),
        }
    }

    /// Does what follows from the pool's words.
    fn happened(&mut self, event: Option<LinkEvent>, engine: &Engine) -> Result<(), String> {
        match event {
            Some(LinkEvent::Work(work)) => {
                let speed = self.parts.offer.hashing.map_or(0, |hashing| hashing.hashes_per_second);
                self.meter.take(work.share_hashes(), speed).map_err(|error| error.to_string())?;
                engine.set(Some(Work::Upstream(work.clone())));
                self.work = Some(work);
            }
            Some(LinkEvent::Verdict(share, Ok(()))) => self.meter.accept(share.work.share_hashes(), engine.hashes()),
            Some(LinkEvent::Verdict(_, Err(_))) => self.meter.refuse(),
            Some(LinkEvent::Lost(_, error)) => return Err(error.to_string()),
            Some(LinkEvent::Connected(_) | LinkEvent::Words(_)) => {}
            None => return Err("the own miner has ended".to_owned()),
        }
        Ok(())
    }
}

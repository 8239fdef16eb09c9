//! One stay of a rental at one provider, as who rents sees it.

use super::keep::Shared;
use crate::marketplace::{introduced, talk};
use alloy_primitives::Address;
use bmm_net::market::{RENTAL_PROTOCOL, SessionSender};
use bmm_pool::proxy::{Proxy, WorkerCount};
use bmm_types::{
    Amount,
    market::{FromMiner, Listing, MAX_STRATUM_BYTES, ToMiner, Wire},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
    time::{Instant, timeout},
};

/// How often counts and clock are looked at.
const LOOK: Duration = Duration::from_millis(300);
/// How long a provider may take to begin, its look at the escrow included.
const BEGIN_PATIENCE: Duration = Duration::from_mins(1);
/// How long it may take to leave after its last pay.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// How long the own proxy may take to take a line.
const LINE_PATIENCE: Duration = Duration::from_secs(10);
/// Bytes that wait between session and proxy.
const PIPE_BYTES: usize = 64 << 10;

/// A stay that goes on.
struct Stay<'a> {
    shared: &'a Shared,
    proxy: &'a Proxy,
    provider: Address,
    price: Amount,
    /// What it was promised before, and what the proxy had counted.
    before: (Amount, WorkerCount),
    counted: WorkerCount,
    paid_at: Instant,
    sender: SessionSender,
}

/// Lets one provider hash until the rental is over; says why where it ends before.
pub(super) async fn stay(
    shared: &Arc<Shared>,
    proxy: &Arc<Proxy>,
    listing: &Listing,
    price: Amount,
) -> Result<(), String> {
    let (_, provider, stream) = introduced(&shared.place, &shared.speaker, listing, RENTAL_PROTOCOL).await?;
    let (sender, mut inbox) = talk::<FromMiner>(stream);
    let job = shared.book.lock().record.account.announcement(shared.spec.encode());
    sender.try_send(ToMiner::Begin { job, price }.encode()).map_err(|error| error.to_string())?;
    match timeout(BEGIN_PATIENCE, inbox.recv()).await {
        Ok(Some(FromMiner::Begun)) => {}
        Ok(Some(FromMiner::Over { reason })) => return Err(reason),
        Ok(Some(FromMiner::Stratum(_))) => return Err("it speaks before it begins".to_owned()),
        Ok(None) => return Err("the connection broke".to_owned()),
        Err(_) => return Err("it does not begin".to_owned()),
    }
    shared.note(format!("{provider} hashes at {price} for 10^9 accepted hashes"));
    let name = provider.to_string();
    let counted = proxy.worker(&name);
    let before = (shared.book.lock().payer.promised_to(provider), counted);
    let mut stay = Stay { shared, proxy, provider, price, before, counted, paid_at: Instant::now(), sender };
    let ended = stay.go_on(&name, &mut inbox).await;
    // Whatever ended it: what was accepted is paid, if it can still hear of it.
    stay.count();
    let paid = stay.pay();
    ended.and(paid)?;
    stay.say(&ToMiner::Stop)?;
    // Its last word; then it has read everything before.
    let _ = timeout(STOP_PATIENCE, async { while inbox.recv().await.is_some() {} }).await;
    Ok(())
}

impl Stay<'_> {
    async fn go_on(&mut self, name: &str, inbox: &mut mpsc::Receiver<FromMiner>) -> Result<(), String> {
        let (own, miners) = tokio::io::duplex(PIPE_BYTES);
        tokio::spawn(self.proxy.serve(miners, name));
        let (mut from, mut to) = tokio::io::split(own);
        let mut over = self.shared.over.subscribe();
        let mut chunk = vec![0; MAX_STRATUM_BYTES];
        let mut clock = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                message = inbox.recv() => match message {
                    Some(FromMiner::Stratum(bytes)) => {
                        let written = timeout(LINE_PATIENCE, to.write_all(&bytes)).await;
                        written.ok().and_then(Result::ok).ok_or("it was sent away by the proxy: too much was no share")?;
                    }
                    Some(FromMiner::Over { reason }) => return Err(reason),
                    Some(FromMiner::Begun) => return Err("it begins twice".to_owned()),
                    None => return Err("the connection broke".to_owned()),
                },
                read = from.read(&mut chunk) => {
                    let count = read.ok().filter(|count| *count > 0);
                    let count = count.ok_or("it was sent away by the proxy: too much was no share, or it was silent")?;
                    self.say(&ToMiner::Stratum(chunk.get(..count).unwrap_or_default().to_vec()))?;
                }
                _ = clock.tick() => {
                    self.count();
                    if self.paid_at.elapsed() >= Duration::from_millis(self.shared.spec.interval_millis) {
                        self.pay()?;
                    }
                }
                () = async { drop(over.wait_for(|over| *over).await) } => return Ok(()),
            }
        }
    }

    fn say(&self, message: &ToMiner) -> Result<(), String> {
        self.sender.try_send(message.encode()).map_err(|error| error.to_string())
    }

    /// Takes over what the proxy has counted.
    fn count(&mut self) {
        let now = self.proxy.worker(&self.provider.to_string());
        if now == self.counted {
            return;
        }
        let mut book = self.shared.book.lock();
        let (promised, at_first) = self.before;
        let since = now.accepted_hashes.saturating_sub(at_first.accepted_hashes);
        book.payer.accepted(self.provider, promised, self.price, since);
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        let more = now.accepted_hashes.saturating_sub(self.counted.accepted_hashes);
        add(book.record.hashes.entry(self.provider).or_default(), more);
        let more = now.accepted.saturating_sub(self.counted.accepted);
        add(book.record.shares.entry(self.provider).or_default(), more);
        self.counted = now;
    }

    /// Pays what was accepted. The promise is on disk before it is sent.
    fn pay(&mut self) -> Result<(), String> {
        self.paid_at = Instant::now();
        let mut book = self.shared.book.lock();
        let total = book.payer.pay(self.provider);
        self.shared.save(&mut book)?;
        let voucher = total.map(|total| book.record.account.promise(&self.shared.key, self.provider, total));
        drop(book);
        voucher.map_or(Ok(()), |voucher| self.say(&ToMiner::Pay(voucher?)))
    }
}

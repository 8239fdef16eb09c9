//! Starting a provider's threads, talking to them, and ending them.

use super::{INBOX, Input, LOCAL, Outlet, ProviderHost, Session, Worker};
use crate::{
    failure::Outcome,
    jobs::{
        holds::Holds,
        link::{Inbox, ToDriver},
        slots::{Blobs, Results, Slot, no_thread},
    },
};
use alloy_primitives::Address;
use bmm_market::provider::Provider;
use bmm_types::market::{ToProvider, Wire};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    thread::JoinHandle,
};
use tokio::sync::mpsc::Sender;

/// A running provider.
pub struct ProviderHandle {
    address: Address,
    results: Results,
    sender: Sender<Input>,
    free: Arc<AtomicU16>,
    holds: Holds,
    thread: Option<JoinHandle<()>>,
}

impl ProviderHandle {
    /// Starts the threads.
    pub fn start(host: ProviderHost) -> Outcome<Self> {
        let (sender, inbox) = Inbox::new(INBOX)?;
        let (address, results) = (host.key.address(), host.results.clone());
        let slots = host.config.offer.offer.slots;
        let (free, holds) = (Arc::new(AtomicU16::new(slots)), Holds::new(slots));
        let start = |slot| Slot::start(slot, results.clone(), sender.clone());
        let slots = (0..slots).map(start).collect::<Outcome<Vec<_>>>()?;
        let worker = Worker {
            provider: Provider::new(host.config.clone()),
            inbox: sender.clone(),
            host,
            slots,
            jobs: HashMap::new(),
            sessions: HashMap::new(),
            routes: HashMap::new(),
            greeted: LOCAL,
            free: free.clone(),
            holds: holds.clone(),
            held: 0,
        };
        let run = move || worker.run(inbox);
        let thread =
            std::thread::Builder::new().name(format!("bmm-provider-{address}")).spawn(run).map_err(no_thread)?;
        Ok(Self { address, results, sender, free, holds, thread: Some(thread) })
    }

    /// Starts the threads of a provider for a requester in this process.
    pub fn start_for(host: ProviderHost, requester: Address, driver: Sender<ToDriver>) -> Outcome<Self> {
        let this = Self::start(host)?;
        let session = Session { number: LOCAL, requester, outlet: Outlet::Local(driver) };
        // The queue was empty a moment ago.
        let _ = this.sender.try_send(Input::Joined(session));
        Ok(this)
    }

    /// Returns the provider's address.
    pub fn address(&self) -> Address {
        self.address
    }

    /// Returns where its large results are, if its requester is in this process.
    pub fn blobs(&self) -> Option<&Blobs> {
        match &self.results {
            Results::Folder(blobs) => Some(blobs),
            Results::Store(_) => None,
        }
    }

    /// Returns the number of slots without work.
    pub fn free_slots(&self) -> u16 {
        self.free.load(Ordering::Relaxed)
    }

    /// Returns a function that tells the same for as long as it lives.
    pub fn free_slots_shared(&self) -> Arc<dyn Fn() -> u16 + Send + Sync> {
        let free = self.free.clone();
        Arc::new(move || free.load(Ordering::Relaxed))
    }

    /// Returns how its slots are shared out between tasks and services.
    pub fn holds(&self) -> &Holds {
        &self.holds
    }

    /// Returns the queue to the provider.
    pub fn inbox(&self) -> &Sender<Input> {
        &self.sender
    }

    /// Hands over a message of the requester in this process; `false` if the provider is gone or does not keep up.
    pub fn deliver(&self, message: &ToProvider) -> bool {
        self.sender.try_send(Input::Message { session: LOCAL, bytes: message.encode() }).is_ok()
    }

    /// Finishes the tasks that run, hands in their results, waits for their pay, and ends; all of that within some seconds.
    pub fn finish(mut self, reason: &str) {
        let _ = self.sender.blocking_send(Input::Finish(reason.to_owned()));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for ProviderHandle {
    fn drop(&mut self) {
        // A full queue means that the thread still works through it; it ends when the queue's last sender is gone.
        let _ = self.sender.blocking_send(Input::Leave("the process ends".into()));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

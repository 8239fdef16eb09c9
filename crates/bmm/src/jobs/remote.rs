//! A provider of the network, as a requester's thread sees it.

use super::link::ToDriver;
use alloy_primitives::Address;
use bmm_net::{PeerId, Stream, content::Fetcher, market::SessionSender};
use bmm_types::market::{Content, ToProvider, Wire};
use tokio::{runtime::Handle, sync::mpsc::Sender};

/// A session with a provider of the network.
pub struct RemoteProvider {
    /// The provider.
    pub address: Address,
    /// Number of the session.
    pub session: u64,
    /// Its libp2p peer.
    pub peer: PeerId,
    /// Where messages go.
    pub sender: SessionSender,
    /// Fetches its large results.
    pub fetcher: Fetcher<Stream>,
    /// Runs the fetches.
    pub runtime: Handle,
}

impl RemoteProvider {
    /// Hands over a message; `false` if the provider is gone or does not keep up.
    pub fn deliver(&self, message: &ToProvider) -> bool {
        self.sender.try_send(message.encode()).is_ok()
    }

    /// Begins to fetch a result; the answer comes as [`ToDriver::Fetched`].
    pub fn fetch(&self, content: Content, answer: Sender<ToDriver>) {
        let (fetcher, peer, from) = (self.fetcher.clone(), self.peer, self.address);
        self.runtime.spawn(async move {
            let pin = fetcher.store().pin(content.hash);
            let bytes = match fetcher.fetch(content, &[peer]).await {
                Ok(()) => {
                    let store = fetcher.store().clone();
                    let read = tokio::task::spawn_blocking(move || store.read(content.hash)).await;
                    read.ok().and_then(Result::ok).flatten()
                }
                Err(error) => {
                    tracing::warn!(%from, %error, "a result cannot be fetched");
                    None
                }
            };
            // It goes into the job's own file now.
            drop(pin);
            fetcher.store().remove(content.hash);
            let _ = answer.send(ToDriver::Fetched { from, content, bytes }).await;
        });
    }
}

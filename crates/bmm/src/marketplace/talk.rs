//! Sessions in which one kind of message is read.

use super::{Place, reach};
use alloy_primitives::Address;
use bmm_net::{
    PeerId, Stream,
    market::{Pulse, Role, SessionSender, Speaker, introduce, run_session},
};
use bmm_types::market::{Listing, Wire};
use tokio::sync::mpsc;

/// Messages that wait for being read; the other side waits beyond them.
const INBOX: usize = 256;

/// Begins a session over a stream on which both are introduced. What cannot be read ends it.
pub(crate) fn talk<M: Wire + Send + 'static>(stream: Stream) -> (SessionSender, mpsc::Receiver<M>) {
    let (sender, mut receiver) = run_session(stream, Pulse::default());
    let (to_inbox, inbox) = mpsc::channel(INBOX);
    tokio::spawn(async move {
        while let Ok(bytes) = receiver.next().await {
            let Ok(message) = M::decode(&bytes) else { return };
            if to_inbox.send(message).await.is_err() {
                return;
            }
        }
    });
    (sender, inbox)
}

/// Reaches the provider of a listing, and returns a stream on which it has shown that it is that one.
pub(crate) async fn introduced(
    place: &Place,
    speaker: &Speaker,
    listing: &Listing,
    protocol: &str,
) -> Result<(PeerId, Address, Stream), String> {
    let peer = PeerId::from_bytes(&listing.peer).map_err(|error| error.to_string())?;
    let mut stream = reach(place, peer, listing, protocol).await?;
    let provider = introduce(&mut stream, speaker, Role::Requester, &listing.peer).await;
    let provider = provider.map_err(|error| error.to_string())?;
    if provider != listing.offer.provider {
        return Err(format!("the peer speaks for {provider}"));
    }
    Ok((peer, provider, stream))
}

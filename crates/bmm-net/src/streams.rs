//! Streams between two nodes, and how many of them others may hold open here.

use crate::bucket::Buckets;
use futures::{AsyncRead, AsyncWrite, StreamExt as _};
use libp2p::PeerId;
use libp2p_stream::IncomingStreams;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    io::{IoSlice, IoSliceMut, Result},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};
use tokio::sync::mpsc;

/// Streams that wait for their server.
const MAX_WAITING: usize = 64;

/// A stream of bytes to one peer and from it. Dropping it ends it.
#[derive(Debug)]
pub struct Stream {
    inner: libp2p::Stream,
    _place: Option<Place>,
}

impl Stream {
    pub(crate) const fn new(inner: libp2p::Stream) -> Self {
        Self { inner, _place: None }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &mut [u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.inner).poll_read(context, bytes)
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &mut [IoSliceMut<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.inner).poll_read_vectored(context, bytes)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.inner).poll_close(context)
    }
}

/// Counts of open streams.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    per_peer: usize,
    total: usize,
    taken: Arc<Mutex<HashMap<PeerId, usize>>>,
}

/// One open stream's place; dropping it frees it.
#[derive(Debug)]
pub(crate) struct Place {
    peer: PeerId,
    taken: Arc<Mutex<HashMap<PeerId, usize>>>,
}

impl Places {
    pub fn new(per_peer: usize, total: usize) -> Self {
        Self { per_peer, total, taken: Arc::default() }
    }

    /// Takes a place, if there is one.
    pub fn take(&self, peer: PeerId) -> Option<Place> {
        let mut taken = self.taken.lock();
        if taken.values().sum::<usize>() >= self.total {
            return None;
        }
        let count = taken.entry(peer).or_default();
        if *count >= self.per_peer {
            return None;
        }
        *count += 1;
        Some(Place { peer, taken: self.taken.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.lock();
        if let Some(count) = taken.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.peer);
            }
        }
    }
}

/// Streams of one protocol that others begin. Dropping it refuses further ones.
#[derive(Debug)]
pub struct Incoming(mpsc::Receiver<(PeerId, Stream)>);

impl Incoming {
    pub(crate) fn start(
        mut incoming: IncomingStreams,
        places: Places,
        mut buckets: Buckets,
        flood: impl Fn(PeerId) + Send + 'static,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        // Always ready to take the next: libp2p keeps one only, and drops those that come while nobody takes it.
        tokio::spawn(async move {
            while let Some((peer, inner)) = tokio::select! {
                next = incoming.next() => next,
                () = sender.closed() => None,
            } {
                if !buckets.take(peer, 1.0, Instant::now()) {
                    flood(peer);
                    continue;
                }
                let Some(place) = places.take(peer) else { continue };
                let _ = sender.try_send((peer, Stream { inner, _place: Some(place) }));
            }
        });
        Self(receiver)
    }

    /// Waits for the next stream; `None` when the network is shut down.
    pub async fn next(&mut self) -> Option<(PeerId, Stream)> {
        self.0.recv().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_and_freed() {
        let (places, one, other) = (Places::new(2, 3), PeerId::random(), PeerId::random());
        let (first, _second) = (places.take(one).expect("free"), places.take(one).expect("free"));
        assert!(places.take(one).is_none(), "two of one peer");
        let _third = places.take(other).expect("free");
        assert!(places.take(other).is_none(), "three in all");
        drop(first);
        assert!(places.take(one).is_some());
        drop(places.take(one));
        assert_eq!(places.taken.lock().len(), 2);
    }
}

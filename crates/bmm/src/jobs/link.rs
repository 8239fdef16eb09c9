//! The way between a requester and its providers: queues of encoded messages, whoever carries them.

use super::remote::RemoteProvider;
use crate::failure::{Failure, Outcome};
use alloy_primitives::Address;
use bmm_market::Micros;
use bmm_types::market::Content;
use std::{
    sync::LazyLock,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::sync::mpsc;

/// Messages of all providers that may wait for the requester; a provider that meets a full queue waits.
pub const DRIVER_INBOX: usize = 4_096;

/// What reaches the requester's thread.
pub enum ToDriver {
    /// A provider said something.
    Message {
        /// The provider.
        from: Address,
        /// The encoded [`bmm_types::market::ToRequester`].
        bytes: Vec<u8>,
    },
    /// A provider of the network can be talked to.
    Joined(Box<RemoteProvider>),
    /// A session with a provider of the network is over.
    Lost {
        /// The provider.
        provider: Address,
        /// Number of the session.
        session: u64,
    },
    /// Bytes of a result came from a provider of the network, or did not.
    Fetched {
        /// The provider.
        from: Address,
        /// What was asked for.
        content: Content,
        /// The bytes; they have the right hash.
        bytes: Option<Vec<u8>>,
    },
}

/// A bounded queue that threads and asynchronous tasks put into, and one thread takes from.
pub struct Inbox<T> {
    receiver: mpsc::Receiver<T>,
    clock: tokio::runtime::Runtime,
}

/// Says why nothing came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nothing {
    /// Not within the time.
    Yet,
    /// Nor ever will: all senders are gone.
    Ever,
}

impl<T> Inbox<T> {
    /// Makes a queue of `room` places.
    pub fn new(room: usize) -> Outcome<(mpsc::Sender<T>, Self)> {
        let (sender, receiver) = mpsc::channel(room);
        let clock = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let clock = clock.map_err(|error| Failure::internal(format!("cannot start a clock: {error}")))?;
        Ok((sender, Self { receiver, clock }))
    }

    /// Waits for an element. Must not be called within a tokio runtime.
    pub fn recv_timeout(&mut self, patience: Duration) -> Result<T, Nothing> {
        if let Some(element) = self.try_recv() {
            return Ok(element);
        }
        let receiver = &mut self.receiver;
        let wait = async { tokio::time::timeout(patience, receiver.recv()).await };
        match self.clock.block_on(wait) {
            Ok(Some(element)) => Ok(element),
            Ok(None) => Err(Nothing::Ever),
            Err(_) => Err(Nothing::Yet),
        }
    }

    /// Takes an element that is there already.
    pub fn try_recv(&mut self) -> Option<T> {
        self.receiver.try_recv().ok()
    }
}

/// Returns the time, microseconds since 1970: the wall clock's when the process first asked, and from then on a clock that nobody sets.
pub fn now_micros() -> Micros {
    static BEGAN: LazyLock<(Duration, Instant)> =
        LazyLock::new(|| (SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(), Instant::now()));
    let (wall, began) = *BEGAN;
    u64::try_from(wall.saturating_add(began.elapsed()).as_micros()).unwrap_or(u64::MAX)
}

//! Asking peers, and noting who does not answer as one should.

use super::{
    Node,
    wire::{self, MAX_ANSWER_BYTES, MAX_STATUS_BYTES, Request, Status},
};
use crate::{
    error::NetError,
    frame::{FrameError, read_frame, write_frame},
    network::Network,
    peers::Offence,
    streams::Stream,
};
use libp2p::PeerId;
use std::time::Duration;

/// How often a question is asked again whose stream was closed at once: the peer had no place for it.
const AGAIN: u32 = 3;
/// Pause before that.
const PAUSE: Duration = Duration::from_millis(50);

/// Why there is no answer. The peer has been reported for it already, where it is to blame.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error(transparent)]
    Net(#[from] NetError),
    #[error("{0}")]
    Rubbish(String),
}

impl Node {
    /// Asks a peer, and reads the answer by `decode`.
    pub(super) async fn ask<T>(
        &self,
        peer: PeerId,
        request: &Request,
        decode: impl FnOnce(&[u8]) -> Result<T, alloy_rlp::Error>,
    ) -> Result<T, NoAnswer> {
        let bytes = self.exchange(peer, &self.protocols.sync, &request.encode(), MAX_ANSWER_BYTES).await?;
        self.decoded(peer, decode(&bytes))
    }

    /// Says where this node stands, and hears where the peer does.
    pub(super) async fn exchange_status(&self, peer: PeerId) -> Result<Status, NoAnswer> {
        let ours = self.status().await.map_err(|error| NoAnswer::Rubbish(error.to_string()))?;
        let bytes = self.exchange(peer, &self.protocols.status, &alloy_rlp::encode(&ours), MAX_STATUS_BYTES).await?;
        self.decoded(peer, wire::exact(&bytes))
    }

    fn decoded<T>(&self, peer: PeerId, decoded: Result<T, alloy_rlp::Error>) -> Result<T, NoAnswer> {
        decoded.map_err(|error| {
            self.network.report(peer, Offence::Rubbish);
            NoAnswer::Rubbish(format!("an answer that cannot be understood: {error}"))
        })
    }

    async fn exchange(&self, peer: PeerId, protocol: &str, bytes: &[u8], limit: usize) -> Result<Vec<u8>, NetError> {
        exchange(&self.network, peer, protocol, bytes, limit, self.config.answer_within).await
    }
}

/// Sends a message and reads one of at most `limit` bytes, each within its time.
pub(super) async fn exchange(
    network: &Network,
    peer: PeerId,
    protocol: &str,
    bytes: &[u8],
    limit: usize,
    within: Duration,
) -> Result<Vec<u8>, NetError> {
    let mut tries = 0;
    loop {
        let mut stream: Stream = network.open_stream(peer, protocol).await?;
        let result = match write_frame(&mut stream, bytes, within).await {
            Ok(()) => read_frame(&mut stream, limit, within).await,
            Err(error) => Err(error),
        };
        match result {
            Ok(answer) => return Ok(answer),
            Err(FrameError::Ended | FrameError::Io(_)) if tries < AGAIN => {
                tries += 1;
                tokio::time::sleep(PAUSE * tries).await;
            }
            Err(error) => {
                match error {
                    FrameError::TimedOut(_) => network.report(peer, Offence::Stall),
                    FrameError::TooLong { .. } => network.report(peer, Offence::Rubbish),
                    FrameError::Ended | FrameError::Io(_) => {}
                }
                return Err(error.into());
            }
        }
    }
}

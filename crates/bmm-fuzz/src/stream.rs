//! Streams that say what an input says, and then end.

use futures::io::{AsyncRead, AsyncWrite};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

/// Says some bytes, in pieces of some length, and takes whatever it is told.
pub struct Script {
    says: Vec<u8>,
    at: usize,
    piece: usize,
    /// What it was told.
    pub told: Vec<u8>,
}

impl Script {
    pub fn new(says: Vec<u8>, piece: usize) -> Self {
        Self { says, at: 0, piece: piece.max(1), told: Vec::new() }
    }
}

impl AsyncRead for Script {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, to: &mut [u8]) -> Poll<io::Result<usize>> {
        let from = self.says.get(self.at..).unwrap_or_default();
        let count = from.len().min(to.len()).min(self.piece);
        to[..count].copy_from_slice(&from[..count]);
        self.at += count;
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Script {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.told.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Runs a future to its end, on a runtime that every input shares.
pub fn block_on<F: Future>(work: F) -> F::Output {
    use std::sync::OnceLock;
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
    });
    runtime.block_on(work)
}

//! A connection that is read no faster than it is answered.
//!
//! The WebSocket server starts a task for every request that it reads, and keeps each answer until it is written. A caller that
//! sends and never reads would make it hold gigabytes. So reads wait while a write finds no room, and after each read the tasks
//! that it started go first, so that such a write is met before much more has been read.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream whose reads wait for its writes.
#[derive(Debug)]
pub(crate) struct Paced<S> {
    stream: S,
    /// Whether the last write found no room.
    stalled: bool,
    /// Who waits to read until there is room again.
    reader: Option<Waker>,
    /// Whether other tasks go before the next read.
    rest: bool,
}

impl<S> Paced<S> {
    pub(crate) const fn new(stream: S) -> Self {
        Self { stream, stalled: false, reader: None, rest: false }
    }

    /// Notes how a write went, and lets the reader go on once there is room again, or an error to be read.
    fn note<T>(&mut self, written: Poll<T>) -> Poll<T> {
        self.stalled = written.is_pending();
        if !self.stalled
            && let Some(reader) = self.reader.take()
        {
            reader.wake();
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.stalled {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if std::mem::take(&mut self.rest) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.rest = read.is_ready();
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

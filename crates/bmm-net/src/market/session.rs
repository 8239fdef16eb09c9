//! A session: encoded messages both ways over one stream, with bounded queues, signs of life, and an end that both sides notice.
//!
//! A frame is a length (4 bytes, little-endian) and as many bytes. A length of zero says only that its sender lives.

use bmm_types::market::MAX_MESSAGE_BYTES;
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, BufWriter, ReadHalf};
use std::{sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// Messages that may wait to be sent.
const QUEUE: usize = 4_096;
/// Bytes that may wait to be sent, in units of [`ROOM_UNIT`]: 64 MiB.
const ROOM: usize = 65_536;
const ROOM_UNIT: usize = 1_024;
/// Memory that is taken ahead of a frame's bytes, whatever length it announces.
const AHEAD: usize = 64 << 10;

/// How often a side shows that it lives, and after which silence it counts as dead.
#[derive(Clone, Copy, Debug)]
pub struct Pulse {
    /// Longest silence of this side.
    pub keep_alive: Duration,
    /// Longest silence of the other side, and longest time in which it may take nothing of what is sent.
    pub patience: Duration,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { keep_alive: Duration::from_secs(5), patience: Duration::from_secs(30) }
    }
}

/// Says why a message cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The session is over.
    #[error("the session is over")]
    Over,
    /// The other side does not keep up: 4,096 messages or 64 MiB wait.
    #[error("the other side does not keep up with what it is sent")]
    Full,
    /// The message is longer than any may be.
    #[error("the message is longer than {MAX_MESSAGE_BYTES} bytes")]
    TooLong,
}

/// Says how a session ended.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// The other side closed it, or the connection broke.
    #[error("the connection is gone: {0}")]
    Io(#[from] std::io::Error),
    /// The other side showed no sign of life.
    #[error("the other side is silent")]
    Silent,
    /// The other side does not read, or this side has dropped its sender.
    #[error("nothing can be sent any more")]
    Unsendable,
    /// A frame is longer than any message.
    #[error("a frame of {0} bytes was announced")]
    TooLong(usize),
}

struct Frame {
    bytes: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

/// Sends messages; the session's sending side ends with the last clone.
#[derive(Clone, Debug)]
pub struct SessionSender {
    queue: mpsc::Sender<Frame>,
    room: Arc<Semaphore>,
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frame({} bytes)", self.bytes.len())
    }
}

impl SessionSender {
    /// Queues a message; never waits.
    pub fn try_send(&self, bytes: Vec<u8>) -> Result<(), SendError> {
        if bytes.len() > MAX_MESSAGE_BYTES {
            return Err(SendError::TooLong);
        }
        let units = u32::try_from(bytes.len() / ROOM_UNIT + 1).map_err(|_| SendError::TooLong)?;
        let room = self.room.clone().try_acquire_many_owned(units).map_err(|_| SendError::Full)?;
        self.queue.try_send(Frame { bytes, _room: room }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => SendError::Full,
            mpsc::error::TrySendError::Closed(_) => SendError::Over,
        })
    }

    /// Whether messages can still be sent.
    pub fn is_over(&self) -> bool {
        self.queue.is_closed()
    }
}

/// Receives messages.
#[derive(Debug)]
pub struct SessionReceiver<S> {
    stream: BufReader<ReadHalf<S>>,
    pulse: Pulse,
    writer: oneshot::Receiver<()>,
}

/// Makes a session of a stream; the sending side runs as a task of the current tokio runtime.
pub fn run_session<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    stream: S,
    pulse: Pulse,
) -> (SessionSender, SessionReceiver<S>) {
    let (reader, writer) = stream.split();
    let (queue, frames) = mpsc::channel(QUEUE);
    let (alive, ended) = oneshot::channel();
    tokio::spawn(async move {
        if let Err(error) = write_frames(BufWriter::new(writer), frames, pulse).await {
            tracing::debug!(%error, "a session cannot send any more");
        }
        drop(alive);
    });
    let sender = SessionSender { queue, room: Arc::new(Semaphore::new(ROOM)) };
    (sender, SessionReceiver { stream: BufReader::with_capacity(AHEAD, reader), pulse, writer: ended })
}

impl<S: AsyncRead + AsyncWrite + Unpin> SessionReceiver<S> {
    /// Waits for the next message. Not to be called again after an error, nor after the future was dropped unfinished.
    pub async fn next(&mut self) -> Result<Vec<u8>, Ended> {
        let Self { stream, pulse, writer } = self;
        loop {
            let frame = tokio::select! {
                frame = read_frame(stream, pulse.patience) => frame?,
                _ = &mut *writer => return Err(Ended::Unsendable),
            };
            if !frame.is_empty() {
                return Ok(frame);
            }
        }
    }
}

/// Waits for something to happen, but not for ever.
async fn within<T>(patience: Duration, what: impl Future<Output = std::io::Result<T>>) -> Result<T, Ended> {
    Ok(tokio::time::timeout(patience, what).await.map_err(|_| Ended::Silent)??)
}

async fn read_frame<R: AsyncRead + Unpin>(stream: &mut R, patience: Duration) -> Result<Vec<u8>, Ended> {
    let mut length = [0; 4];
    within(patience, stream.read_exact(&mut length)).await?;
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_MESSAGE_BYTES {
        return Err(Ended::TooLong(length));
    }
    let mut bytes = Vec::new();
    while bytes.len() < length {
        let begin = bytes.len();
        bytes.resize(length.min(begin + AHEAD), 0);
        within(patience, stream.read_exact(&mut bytes[begin..])).await?;
    }
    Ok(bytes)
}

async fn write_frame<W: AsyncWrite + Unpin>(stream: &mut W, bytes: &[u8], patience: Duration) -> Result<(), Ended> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    within(patience, stream.write_all(&length)).await?;
    for part in bytes.chunks(AHEAD) {
        within(patience, stream.write_all(part)).await?;
    }
    Ok(())
}

async fn write_frames<W: AsyncWrite + Unpin>(
    mut stream: W,
    mut frames: mpsc::Receiver<Frame>,
    pulse: Pulse,
) -> Result<(), Ended> {
    loop {
        match tokio::time::timeout(pulse.keep_alive, frames.recv()).await {
            Ok(Some(frame)) => write_frame(&mut stream, &frame.bytes, pulse.patience).await?,
            Ok(None) => break,
            Err(_) => write_frame(&mut stream, &[], pulse.patience).await?,
        }
        if frames.is_empty() {
            within(pulse.patience, stream.flush()).await?;
        }
    }
    within(pulse.patience, stream.close()).await
}

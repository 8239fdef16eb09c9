//! Messages on a stream: four bytes of length, the highest first, and so many bytes. Every message has a longest length and a time
//! within which it must come or go whole.

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use std::{io, time::Duration};

/// Memory that is taken at once for a message that is announced; more only as bytes come.
const TAKEN_AT_ONCE: usize = 64 << 10;

/// Why no message came or went.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The other side ended the stream before the first byte of a message.
    #[error("the peer ended the stream")]
    Ended,
    /// The message is too long.
    #[error("a message of {got} bytes; at most {limit} are allowed here")]
    TooLong {
        /// Its length, in bytes.
        got: usize,
        /// The longest allowed, in bytes.
        limit: usize,
    },
    /// It took too long.
    #[error("no whole message within {0:?}")]
    TimedOut(Duration),
    /// The stream broke.
    #[error("the stream broke: {0}")]
    Io(#[from] io::Error),
}

/// Reads one message of at most `limit` bytes.
pub async fn read_frame(
    stream: &mut (impl AsyncRead + Unpin),
    limit: usize,
    timeout: Duration,
) -> Result<Vec<u8>, FrameError> {
    tokio::time::timeout(timeout, read(stream, limit)).await.unwrap_or(Err(FrameError::TimedOut(timeout)))
}

async fn read(stream: &mut (impl AsyncRead + Unpin), limit: usize) -> Result<Vec<u8>, FrameError> {
    let mut head = [0; 4];
    let mut got = 0;
    while got < head.len() {
        match stream.read(&mut head[got..]).await? {
            0 if got == 0 => return Err(FrameError::Ended),
            0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            more => got += more,
        }
    }
    let length = usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX);
    if length > limit {
        return Err(FrameError::TooLong { got: length, limit });
    }
    let mut bytes = Vec::with_capacity(length.min(TAKEN_AT_ONCE));
    while bytes.len() < length {
        let begin = bytes.len();
        bytes.resize(length.min(begin + TAKEN_AT_ONCE), 0);
        stream.read_exact(&mut bytes[begin..]).await?;
    }
    Ok(bytes)
}

/// Writes one message and flushes it.
pub async fn write_frame(
    stream: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    timeout: Duration,
) -> Result<(), FrameError> {
    let too_long = FrameError::TooLong { got: bytes.len(), limit: u32::MAX as usize };
    let length = u32::try_from(bytes.len()).map_err(|_| too_long)?;
    let write = async {
        stream.write_all(&length.to_be_bytes()).await?;
        stream.write_all(bytes).await?;
        stream.flush().await?;
        Ok(())
    };
    tokio::time::timeout(timeout, write).await.unwrap_or(Err(FrameError::TimedOut(timeout)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::io::Cursor;
    use proptest::prelude::*;

    const LONG: Duration = Duration::from_mins(1);

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("runtime").block_on(work)
    }

    proptest! {
        #[test]
        fn frames_round_trip(messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..5)) {
            run(async {
                let mut wire = Cursor::new(Vec::new());
                for message in &messages {
                    write_frame(&mut wire, message, LONG).await.expect("written");
                }
                wire.set_position(0);
                for message in &messages {
                    assert_eq!(&read_frame(&mut wire, 300, LONG).await.expect("read"), message);
                }
                assert!(matches!(read_frame(&mut wire, 300, LONG).await, Err(FrameError::Ended)));
            });
        }

        #[test]
        fn rubbish_is_an_error_or_a_message_within_the_limit(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            run(async {
                if let Ok(message) = read_frame(&mut Cursor::new(bytes), 40, LONG).await {
                    assert!(message.len() <= 40);
                }
            });
        }
    }

    #[test]
    fn what_is_announced_too_long_is_not_read() {
        let mut wire = Cursor::new(vec![0, 0, 1, 1, 0, 0]);
        let error = run(read_frame(&mut wire, 256, LONG)).expect_err("257 bytes");
        assert!(matches!(error, FrameError::TooLong { got: 257, limit: 256 }));
        assert_eq!(wire.position(), 4);
    }

    #[test]
    fn who_says_nothing_is_left() {
        assert!(matches!(run(read_frame(&mut Silent, 9, Duration::from_millis(5))), Err(FrameError::TimedOut(_))));
    }

    /// A reader that never has anything.
    struct Silent;

    impl AsyncRead for Silent {
        fn poll_read(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            _: &mut [u8],
        ) -> std::task::Poll<io::Result<usize>> {
            std::task::Poll::Pending
        }
    }
}

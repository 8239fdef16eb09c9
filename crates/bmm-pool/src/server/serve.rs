//! The tasks that serve connections: bytes from sockets to what is spoken on them, and back.

use super::{
    Shared,
    client::Client,
    config::Listen,
    conn::{Conn, Talk},
    noise::{Opener, Sealer},
    v2::Channels,
};
use crate::stratum::Lines;
use std::{future::poll_fn, io, net::IpAddr, pin::Pin, sync::Arc, task::Poll, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
};

/// Bytes that are read at once. They lie on the stack, so that a connection that rests holds no buffer.
const READ_BYTES: usize = 4_096;
/// Time for saying goodbye.
const SHUTDOWN: Duration = Duration::from_secs(1);

/// Serves Stratum V1 without TLS until the connection ends.
pub(super) async fn plain(shared: &Arc<Shared>, listen: &Listen, peer: IpAddr, stream: TcpStream) {
    let (mut read, write) = stream.into_split();
    let conn = Conn::new(shared, Talk::V1(Client::new(listen)), peer, Some(write));
    let mut lines = Lines::default();
    while !conn.is_closed() {
        let (paused, more) = (conn.is_paused(), conn.has_more());
        let Some(direct) = &conn.direct else { break };
        let mut take = |bytes: &[u8]| {
            conn.hear(&mut lines, bytes);
            true
        };
        tokio::select! {
            open = read_some(&mut read, &mut take), if !paused => if !open { break },
            () = conn.wake.notified() => {}
            ready = direct.writable(), if more => if ready.is_ok() { conn.flush() } else { break },
        }
    }
    conn.end();
}

/// Serves Stratum V1 over TLS until the connection ends.
pub(super) async fn tls<S>(shared: &Arc<Shared>, listen: &Listen, peer: IpAddr, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let conn = Conn::new(shared, Talk::V1(Client::new(listen)), peer, None);
    let mut lines = Lines::default();
    let take = |bytes: &[u8]| {
        conn.hear(&mut lines, bytes);
        true
    };
    sealed(&conn, stream, take, Some).await;
}

/// Serves Stratum V2 until the connection ends.
pub(super) async fn v2(
    shared: &Arc<Shared>,
    channels: Channels,
    peer: IpAddr,
    stream: TcpStream,
    (mut opener, mut sealer): (Opener, Sealer),
) {
    let conn = Conn::new(shared, Talk::V2(channels), peer, None);
    let take = |bytes: &[u8]| {
        conn.converse(|talk, call| {
            let Talk::V2(channels) = talk else { return false };
            opener.push(bytes, |kind, payload| {
                if call.points < shared.config.limits.fault_points {
                    channels.frame(kind, payload, call);
                }
            })
        })
    };
    sealed(&conn, stream, take, |frames| sealer.seal(&frames)).await;
}

/// Serves a connection whose bytes are sealed on their way: `take` has what comes, and says whether it goes on; `seal` makes of what is to be
/// sent what is written.
async fn sealed<S>(
    conn: &Arc<Conn>,
    stream: S,
    mut take: impl FnMut(&[u8]) -> bool,
    mut seal: impl FnMut(Vec<u8>) -> Option<Vec<u8>>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut read, mut write) = tokio::io::split(stream);
    let (mut sending, mut sent, mut dirty) = (Vec::new(), 0usize, false);
    while !conn.is_closed() {
        if sending.is_empty() {
            let Some(bytes) = seal(conn.take_waiting()) else { break };
            (sending, sent) = (bytes, 0);
        }
        let (paused, more) = (conn.is_paused(), !sending.is_empty());
        tokio::select! {
            open = read_some(&mut read, &mut take), if !paused => if !open { break },
            () = conn.wake.notified() => {}
            pushed = push(&mut write, sending.get(sent..).unwrap_or_default()), if more || dirty => {
                let Ok(count) = pushed else { break };
                dirty = more;
                sent = sent.saturating_add(count);
                if sent >= sending.len() {
                    sending = Vec::new();
                }
                conn.took(!dirty);
            }
        }
    }
    conn.end();
    let _ = tokio::time::timeout(SHUTDOWN, write.shutdown()).await;
}

/// Writes some of the bytes and returns how many; of none, sends what was written on its way.
async fn push(write: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<usize> {
    if bytes.is_empty() {
        return write.flush().await.map(|()| 0);
    }
    match write.write(bytes).await? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        count => Ok(count),
    }
}

/// Reads what there is, and takes it. Returns false at the end.
async fn read_some(read: &mut (impl AsyncRead + Unpin), take: &mut impl FnMut(&[u8]) -> bool) -> bool {
    poll_fn(|context| {
        let mut bytes = [0; READ_BYTES];
        let mut buffer = ReadBuf::new(&mut bytes);
        match Pin::new(&mut *read).poll_read(context, &mut buffer) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => Poll::Ready(take(buffer.filled())),
            Poll::Ready(_) => Poll::Ready(false),
        }
    })
    .await
}

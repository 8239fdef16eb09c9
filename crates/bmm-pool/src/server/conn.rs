//! One connection: what waits for it, what it may still do, and the task that serves it.

use super::{
    Shared,
    client::{Call, Client},
    config::Listen,
    guard::GOOD_SHARE,
};
use crate::stratum::{Id, Lines, Reject, render};
use parking_lot::Mutex;
use std::{
    fmt,
    future::poll_fn,
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    task::Poll,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::Notify,
};

/// Bytes that are read at once. They lie on the stack, so that a connection that rests holds no buffer.
const READ_BYTES: usize = 4_096;

#[derive(Debug, Default)]
struct Out {
    bytes: Vec<u8>,
    /// When the miner took something last, while something waits; else 0.
    waits_since: u64,
    closed: bool,
}

/// A connection, as all see it that have something for it.
pub(crate) struct Conn {
    number: u64,
    pub(super) peer: IpAddr,
    shared: Arc<Shared>,
    /// To be written to by whoever has something, without waking the connection's task; not with TLS.
    direct: Option<OwnedWriteHalf>,
    out: Mutex<Out>,
    wake: Notify,
    pub(super) client: Mutex<Client>,
    /// Shares that are being checked.
    in_flight: AtomicU32,
    points: AtomicU32,
    /// Whether a share of it was accepted.
    proved: AtomicBool,
    heard_at: AtomicU64,
    began_at: u64,
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn").field("number", &self.number).field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl Conn {
    fn new(shared: &Arc<Shared>, listen: &Listen, peer: IpAddr, direct: Option<OwnedWriteHalf>) -> Arc<Self> {
        let now = shared.now();
        let conn = Arc::new(Self {
            number: shared.next_number(),
            peer,
            shared: Arc::clone(shared),
            direct,
            out: Mutex::default(),
            wake: Notify::new(),
            client: Mutex::new(Client::new(listen)),
            in_flight: AtomicU32::new(0),
            points: AtomicU32::new(0),
            proved: AtomicBool::new(false),
            heard_at: AtomicU64::new(now),
            began_at: now,
        });
        shared.registry.lock().insert(conn.number, Arc::clone(&conn));
        conn
    }

    /// Returns its number, which no other connection has.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Sends bytes, as many as the miner takes at once; the rest waits.
    pub fn send(&self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut out = self.out.lock();
        if out.closed {
            return;
        }
        let mut rest = bytes;
        if let (true, Some(direct)) = (out.bytes.is_empty(), &self.direct) {
            match direct.try_write(bytes) {
                Ok(written) => rest = bytes.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => out.closed = true,
            }
            if rest.is_empty() {
                return;
            }
        }
        if out.bytes.len().saturating_add(rest.len()) > self.shared.config.limits.out_bytes {
            tracing::debug!(peer = %self.peer, "a miner that reads too slowly is dropped");
            out.closed = true;
        }
        if out.closed {
            out.bytes = Vec::new();
        } else {
            if out.bytes.is_empty() && out.waits_since == 0 {
                out.waits_since = self.shared.now();
            }
            out.bytes.extend_from_slice(rest);
        }
        drop(out);
        self.wake.notify_one();
    }

    /// Closes the connection; what waits is not sent any more.
    pub fn close(&self) {
        self.out.lock().closed = true;
        self.wake.notify_one();
    }

    /// Refuses a share that was being checked.
    pub fn refuse(&self, id: &Id, reject: Reject, why: &str) {
        let mut out = String::new();
        render::refusal(&mut out, id, reject, why);
        self.send(out.as_bytes());
        if reject == Reject::LowDifficulty {
            self.charge(super::guard::Fault::Share(reject).points());
        }
        self.landed(1);
    }

    /// Acknowledges shares that were being checked.
    pub fn accept<'a>(&self, ids: impl Iterator<Item = &'a Id>) {
        let (mut out, mut count) = (String::new(), 0u32);
        for id in ids {
            render::result(&mut out, id, "true");
            count = count.saturating_add(1);
        }
        self.send(out.as_bytes());
        self.proved.store(true, Ordering::Relaxed);
        if self.points.load(Ordering::Relaxed) > 0 {
            let less = |points: u32| Some(points.saturating_sub(GOOD_SHARE.saturating_mul(count)));
            let _ = self.points.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
        self.landed(count);
    }

    fn landed(&self, shares: u32) {
        let before = self.in_flight.fetch_sub(shares, Ordering::AcqRel);
        if before >= self.shared.config.limits.in_flight {
            self.wake.notify_one();
        }
    }

    /// Counts faults, and closes the connection when there are too many.
    fn charge(&self, points: u32) {
        let limit = self.shared.config.limits.fault_points;
        let before = self.points.fetch_add(points, Ordering::Relaxed);
        if before < limit && before.saturating_add(points) >= limit {
            let banned = self.shared.guard.strike(self.peer, self.shared.now());
            tracing::info!(peer = %self.peer, banned, "a miner is dropped for what it sent");
            self.close();
        }
    }

    /// Takes bytes of the miner's.
    fn hear(self: &Arc<Self>, lines: &mut Lines, bytes: &[u8]) {
        let now = self.shared.now();
        self.heard_at.store(now, Ordering::Relaxed);
        let mut call = Call {
            shared: &self.shared,
            conn: self,
            now,
            at_millis: super::unix_millis(),
            out: String::new(),
            shares: Vec::new(),
            points: 0,
        };
        let mut client = self.client.lock();
        let result = lines.push(bytes, |line| {
            if !self.is_closed() {
                client.line(line, &mut call);
            }
            if call.points > 0 {
                self.charge(std::mem::take(&mut call.points));
            }
        });
        let Call { mut out, mut shares, .. } = call;
        if let Err(error) = result {
            render::refusal(&mut out, &Id::Null, Reject::Other, &error.to_string());
        }
        self.send(out.as_bytes());
        drop(client);
        if result.is_err() {
            self.charge(super::guard::Fault::Malformed.points());
            self.close();
        }
        let count = u32::try_from(shares.len()).unwrap_or(u32::MAX);
        if count > 0 {
            self.in_flight.fetch_add(count, Ordering::AcqRel);
            self.shared.pipeline.push(&mut shares);
            for share in shares {
                self.shared.stats.rejected(Some(&share.worker), Reject::Other);
                self.refuse(&share.id, Reject::Other, "the pool has more shares to check than it can; try again soon");
            }
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.out.lock().closed
    }

    /// Whether something waits to be sent.
    pub(super) fn has_more(&self) -> bool {
        let out = self.out.lock();
        !out.closed && (!out.bytes.is_empty() || out.waits_since != 0)
    }

    /// Sends what waits, as much as the miner takes.
    fn flush(&self) {
        let Some(direct) = &self.direct else { return };
        let mut out = self.out.lock();
        match direct.try_write(&out.bytes) {
            Ok(written) if written >= out.bytes.len() => (out.bytes, out.waits_since) = (Vec::new(), 0),
            Ok(written) => {
                out.bytes.drain(..written);
                out.waits_since = self.shared.now();
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => out.closed = true,
        }
    }

    fn is_paused(&self) -> bool {
        self.shared.is_draining() || self.in_flight.load(Ordering::Acquire) >= self.shared.config.limits.in_flight
    }

    /// What time does to a connection; called every second.
    pub(super) fn tick(&self, now: u64) {
        let limits = &self.shared.config.limits;
        let over = |since: u64, limit| now.saturating_sub(since) > super::guard::millis(limit);
        let stalled = {
            let out = self.out.lock();
            out.waits_since != 0 && over(out.waits_since, limits.stall)
        };
        let mut client = self.client.lock();
        let late = !client.is_ready() && over(self.began_at, limits.handshake);
        if stalled || late || over(self.heard_at.load(Ordering::Relaxed), limits.idle) {
            drop(client);
            tracing::debug!(peer = %self.peer, stalled, late, "a silent connection is closed");
            return self.close();
        }
        let mut text = String::new();
        client.judge(&self.shared, now, &mut text);
        self.send(text.as_bytes());
    }

    /// Faults are forgotten by half; called every minute.
    pub(super) fn forgive(&self) {
        let half = |points: u32| Some(points >> 1);
        let _ = self.points.fetch_update(Ordering::Relaxed, Ordering::Relaxed, half);
    }

    /// Ends it.
    fn end(&self) {
        self.out.lock().closed = true;
        self.shared.registry.lock().remove(&self.number);
        if let Some(session) = self.client.lock().end(super::unix_millis()) {
            self.shared.sessions.end(session, self.proved.load(Ordering::Relaxed), self.shared.now());
        }
    }
}

/// Serves a connection without TLS until it ends.
pub(super) async fn serve_plain(shared: &Arc<Shared>, listen: &Listen, peer: IpAddr, stream: TcpStream) {
    let (mut read, write): (OwnedReadHalf, _) = stream.into_split();
    let conn = Conn::new(shared, listen, peer, Some(write));
    let mut lines = Lines::default();
    while !conn.is_closed() {
        let (paused, more) = (conn.is_paused(), conn.has_more());
        let Some(direct) = &conn.direct else { break };
        tokio::select! {
            open = hear_some(&mut read, &conn, &mut lines), if !paused => if !open { break },
            () = conn.wake.notified() => {}
            ready = direct.writable(), if more => if ready.is_ok() { conn.flush() } else { break },
        }
    }
    conn.end();
}

/// Serves a connection with TLS until it ends.
pub(super) async fn serve_tls<S>(shared: &Arc<Shared>, listen: &Listen, peer: IpAddr, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut read, mut write) = tokio::io::split(stream);
    let conn = Conn::new(shared, listen, peer, None);
    let mut lines = Lines::default();
    let (mut sending, mut sent, mut dirty) = (Vec::new(), 0usize, false);
    while !conn.is_closed() {
        if sending.is_empty() {
            (sending, sent) = (std::mem::take(&mut conn.out.lock().bytes), 0);
        }
        let (paused, more) = (conn.is_paused(), !sending.is_empty());
        tokio::select! {
            open = hear_some(&mut read, &conn, &mut lines), if !paused => if !open { break },
            () = conn.wake.notified() => {}
            pushed = push(&mut write, sending.get(sent..).unwrap_or_default()), if more || dirty => {
                let Ok(count) = pushed else { break };
                let mut out = conn.out.lock();
                if more {
                    (sent, dirty) = (sent.saturating_add(count), true);
                    out.waits_since = shared.now();
                } else {
                    dirty = false;
                    if out.bytes.is_empty() {
                        out.waits_since = 0;
                    }
                }
                if sent >= sending.len() {
                    sending = Vec::new();
                }
            }
        }
    }
    conn.end();
    let _ = tokio::time::timeout(std::time::Duration::from_secs(1), write.shutdown()).await;
}

/// Writes some of the bytes and returns how many; of none, sends what was written on its way.
async fn push(write: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> std::io::Result<usize> {
    if bytes.is_empty() {
        return write.flush().await.map(|()| 0);
    }
    match write.write(bytes).await? {
        0 => Err(std::io::ErrorKind::WriteZero.into()),
        count => Ok(count),
    }
}

/// Reads what there is, and takes it. Returns false at the end.
async fn hear_some(read: &mut (impl AsyncRead + Unpin), conn: &Arc<Conn>, lines: &mut Lines) -> bool {
    poll_fn(|context| {
        let mut bytes = [0; READ_BYTES];
        let mut buffer = ReadBuf::new(&mut bytes);
        match Pin::new(&mut *read).poll_read(context, &mut buffer) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                conn.hear(lines, buffer.filled());
                Poll::Ready(true)
            }
            Poll::Ready(_) => Poll::Ready(false),
        }
    })
    .await
}

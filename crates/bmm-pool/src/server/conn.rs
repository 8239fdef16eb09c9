//! One connection: what waits for it, what it may still do, and the task that serves it.

use super::{
    Shared,
    client::{Call, Client},
    guard::{Fault, GOOD_SHARE},
    session::Session,
    v2::Channels,
    work::Work,
};
use crate::{
    stratum::{Id, Lines, Reject, frames, render},
    validate::Reply,
};
use parking_lot::Mutex;
use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};
use tokio::{net::tcp::OwnedWriteHalf, sync::Notify};

#[derive(Debug, Default)]
struct Out {
    bytes: Vec<u8>,
    /// When the miner took something last, while something waits; else 0.
    waits_since: u64,
    closed: bool,
}

/// What is spoken on a connection.
#[derive(Debug)]
pub(super) enum Talk {
    V1(Client),
    V2(Channels),
}

impl Talk {
    fn is_ready(&self) -> bool {
        match self {
            Self::V1(client) => client.is_ready(),
            Self::V2(channels) => channels.is_ready(),
        }
    }

    fn hand(&mut self, work: &Arc<Work>, clean: bool) -> Vec<u8> {
        match self {
            Self::V1(client) => {
                let mut out = String::new();
                client.hand(work, clean, &mut out);
                out.into_bytes()
            }
            Self::V2(channels) => {
                let mut out = Vec::new();
                channels.hand(work, clean, &mut out);
                out
            }
        }
    }

    fn judge(&mut self, shared: &Shared, now: u64) -> Vec<u8> {
        match self {
            Self::V1(client) => {
                let mut out = String::new();
                client.judge(shared, now, &mut out);
                out.into_bytes()
            }
            Self::V2(channels) => {
                let mut out = Vec::new();
                channels.judge(shared, now, &mut out);
                out
            }
        }
    }

    /// Returns the sessions, and whether their miner can resume them.
    fn end(&mut self, at_millis: u64) -> (Vec<Session>, bool) {
        match self {
            Self::V1(client) => (client.end(at_millis).into_iter().collect(), true),
            Self::V2(channels) => (channels.end(at_millis), false),
        }
    }
}

/// A connection, as all see it that have something for it.
pub(crate) struct Conn {
    number: u64,
    pub(super) peer: IpAddr,
    shared: Arc<Shared>,
    /// To be written to by whoever has something, without waking the connection's task; not with TLS.
    pub(super) direct: Option<OwnedWriteHalf>,
    out: Mutex<Out>,
    pub(super) wake: Notify,
    pub(super) talk: Mutex<Talk>,
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
    pub(super) fn new(shared: &Arc<Shared>, talk: Talk, peer: IpAddr, direct: Option<OwnedWriteHalf>) -> Arc<Self> {
        let now = shared.now();
        let conn = Arc::new(Self {
            number: shared.next_number(),
            peer,
            shared: Arc::clone(shared),
            direct,
            out: Mutex::default(),
            wake: Notify::new(),
            talk: Mutex::new(talk),
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

    /// Gives a job.
    pub(super) fn hand(&self, work: &Arc<Work>, clean: bool) {
        let mut talk = self.talk.lock();
        let bytes = talk.hand(work, clean);
        self.send(&bytes);
    }

    /// Asks the miner to connect again.
    pub(super) fn ask_to_reconnect(&self) {
        match &*self.talk.lock() {
            Talk::V1(_) => self.send(render::RECONNECT.as_bytes()),
            Talk::V2(_) => {
                let mut out = Vec::new();
                frames::reconnect(&mut out);
                self.send(&out);
            }
        }
    }

    /// Shows a message, where the miner's software can.
    pub(super) fn show_message(&self, text: &str) {
        if let Talk::V1(_) = &*self.talk.lock() {
            let mut out = String::new();
            render::show_message(&mut out, text);
            self.send(out.as_bytes());
        }
    }

    /// Refuses a share that was being checked.
    pub fn refuse(&self, reply: &Reply, reject: Reject, why: &str) {
        match reply {
            Reply::Request(id) => {
                let mut out = String::new();
                render::refusal(&mut out, id, reject, why);
                self.send(out.as_bytes());
            }
            Reply::Channel { channel, sequence } => {
                let mut out = Vec::new();
                frames::share_refused(&mut out, *channel, *sequence, frames::share_code(reject));
                self.send(&out);
            }
        }
        if reject == Reject::LowDifficulty {
            self.charge(Fault::Share(reject).points());
        }
        self.landed(1);
    }

    /// Acknowledges shares that were being checked, each with the hashes that it takes.
    pub fn accept<'a>(&self, shares: impl Iterator<Item = (&'a Reply, u64)>) {
        let (mut lines, mut count) = (String::new(), 0u32);
        // Of each channel: its last share, how many, and their hashes.
        let mut channels: Vec<(u32, u32, u32, u64)> = Vec::new();
        for (reply, hashes) in shares {
            count = count.saturating_add(1);
            match reply {
                Reply::Request(id) => render::result(&mut lines, id, "true"),
                Reply::Channel { channel, sequence } => match channels.iter_mut().find(|(id, ..)| id == channel) {
                    Some((_, last, count, sum)) => {
                        (*last, *count, *sum) = (*sequence, count.saturating_add(1), sum.saturating_add(hashes));
                    }
                    None => channels.push((*channel, *sequence, 1, hashes)),
                },
            }
        }
        let mut bytes = lines.into_bytes();
        for (channel, last, count, sum) in channels {
            frames::shares_accepted(&mut bytes, channel, last, count, sum);
        }
        self.send(&bytes);
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

    /// Takes lines of the miner's.
    pub(super) fn hear(self: &Arc<Self>, lines: &mut Lines, bytes: &[u8]) {
        let result = self.converse(|talk, call| {
            let Talk::V1(client) = talk else { return Ok(()) };
            let result = lines.push(bytes, |line| {
                if call.points < self.shared.config.limits.fault_points {
                    client.line(line, call);
                }
            });
            if let Err(error) = result {
                render::refusal(&mut call.out, &Id::Null, Reject::Other, &error.to_string());
            }
            result
        });
        if result.is_err() {
            self.charge(Fault::Malformed.points());
            self.close();
        }
    }

    /// Lets the miner say something; what follows from it is sent and checked.
    pub(super) fn converse<R>(self: &Arc<Self>, say: impl FnOnce(&mut Talk, &mut Call) -> R) -> R {
        let now = self.shared.now();
        self.heard_at.store(now, Ordering::Relaxed);
        let mut call = Call {
            shared: &self.shared,
            conn: self,
            now,
            at_millis: super::unix_millis(),
            out: String::new(),
            bytes: Vec::new(),
            shares: Vec::new(),
            points: 0,
        };
        let mut talk = self.talk.lock();
        let result = say(&mut talk, &mut call);
        let Call { out, bytes, mut shares, points, .. } = call;
        self.send(out.as_bytes());
        self.send(&bytes);
        drop(talk);
        if points > 0 {
            self.charge(points);
        }
        let count = u32::try_from(shares.len()).unwrap_or(u32::MAX);
        if count > 0 {
            self.in_flight.fetch_add(count, Ordering::AcqRel);
            self.shared.pipeline.push(&mut shares);
            for share in shares {
                self.shared.stats.rejected(Some(&share.worker), Reject::Other);
                let why = "the pool has more shares to check than it can; try again soon";
                self.refuse(&share.reply, Reject::Other, why);
            }
        }
        result
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
    pub(super) fn flush(&self) {
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

    /// Takes out what waits.
    pub(super) fn take_waiting(&self) -> Vec<u8> {
        std::mem::take(&mut self.out.lock().bytes)
    }

    /// Notes that the miner took something of what had been taken out; `all` if that was all.
    pub(super) fn took(&self, all: bool) {
        let mut out = self.out.lock();
        out.waits_since = if all && out.bytes.is_empty() { 0 } else { self.shared.now() };
    }

    pub(super) fn is_paused(&self) -> bool {
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
        let mut talk = self.talk.lock();
        let late = !talk.is_ready() && over(self.began_at, limits.handshake);
        if stalled || late || over(self.heard_at.load(Ordering::Relaxed), limits.idle) {
            drop(talk);
            tracing::debug!(peer = %self.peer, stalled, late, "a silent connection is closed");
            return self.close();
        }
        let bytes = talk.judge(&self.shared, now);
        self.send(&bytes);
    }

    /// Faults are forgotten by half; called every minute.
    pub(super) fn forgive(&self) {
        let half = |points: u32| Some(points >> 1);
        let _ = self.points.fetch_update(Ordering::Relaxed, Ordering::Relaxed, half);
    }

    /// Ends it.
    pub(super) fn end(&self) {
        self.out.lock().closed = true;
        self.shared.registry.lock().remove(&self.number);
        let (sessions, resumable) = self.talk.lock().end(super::unix_millis());
        let resumable = resumable && self.proved.load(Ordering::Relaxed);
        for session in sessions {
            self.shared.sessions.end(session, resumable, self.shared.now());
        }
    }
}

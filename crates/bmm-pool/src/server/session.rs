//! What a miner was given and has sent: all that it can go on with after it lost its connection.

use super::{Shared, config::ServerLimits, work::Work};
use crate::{
    difficulty::{Limits, ShareDifficulty},
    job::{EXTRANONCE1_LEN, EXTRANONCE2_LEN},
    stratum::{Reject, render},
    vardiff::Vardiff,
};
use alloy_primitives::{B256, map::HashSet};
use bmm_pow::auxpow::MAGIC;
use bmm_types::seal::PARENT_HEADER_LEN;
use parking_lot::Mutex;
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

/// Jobs of which shares are taken, where no newer one made them worthless: at a job every 10 s, two minutes.
const MAX_HANDED: usize = 12;
/// Versions in which a job is handed out to one miner, each at a difficulty of its own.
const VARIATIONS: u8 = 4;
/// Where the variation stands in a header's version: bits 11 and 12, below those that miners may roll and above the mark of merged mining.
const VARIATION_SHIFT: u32 = 11;

/// A job as it was handed out. The difficulty belongs to it for good, and no other handing out has the same headers, so a share can be
/// sent at one difficulty only.
#[derive(Debug)]
pub(super) struct Handed {
    pub work: Arc<Work>,
    variation: u8,
    /// Counts what a session was given, from 1.
    pub serial: u32,
    pub difficulty: ShareDifficulty,
    /// Digests of the shares that came.
    seen: HashSet<u64>,
}

/// Whether a share is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    New,
    Before,
    TooMany,
}

impl Handed {
    /// Version of its headers.
    pub fn version(&self) -> u32 {
        self.work.job.version ^ (u32::from(self.variation) << VARIATION_SHIFT)
    }

    fn id(&self) -> String {
        format!("{:x}{:x}", self.work.job.number, self.variation)
    }

    /// Notes a share by its digest.
    fn note(&mut self, digest: u64, limits: &ServerLimits) -> Seen {
        if self.seen.contains(&digest) {
            Seen::Before
        } else if self.seen.len() >= limits.shares_per_job {
            Seen::TooMany
        } else {
            self.seen.insert(digest);
            Seen::New
        }
    }
}

/// What a miner says it found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub extranonce2: [u8; EXTRANONCE2_LEN],
    pub time: u32,
    pub nonce: u32,
    pub version: u32,
}

/// Why a share is refused at once.
pub(super) type Refused = (Reject, &'static str);

/// What is left to check of a share.
#[derive(Debug)]
pub(super) struct Checked {
    pub work: Arc<Work>,
    pub difficulty: ShareDifficulty,
    pub header: [u8; PARENT_HEADER_LEN],
}

impl Handed {
    /// Checks a claim on this job but for its hash; `mask` are the bits of the version that the miner may roll.
    pub fn check(
        &mut self,
        claim: &Claim,
        extranonce1: [u8; EXTRANONCE1_LEN],
        mask: u32,
        shared: &Shared,
    ) -> Result<Checked, Refused> {
        let job = &self.work.job;
        if !shared.works.is_valid(job.number) {
            return Err((Reject::Stale, "the job is over"));
        }
        if claim.time < job.time || claim.time > job.time.saturating_add(shared.max_ahead) {
            return Err((Reject::Other, "the time is before the job's, or too far after it"));
        }
        if (claim.version ^ self.version()) & !mask != 0 {
            return Err((Reject::Other, "the bits of the version are not those that may be rolled"));
        }
        // A proof with the mark of merged mining in it twice is no proof.
        let both = [&extranonce1[..], &claim.extranonce2].concat();
        if both.windows(MAGIC.len()).any(|window| window == MAGIC) {
            return Err((Reject::Other, "the extra nonces hold the mark of merged mining, fabe6d6d"));
        }
        let coinbase = job.coinbase(extranonce1, claim.extranonce2);
        let header = job.header(&coinbase, claim.version, claim.time, claim.nonce);
        let digest = shared.digest(&(claim.extranonce2, claim.time, claim.nonce, claim.version));
        match self.note(digest, &shared.config.limits) {
            Seen::New => {}
            Seen::Before => return Err((Reject::Duplicate, "the share was sent before")),
            Seen::TooMany => {
                return Err((Reject::Other, "there were too many shares on this job; wait for the next one"));
            }
        }
        Ok(Checked { work: Arc::clone(&self.work), difficulty: self.difficulty, header })
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Session {
    /// By which the miner asks for it. It cannot be guessed.
    pub id: u64,
    /// No other session has it.
    pub extranonce1: [u8; EXTRANONCE1_LEN],
    /// The oldest first.
    handed: VecDeque<Handed>,
    last_serial: u32,
    /// For jobs that are handed out from now on.
    pub difficulty: ShareDifficulty,
    pub vardiff: Vardiff,
}

impl Session {
    /// Finds a job by the id that Stratum V1 has for it.
    pub fn find(&mut self, id: &str) -> Option<&mut Handed> {
        let (number, variation) = id.split_at_checked(id.len().checked_sub(1)?)?;
        let number = u64::from_str_radix(number, 16).ok()?;
        let variation = u8::from_str_radix(variation, 16).ok()?;
        self.handed.iter_mut().rev().find(|handed| handed.work.job.number == number && handed.variation == variation)
    }

    /// Finds a job by its number in this session.
    pub fn find_serial(&mut self, serial: u32) -> Option<&mut Handed> {
        self.handed.iter_mut().rev().find(|handed| handed.serial == serial)
    }

    /// Hands out a job over Stratum V1, at the difficulty that holds now; `announced` is the one that the miner knows.
    pub fn hand(&mut self, work: &Arc<Work>, clean: bool, announced: &mut Option<ShareDifficulty>, out: &mut String) {
        let Some(handed) = self.give(work, clean) else { return };
        if *announced != Some(handed.difficulty) {
            *announced = Some(handed.difficulty);
            render::set_difficulty(out, handed.difficulty);
        }
        work.notice.render(out, &handed.id(), handed.version(), clean);
    }

    /// Notes that a job is handed out, at the difficulty that holds now. `None` if it was handed out in all variations.
    pub fn give(&mut self, work: &Arc<Work>, clean: bool) -> Option<&Handed> {
        if clean {
            self.handed.retain(|handed| handed.work.job.number == work.job.number);
        }
        let last = self.handed.back().filter(|last| last.work.job.number == work.job.number);
        let variation = last.map_or(0, |last| last.variation.saturating_add(1));
        if variation >= VARIATIONS {
            return None;
        }
        if self.handed.len() >= MAX_HANDED {
            self.handed.pop_front();
        }
        self.last_serial = self.last_serial.wrapping_add(1);
        self.handed.push_back(Handed {
            work: Arc::clone(work),
            variation,
            serial: self.last_serial,
            difficulty: self.difficulty,
            seen: HashSet::default(),
        });
        self.handed.back()
    }

    /// Tells a resumed miner again what it can work on: its last job, under the id that it knows. False if there is none.
    pub fn tell_again(&self, current: u64, announced: &mut Option<ShareDifficulty>, out: &mut String) -> bool {
        let Some(last) = self.handed.back().filter(|last| last.work.job.number == current) else { return false };
        *announced = Some(last.difficulty);
        render::set_difficulty(out, last.difficulty);
        last.work.notice.render(out, &last.id(), last.version(), true);
        true
    }

    /// Lets vardiff judge. Returns whether the difficulty changed.
    pub fn judge(&mut self, now: u64, limits: &Limits) -> bool {
        match self.vardiff.judge(now, self.difficulty, limits) {
            Some(difficulty) => {
                self.difficulty = difficulty;
                true
            }
            None => false,
        }
    }
}

#[derive(Debug)]
struct Parked {
    session: Session,
    until: u64,
}

#[derive(Debug, Default)]
struct Known {
    /// Of sessions with a connection, and of parked ones.
    extranonces: HashSet<[u8; EXTRANONCE1_LEN]>,
    /// Connections by their session.
    live: HashMap<u64, u64>,
    parked: HashMap<u64, Parked>,
}

/// The sessions of a server. Times are in milliseconds of any one clock.
#[derive(Debug)]
pub(super) struct Sessions {
    /// Most that wait for their miner to return.
    max_parked: usize,
    resume_millis: u64,
    known: Mutex<Known>,
}

impl Sessions {
    pub fn new(max_parked: usize, resume_millis: u64) -> Self {
        Self { max_parked, resume_millis, known: Mutex::default() }
    }

    /// Begins a session for a connection.
    pub fn begin(&self, connection: u64, difficulty: ShareDifficulty, vardiff: Vardiff) -> Session {
        let mut known = self.known.lock();
        loop {
            let random = B256::random().0;
            let (Some(extranonce1), Some(id)) = (random.first_chunk(), random.last_chunk()) else { continue };
            let id = u64::from_le_bytes(*id);
            if !known.live.contains_key(&id)
                && !known.parked.contains_key(&id)
                && known.extranonces.insert(*extranonce1)
            {
                known.live.insert(id, connection);
                return Session {
                    id,
                    extranonce1: *extranonce1,
                    handed: VecDeque::new(),
                    last_serial: 0,
                    difficulty,
                    vardiff,
                };
            }
        }
    }

    /// Takes a session that waits for its miner, for a connection.
    pub fn resume(&self, id: u64, connection: u64, now: u64) -> Option<Session> {
        let mut known = self.known.lock();
        let parked = known.parked.remove(&id)?;
        if now >= parked.until {
            known.extranonces.remove(&parked.session.extranonce1);
            return None;
        }
        known.live.insert(id, connection);
        Some(parked.session)
    }

    /// Returns the connection that has a session.
    pub fn connection(&self, id: u64) -> Option<u64> {
        self.known.lock().live.get(&id).copied()
    }

    /// Gives a session of one connection to another.
    pub fn moved(&self, id: u64, connection: u64) {
        self.known.lock().live.insert(id, connection);
    }

    /// Ends the session of a connection; `resumable` ones wait for their miner, where there is room.
    pub fn end(&self, session: Session, resumable: bool, now: u64) {
        let mut known = self.known.lock();
        known.live.remove(&session.id);
        if resumable && known.parked.len() < self.max_parked {
            let until = now.saturating_add(self.resume_millis);
            known.parked.insert(session.id, Parked { session, until });
        } else {
            known.extranonces.remove(&session.extranonce1);
        }
    }

    /// Forgets those that waited long enough.
    pub fn sweep(&self, now: u64) {
        let Known { extranonces, parked, .. } = &mut *self.known.lock();
        parked.retain(|_, entry| {
            let waits = now < entry.until;
            if !waits {
                extranonces.remove(&entry.session.extranonce1);
            }
            waits
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(sessions: &Sessions, connection: u64) -> Session {
        sessions.begin(connection, ShareDifficulty::whole(1), Vardiff::new(17, 0))
    }

    #[test]
    fn sessions_wait_for_their_miner_and_no_longer() {
        let sessions = Sessions::new(1, 1_000);
        let (a, b, c) = (begin(&sessions, 1), begin(&sessions, 2), begin(&sessions, 3));
        assert_eq!(sessions.known.lock().extranonces.len(), 3);
        let (id_a, id_b, id_c, nonce) = (a.id, b.id, c.id, a.extranonce1);
        sessions.end(c, false, 0);
        sessions.end(a, true, 0);
        sessions.end(b, true, 0);
        assert!(sessions.resume(id_c, 4, 1).is_none() && sessions.resume(id_b, 4, 1).is_none(), "no room for a second");
        let again = sessions.resume(id_a, 4, 999).expect("it waits");
        assert_eq!((again.extranonce1, sessions.connection(id_a)), (nonce, Some(4)));
        assert!(sessions.resume(id_a, 5, 999).is_none(), "it is in use");
        sessions.end(again, true, 1_000);
        assert!(sessions.resume(id_a, 5, 2_000).is_none(), "too late");
        assert!(sessions.known.lock().extranonces.is_empty());
    }

    #[test]
    fn what_waited_too_long_is_forgotten() {
        let sessions = Sessions::new(8, 1_000);
        let session = begin(&sessions, 1);
        sessions.end(session, true, 0);
        sessions.sweep(999);
        assert_eq!(sessions.known.lock().parked.len(), 1);
        sessions.sweep(1_000);
        let known = sessions.known.lock();
        assert!(known.parked.is_empty() && known.extranonces.is_empty() && known.live.is_empty());
    }
}

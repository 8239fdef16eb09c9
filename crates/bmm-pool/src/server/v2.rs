//! Stratum V2: what a connection of channels says and is told. No socket and no cipher: frames in, frames out.

use super::{
    Shared,
    client::{Call, VERSION_MASK},
    guard::Fault,
    session::{Checked, Claim, Handed, Refused, Session},
    stats::Worker,
    work::Work,
};
use crate::{
    difficulty::{Limits, ShareDifficulty},
    stratum::{Reject, User, frames},
    validate::{Pending, Reply},
    vardiff::Vardiff,
};
use alloy_primitives::U256;
use bmm_pow::{
    auxpow::merkle::{fold, sha256d},
    difficulty::Target,
};
use std::sync::Arc;
use stratum_core::{
    binary_sv2::from_bytes,
    common_messages_sv2::{
        ERROR_CODE_SETUP_CONNECTION_PROTOCOL_VERSION_MISMATCH, ERROR_CODE_SETUP_CONNECTION_UNSUPPORTED_FEATURE_FLAGS,
        ERROR_CODE_SETUP_CONNECTION_UNSUPPORTED_PROTOCOL, MESSAGE_TYPE_SETUP_CONNECTION, Protocol, SetupConnection,
    },
    mining_sv2::{
        CloseChannel, ERROR_CODE_OPEN_MINING_CHANNEL_CHANNEL_CAPACITY_EXHAUSTED,
        ERROR_CODE_OPEN_MINING_CHANNEL_MAX_TARGET_OUT_OF_RANGE, ERROR_CODE_OPEN_MINING_CHANNEL_UNKNOWN_USER,
        ERROR_CODE_OPEN_MINING_CHANNEL_UNSUPPORTED_MIN_EXTRANONCE_SIZE, ERROR_CODE_SUBMIT_SHARES_BAD_EXTRANONCE_SIZE,
        ERROR_CODE_SUBMIT_SHARES_INVALID_CHANNEL_ID, ERROR_CODE_UPDATE_CHANNEL_INVALID_CHANNEL_ID,
        MESSAGE_TYPE_CLOSE_CHANNEL, MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL,
        MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL, MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED,
        MESSAGE_TYPE_SUBMIT_SHARES_STANDARD, MESSAGE_TYPE_UPDATE_CHANNEL, OpenExtendedMiningChannel,
        OpenStandardMiningChannel, SubmitSharesExtended, SubmitSharesStandard, UpdateChannel,
    },
};

/// The version of the protocol.
const VERSION: u16 = 2;
/// `REQUIRES_WORK_SELECTION`: miners that make their own jobs.
const WORK_SELECTION: u32 = 0b10;
/// Second extra nonce of a channel whose miner chooses none.
const NO_EXTRANONCE: [u8; 8] = [0; 8];

/// A channel: one worker's shares.
#[derive(Debug)]
struct Channel {
    id: u32,
    is_extended: bool,
    session: Session,
    worker: Arc<Worker>,
    /// By the miner: not below this.
    floor: ShareDifficulty,
    /// The last that it was told.
    announced: ShareDifficulty,
    /// Job whose previous block and bits it knows.
    based_on: Option<Arc<Work>>,
}

/// A connection's channels.
#[derive(Debug)]
pub(super) struct Channels {
    start: ShareDifficulty,
    is_set_up: bool,
    agent: Arc<str>,
    open: Vec<Channel>,
    last_id: u32,
}

/// What both ways of opening a channel say.
struct Opening<'a> {
    request: u32,
    user: &'a [u8],
    hash_rate: f32,
    max_target: &'a [u8],
    extranonce: Option<u16>,
}

impl Channels {
    pub fn new(start: ShareDifficulty) -> Self {
        Self { start, is_set_up: false, agent: Arc::from(""), open: Vec::new(), last_id: 0 }
    }

    pub fn is_ready(&self) -> bool {
        !self.open.is_empty()
    }

    /// Takes a frame.
    pub fn frame(&mut self, kind: u8, payload: &mut [u8], call: &mut Call) {
        let known = match kind {
            MESSAGE_TYPE_SETUP_CONNECTION => from_bytes(payload).map(|message| self.set_up(&message, call)),
            _ if !self.is_set_up => return call.fault(Fault::Malformed),
            MESSAGE_TYPE_SUBMIT_SHARES_STANDARD => from_bytes(payload).map(|message| self.standard(&message, call)),
            MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED => from_bytes(payload).map(|message| self.extended(&message, call)),
            MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL => {
                from_bytes(payload).map(|message: OpenStandardMiningChannel| {
                    let OpenStandardMiningChannel { request_id, user_identity, nominal_hash_rate, max_target } =
                        &message;
                    let (user, max_target) = (user_identity.as_bytes(), max_target.as_bytes());
                    let (request, hash_rate) = (*request_id, *nominal_hash_rate);
                    self.open(&Opening { request, user, hash_rate, max_target, extranonce: None }, call);
                })
            }
            MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL => {
                from_bytes(payload).map(|message: OpenExtendedMiningChannel| {
                    let opening = Opening {
                        request: message.request_id,
                        user: message.user_identity.as_bytes(),
                        hash_rate: message.nominal_hash_rate,
                        max_target: message.max_target.as_bytes(),
                        extranonce: Some(message.min_extranonce_size),
                    };
                    self.open(&opening, call);
                })
            }
            MESSAGE_TYPE_UPDATE_CHANNEL => from_bytes(payload).map(|message| self.update(&message, call)),
            MESSAGE_TYPE_CLOSE_CHANNEL => from_bytes(payload).map(|message| self.close(&message, call)),
            _ => return call.fault(Fault::Method),
        };
        if known.is_err() {
            call.fault(Fault::Malformed);
        }
    }

    fn set_up(&mut self, message: &SetupConnection, call: &mut Call) {
        let wrong = if !matches!(message.protocol, Protocol::MiningProtocol) {
            Some(ERROR_CODE_SETUP_CONNECTION_UNSUPPORTED_PROTOCOL)
        } else if message.min_version > VERSION || message.max_version < VERSION {
            Some(ERROR_CODE_SETUP_CONNECTION_PROTOCOL_VERSION_MISMATCH)
        } else if message.flags & WORK_SELECTION != 0 {
            Some(ERROR_CODE_SETUP_CONNECTION_UNSUPPORTED_FEATURE_FLAGS)
        } else {
            None
        };
        if let Some(code) = wrong {
            call.fault(Fault::Malformed);
            return frames::setup_refused(&mut call.bytes, message.flags & WORK_SELECTION, code);
        }
        let names = [message.vendor.as_bytes(), b"/", message.firmware.as_bytes()].concat();
        let visible = names.iter().copied().filter(u8::is_ascii_graphic).take(super::client::MAX_AGENT_BYTES);
        self.agent = visible.map(char::from).collect::<String>().into();
        self.is_set_up = true;
        frames::set_up(&mut call.bytes, VERSION);
    }

    fn open(&mut self, opening: &Opening, call: &mut Call) {
        if let Err(code) = self.try_open(opening, call) {
            call.fault(Fault::Worker);
            frames::open_refused(&mut call.bytes, opening.request, code);
        }
    }

    fn try_open(&mut self, opening: &Opening, call: &mut Call) -> Result<(), &'static str> {
        let limits = &call.shared.config.limits;
        if self.open.len() >= limits.workers_per_connection {
            return Err(ERROR_CODE_OPEN_MINING_CHANNEL_CHANNEL_CAPACITY_EXHAUSTED);
        }
        if opening.extranonce.is_some_and(|least| usize::from(least) > NO_EXTRANONCE.len()) {
            return Err(ERROR_CODE_OPEN_MINING_CHANNEL_UNSUPPORTED_MIN_EXTRANONCE_SIZE);
        }
        let bounds = call.shared.config.difficulty.limits;
        let floor = least_for(opening.max_target)
            .filter(|floor| *floor <= bounds.greatest)
            .ok_or(ERROR_CODE_OPEN_MINING_CHANNEL_MAX_TARGET_OUT_OF_RANGE)?;
        let user = std::str::from_utf8(opening.user).ok().and_then(|name| User::parse(name).ok());
        let user = user.ok_or(ERROR_CODE_OPEN_MINING_CHANNEL_UNKNOWN_USER)?;
        let worker = call.shared.stats.enter(user.account, &user.worker, call.at_millis);
        let worker = worker.ok_or(ERROR_CODE_OPEN_MINING_CHANNEL_CHANNEL_CAPACITY_EXHAUSTED)?;
        worker.has_agent(&self.agent);

        let work = call.shared.works.current();
        let per_minute = call.shared.config.difficulty.shares_per_minute;
        let usual = by_hash_rate(opening.hash_rate, per_minute).unwrap_or(self.start).min(work.easiest);
        let difficulty = usual.within(&Limits { least: floor.within(&bounds), ..bounds });
        let vardiff = Vardiff::new(per_minute, call.now);
        let session = call.shared.sessions.begin(call.conn.number(), difficulty, vardiff);
        self.last_id = self.last_id.wrapping_add(1);
        let mut channel = Channel {
            id: self.last_id,
            is_extended: opening.extranonce.is_some(),
            session,
            worker,
            floor,
            announced: difficulty,
            based_on: None,
        };
        channel.worker.has_difficulty(difficulty);
        let (prefix, target) = (channel.session.extranonce1, difficulty.target());
        if channel.is_extended {
            frames::opened_extended(&mut call.bytes, opening.request, channel.id, target, &prefix);
        } else {
            let whole = [&prefix[..], &NO_EXTRANONCE].concat();
            frames::opened_standard(&mut call.bytes, opening.request, channel.id, target, &whole);
        }
        channel.hand(&work, true, &mut call.bytes);
        self.open.push(channel);
        Ok(())
    }

    fn update(&mut self, message: &UpdateChannel, call: &mut Call) {
        let Some(channel) = self.open.iter_mut().find(|channel| channel.id == message.channel_id) else {
            let code = ERROR_CODE_UPDATE_CHANNEL_INVALID_CHANNEL_ID;
            return frames::update_refused(&mut call.bytes, message.channel_id, code);
        };
        if let Some(floor) = least_for(message.maximum_target.as_bytes()) {
            channel.floor = floor;
        }
        let per_minute = call.shared.config.difficulty.shares_per_minute;
        let usual = by_hash_rate(message.nominal_hash_rate, per_minute).unwrap_or(channel.session.difficulty);
        channel.session.difficulty = usual.within(&channel.limits(call.shared));
        channel.session.vardiff.restart(call.now);
        channel.hand(&call.shared.works.current(), false, &mut call.bytes);
    }

    fn close(&mut self, message: &CloseChannel, call: &Call) {
        if let Some(place) = self.open.iter().position(|channel| channel.id == message.channel_id) {
            let channel = self.open.swap_remove(place);
            channel.worker.left(call.at_millis);
            call.shared.sessions.end(channel.session, false, call.now);
        }
    }

    fn standard(&mut self, message: &SubmitSharesStandard, call: &mut Call) {
        let SubmitSharesStandard { channel_id, sequence_number, job_id, nonce, ntime, version } = *message;
        let claim = Claim { extranonce2: NO_EXTRANONCE, time: ntime, nonce, version };
        self.share((channel_id, sequence_number, job_id), &claim, false, call);
    }

    fn extended(&mut self, message: &SubmitSharesExtended, call: &mut Call) {
        let share = (message.channel_id, message.sequence_number, message.job_id);
        let Ok(extranonce2) = message.extranonce.as_bytes().try_into() else {
            call.fault(Fault::Share(Reject::Other));
            let code = ERROR_CODE_SUBMIT_SHARES_BAD_EXTRANONCE_SIZE;
            return frames::share_refused(&mut call.bytes, share.0, share.1, code);
        };
        let claim = Claim { extranonce2, time: message.ntime, nonce: message.nonce, version: message.version };
        self.share(share, &claim, true, call);
    }

    fn share(&mut self, (id, sequence, job): (u32, u32, u32), claim: &Claim, extended: bool, call: &mut Call) {
        let found = self.open.iter_mut().find(|channel| channel.id == id && channel.is_extended == extended);
        let Some(channel) = found else {
            call.fault(Fault::Share(Reject::NotSubscribed));
            call.shared.stats.rejected(None, Reject::NotSubscribed);
            return frames::share_refused(&mut call.bytes, id, sequence, ERROR_CODE_SUBMIT_SHARES_INVALID_CHANNEL_ID);
        };
        match channel.check(job, claim, call.shared) {
            Ok(Checked { work, difficulty, header }) => {
                let hashes = difficulty.hashes();
                channel.session.vardiff.count(hashes);
                call.shares.push(Pending {
                    header,
                    target: difficulty.target(),
                    hashes,
                    at_millis: call.at_millis,
                    work,
                    extranonce1: channel.session.extranonce1,
                    extranonce2: claim.extranonce2,
                    worker: Arc::clone(&channel.worker),
                    conn: Arc::clone(call.conn),
                    reply: Reply::Channel { channel: id, sequence },
                });
                channel.judge(call.shared, call.now, &mut call.bytes);
            }
            Err((reject, _)) => {
                call.shared.stats.rejected(Some(&channel.worker), reject);
                call.share_fault(reject);
                frames::share_refused(&mut call.bytes, id, sequence, frames::share_code(reject));
            }
        }
    }

    /// Gives a job to all channels.
    pub fn hand(&mut self, work: &Arc<Work>, clean: bool, out: &mut Vec<u8>) {
        for channel in &mut self.open {
            channel.hand(work, clean, out);
        }
    }

    /// Lets vardiff judge.
    pub fn judge(&mut self, shared: &Shared, now: u64, out: &mut Vec<u8>) {
        for channel in &mut self.open {
            channel.judge(shared, now, out);
        }
    }

    /// Ends the connection, and returns the channels' sessions.
    pub fn end(&mut self, at_millis: u64) -> Vec<Session> {
        let end = |channel: Channel| {
            channel.worker.left(at_millis);
            channel.session
        };
        self.open.drain(..).map(end).collect()
    }
}

impl Channel {
    fn limits(&self, shared: &Shared) -> Limits {
        let limits = shared.config.difficulty.limits;
        Limits { least: self.floor.within(&limits), ..limits }
    }

    fn check(&mut self, job: u32, claim: &Claim, shared: &Shared) -> Result<Checked, Refused> {
        let extranonce1 = self.session.extranonce1;
        let handed = self.session.find_serial(job).ok_or((Reject::Stale, "the job is over, or was never given"))?;
        handed.check(claim, extranonce1, VERSION_MASK, shared)
    }

    fn judge(&mut self, shared: &Shared, now: u64, out: &mut Vec<u8>) {
        let limits = self.limits(shared);
        if self.session.judge(now, &limits) {
            self.hand(&shared.works.current(), false, out);
        }
    }

    /// Tells of a job. Where the block before it is another one, or earlier work is worth nothing any more, the job is told first, for the
    /// future, and then the block.
    fn hand(&mut self, work: &Arc<Work>, clean: bool, out: &mut Vec<u8>) {
        let (job, extranonce1) = (&work.job, self.session.extranonce1);
        let Some(handed) = self.session.give(work, clean) else { return };
        if handed.difficulty != self.announced {
            self.announced = handed.difficulty;
            self.worker.has_difficulty(handed.difficulty);
            frames::set_target(out, self.id, handed.difficulty.target());
        }
        let is_same = |last: &Arc<Work>| last.job.previous == job.previous && last.job.bits == job.bits;
        let fresh = clean || !self.based_on.as_ref().is_some_and(is_same);
        let time = (!fresh).then_some(job.time);
        let Handed { serial, .. } = *handed;
        if self.is_extended {
            frames::extended_job(out, self.id, serial, time, handed.version(), job);
        } else {
            let root = fold(sha256d(&job.coinbase(extranonce1, NO_EXTRANONCE)), &job.branch, 0);
            frames::standard_job(out, self.id, serial, time, handed.version(), root);
        }
        if fresh {
            frames::set_new_prev_hash(out, self.id, serial, job);
            self.based_on = Some(Arc::clone(work));
        }
    }
}

/// The least difficulty whose target is not above `max_target`, a little-endian number; none for zero.
fn least_for(max_target: &[u8]) -> Option<ShareDifficulty> {
    let max_target = U256::from_le_bytes::<32>(max_target.try_into().ok()?);
    let hashes = Target::new(max_target)?.difficulty().get();
    let parts = u64::try_from(hashes).unwrap_or(u64::MAX);
    let least = ShareDifficulty::parts(parts);
    // A part is a little more than a hash; but the hashes are rounded down, so that one more may be needed.
    let is_hard = least.target().get() <= max_target;
    Some(if is_hard { least } else { ShareDifficulty::parts(parts.saturating_add(1)) })
}

/// The difficulty at which so many hashes a second are `per_minute` shares.
fn by_hash_rate(hash_rate: f32, per_minute: u32) -> Option<ShareDifficulty> {
    let hashes = f64::from(hash_rate) * 60.0 / f64::from(per_minute.max(1));
    ShareDifficulty::nearest(hashes / 65_536.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_share_is_never_easier_than_the_miner_asks(bytes in any::<[u8; 32]>(), shift in 0usize..248) {
            let asked = U256::from_le_bytes(bytes) >> shift;
            if let Some(difficulty) = least_for(&asked.to_le_bytes::<32>()) {
                prop_assert!(difficulty == ShareDifficulty::GREATEST || difficulty.target().get() <= asked);
            } else {
                prop_assert_eq!(asked, U256::ZERO);
            }
        }
    }

    #[test]
    fn a_hash_rate_is_a_difficulty() {
        assert_eq!(by_hash_rate(65_536.0 * 17.0 / 60.0, 17), Some(ShareDifficulty::whole(1)));
        assert_eq!([by_hash_rate(0.0, 17), by_hash_rate(f32::NAN, 17), by_hash_rate(-1.0, 17)], [None; 3]);
        assert_eq!(by_hash_rate(f32::MAX, 17), Some(ShareDifficulty::GREATEST));
    }
}

//! Writes the messages of Stratum V2, each in its frame. Numbers of more than 8 bits have their lowest byte first.

use super::Reject;
use crate::{job::EXTRANONCE2_LEN, job::Job};
use alloy_primitives::B256;
use bmm_pow::difficulty::Target;
use stratum_core::{
    binary_sv2::{B032, B064K, GetSize, Seq0255, Serialize, Str0255, Sv2Option, U256},
    common_messages_sv2::{
        MESSAGE_TYPE_RECONNECT, MESSAGE_TYPE_SETUP_CONNECTION_ERROR, MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS, Reconnect,
        SetupConnectionError, SetupConnectionSuccess,
    },
    framing_sv2::framing::{EncodableFrame, MessageFrame},
    mining_sv2::{
        ERROR_CODE_SUBMIT_SHARES_DIFFICULTY_TOO_LOW, ERROR_CODE_SUBMIT_SHARES_DUPLICATE_SHARE,
        ERROR_CODE_SUBMIT_SHARES_INVALID_SHARE, ERROR_CODE_SUBMIT_SHARES_STALE_SHARE,
        MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH, MESSAGE_TYPE_NEW_EXTENDED_MINING_JOB, MESSAGE_TYPE_NEW_MINING_JOB,
        MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL_SUCCESS, MESSAGE_TYPE_OPEN_MINING_CHANNEL_ERROR,
        MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL_SUCCESS, MESSAGE_TYPE_SET_TARGET, MESSAGE_TYPE_SUBMIT_SHARES_ERROR,
        MESSAGE_TYPE_SUBMIT_SHARES_SUCCESS, MESSAGE_TYPE_UPDATE_CHANNEL_ERROR, NewExtendedMiningJob, NewMiningJob,
        OpenExtendedMiningChannelSuccess, OpenMiningChannelError, OpenStandardMiningChannelSuccess, SetNewPrevHash,
        SetTarget, SubmitSharesError, SubmitSharesSuccess, UpdateChannelError,
    },
};

/// Channels are told of jobs one by one; nothing is sent to the group, and no channel has its number.
const GROUP: u32 = 0;
/// Why the messages of this module always fit: every field is far below its bound.
const FITS: &str = "the field is within its bound";

fn put<T: Serialize + GetSize>(out: &mut Vec<u8>, kind: u8, of_channel: bool, message: T) {
    let frame = MessageFrame::from_message(message, kind, 0, of_channel).expect("the message is below 16 MiB");
    let begin = out.len();
    out.resize(begin.saturating_add(frame.encoded_length()), 0);
    let place = out.get_mut(begin..).unwrap_or_default();
    frame.encode_into(place).expect("the place is as long as the frame");
}

fn text(text: &str) -> Str0255<'_> {
    text.try_into().expect(FITS)
}

fn number(bytes: &[u8; 32]) -> U256<'_> {
    U256::try_from(&bytes[..]).expect("32 bytes")
}

/// `SetupConnection.Success`
pub fn set_up(out: &mut Vec<u8>, used_version: u16) {
    let message = SetupConnectionSuccess { used_version, flags: 0 };
    put(out, MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS, false, message);
}

/// `SetupConnection.Error`
pub fn setup_refused(out: &mut Vec<u8>, flags: u32, code: &str) {
    let message = SetupConnectionError { flags, error_code: text(code) };
    put(out, MESSAGE_TYPE_SETUP_CONNECTION_ERROR, false, message);
}

/// `OpenMiningChannel.Error`
pub fn open_refused(out: &mut Vec<u8>, request_id: u32, code: &str) {
    let message = OpenMiningChannelError { request_id, error_code: text(code) };
    put(out, MESSAGE_TYPE_OPEN_MINING_CHANNEL_ERROR, false, message);
}

/// `OpenStandardMiningChannel.Success`; `prefix` is all of the extra nonce.
pub fn opened_standard(out: &mut Vec<u8>, request_id: u32, channel_id: u32, target: Target, prefix: &[u8]) {
    let target = target.get().to_le_bytes();
    let message = OpenStandardMiningChannelSuccess {
        request_id,
        channel_id,
        target: number(&target),
        extranonce_prefix: B032::try_from(prefix).expect(FITS),
        group_channel_id: GROUP,
    };
    put(out, MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL_SUCCESS, false, message);
}

/// `OpenExtendedMiningChannel.Success`
pub fn opened_extended(out: &mut Vec<u8>, request_id: u32, channel_id: u32, target: Target, prefix: &[u8]) {
    let target = target.get().to_le_bytes();
    let message = OpenExtendedMiningChannelSuccess {
        request_id,
        channel_id,
        target: number(&target),
        extranonce_size: u16::try_from(EXTRANONCE2_LEN).expect(FITS),
        extranonce_prefix: B032::try_from(prefix).expect(FITS),
        group_channel_id: GROUP,
    };
    put(out, MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL_SUCCESS, false, message);
}

/// `UpdateChannel.Error`
pub fn update_refused(out: &mut Vec<u8>, channel_id: u32, code: &str) {
    let message = UpdateChannelError { channel_id, error_code: text(code) };
    put(out, MESSAGE_TYPE_UPDATE_CHANNEL_ERROR, true, message);
}

/// `SetTarget`: holds for jobs that come from now on.
pub fn set_target(out: &mut Vec<u8>, channel_id: u32, target: Target) {
    let target = target.get().to_le_bytes();
    let message = SetTarget { channel_id, maximum_target: number(&target) };
    put(out, MESSAGE_TYPE_SET_TARGET, true, message);
}

/// `NewMiningJob`: to be worked on at once from `time` on, or, without a time, when its previous block is told.
pub fn standard_job(out: &mut Vec<u8>, channel_id: u32, job_id: u32, time: Option<u32>, version: u32, root: B256) {
    let (min_ntime, merkle_root) = (Sv2Option::new(time), number(&root.0));
    put(out, MESSAGE_TYPE_NEW_MINING_JOB, true, NewMiningJob { channel_id, job_id, min_ntime, version, merkle_root });
}

/// `NewExtendedMiningJob`, as [`standard_job`].
pub fn extended_job(out: &mut Vec<u8>, channel_id: u32, job_id: u32, time: Option<u32>, version: u32, job: &Job) {
    let message = NewExtendedMiningJob {
        channel_id,
        job_id,
        min_ntime: Sv2Option::new(time),
        version,
        version_rolling_allowed: true,
        merkle_path: Seq0255::new(job.branch.iter().map(|node| number(&node.0)).collect()).expect(FITS),
        coinbase_tx_prefix: B064K::try_from(&job.coinbase_head[..]).expect(FITS),
        coinbase_tx_suffix: B064K::try_from(&job.coinbase_tail[..]).expect(FITS),
    };
    put(out, MESSAGE_TYPE_NEW_EXTENDED_MINING_JOB, true, message);
}

/// `SetNewPrevHash`: a job is to be worked on, and all before it are worth nothing.
pub fn set_new_prev_hash(out: &mut Vec<u8>, channel_id: u32, job_id: u32, job: &Job) {
    let (prev_hash, min_ntime, nbits) = (number(&job.previous.0), job.time, job.bits);
    let message = SetNewPrevHash { channel_id, job_id, prev_hash, min_ntime, nbits };
    put(out, MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH, true, message);
}

/// `SubmitShares.Success` of `count` shares, which are worth `hashes` together.
pub fn shares_accepted(out: &mut Vec<u8>, channel_id: u32, last_sequence_number: u32, count: u32, hashes: u64) {
    let message = SubmitSharesSuccess {
        channel_id,
        last_sequence_number,
        new_submits_accepted_count: count,
        new_shares_sum: hashes,
    };
    put(out, MESSAGE_TYPE_SUBMIT_SHARES_SUCCESS, true, message);
}

/// `SubmitShares.Error`
pub fn share_refused(out: &mut Vec<u8>, channel_id: u32, sequence_number: u32, code: &str) {
    let message = SubmitSharesError { channel_id, sequence_number, error_code: text(code) };
    put(out, MESSAGE_TYPE_SUBMIT_SHARES_ERROR, true, message);
}

/// Returns the name that Stratum V2 has for a refusal of a share.
pub fn share_code(reject: Reject) -> &'static str {
    match reject {
        Reject::Stale => ERROR_CODE_SUBMIT_SHARES_STALE_SHARE,
        Reject::Duplicate => ERROR_CODE_SUBMIT_SHARES_DUPLICATE_SHARE,
        Reject::LowDifficulty => ERROR_CODE_SUBMIT_SHARES_DIFFICULTY_TOO_LOW,
        Reject::Other | Reject::Unauthorised | Reject::NotSubscribed => ERROR_CODE_SUBMIT_SHARES_INVALID_SHARE,
    }
}

/// `Reconnect`, to where the miner is connected now.
pub fn reconnect(out: &mut Vec<u8>) {
    put(out, MESSAGE_TYPE_RECONNECT, false, Reconnect { new_host: text(""), new_port: 0 });
}

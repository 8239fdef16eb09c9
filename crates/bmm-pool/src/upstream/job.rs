//! A pool's job, and the headers that are made of it.

use alloy_primitives::{B256, U256, U512, hex};
use bmm_pow::{
    auxpow::merkle::{fold, sha256d},
    difficulty::Target,
};
use bmm_types::seal::PARENT_HEADER_LEN;
use serde_json::Value;
use std::sync::Arc;

/// Longest Merkle branch that is taken.
const MAX_BRANCH: usize = 32;
/// Longest id of a job that is taken, in bytes.
const MAX_ID: usize = 128;

/// A job as `mining.notify` tells it. All bytes are in the order in which they are hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamJob {
    /// The pool's name for it.
    pub id: String,
    /// Previous block.
    pub previous: B256,
    /// The coinbase before the extra nonces.
    pub coinbase_head: Vec<u8>,
    /// The coinbase after them.
    pub coinbase_tail: Vec<u8>,
    /// Merkle branch of the coinbase.
    pub branch: Vec<B256>,
    /// Version.
    pub version: u32,
    /// Compact target of the chain.
    pub bits: u32,
    /// Time, in Unix seconds.
    pub time: u32,
    /// Whether shares of earlier jobs are worth nothing any more.
    pub clean: bool,
}

impl UpstreamJob {
    /// Reads the parameters of `mining.notify`; the error names the one that is wrong.
    pub fn read(params: &[Value]) -> Result<Self, &'static str> {
        let text = |index: usize, what| params.get(index).and_then(Value::as_str).ok_or(what);
        let bytes = |index, what| hex::decode(text(index, what)?).map_err(|_| what);
        let number = |index, what| u32::from_str_radix(text(index, what)?, 16).map_err(|_| what);
        let id = text(0, "the job's id")?;
        if id.len() > MAX_ID {
            return Err("the job's id");
        }
        let mut previous: [u8; 32] = bytes(1, "the previous block")?.try_into().map_err(|_| "the previous block")?;
        // It comes as eight words of four bytes, each turned.
        previous.chunks_mut(4).for_each(<[u8]>::reverse);
        let branch = params.get(4).and_then(Value::as_array).ok_or("the Merkle branch")?;
        if branch.len() > MAX_BRANCH {
            return Err("the Merkle branch");
        }
        let hash = |value: &Value| {
            let bytes = value.as_str().and_then(|text| hex::decode_to_array::<_, 32>(text).ok());
            bytes.map(B256::new).ok_or("the Merkle branch")
        };
        Ok(Self {
            id: id.to_owned(),
            previous: previous.into(),
            coinbase_head: bytes(2, "the coinbase's first part")?,
            coinbase_tail: bytes(3, "the coinbase's second part")?,
            branch: branch.iter().map(hash).collect::<Result<_, _>>()?,
            version: number(5, "the version")?,
            bits: number(6, "the chain's target")?,
            time: number(7, "the time")?,
            clean: params.get(8).and_then(Value::as_bool).unwrap_or(false),
        })
    }
}

/// A job with all that is needed to work on it.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamWork {
    /// Number of the connection; shares of another one are worth nothing.
    pub session: u64,
    /// The job.
    pub job: Arc<UpstreamJob>,
    /// The pool's extra nonce.
    pub extranonce1: Vec<u8>,
    /// Bytes of the miner's extra nonce.
    pub extranonce2_len: usize,
    /// The difficulty on the wire.
    pub difficulty: f64,
    /// What a share's hash must not pass.
    pub target: Target,
}

impl UpstreamWork {
    /// Returns the hashes that finding a share takes on average.
    pub fn share_hashes(&self) -> u64 {
        u64::try_from(self.target.difficulty().get()).unwrap_or(u64::MAX)
    }

    /// Returns the header with a nonce of zero, for this extra nonce.
    pub fn header(&self, extranonce2: &[u8]) -> [u8; PARENT_HEADER_LEN] {
        let UpstreamJob { coinbase_head, coinbase_tail, branch, version, previous, bits, time, .. } = &*self.job;
        let coinbase = [&coinbase_head[..], &self.extranonce1, extranonce2, coinbase_tail].concat();
        let root = fold(sha256d(&coinbase), branch, 0);
        let mut header = [0; PARENT_HEADER_LEN];
        header[..4].copy_from_slice(&version.to_le_bytes());
        header[4..36].copy_from_slice(previous.as_slice());
        header[36..68].copy_from_slice(root.as_slice());
        header[68..72].copy_from_slice(&time.to_le_bytes());
        header[72..76].copy_from_slice(&bits.to_le_bytes());
        header
    }
}

/// Returns the target of a difficulty on the wire, as Scrypt miners understand it: floor(0xffff · 2^224 / d). The quotient is that of the
/// exact number that the floating-point one stands for. `None` for what is no difficulty: zero, negative, not a number, beyond 2^100.
pub fn wire_target(difficulty: f64) -> Option<Target> {
    const LARGEST: f64 = 1e30;
    const LEAST: f64 = 1e-9;
    if !(difficulty > 0.0 && difficulty <= LARGEST) {
        return None;
    }
    // Every hash meets what is below.
    let bits = difficulty.max(LEAST).to_bits();
    // difficulty = mantissa · 2^(exponent - 1075), normal as it is not tiny.
    let exponent = usize::try_from((bits >> 52) & 0x7ff).ok()?;
    let mantissa = U512::from((bits & ((1 << 52) - 1)) | (1 << 52));
    let one: U512 = U512::from(0xffffu64).checked_shl(224)?;
    let target: U512 = match exponent.checked_sub(1_075) {
        Some(up) => one.wrapping_shr(up).checked_div(mantissa)?,
        None => one.checked_shl(1_075usize.checked_sub(exponent)?)?.checked_div(mantissa)?,
    };
    Target::new(target.saturating_to::<U256>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::difficulty::ShareDifficulty;
    use proptest::prelude::*;
    use serde_json::json;

    fn params() -> Value {
        json!([
            "5f",
            "0100000002000000030000000400000005000000060000000700000008000000",
            "01000000",
            "ffffffff",
            [format!("{}01", "00".repeat(31))],
            "20000000",
            "1e0ffff0",
            "713fb300",
            true
        ])
    }

    #[test]
    fn a_job_is_read_into_the_order_of_hashing() {
        let job = UpstreamJob::read(params().as_array().expect("a list")).expect("good");
        assert_eq!(job.previous[..8], [0, 0, 0, 1, 0, 0, 0, 2]);
        assert_eq!((job.version, job.bits, job.time, job.clean), (0x2000_0000, 0x1e0f_fff0, 0x713f_b300, true));
        assert_eq!(job.branch[0], B256::with_last_byte(1));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (index, value, word) in [
            (0, json!(7), "id"),
            (0, json!("x".repeat(200)), "id"),
            (1, json!("00"), "previous"),
            (2, json!("0"), "first"),
            (3, json!(null), "second"),
            (4, json!([1]), "branch"),
            (4, json!(vec!["00".repeat(32); 33]), "branch"),
            (5, json!("123456789"), "version"),
            (7, json!("zz"), "time"),
        ] {
            let mut params = params();
            params[index] = value;
            let words = UpstreamJob::read(params.as_array().expect("a list")).expect_err(word);
            assert!(words.contains(word), "{words}");
        }
        assert!(UpstreamJob::read(&[]).is_err());
    }

    proptest! {
        #[test]
        fn targets_are_those_that_servers_mean(parts in 1u64..1 << 50) {
            let difficulty = ShareDifficulty::parts(parts);
            let number: f64 = difficulty.to_string().parse().expect("a number");
            prop_assert_eq!(wire_target(number), Some(difficulty.target()));
        }

        #[test]
        fn any_number_has_a_target_or_none(bits: u64) {
            let number = f64::from_bits(bits);
            prop_assert_eq!(wire_target(number).is_some(), number > 0.0 && number <= 1e30);
        }
    }
}

//! What the worlds are made of: keys, offers, a job, a program, bad manners.

use alloy_primitives::B256;
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use bmm_market::{Micros, SECOND};
use bmm_types::Amount;
use bmm_types::market::{
    Axis, AxisKind, Budget, Collect, Content, JobSpec, Merge, Offer, Output, Runtime, SignatureBytes, SignedOffer,
    TaskLimits, Verify, offer_hash,
};

pub const CHAIN: u64 = 1337;
pub const JOB: B256 = B256::repeat_byte(0x4a);
/// The requester's part of every draw.
pub const SECRET: B256 = B256::repeat_byte(0x5e);
/// A small generator of numbers (SplitMix64), so that a seed gives the same world on every machine.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

pub fn sign(signer: &PrivateKeySigner, hash: B256) -> SignatureBytes {
    SignatureBytes::from(signer.sign_hash_sync(&hash).unwrap().as_bytes())
}

pub fn key(number: u8) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(number + 1)).unwrap()
}

pub fn spec(tasks: u64, verify: Verify, budget: Amount) -> JobSpec {
    let end = i64::try_from(tasks).unwrap();
    JobSpec {
        name: "job".into(),
        app: Content::of(b"app"),
        args: vec![],
        env: vec![],
        entry: String::new(),
        inputs: vec![],
        axes: vec![Axis { name: "i".into(), kind: AxisKind::Range { start: 0, end, chunk: 1 } }],
        output: Output { collect: Collect::Stdout, merge: Merge::Concat, file: "job.txt".into() },
        verify,
        limits: TaskLimits::default(),
        budget: Budget { max: budget, deadline_seconds: 3_600, price: None },
        canonical_nans: false,
        runtime: Runtime::Wasm,
        needs: bmm_types::market::Needs::default(),
        deterministic: true,
        stake: Amount::ZERO,
        draw: alloy_primitives::keccak256(SECRET),
        extra: vec![],
    }
}

pub fn offer(signer: &PrivateKeySigner, slots: u16, price: Amount) -> SignedOffer {
    let offer = Offer {
        provider: signer.address(),
        price_per_gfuel: price,
        price_per_gib: Amount::ZERO,
        slots,
        memory_bytes: 4 << 30,
        time_millis: 3_600_000,
        output_bytes: 1 << 30,
        runtimes: vec![Runtime::Wasm],
        isa: "x86_64".into(),
        rating_fuel_per_second: 1_000_000_000,
        hashing: None,
        machine: bmm_types::market::Machine::default(),
        expires_at: u64::MAX / SECOND,
        sequence: 1,
    };
    let signature = sign(signer, offer_hash(CHAIN, &offer));
    SignedOffer { offer, signature }
}

/// What a provider does wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manners {
    /// Percent of results that are wrong.
    pub wrong: u64,
    /// Whether its wrong results are those of all who collude.
    pub colludes: bool,
    /// Says of every run that the program fails.
    pub breaks: bool,
    /// Percent of runs that the host fails.
    pub host_fails: u64,
    /// Claims this many times the fuel.
    pub greed: u64,
    /// Times slower than others.
    pub slow: u64,
}

/// What the program does.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    pub micros: Micros,
    pub fails_on: Option<u64>,
    pub large_outputs: bool,
}

impl Program {
    pub fn bytes(&self, task: u64) -> Vec<u8> {
        match task % 4 {
            0 => Vec::new(),
            1 if self.large_outputs => format!("large {task}").into_bytes(),
            _ => format!("result {task}").into_bytes(),
        }
    }

    pub fn fuel(task: u64) -> u64 {
        1_000_000 + task % 7 * 1_000
    }

    pub fn is_large(&self, task: u64) -> bool {
        self.large_outputs && task % 4 == 1
    }
}

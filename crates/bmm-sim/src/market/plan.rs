//! What a world is made of, drawn from its seed.

use alloy_primitives::{Address, B256, keccak256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use bmm_market::SECOND;
use bmm_types::Amount;
use bmm_types::market::{
    Axis, AxisKind, Budget, Collect, Content, JobSpec, Merge, Offer, Output, Runtime, SignatureBytes, SignedOffer,
    TaskLimits, offer_hash,
};

use super::options::Options;
use crate::random::{Random, mix};

/// Chain of every simulated escrow.
pub const CHAIN: u64 = 1337;
/// Fuel a second of a provider of middling speed.
pub const MIDDLING: u64 = 1_000_000_000;

/// Signs for one party: with its key, or (where nobody checks) by bytes that only it knows beforehand.
#[derive(Clone, Debug)]
pub struct Signer {
    key: PrivateKeySigner,
    real: bool,
}

impl Signer {
    /// Makes the signer number `number` of a seed.
    pub fn new(seed: u64, number: u64, real: bool) -> Self {
        let mut input = [0u8; 16];
        input[..8].copy_from_slice(&seed.to_le_bytes());
        input[8..].copy_from_slice(&number.to_le_bytes());
        let key = PrivateKeySigner::from_bytes(&keccak256(input)).expect("a hash is a key but for one in 2^127");
        Self { key, real }
    }

    /// Returns the address.
    pub fn address(&self) -> Address {
        self.key.address()
    }

    /// Signs a hash.
    pub fn sign(&self, hash: impl FnOnce() -> B256, salt: u64) -> SignatureBytes {
        if self.real {
            let signature = self.key.sign_hash_sync(&hash()).expect("a local key signs every hash");
            return SignatureBytes::from(signature.as_bytes());
        }
        let secret = u64::from_le_bytes(self.key.address()[..8].try_into().expect("an address has 20 bytes"));
        let mut bytes = [0u8; 65];
        for (at, part) in bytes.chunks_mut(8).enumerate() {
            let word = mix(secret ^ mix(salt.wrapping_mul(16).wrapping_add(at as u64))).to_le_bytes();
            part.copy_from_slice(&word[..part.len()]);
        }
        SignatureBytes::from(bytes)
    }
}

/// Returns the fuel of a task: from a half to one and a half times the mean.
pub fn fuel(seed: u64, task: u64, mean: u64) -> u64 {
    mean / 2 + mix(seed.rotate_left(32) ^ task) % mean.max(1)
}

/// Returns the description of a job.
pub fn spec(tasks: u64, options: &Options, budget: Amount, deadline_seconds: u64, secret: B256) -> JobSpec {
    let end = i64::try_from(tasks).expect("at most 10^8 tasks");
    JobSpec {
        name: "simulated".into(),
        app: Content::of(b"app"),
        args: vec![],
        env: vec![],
        entry: String::new(),
        inputs: vec![],
        axes: vec![Axis { name: "i".into(), kind: AxisKind::Range { start: 0, end, chunk: 1 } }],
        output: Output { collect: Collect::Stdout, merge: Merge::Concat, file: "job.bin".into() },
        verify: options.mode,
        limits: TaskLimits { time_millis: 24 * 3_600_000, ..TaskLimits::default() },
        budget: Budget { max: budget, deadline_seconds, price: None },
        canonical_nans: true,
        runtime: Runtime::Wasm,
        needs: bmm_types::market::Needs::default(),
        deterministic: true,
        stake: stake(options),
        draw: keccak256(secret),
        extra: vec![],
    }
}

/// Returns what each provider locks for a job.
pub fn stake(options: &Options) -> Amount {
    Amount::from_units(u128::from(options.stake) * 1_000_000_000_000_000)
}

/// A provider's machine and line.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Fuel a second of one slot.
    pub speed: u64,
    /// Tasks at once.
    pub slots: u16,
    /// Time of a message, at least, microseconds.
    pub latency: u64,
    /// Price of 10^9 units of fuel, in units.
    pub price: u128,
}

impl Machine {
    /// Draws a machine: an eighth to eight times as fast as others, 1 to 4 slots, 1 to 128 ms away.
    pub fn draw(random: &mut Random) -> Self {
        Self {
            speed: random.spread(MIDDLING / 2, MIDDLING * 4),
            slots: 1 << random.below(3),
            latency: random.spread(1_000, 128_000),
            price: 1_000_000_000_000_000 + u128::from(random.below(1_000)) * 1_000_000_000_000,
        }
    }

    /// Returns what the machine sells, signed.
    pub fn offer(&self, signer: &Signer) -> SignedOffer {
        let offer = Offer {
            provider: signer.address(),
            price_per_gfuel: Amount::from_units(self.price),
            price_per_gib: Amount::ZERO,
            slots: self.slots,
            memory_bytes: 4 << 30,
            time_millis: 24 * 3_600_000,
            output_bytes: 1 << 30,
            runtimes: vec![Runtime::Wasm],
            isa: "x86_64".into(),
            rating_fuel_per_second: self.speed,
            hashing: None,
            machine: bmm_types::market::Machine::default(),
            expires_at: u64::MAX / SECOND,
            sequence: 1,
        };
        let signature = signer.sign(|| offer_hash(CHAIN, &offer), 0);
        SignedOffer { offer, signature }
    }

    /// Returns the time that the machine takes for some fuel, microseconds.
    pub fn micros(&self, fuel: u64) -> u64 {
        (fuel / (self.speed / 1_000_000)).max(1)
    }
}

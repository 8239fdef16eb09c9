//! How fast a core hashes.

use bmm_scrypt::{HEADER_LEN, Hasher, Kernel};
use std::time::{Duration, Instant};

/// How long is measured.
const SPAN: Duration = Duration::from_millis(700);

/// Hashes headers on one core for a while, and returns how many a second; 0 if this processor does not have the kernel.
pub(crate) fn hash_rate(kernel: Kernel) -> u64 {
    let Some(mut hasher) = Hasher::with(kernel) else { return 0 };
    let mut headers = vec![[0u8; HEADER_LEN]; hasher.lanes()];
    let mut made = vec![[0u8; 32]; hasher.lanes()];
    let (start, mut count) = (Instant::now(), 0u64);
    while start.elapsed() < SPAN {
        for header in &mut headers {
            header[..8].copy_from_slice(&count.to_le_bytes());
            count += 1;
        }
        hasher.hash(&headers, &mut made);
        std::hint::black_box(&made);
    }
    let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    count.saturating_mul(1_000_000) / micros.max(1)
}

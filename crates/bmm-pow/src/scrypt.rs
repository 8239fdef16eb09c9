//! Scrypt(1024, 1, 1) of parent headers, the hash of Litecoin's family.
//!
//! A header is hashed when its seal is checked, and checked again when its block comes; and many headers at once take a tenth of the
//! time of each alone. So the last hashes are kept, and who has many headers to check has them hashed beforehand.

use bmm_scrypt::Hasher;
use bmm_types::seal::PARENT_HEADER_LEN;
use std::{
    collections::{HashMap, VecDeque},
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

/// log2 of the cost N = 1024.
const LOG_N: u8 = 10;
/// Block size r.
const R: u32 = 1;
/// Parallelism p.
const P: u32 = 1;

/// Hashes that are kept: 4 MiB.
const MAX_KEPT: usize = 16_384;

type ParentHeader = [u8; PARENT_HEADER_LEN];

/// The last hashes, under all that they depend on.
#[derive(Default)]
struct Kept {
    hashes: HashMap<ParentHeader, [u8; 32]>,
    /// The oldest first.
    order: VecDeque<ParentHeader>,
}

static KEPT: LazyLock<Mutex<Kept>> = LazyLock::new(Mutex::default);

impl Kept {
    fn lock() -> MutexGuard<'static, Self> {
        KEPT.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&mut self, header: &ParentHeader, hash: [u8; 32]) {
        if self.hashes.insert(*header, hash).is_some() {
            return;
        }
        self.order.push_back(*header);
        if self.order.len() > MAX_KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.hashes.remove(&oldest);
        }
    }
}

/// Computes Scrypt(N = 1024, r = 1, p = 1) of a parent header, the header being both password and salt (RFC 7914, Litecoin).
///
/// The result stands in the order of its bytes; as a number it is little-endian.
pub fn scrypt_hash(header: &ParentHeader) -> [u8; 32] {
    if let Some(hash) = Kept::lock().hashes.get(header) {
        return *hash;
    }
    let hash = compute(header);
    Kept::lock().put(header, hash);
    hash
}

/// Computes the hashes of headers that [`scrypt_hash`] is going to be asked for, as many at once as the processor can.
/// More than are kept would be for nothing; a caller that reads from strangers bounds them further.
pub fn hash_ahead<'a>(headers: impl IntoIterator<Item = &'a ParentHeader>) {
    let missing: Vec<ParentHeader> = {
        let kept = Kept::lock();
        headers.into_iter().filter(|header| !kept.hashes.contains_key(*header)).take(MAX_KEPT).copied().collect()
    };
    // One alone is no faster.
    if missing.len() < 2 {
        return;
    }
    let mut hashes = vec![[0; 32]; missing.len()];
    Hasher::new().hash(&missing, &mut hashes);
    let mut kept = Kept::lock();
    missing.iter().zip(hashes).for_each(|(header, hash)| kept.put(header, hash));
}

fn compute(header: &ParentHeader) -> [u8; 32] {
    let params = scrypt::Params::new(LOG_N, R, P).expect("Scrypt(1024,1,1) is within the crate's limits");
    let mut hash = [0; 32];
    scrypt::scrypt(header, header, &params, &mut hash).expect("32 bytes is a length that PBKDF2 can give");
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(number: u32) -> ParentHeader {
        let mut header = [0x5a; PARENT_HEADER_LEN];
        header[..4].copy_from_slice(&number.to_le_bytes());
        header
    }

    #[test]
    fn hashes_made_ahead_are_the_same() {
        let headers: Vec<ParentHeader> = (0..21).map(header).collect();
        hash_ahead(&headers);
        for header in &headers {
            assert_eq!(Kept::lock().hashes.get(header), Some(&compute(header)));
            assert_eq!(scrypt_hash(header), compute(header));
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_newest() {
        let mut kept = Kept::default();
        let many = u32::try_from(MAX_KEPT).expect("few") + 10;
        for number in 0..many {
            kept.put(&header(number), [1; 32]);
            kept.put(&header(number), [1; 32]);
        }
        assert_eq!((kept.hashes.len(), kept.order.len()), (MAX_KEPT, MAX_KEPT));
        assert!(!kept.hashes.contains_key(&header(9)) && kept.hashes.contains_key(&header(10)));
    }
}

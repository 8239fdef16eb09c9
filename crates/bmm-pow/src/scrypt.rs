//! Scrypt(1024, 1, 1), the hash of Litecoin's family.

use bmm_types::seal::PARENT_HEADER_LEN;

/// log2 of the cost N = 1024.
const LOG_N: u8 = 10;
/// Block size r.
const R: u32 = 1;
/// Parallelism p.
const P: u32 = 1;

/// Computes Scrypt(N = 1024, r = 1, p = 1) of a parent header, the header being both password and salt (RFC 7914, Litecoin).
///
/// The result stands in the order of its bytes; as a number it is little-endian.
pub fn scrypt_hash(header: &[u8; PARENT_HEADER_LEN]) -> [u8; 32] {
    let params = scrypt::Params::new(LOG_N, R, P).expect("Scrypt(1024,1,1) is within the crate's limits");
    let mut hash = [0; 32];
    scrypt::scrypt(header, header, &params, &mut hash).expect("32 bytes is a length that PBKDF2 can give");
    hash
}

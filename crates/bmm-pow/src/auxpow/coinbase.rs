//! As much of a Bitcoin-style transaction as a merged-mining proof needs: the script of its first input.

use super::AuxPowError;

/// Version (4 bytes) at the start of a transaction.
const VERSION_LEN: usize = 4;
/// Previous output of an input: hash (32 bytes) and index (4 bytes).
const PREVOUT_LEN: usize = 36;

/// Returns the scriptSig of the coinbase's first input.
///
/// The transaction is serialised without witness: version, number of inputs, then of the first input the previous output,
/// the length of the script, and the script. What follows is committed to by the transaction's hash and not looked at.
pub fn script_sig(coinbase: &[u8]) -> Result<&[u8], AuxPowError> {
    parse(coinbase).ok_or(AuxPowError::CoinbaseMalformed)
}

fn parse(coinbase: &[u8]) -> Option<&[u8]> {
    let rest = coinbase.get(VERSION_LEN..)?;
    let (inputs, rest) = compact_size(rest)?;
    if inputs == 0 {
        return None;
    }
    let rest = rest.get(PREVOUT_LEN..)?;
    let (len, rest) = compact_size(rest)?;
    rest.get(..usize::try_from(len).ok()?)
}

/// Reads Bitcoin's variable-length integer: one byte below 0xfd, else a tag and 2, 4 or 8 bytes, little-endian.
fn compact_size(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let len = match tag {
        0xfd => 2,
        0xfe => 4,
        0xff => 8,
        small => return Some((small.into(), rest)),
    };
    let (number, rest) = rest.split_at_checked(len)?;
    let mut le = [0; 8];
    le[..len].copy_from_slice(number);
    Some((u64::from_le_bytes(le), rest))
}

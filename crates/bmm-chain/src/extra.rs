//! extraData: free bytes and the producer's signature.

use crate::error::ImportError;
use alloy_primitives::{Address, B256, Bytes, Signature};
use bmm_types::Header;

/// Most free bytes before the signature.
pub const MAX_VANITY_BYTES: usize = 32;

/// Length of the signature: r (32), s (32), parity (1; 0 or 1).
pub const SIGNATURE_BYTES: usize = 65;

/// Returns the header's hash with other extraData.
fn hash_with_extra(header: &Header, extra: &[u8]) -> B256 {
    let mut unsigned = header.clone();
    unsigned.extra_data = Bytes::copy_from_slice(extra);
    unsigned.hash_slow()
}

/// Returns the hash that the producer of `header` signs, extraData holding just the free bytes yet (as in Clique, EIP-225).
pub fn signing_hash(unsigned: &Header) -> B256 {
    unsigned.hash_slow()
}

/// Appends the signature to extraData.
pub(crate) fn append_signature(header: &mut Header, signature: &Signature) {
    let mut extra = header.extra_data.to_vec();
    extra.extend_from_slice(&signature.normalized_s().as_rsy());
    header.extra_data = extra.into();
}

/// Rule: extraData is at most 32 free bytes and a signature of 65 bytes. Returns both parts.
pub(crate) fn check_extra_data(header: &Header) -> Result<(&[u8], &[u8]), ImportError> {
    let extra = &header.extra_data;
    let fail = || ImportError::ExtraData(extra.len());
    let split =
        extra.len().checked_sub(SIGNATURE_BYTES).filter(|vanity| *vanity <= MAX_VANITY_BYTES).ok_or_else(fail)?;
    extra.split_at_checked(split).ok_or_else(fail)
}

/// Returns who signed `header`.
///
/// # Errors
/// [`ImportError::ExtraData`] and [`ImportError::Signature`].
pub fn recover_signer(header: &Header) -> Result<Address, ImportError> {
    let (vanity, signature) = check_extra_data(header)?;
    let parity = match signature.last() {
        Some(0) => false,
        Some(1) => true,
        _ => return Err(ImportError::Signature),
    };
    let signature = Signature::from_bytes_and_parity(signature, parity);
    // One signature, one header: of the two values of s that recover to the same key, the lower one (EIP-2).
    if signature.normalize_s().is_some() {
        return Err(ImportError::Signature);
    }
    signature.recover_address_from_prehash(&hash_with_extra(header, vanity)).map_err(|_| ImportError::Signature)
}

/// Rule: the block is signed by its beneficiary.
pub(crate) fn check_signer(header: &Header) -> Result<(), ImportError> {
    let signer = recover_signer(header)?;
    let beneficiary = header.beneficiary;
    if signer == beneficiary { Ok(()) } else { Err(ImportError::WrongSigner { signer, beneficiary }) }
}

//! Merged-mining proofs (AuxPoW) as Namecoin and Dogecoin define them, over Scrypt.
//!
//! A parent header carries the work. Its Merkle root commits to a coinbase transaction, the coinbase's script to the root of
//! a tree of merge-mined chains, and that tree, in our slot, to our block id.
//!
//! Order of bytes: a block id is shown and handed to pools (`getauxblock`, `createauxblock`) as it is, and that is what
//! Bitcoin-style software calls the hash as displayed. Trees are folded over the reversed bytes, and the root is written into the
//! coinbase reversed once more; a tree of one leaf therefore shows the block id itself in the script.

pub mod coinbase;
pub mod merkle;
mod tree;
pub mod wire;

pub use tree::AuxTree;

use crate::{difficulty::Difficulty, scrypt::scrypt_hash};
use alloy_primitives::B256;
use bmm_types::{
    AuxPow,
    seal::{MAX_BRANCH, MAX_COINBASE_LEN},
};
use merkle::{fold, reversed, sha256d};

/// Stands in a coinbase before the root of the tree of merge-mined chains: 0xfabe, `mm`.
pub const MAGIC: [u8; 4] = [0xfa, 0xbe, b'm', b'm'];
/// Without the magic the root begins at most this many bytes into the script.
const MAX_ROOT_OFFSET: usize = 20;
/// Length of the data that a Merkle node is the hash of.
const MERKLE_NODE_LEN: usize = 64;

/// The rule that a merged-mining proof breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuxPowError {
    /// See [`check_chain_id`].
    #[error("the parent header's chain id is {0:#x}, our own; work cannot be done on ourselves as a parent")]
    ParentIsOurs(u32),
    /// See [`check_branch_lengths`].
    #[error("a Merkle branch is longer than 30")]
    BranchTooLong,
    /// See [`check_coinbase_size`].
    #[error("the coinbase has {0} bytes; allowed are at most 65536, and not 64")]
    CoinbaseSize(usize),
    /// See [`check_coinbase_in_parent`].
    #[error("the coinbase does not fold, at index 0, to the parent header's Merkle root")]
    CoinbaseNotInParent,
    /// See [`coinbase::script_sig`].
    #[error("the coinbase is not a transaction with an input")]
    CoinbaseMalformed,
    /// See [`find_commitment`].
    #[error("the coinbase's script does not hold the root of the merge-mined chains")]
    RootMissing,
    /// See [`find_commitment`].
    #[error("the magic fabe6d6d is in the coinbase's script more than once")]
    MagicRepeated,
    /// See [`find_commitment`].
    #[error("the magic fabe6d6d does not stand directly before the root of the merge-mined chains")]
    MagicNotBeforeRoot,
    /// See [`find_commitment`].
    #[error("the root of the merge-mined chains has no magic before it and begins past byte 20 of the script")]
    RootTooLate,
    /// See [`check_magic`].
    #[error("the magic fabe6d6d is not in the coinbase's script")]
    MagicMissing,
    /// See [`check_tree_size`].
    #[error("the coinbase's script ends before the size and nonce of the tree of merge-mined chains")]
    SizeMissing,
    /// See [`check_tree_size`].
    #[error("the tree of merge-mined chains has the size {stated}, the branch says {branch}")]
    SizeMismatch {
        /// Size in the coinbase.
        stated: u32,
        /// 2^(length of the branch).
        branch: u32,
    },
    /// See [`check_slot`].
    #[error("our leaf is in slot {found} of the tree of merge-mined chains, and belongs into {expected}")]
    WrongSlot {
        /// Slot of the proof.
        found: u32,
        /// Slot by the generator.
        expected: u32,
    },
    /// See [`check_work`].
    #[error("the parent header's Scrypt hash is above the target of difficulty {0:?}")]
    NotEnoughWork(Difficulty),
}

/// Verifies that `aux` proves work of `difficulty` for the block `block_id` of the chain `aux_chain_id`.
///
/// The cheap rules come first and the Scrypt hash last.
pub fn verify(aux: &AuxPow, block_id: B256, aux_chain_id: u32, difficulty: Difficulty) -> Result<(), AuxPowError> {
    check_commitment(aux, block_id, aux_chain_id)?;
    check_work(aux, difficulty)
}

/// Verifies that the work of `aux`, however little it is, was done for `leaf` under the chain id `aux_chain_id`.
pub fn check_commitment(aux: &AuxPow, leaf: B256, aux_chain_id: u32) -> Result<(), AuxPowError> {
    check_chain_id(aux, aux_chain_id)?;
    check_branch_lengths(aux)?;
    check_coinbase_size(aux)?;
    check_coinbase_in_parent(aux)?;
    let script = coinbase::script_sig(&aux.coinbase)?;
    let after_root = find_commitment(script, commitment_root(aux, leaf))?;
    let nonce = check_tree_size(after_root, aux.chain_branch.len())?;
    check_slot(aux, nonce, aux_chain_id)
}

/// Rule: the script holds the magic. Without it, two roots that overlap could both begin within the first 20 bytes, and one hash could count
/// for two.
pub fn check_magic(aux: &AuxPow) -> Result<(), AuxPowError> {
    let script = coinbase::script_sig(&aux.coinbase)?;
    position(script, &MAGIC).map(|_| ()).ok_or(AuxPowError::MagicMissing)
}

/// Rule: the parent's chain id, its version >> 16, differs from ours.
pub fn check_chain_id(aux: &AuxPow, aux_chain_id: u32) -> Result<(), AuxPowError> {
    let version = u32_at(aux.parent_header.as_slice(), 0).unwrap_or_default();
    if version >> 16 == aux_chain_id { Err(AuxPowError::ParentIsOurs(aux_chain_id)) } else { Ok(()) }
}

/// Rule: neither branch is longer than 30.
pub fn check_branch_lengths(aux: &AuxPow) -> Result<(), AuxPowError> {
    let longest = aux.coinbase_branch.len().max(aux.chain_branch.len());
    if longest > MAX_BRANCH { Err(AuxPowError::BranchTooLong) } else { Ok(()) }
}

/// Rule: the coinbase has at most 64 KiB, and not 64 bytes, for which an inner node of the parent's tree could be passed off.
pub fn check_coinbase_size(aux: &AuxPow) -> Result<(), AuxPowError> {
    let len = aux.coinbase.len();
    if len > MAX_COINBASE_LEN || len == MERKLE_NODE_LEN { Err(AuxPowError::CoinbaseSize(len)) } else { Ok(()) }
}

/// Rule: the coinbase is the parent block's first transaction: its hash folds with index 0 to the header's Merkle root.
pub fn check_coinbase_in_parent(aux: &AuxPow) -> Result<(), AuxPowError> {
    let root = fold(sha256d(&aux.coinbase), &aux.coinbase_branch, 0);
    if aux.parent_header[36..68] == root[..] { Ok(()) } else { Err(AuxPowError::CoinbaseNotInParent) }
}

/// Returns the root of the tree of merge-mined chains as it must stand in the coinbase.
pub fn commitment_root(aux: &AuxPow, block_id: B256) -> B256 {
    reversed(fold(reversed(block_id), &aux.chain_branch, aux.chain_index))
}

/// Rule: the script holds the root; the magic occurs at most once and then directly before the root, or not at all and then
/// the root begins within the first 20 bytes. So a coinbase cannot commit to two trees.
///
/// Returns what follows the root.
pub fn find_commitment(script: &[u8], root: B256) -> Result<&[u8], AuxPowError> {
    let root_at = position(script, root.as_slice()).ok_or(AuxPowError::RootMissing)?;
    match position(script, &MAGIC) {
        Some(magic_at) => {
            let after_magic = magic_at.saturating_add(MAGIC.len());
            let again = position(script.get(magic_at.saturating_add(1)..).unwrap_or_default(), &MAGIC);
            if again.is_some() {
                return Err(AuxPowError::MagicRepeated);
            }
            if after_magic != root_at {
                return Err(AuxPowError::MagicNotBeforeRoot);
            }
        }
        None if root_at > MAX_ROOT_OFFSET => return Err(AuxPowError::RootTooLate),
        None => {}
    }
    Ok(script.get(root_at.saturating_add(root.len())..).unwrap_or_default())
}

/// Rule: after the root come the size of the tree, which is 2^(length of our branch), and a nonce, both 4 bytes little-endian.
///
/// Returns the nonce.
pub fn check_tree_size(after_root: &[u8], height: usize) -> Result<u32, AuxPowError> {
    let stated = u32_at(after_root, 0).ok_or(AuxPowError::SizeMissing)?;
    let nonce = u32_at(after_root, 4).ok_or(AuxPowError::SizeMissing)?;
    let branch = tree_size(height).ok_or(AuxPowError::BranchTooLong)?;
    if stated == branch { Ok(nonce) } else { Err(AuxPowError::SizeMismatch { stated, branch }) }
}

/// Rule: our leaf is in the slot that the tree's nonce, its height and our chain id determine, so that one tree cannot hold two
/// blocks of ours.
pub fn check_slot(aux: &AuxPow, nonce: u32, aux_chain_id: u32) -> Result<(), AuxPowError> {
    let expected = expected_slot(nonce, aux_chain_id, aux.chain_branch.len()).ok_or(AuxPowError::BranchTooLong)?;
    let found = aux.chain_index;
    if found == expected { Ok(()) } else { Err(AuxPowError::WrongSlot { found, expected }) }
}

/// Rule: Scrypt of the parent header, as a little-endian number, is at most floor(2^256 / difficulty).
pub fn check_work(aux: &AuxPow, difficulty: Difficulty) -> Result<(), AuxPowError> {
    let met = difficulty.target().is_met_by(&scrypt_hash(&aux.parent_header.0));
    if met { Ok(()) } else { Err(AuxPowError::NotEnoughWork(difficulty)) }
}

/// Returns the slot of a chain in a tree of merge-mined chains of this height (Namecoin's generator); `None` above height 30.
pub fn expected_slot(nonce: u32, aux_chain_id: u32, height: usize) -> Option<u32> {
    let r = nonce.wrapping_mul(1_103_515_245).wrapping_add(12_345);
    let r = r.wrapping_add(aux_chain_id);
    let r = r.wrapping_mul(1_103_515_245).wrapping_add(12_345);
    r.checked_rem(tree_size(height)?)
}

/// 2^height for heights up to 30.
fn tree_size(height: usize) -> Option<u32> {
    (height <= MAX_BRANCH).then(|| 1u32.checked_shl(u32::try_from(height).ok()?)).flatten()
}

/// Where `needle` first occurs.
fn position(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// The little-endian u32 at `offset`.
fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    let end = offset.checked_add(4)?;
    bytes.get(offset..end)?.try_into().ok().map(u32::from_le_bytes)
}

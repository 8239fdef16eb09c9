//! Resources: what was proven, what rights follow from it, and how the resource pot is shared.

use alloy_primitives::{Address, B256, keccak256};
use alloy_sol_types::sol;

sol! {
    /// The resource ledger and the resource pot.
    ///
    /// Epoch E is the blocks E · n to (E + 1) · n − 1, n being `epoch_blocks`. Its seed is the id of the block before its first one
    /// (of genesis for epoch 0). Work of E is proven in the first quarter of E + 1; from then on its sums are fixed, and what
    /// they earn is claimed. Powers are in µRU, millionths of a resource unit.
    #[derive(Debug, PartialEq, Eq)]
    interface Resources {
        /// `hashes`: the estimate of Scrypt evaluations; `power`: DPP of the class, in µRU.
        event Proven(uint64 indexed epoch, address indexed contributor, uint256 hashes, uint256 power);
        /// Work that was settled and paid a fee.
        event Credited(uint64 indexed epoch, address indexed contributor, uint256 fee, uint256 power);
        /// `reward` went to the contributor, `referred` to the owner of the account `referrer`.
        event Claimed(uint64 indexed epoch, address indexed contributor, uint256 reward, bytes32 referrer, uint256 referred);

        error ProofTime(uint64 epoch, uint64 from, uint64 until);
        error AlreadyProven(uint64 epoch, address contributor);
        error BadProof(uint256 index, string reason);
        error NotClosed(uint64 epoch);
        error AlreadyClaimed(uint64 epoch, address contributor);
        error NothingToClaim(uint64 epoch, address contributor);
        error NotSystem(address caller);

        /// Proves the sender's hash work of the epoch that has just ended: exactly k AuxPoWs (RLP), their Scrypt hashes strictly ascending,
        /// each committing to `resource_leaf(sender, seed)`. Once an epoch.
        function prove(uint64 epoch, bytes[] calldata proofs) external returns (uint256 power);
        /// Pays what a contributor earned in a closed epoch. Anybody may send it. Returns what the contributor itself got.
        function claim(uint64 epoch, address contributor) external returns (uint256 reward);
        /// Begins an epoch with the parent's id as its seed and closes the pot of the one before. By the chain itself (0xff…fe), at
        /// block 1 and at each epoch's first block.
        function onEpoch(bytes32 parent) external;

        function currentEpoch() external view returns (uint64);
        /// The seed is zero before the epoch has begun. `pot` of the present epoch is what has come so far. The powers are the sums of PP by
        /// class; they are fixed, and rewards can be claimed, when the epoch is `closed`.
        function epochOf(uint64 epoch) external view returns (bytes32 seed, uint256 pot, uint256 hashPower, uint256 computePower,
            bool closed);
        /// DPP by class, persistence in millionths (1,000,000 to 2,000,000), PP, which a contributor's rights follow from, and the fees paid
        /// for its work.
        function contributionOf(uint64 epoch, address contributor) external view returns (uint256 hashPower, uint256 computePower,
            uint256 persistence, uint256 power, uint256 fees, bool claimed);
    }
}

/// Millionths of a resource unit in one.
pub const MICRO: u64 = 1_000_000;

/// Chain id of resource proofs in AuxPoW trees, beside the block's own.
pub const RESOURCE_AUX_CHAIN_ID: u32 = 0x0BB5;

/// Most Scrypt hashes that a chain may ask for in a proof.
pub const MAX_PROOF_HASHES: u16 = 64;

/// Returns what the work of `contributor` in the epoch of `seed` commits to: keccak(contributor ‖ seed).
pub fn resource_leaf(contributor: Address, seed: B256) -> B256 {
    let mut bytes = [0u8; 52];
    bytes[..20].copy_from_slice(contributor.as_slice());
    bytes[20..].copy_from_slice(seed.as_slice());
    keccak256(bytes)
}

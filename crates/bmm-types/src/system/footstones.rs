//! Footstones: who may produce blocks, what they bet on, and what has become final.

use super::FOOTSTONES;
use alloy_primitives::{Address, B256, keccak256};
use alloy_sol_types::{Eip712Domain, sol};

sol! {
    /// A bet of a footstone: that the checkpoint `target` descends from the justified checkpoint `source` and will be final, with
    /// `amount` units of the bond at risk. EIP-712 signed. Checkpoint c is the block of number c · n, n being
    /// `checkpoint_blocks`; the hashes are block ids.
    #[derive(Debug, PartialEq, Eq)]
    struct Bet {
        address footstone;
        uint64 source;
        bytes32 sourceHash;
        uint64 target;
        bytes32 targetHash;
        uint256 amount;
    }

    /// Bonds, seats, bets, finality.
    ///
    /// Candidates have a bond. The set of active footstones is made of them at an epoch's first block, and only if something became final since
    /// it was last made; otherwise it stays, and those of it who placed no bet in the epoch lose weight. A link source → target
    /// counts when it has 2/3 of the weight of the set and of the one before it. Of a change of the set the block's extraData tells, and no event: no
    /// receipt belongs to what the chain itself calls.
    #[derive(Debug, PartialEq, Eq)]
    interface Footstones {
        event Joined(address indexed footstone, uint256 bond);
        event ToppedUp(address indexed footstone, uint256 bond);
        event Left(address indexed footstone, uint64 freeAt);
        event Withdrawn(address indexed footstone, uint256 amount);
        event BetPlaced(address indexed footstone, uint64 indexed target, uint64 source, uint256 amount);
        event Justified(uint64 indexed checkpoint, bytes32 hash);
        event Finalised(uint64 indexed checkpoint, bytes32 hash, uint256 pot);
        event Rewarded(address indexed footstone, uint64 from, uint64 to, uint256 amount);
        event LostBetReported(address indexed footstone, uint64 indexed target, uint256 amount);
        event LostBetTaken(address indexed footstone, uint64 indexed target, uint256 loss);
        event Slashed(address indexed footstone, address indexed reporter, uint256 bond, uint256 bounty);

        error AlreadyJoined(address footstone);
        error TooLittlePower(uint256 power, uint256 least);
        error TooLittleBond(uint256 bond, uint256 least);
        error Full();
        error NotCandidate(address footstone);
        error BondLocked(uint64 until);
        error BadBet(uint256 index, string reason);
        error BadSignature(uint256 index);
        error NothingOwed();
        error NoOffence();
        error NotLost();
        error TooEarly(uint64 checkpoint);
        error NotSystem(address caller);

        /// By the chain itself, before the transactions of the block after each checkpoint, whose id `parent` then is, and of each epoch's first block, which
        /// makes the set. Returns the root of the present set (`set_root`).
        function onBlock(bytes32 parent) external returns (bytes32 root);

        /// Locks the sent value as bond; the sender's PP of the last closed epoch must reach the least. At most 256 candidates: of
        /// more, the lightest leaves for one that weighs more.
        function join() external payable;
        function topUp() external payable;
        /// Gives up the candidacy; the bond is free the unbonding time after that and after its last bet that counted, and
        /// can be taken for offences until it is withdrawn.
        function leave() external;
        /// Returns a free bond to its footstone. Anybody may send it.
        function withdraw(address footstone) external returns (uint256 amount);
        /// Counts bets; anybody may send them, at most 128. A bet again on the same link counts by what its amount is above the former.
        /// Those that count already, and those that cannot count, are skipped; it reverts with the first of these only if none counts.
        function bet(Bet[] calldata bets, bytes[] calldata signatures) external;
        /// Pays a footstone for its bets on the final checkpoints `from` to `to` (both included, at most 512). Anybody may send it.
        function reward(address footstone, uint64 from, uint64 to) external returns (uint256 amount);
        /// Reports a signed bet on a checkpoint that did not become final, while a final one of its number is known.
        function reportLost(Bet calldata bet, bytes calldata signature) external;
        /// Takes what a reported bet lost, once 16 further checkpoints are final since it was last reported. Anybody may send it.
        function takeLost(address footstone, uint64 target) external returns (uint256 loss);
        /// Two bets of one footstone that contradict each other: its bond is taken, and the sender gets its part.
        function slash(Bet calldata first, bytes calldata firstSignature, Bet calldata second, bytes calldata secondSignature) external;

        /// `state`: 0 none, 1 candidate, 2 leaving, 3 slashed. `freeAt` in Unix seconds while leaving. `weight` in the present set.
        function footstoneOf(address footstone) external view returns (uint8 state, uint256 bond, uint64 freeAt, uint256 weight,
            uint64 lastTarget);
        function candidates() external view returns (address[] memory);
        /// The present set (`previous` false) or the one before it: `since` is the number of the block from which on bets count by it.
        function setOf(bool previous) external view returns (uint64 since, address[] memory members, uint256[] memory weights);
        /// The highest justified and final checkpoints; zero and the genesis id while there are none.
        function finality() external view returns (uint64 justified, bytes32 justifiedHash, uint64 finalised, bytes32 finalisedHash,
            bool enabled);
        /// `pot`: what its bettors share, once it is final.
        function checkpointOf(uint64 checkpoint) external view returns (bytes32 hash, bool justified, uint256 betAmount, uint256 pot);
        /// A footstone's bet for a target: its source, and what of it counts in this epoch.
        function betOf(address footstone, uint64 target) external view returns (uint64 source, uint256 amount);
    }
}

/// States of a footstone as `Footstones.footstoneOf` numbers them.
pub mod footstone_state {
    /// Never joined, or the bond is withdrawn.
    pub const NONE: u8 = 0;
    /// Has a bond and may be in the set.
    pub const CANDIDATE: u8 = 1;
    /// Waits for its bond.
    pub const LEAVING: u8 = 2;
    /// Lost its bond by two bets that contradict each other; for ever.
    pub const SLASHED: u8 = 3;
}

/// Most candidates.
pub const MAX_CANDIDATES: usize = 256;
/// Most members of the set.
pub const MAX_MEMBERS: usize = 128;
/// Most bets in one call.
pub const MAX_BETS: usize = 128;
/// Most checkpoints that one `reward` goes through.
pub const MAX_REWARDED: u64 = 512;
/// Checkpoints that become final after a lost bet was reported, before its loss is taken.
pub const LOST_BET_WAIT: u64 = 16;

/// Returns the EIP-712 domain of the footstones (bets).
pub fn footstones_domain(chain_id: u64) -> Eip712Domain {
    let chain_id = Some(chain_id.try_into().expect("u64 fits"));
    Eip712Domain::new(Some("BMM Footstones".into()), Some("1".into()), chain_id, Some(FOOTSTONES), None)
}

/// Returns the root of a set, which the extraData of an epoch's first block begins with: keccak over address (20 bytes) and weight (32 bytes, big-endian)
/// of each member, in the set's order.
pub fn set_root(members: &[(Address, alloy_primitives::U256)]) -> B256 {
    let mut bytes = Vec::with_capacity(members.len().saturating_mul(52));
    for (address, weight) in members {
        bytes.extend_from_slice(address.as_slice());
        bytes.extend_from_slice(&weight.to_be_bytes::<32>());
    }
    keccak256(bytes)
}

//! The system contracts as the outside sees them: fixed addresses and ABI.
//!
//! Any wallet or library calls them as ordinary contracts. `bmm-ledger` holds what they do.

mod accounts;
mod footstones;
mod resources;

pub use accounts::{Accounts, Binding, HANDLE_CHARS, MAX_WALLETS, account_id, accounts_domain, is_handle};
pub use footstones::{
    Bet, Footstones, LOST_BET_WAIT, MAX_BETS, MAX_CANDIDATES, MAX_MEMBERS, MAX_REWARDED, footstone_state,
    footstones_domain, set_root,
};
pub use resources::{MAX_PROOF_HASHES, MICRO, RESOURCE_AUX_CHAIN_ID, Resources, resource_leaf};

use alloy_primitives::{Address, B256, address, keccak256};
use alloy_sol_types::{Eip712Domain, SolValue, sol};

/// ERC-20 face of the native coin.
pub const TOKEN: Address = address!("000000000000000000000000000000000000b001");
/// Handles and bound wallets.
pub const ACCOUNTS: Address = address!("000000000000000000000000000000000000b002");
/// Resource ledger; holds the resource pot.
pub const RESOURCES: Address = address!("000000000000000000000000000000000000b003");
/// Footstones; holds the pot of the betting footstones.
pub const FOOTSTONES: Address = address!("000000000000000000000000000000000000b004");
/// Escrow and settlement of jobs.
pub const JOBS: Address = address!("000000000000000000000000000000000000b005");
/// Application registry.
pub const APPS: Address = address!("000000000000000000000000000000000000b006");
/// Data chains.
pub const CHAINS: Address = address!("000000000000000000000000000000000000b007");
/// Revenue distribution.
pub const REVENUE: Address = address!("000000000000000000000000000000000000b008");
/// Holds the 2 % of the airdrop until it is claimed.
pub const AIRDROP: Address = address!("000000000000000000000000000000000000b009");
/// Holds the developers' 2 % until it vests.
pub const VESTING: Address = address!("000000000000000000000000000000000000b00a");
/// Holds the 6 % for applications, under governance.
pub const TREASURY: Address = address!("000000000000000000000000000000000000b00b");

sol! {
    /// ERC-20 (EIP-20) with permit (EIP-2612) over native balances.
    ///
    /// Balances are the accounts' native balances; a transfer here is a native transfer that runs no code of the receiver.
    #[derive(Debug, PartialEq, Eq)]
    interface Token {
        event Transfer(address indexed from, address indexed to, uint256 value);
        event Approval(address indexed owner, address indexed spender, uint256 value);

        error ERC20InsufficientBalance(address sender, uint256 balance, uint256 needed);
        error ERC20InsufficientAllowance(address spender, uint256 allowance, uint256 needed);
        error ERC20InvalidReceiver(address receiver);
        error ERC20InvalidSpender(address spender);
        error ERC2612ExpiredSignature(uint256 deadline);
        error ERC2612InvalidSigner(address signer, address owner);

        function name() external view returns (string memory);
        function symbol() external view returns (string memory);
        function decimals() external view returns (uint8);
        /// Units in existence: genesis and all emission so far.
        function totalSupply() external view returns (uint256);
        /// Units that can ever exist: 1.39 billion BMM.
        function cap() external view returns (uint256);
        function balanceOf(address account) external view returns (uint256);
        function transfer(address to, uint256 value) external returns (bool);
        function allowance(address owner, address spender) external view returns (uint256);
        function approve(address spender, uint256 value) external returns (bool);
        function transferFrom(address from, address to, uint256 value) external returns (bool);
        function permit(address owner, address spender, uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external;
        function nonces(address owner) external view returns (uint256);
        function DOMAIN_SEPARATOR() external view returns (bytes32);
    }

    /// EIP-2612 permit, as signed.
    #[derive(Debug, PartialEq, Eq)]
    struct Permit {
        address owner;
        address spender;
        uint256 value;
        uint256 nonce;
        uint256 deadline;
    }

    /// A requester's promise to a provider: `total` units for everything it has delivered to `job` so far. Later vouchers
    /// replace earlier ones. EIP-712 signed.
    #[derive(Debug, PartialEq, Eq)]
    struct Voucher {
        bytes32 job;
        address provider;
        uint256 total;
    }

    /// What a provider signed about one task: the receipt of the batch (EIP-712, domain "BMM Market"), and the way from the task's
    /// leaf to the receipt's root (`bmm_types::market::result_leaf`, `merkle_verify`).
    #[derive(Debug, PartialEq, Eq)]
    struct Testimony {
        address provider;
        uint64 lease;
        uint64 batch;
        uint64 tasks;
        uint64 batchFuel;
        bytes32 root;
        bytes signature;
        /// Fuel of this task.
        uint64 fuel;
        /// SHA-256 of this task's result.
        bytes32 output;
        bytes32[] proof;
    }

    /// Escrow and settlement of jobs.
    ///
    /// `open` locks a budget. Providers hold cumulative vouchers. `settle` pays all of them in one transaction and shortens the lock
    /// to the challenge time, in which a provider that was paid less than its voucher claims the difference. `refund` returns
    /// what is left when the lock has ended. A requester that never settles changes nothing: providers `claim` until the
    /// deadline and the claim time after it have passed.
    #[derive(Debug, PartialEq, Eq)]
    interface Jobs {
        event Opened(bytes32 indexed job, address indexed requester, uint256 budget, uint64 deadline, bytes32 spec);
        /// `amount` left the budget: `fee` of it went to the resource pot, the rest to the provider.
        event Paid(bytes32 indexed job, address indexed provider, uint256 amount, uint256 fee);
        event Settled(bytes32 indexed job, bytes32 root, uint256 spent, uint64 releaseAt);
        event Refunded(bytes32 indexed job, address indexed requester, uint256 amount);
        event Staked(bytes32 indexed job, address indexed provider, uint256 amount);
        event Unstaked(bytes32 indexed job, address indexed provider, uint256 amount);
        /// `provider` may object until `until`.
        event Accused(bytes32 indexed job, address indexed provider, uint64 task, uint64 until);
        /// The jury may rule until `until`.
        event Objected(bytes32 indexed job, address indexed provider, uint64 task, uint256 bond, uint64 until);
        /// The dispute is over, and the provider keeps its stake and got its bond back.
        event Cleared(bytes32 indexed job, address indexed provider);
        /// `amount` was taken: `compensation` of it went to the requester, the rest to the resource pot.
        event StakeTaken(bytes32 indexed job, address indexed provider, uint256 amount, uint256 compensation);

        error JobExists(bytes32 job);
        error NoBudget();
        error BadDeadline(uint64 deadline, uint64 earliest, uint64 latest);
        error UnknownJob(bytes32 job);
        error JobClosed(bytes32 job);
        error JobAlreadySettled(bytes32 job);
        error NotRequester(address caller, address requester);
        error TooLate(uint64 end);
        error TooEarly(uint64 release);
        error BadVoucher(address signer, address requester);
        error NothingToClaim(uint256 total, uint256 paid);
        error BadTotals();
        error TotalBelowPaid(address provider, uint256 total, uint256 paid);
        error OverBudget(uint256 needed, uint256 left);
        /// Nobody could spend what is paid to the zero address, the Token or the escrow itself.
        error BadProvider(address provider);
        error BadTerms(uint256 stake, uint8 quorum);
        error NoStakeAsked(bytes32 job);
        error AlreadyStaked(bytes32 job, address provider);
        error StakeTooSmall(uint256 stake, uint256 least);
        /// The stake is not in the state that the call needs; see `stakeOf`.
        error WrongStakeState(address provider, uint8 state);
        error StakeLocked(uint64 until);
        error BadTestimony(address provider);
        error NoContradiction();
        error QuorumMissing(uint256 testimonies, uint8 quorum);
        error WrongBond(uint256 sent, uint256 bond);
        error NotJury(address caller);

        /// Locks the sent value until `deadline` (Unix seconds); `spec` is the content hash of the job's description.
        function open(bytes32 salt, bytes32 spec, uint64 deadline) external payable returns (bytes32 job);
        /// Pays `provider` what the voucher promises beyond what it was paid, as far as the budget reaches. Anybody may send it.
        function claim(bytes32 job, address provider, uint256 total, bytes calldata signature) external returns (uint256 amount);
        /// Pays every provider up to its total. `providers` strictly ascending, at most 1,024. `root` is the Merkle root of the receipts.
        function settle(bytes32 job, bytes32 root, address[] calldata providers, uint256[] calldata totals) external;
        /// Returns what is left to the requester once the lock has ended. Anybody may send it.
        function refund(bytes32 job) external returns (uint256 amount);

        /// As `open`, and every provider locks at least `stake` before it gets work; `quorum` (2 to 8) other staked operators must
        /// have found the same before one that found something else can be accused.
        function openStaked(bytes32 salt, bytes32 spec, uint64 deadline, uint256 stake, uint8 quorum) external payable returns (bytes32 job);
        /// Locks the sent value as the sender's stake in an open job that asks for one; once.
        function stake(bytes32 job) external payable;
        /// Returns a stake to its provider once it is free. Anybody may send it.
        function unstake(bytes32 job, address provider) external returns (uint256 amount);
        /// A quorum of other staked operators found, for `task`, the same, and `accused` found something else. Anybody may send it.
        /// `others` strictly ascending by provider, at most 8.
        function accuse(bytes32 job, uint64 task, Testimony calldata accused, Testimony[] calldata others) external;
        /// One provider signed two results of one task: its stake is taken at once. Anybody may send it.
        function contradict(bytes32 job, uint64 task, Testimony calldata first, Testimony calldata second) external;
        /// The accused denies, with the bond that `stakeOf` names: the jury is to rule.
        function object(bytes32 job) external payable;
        /// The jury (the address of the footstones) rules whether an objecting provider was wrong.
        function rule(bytes32 job, address provider, bool wrong) external;
        /// Ends a dispute whose time is over: the stake of a silent accused is taken; without a verdict the accused is cleared.
        /// Anybody may send it.
        function resolve(bytes32 job, address provider) external;

        /// What the job asks of providers; zero without a stake.
        function termsOf(bytes32 job) external view returns (uint256 stake, uint8 quorum);
        /// `state`: 0 none, 1 held, 2 accused, 3 objected, 4 cleared, 5 gone. `until`: when the present dispute ends, or when the
        /// stake is free (Unix seconds). `bond`: what an objection costs.
        function stakeOf(bytes32 job, address provider) external view returns (uint8 state, uint256 amount, uint64 until,
            uint256 bond);

        /// `state`: 0 unknown, 1 open, 2 settled, 3 closed. `releaseAt`: when `refund` becomes possible (Unix seconds).
        function jobOf(bytes32 job) external view returns (uint8 state, address requester, uint256 budget, uint256 spent,
            uint64 deadline, uint64 releaseAt, bytes32 spec, bytes32 root);
        function paidTo(bytes32 job, address provider) external view returns (uint256);
        function jobId(address requester, bytes32 salt) external view returns (bytes32);
    }
}

/// States of a job as `Jobs.jobOf` numbers them.
pub mod job_state {
    /// Never opened.
    pub const UNKNOWN: u8 = 0;
    /// Budget locked, work going on.
    pub const OPEN: u8 = 1;
    /// Paid out; the rest waits for late claims.
    pub const SETTLED: u8 = 2;
    /// Nothing left in the contract.
    pub const CLOSED: u8 = 3;
}

/// States of a stake as `Jobs.stakeOf` numbers them.
pub mod stake_state {
    /// Never locked.
    pub const NONE: u8 = 0;
    /// Locked, undisputed.
    pub const HELD: u8 = 1;
    /// Accused; the provider may object.
    pub const ACCUSED: u8 = 2;
    /// The provider objected; the jury may rule.
    pub const OBJECTED: u8 = 3;
    /// Locked, and a dispute was won or not ruled: only a contradiction takes it now.
    pub const CLEARED: u8 = 4;
    /// Returned or taken.
    pub const GONE: u8 = 5;
}

/// Longest call data that a system contract reads, in bytes: a settlement of 1,024 providers takes 65.8 kB.
pub const MAX_INPUT_BYTES: usize = 72 * 1_024;

/// Most testimonies beside the accused's in `Jobs.accuse`.
pub const MAX_TESTIMONIES: usize = 8;

/// Most providers that one `Jobs.settle` pays. A transaction's gas limit (EIP-7825) ends it at some 270 that have no account yet, or 450 that have.
pub const MAX_SETTLED_PROVIDERS: usize = 1_024;

/// Returns the EIP-712 domain of the Token (`permit`).
pub fn token_domain(chain_id: u64) -> Eip712Domain {
    Eip712Domain::new(
        Some("BMM".into()),
        Some("1".into()),
        Some(chain_id.try_into().expect("u64 fits")),
        Some(TOKEN),
        None,
    )
}

/// Returns the EIP-712 domain of the escrow (vouchers).
pub fn jobs_domain(chain_id: u64) -> Eip712Domain {
    let chain_id = Some(chain_id.try_into().expect("u64 fits"));
    Eip712Domain::new(Some("BMM Jobs".into()), Some("1".into()), chain_id, Some(JOBS), None)
}

/// Returns the id of the job that `requester` opens with `salt` on the chain `chain_id`.
pub fn job_id(chain_id: u64, requester: Address, salt: B256) -> B256 {
    keccak256((alloy_primitives::U256::from(chain_id), JOBS, requester, salt).abi_encode())
}

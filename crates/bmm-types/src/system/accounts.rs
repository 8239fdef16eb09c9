//! Accounts: a handle, the wallets bound to it, and who referred it.

use super::ACCOUNTS;
use alloy_primitives::{B256, keccak256};
use alloy_sol_types::{Eip712Domain, sol};

sol! {
    /// A wallet's word that it belongs to an account. EIP-712 signed by the wallet; `nonce` is `nonceOf(wallet)`.
    #[derive(Debug, PartialEq, Eq)]
    struct Binding {
        bytes32 account;
        address wallet;
        uint64 nonce;
        uint64 deadline;
    }

    /// One user, several wallets.
    ///
    /// An account is keccak-256 of its handle: 3 to 32 characters out of a to z, 0 to 9 and '-', neither first nor last a '-'.
    /// Its first wallet is its owner, who binds and unbinds others. A wallet belongs to one account at a time. The referrer is
    /// fixed at registration and is an account that exists by then.
    #[derive(Debug, PartialEq, Eq)]
    interface Accounts {
        event Registered(bytes32 indexed account, address indexed owner, string handle, bytes32 referrer);
        event Bound(bytes32 indexed account, address indexed wallet);
        event Unbound(bytes32 indexed account, address indexed wallet);
        event OwnerChanged(bytes32 indexed account, address indexed owner);
        event ProfileChanged(bytes32 indexed account, bytes32 profile);

        error BadHandle();
        error HandleTaken(bytes32 account);
        error UnknownAccount(bytes32 account);
        error WalletTaken(address wallet, bytes32 account);
        error NotBound(address wallet);
        error NotOwner(address caller, address owner);
        error OwnerStays();
        error Expired(uint64 deadline);
        error BadBinding(address signer, address wallet);
        error TooManyWallets();

        /// Registers the sender as owner. `referrer` is an account, or zero for none.
        function register(string calldata handle, bytes32 referrer) external returns (bytes32 account);
        /// Binds a wallet that signed a `Binding`; by the owner. At most 64 wallets.
        function bind(address wallet, uint64 deadline, bytes calldata signature) external;
        /// Unbinds a wallet: any by the owner, or itself; the owner itself cannot be unbound.
        function unbind(address wallet) external;
        /// Makes another bound wallet the owner; by the owner.
        function setOwner(address wallet) external;
        /// Names the content hash of a public profile; by the owner.
        function setProfile(bytes32 profile) external;

        /// The account that a wallet is bound to; zero if none.
        function accountOf(address wallet) external view returns (bytes32 account);
        function infoOf(bytes32 account) external view returns (string memory handle, address owner, bytes32 referrer,
            bytes32 profile, uint64 wallets, uint64 registeredAt);
        /// How many bindings a wallet has signed that were used.
        function nonceOf(address wallet) external view returns (uint64);
    }
}

/// Most wallets of one account.
pub const MAX_WALLETS: u64 = 64;

/// Shortest and longest handle, in characters.
pub const HANDLE_CHARS: std::ops::RangeInclusive<usize> = 3..=32;

/// Returns the account of a handle.
pub fn account_id(handle: &str) -> B256 {
    keccak256(handle)
}

/// Whether a handle is one: 3 to 32 characters out of a to z, 0 to 9 and '-', neither first nor last a '-'.
pub fn is_handle(handle: &str) -> bool {
    HANDLE_CHARS.contains(&handle.len())
        && handle.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !handle.starts_with('-')
        && !handle.ends_with('-')
}

/// Returns the EIP-712 domain of the accounts (bindings).
pub fn accounts_domain(chain_id: u64) -> Eip712Domain {
    let chain_id = Some(chain_id.try_into().expect("u64 fits"));
    Eip712Domain::new(Some("BMM Accounts".into()), Some("1".into()), chain_id, Some(ACCOUNTS), None)
}

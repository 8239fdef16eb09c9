//! The settlement: who gets how much, and the Merkle root over the receipts.

use alloy_primitives::{Address, B256, keccak256};
use alloy_sol_types::SolValue;
use bmm_types::Amount;

/// One acceptance: some results of one provider that were verified together, and what they are paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Who is paid.
    pub provider: Address,
    /// Number of the acceptance within the job.
    pub number: u64,
    /// Results accepted.
    pub tasks: u64,
    /// Fuel paid for.
    pub fuel: u64,
    /// What is paid.
    pub amount: Amount,
    /// SHA-256 over (index, fuel, output hash) of the results.
    pub results: B256,
}

impl Accepted {
    /// Returns the leaf of the settlement's Merkle tree: keccak(keccak(abi.encode(job, provider, number, tasks, fuel, amount,
    /// results))), hashed twice as OpenZeppelin's StandardMerkleTree does, so that no inner node can pass for a leaf.
    pub fn leaf(&self, job: B256) -> B256 {
        let fields = (job, self.provider, self.number, self.tasks, self.fuel, self.amount.units(), self.results);
        keccak256(keccak256(fields.abi_encode()))
    }
}

/// What one provider did and gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProviderTotal {
    /// Who.
    pub provider: Address,
    /// Results paid for.
    pub tasks: u64,
    /// Fuel paid for.
    pub fuel: u64,
    /// What it gets for the whole job.
    pub total: Amount,
}

/// What `Jobs.settle` is called with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The job.
    pub job: B256,
    /// Merkle root of the acceptances; zero if there are none.
    pub root: B256,
    /// Providers that get something, addresses strictly ascending.
    pub providers: Vec<ProviderTotal>,
}

impl Settlement {
    /// Returns what all providers get together.
    pub fn total(&self) -> Amount {
        self.providers.iter().map(|provider| provider.total).sum()
    }
}

//! What the blocks hold.

use super::super::{
    contracts,
    people::{Deed, Person},
};
use alloy_primitives::{Address, keccak256};

/// Accounts that send.
pub const SENDERS: usize = 2_000;

/// A kind of blocks, in the order in which they follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Transfers of coins to accounts all over the state.
    Transfers,
    /// Transfers of an ERC-20 token to accounts all over the state.
    Erc20,
    /// Both, with calls that rewrite many slots and calls that compute much.
    Mix,
}

/// Where the contracts are.
#[derive(Clone, Copy, Debug)]
pub struct Contracts {
    pub token: Address,
    pub work: Address,
}

/// Returns the account number `index` of the state's many.
pub fn account(index: u32) -> Address {
    Address::from_word(keccak256(format!("bmm bench account {index}")))
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Transfers, Self::Erc20, Self::Mix];

    /// Returns the name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Transfers => "transfers",
            Self::Erc20 => "ERC-20 transfers",
            Self::Mix => "mix",
        }
    }

    /// Blocks of the kind: enough for the tables to be written several times on the way.
    pub fn blocks(self) -> usize {
        match self {
            Self::Transfers | Self::Erc20 => 60,
            Self::Mix => 200,
        }
    }

    /// Transactions of one block.
    pub fn transactions(self) -> usize {
        match self {
            Self::Transfers => 2_000,
            Self::Erc20 => 1_000,
            Self::Mix => 600,
        }
    }

    /// What the transaction number `number` of the kind does, in a state of `accounts`.
    pub fn deed(self, number: usize, accounts: u32, to: Contracts) -> Deed {
        let random = keccak256(format!("{self:?} {number}"));
        let word = u32::from_be_bytes([random[0], random[1], random[2], random[3]]);
        let receiver = account(word % accounts);
        match self {
            Self::Transfers => Deed::transfer(receiver),
            Self::Erc20 => contracts::transfer(to.token, receiver, 1),
            Self::Mix => match number % 40 {
                0 => contracts::compute(to.work, word, 4_000),
                1 => contracts::store(to.work, word, 30, 200_000),
                2..20 => contracts::transfer(to.token, receiver, 1),
                _ => Deed::transfer(receiver),
            },
        }
    }
}

/// Signs the setup: the contracts, and some of the token for every sender.
pub fn setup(creator: &mut Person, people: &[Person]) -> (Vec<Deed>, Contracts) {
    let contracts = Contracts { token: creator.address().create(0), work: creator.address().create(1) };
    let mut deeds = vec![contracts::create_token(), contracts::create_work()];
    deeds.extend(people.iter().map(|person| contracts::transfer(contracts.token, person.address(), 1_000_000)));
    (deeds, contracts)
}

//! A chain in memory on which people become footstones, bet, and make blocks final.

use super::{Person, Send, World};
use crate::{exec::CallError, store::Receipt};
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::{SolCall, SolError, SolStruct};
use bmm_types::{
    Amount, ChainParams,
    params::{Allocation, FootstoneRules},
    system::{
        self, Bet, FOOTSTONES,
        Footstones::{BadBet, betCall, finalityCall, finalityReturn, footstoneOfCall, footstoneOfReturn, joinCall},
        MICRO, RESOURCES, footstones_domain,
    },
};

/// Blocks of an epoch, and from one checkpoint to the next.
pub(crate) const EPOCH: u64 = 12;
pub(crate) const INTERVAL: u64 = 3;
/// Seconds until a bond is free.
pub(crate) const UNBONDING: u64 = 100;
/// Epochs that power is written for at once.
pub(crate) const EPOCHS: u64 = 400;

/// A bet with its signature.
pub(crate) type Signed = (Bet, Bytes);

/// The chain, its people and the ids of its blocks.
#[derive(Clone)]
pub(crate) struct Circle {
    pub(crate) world: World,
    pub(crate) people: Vec<Person>,
    /// By number, the head's included.
    pub(crate) ids: Vec<B256>,
}

impl Circle {
    /// A chain of short epochs on which everybody has a million BMM and 1,000 RU in every epoch.
    pub(crate) fn new(people: u8) -> Self {
        Self::with_rules(people, |_| ())
    }

    /// The same with other rules of the footstones.
    pub(crate) fn with_rules(people: u8, change: impl FnOnce(&mut FootstoneRules)) -> Self {
        let people: Vec<_> = (0..people).map(Person::new).collect();
        let mut params = ChainParams::dev(system::AIRDROP, 1_000_000);
        let rules = params.footstones.as_mut().expect("a chain with footstones");
        (rules.checkpoint_blocks, rules.unbonding_secs) = (INTERVAL, UNBONDING);
        change(rules);
        params.epoch_blocks = EPOCH;
        let balance = Amount::from_bmm(1_000_000);
        params.alloc.extend(people.iter().map(|p| Allocation { address: p.address, balance }));
        let mut world = World::with_params(params);
        for person in &people {
            set_power(&mut world, person.address, 0..EPOCHS, 1_000);
        }
        let ids = vec![world.head.hash_slow()];
        Self { world, people, ids }
    }

    /// A chain on which everybody is in the first set, with those bonds in BMM, and where the next block is that after the set was made.
    pub(crate) fn with_bonds(bonds: &[u64]) -> Self {
        let mut circle = Self::new(u8::try_from(bonds.len()).expect("few"));
        circle.advance_to(EPOCH + EPOCH / 2);
        for (who, bond) in bonds.iter().enumerate() {
            assert!(circle.send(who, bmm(*bond), &joinCall {}).status());
        }
        circle.advance_to(2 * EPOCH);
        circle
    }

    /// Makes empty blocks until that number is the head's.
    pub(crate) fn advance_to(&mut self, number: u64) {
        while self.world.head.number < number {
            self.block(&[]);
        }
    }

    /// Makes a block.
    pub(crate) fn block(&mut self, sends: &[Send]) -> Vec<Receipt> {
        let receipts = self.world.block(sends).into_iter().map(|sent| sent.expect("can be in a block")).collect();
        self.ids.push(self.world.head.hash_slow());
        receipts
    }

    pub(crate) fn send(&mut self, who: usize, value: U256, call: &impl SolCall) -> Receipt {
        let send = Send::new(self.people[who].address, FOOTSTONES, value, call.abi_encode());
        self.block(&[Send { gas: 16_000_000, ..send }]).remove(0)
    }

    /// Sends a call; it must succeed.
    #[track_caller]
    pub(crate) fn does(&mut self, who: usize, call: &impl SolCall) {
        if let Err(error) = self.tries(who, U256::ZERO, call) {
            panic!("{error:?}");
        }
        assert!(self.send(who, U256::ZERO, call).status());
    }

    /// Calls in the next block's environment and keeps nothing.
    pub(crate) fn tries(&self, who: usize, value: U256, call: &impl SolCall) -> Result<Bytes, CallError> {
        let from = self.people[who].address;
        self.world.call(from, FOOTSTONES, value, call.abi_encode()).map(|outcome| outcome.output)
    }

    /// The call reverts with exactly this error.
    #[track_caller]
    pub(crate) fn refuses(&self, who: usize, value: U256, call: &impl SolCall, error: &impl SolError) {
        match self.tries(who, value, call) {
            Err(CallError::Revert { data, .. }) => assert_eq!(data, Bytes::from(error.abi_encode())),
            other => panic!("should revert, was {other:?}"),
        }
    }

    /// The bets do not count for that reason.
    #[track_caller]
    pub(crate) fn refuses_bet(&self, bets: Vec<Signed>, index: u64, reason: &str) {
        let error = BadBet { index: U256::from(index), reason: reason.into() };
        self.refuses(0, U256::ZERO, &call_of(bets), &error);
    }

    pub(crate) fn balance(&self, who: usize) -> U256 {
        self.world.state.balance(self.people[who].address)
    }

    pub(crate) fn footstone(&self, who: usize) -> footstoneOfReturn {
        self.ask(&footstoneOfCall { footstone: self.people[who].address })
    }

    pub(crate) fn ask<C: SolCall>(&self, call: &C) -> C::Return {
        let outcome = self.world.call(Address::ZERO, FOOTSTONES, U256::ZERO, call.abi_encode()).expect("a view");
        C::abi_decode_returns(&outcome.output).expect("its ABI")
    }

    pub(crate) fn finality(&self) -> finalityReturn {
        self.ask(&finalityCall {})
    }

    /// Returns the id of a checkpoint; of one that is not there yet, that of no block.
    pub(crate) fn checkpoint(&self, number: u64) -> B256 {
        let block = usize::try_from(number.saturating_mul(INTERVAL)).unwrap_or(usize::MAX);
        self.ids.get(block).copied().unwrap_or_else(|| keccak256(number.to_be_bytes()))
    }

    /// Returns a bet on this chain, signed, with an amount in BMM.
    pub(crate) fn bet(&self, who: usize, source: u64, target: u64, amount: u64) -> Signed {
        self.bet_on(who, (source, self.checkpoint(source)), (target, self.checkpoint(target)), bmm(amount))
    }

    pub(crate) fn bet_on(&self, who: usize, source: (u64, B256), target: (u64, B256), amount: U256) -> Signed {
        let bet = Bet {
            footstone: self.people[who].address,
            source: source.0,
            sourceHash: source.1,
            target: target.0,
            targetHash: target.1,
            amount,
        };
        let digest = bet.eip712_signing_hash(&footstones_domain(self.world.params.chain_id));
        let signature = self.people[who].sign(digest).as_bytes().to_vec();
        (bet, signature.into())
    }

    /// Sends bets that must count, in one block.
    #[track_caller]
    pub(crate) fn place(&mut self, bets: Vec<Signed>) {
        self.does(0, &call_of(bets));
    }

    /// Has everybody bet all of its bond on the link, once its target has a child.
    #[track_caller]
    pub(crate) fn all_bet(&mut self, source: u64, target: u64, bonds: &[u64]) {
        self.advance_to(target * INTERVAL + 1);
        let bets = bonds.iter().enumerate().map(|(who, bond)| self.bet(who, source, target, *bond));
        let bets = bets.collect();
        self.place(bets);
    }
}

/// Returns the call that brings bets.
pub(crate) fn call_of(bets: Vec<Signed>) -> betCall {
    let (bets, signatures) = bets.into_iter().unzip();
    betCall { bets, signatures }
}

/// Returns units of whole BMM.
pub(crate) fn bmm(n: u64) -> U256 {
    Amount::from_bmm(n).units()
}

/// Enters a PP of whole resource units for epochs, as hash work with a persistence of 1, where the resource ledger keeps it.
pub(crate) fn set_power(world: &mut World, contributor: Address, epochs: std::ops::Range<u64>, units: u64) {
    for epoch in epochs {
        let inner = keccak256([B256::from(U256::from(epoch)).0, B256::with_last_byte(2).0].concat());
        let slot = keccak256([contributor.into_word().0, inner.0].concat());
        let power = U256::from(units) * U256::from(MICRO);
        world.state.set_slot(RESOURCES, slot.into(), (power << 96) | (U256::from(1_000_000) << 192));
    }
}

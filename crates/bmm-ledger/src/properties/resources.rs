//! Over random histories of work, jobs, proofs, claims, referrals and silence: the contract's balance is what came less what was paid, what is
//! reserved is what a bystander's own reckoning says, and every reward is the one that follows from the whole history.

use crate::{
    emission,
    testkit::{Person, Send, World, work},
};
use alloy_primitives::{Address, B256, U256, aliases::U512, map::HashMap};
use alloy_sol_types::{SolCall, SolEvent};
use bmm_types::{
    params::ResourceRules,
    system::{
        ACCOUNTS,
        Accounts::{Registered, registerCall},
        JOBS,
        Jobs::{Paid, openCall, settleCall},
        RESOURCES,
        Resources::{Claimed, Proven, claimCall, contributionOfCall, epochOfCall, proveCall},
        account_id, job_id, resource_leaf,
    },
};
use proptest::prelude::*;
use std::collections::BTreeMap;

const CONTRIBUTORS: usize = 4;
const EPOCH_BLOCKS: u64 = 8;
const PROOF_HASHES: usize = 3;
const ONE: u128 = 1_000_000;

#[derive(Clone, Debug)]
enum Act {
    /// Proves so many hashes of the epoch `back` epochs ago.
    Prove {
        who: usize,
        hashes: u32,
        back: u64,
    },
    /// Work that pays so many units.
    Job {
        who: usize,
        amount: u64,
    },
    Claim {
        who: usize,
        back: u64,
    },
    Register {
        who: usize,
    },
}

fn act() -> impl Strategy<Value = Act> {
    let who = 0..CONTRIBUTORS;
    prop_oneof![
        6 => (who.clone(), 3u32..9, prop_oneof![9 => Just(1u64), 1 => 0u64..3])
            .prop_map(|(who, hashes, back)| Act::Prove { who, hashes, back }),
        4 => (who.clone(), prop_oneof![1u64..10_000, Just(u64::MAX / 4)]).prop_map(|(who, amount)| Act::Job { who, amount }),
        6 => (who.clone(), 1u64..4).prop_map(|(who, back)| Act::Claim { who, back }),
        1 => who.prop_map(|who| Act::Register { who }),
    ]
}

#[derive(Clone, Copy, Default)]
struct Entry {
    fees: u128,
    hash: u128,
    claimed: bool,
}

#[derive(Clone, Copy, Default)]
struct Pot {
    whole: u128,
    left: u128,
}

/// What a bystander reckons from all that happened, with loops over everybody.
struct Known {
    rules: ResourceRules,
    entries: BTreeMap<(u64, usize), Entry>,
    pots: BTreeMap<u64, Pot>,
    balance: u128,
}

impl Known {
    fn entry(&self, epoch: u64, who: usize) -> Entry {
        self.entries.get(&(epoch, who)).copied().unwrap_or_default()
    }

    fn compute(&self, entry: Entry) -> u128 {
        entry.fees * ONE / u128::try_from(self.rules.fee_per_unit.units()).expect("small")
    }

    fn counts(&self, epoch: u64, who: usize) -> bool {
        let entry = self.entry(epoch, who);
        entry.hash > 0 || self.compute(entry) > 0
    }

    /// e by its definition, epoch after epoch.
    fn persistence(&self, epoch: u64, who: usize) -> u128 {
        let mut above = None;
        for number in 0..epoch {
            above = match (self.counts(number, who), above) {
                (true, before) => {
                    Some((before.unwrap_or(0) + ONE.div_ceil(u128::from(self.rules.epochs_to_double))).min(ONE))
                }
                (false, before) => before.map(|before: u128| before / 2),
            };
        }
        ONE + above.unwrap_or(0)
    }

    fn powers(&self, epoch: u64, who: usize) -> (u128, u128) {
        let (entry, e) = (self.entry(epoch, who), self.persistence(epoch, who));
        (entry.hash * e / ONE, self.compute(entry) * e / ONE)
    }

    fn sums(&self, epoch: u64) -> (u128, u128) {
        (0..CONTRIBUTORS)
            .map(|who| self.powers(epoch, who))
            .fold((0, 0), |sum, power| (sum.0 + power.0, sum.1 + power.1))
    }

    fn reserved(&self) -> u128 {
        self.pots.values().map(|pot| pot.left).sum()
    }

    fn split(&self, pot: u128) -> (u128, u128) {
        let hash = pot * u128::from(self.rules.hash_bps) / 10_000;
        (hash, pot - hash)
    }

    fn begin_block(&mut self, number: u64) {
        if !number.is_multiple_of(EPOCH_BLOCKS) {
            return;
        }
        let epoch = number / EPOCH_BLOCKS;
        if let Some(closed) = epoch.checked_sub(2) {
            let (hash, compute) = self.sums(closed);
            let pots = self.split(self.pots[&closed].whole);
            let free = if hash == 0 { pots.0 } else { 0 } + if compute == 0 { pots.1 } else { 0 };
            let pot = self.pots.get_mut(&closed).expect("ended");
            pot.left -= free.min(pot.left);
        }
        let whole = self.balance - self.reserved();
        self.pots.insert(epoch - 1, Pot { whole, left: whole });
    }

    /// Returns what a claim pays in all.
    fn claim(&mut self, epoch: u64, who: usize) -> u128 {
        let part = |pot: u128, power: u128, sum: u128| {
            if sum == 0 {
                0
            } else {
                u128::try_from(U256::from(pot) * U256::from(power) / U256::from(sum)).expect("small")
            }
        };
        let (sums, powers, entry) = (self.sums(epoch), self.powers(epoch, who), self.entry(epoch, who));
        let pots = self.split(self.pots[&epoch].whole);
        let (hash, compute) = (part(pots.0, powers.0, sums.0), part(pots.1, powers.1, sums.1));
        let capped = compute.min(entry.fees * u128::from(self.rules.fee_return_bps) / 10_000);
        self.entries.get_mut(&(epoch, who)).expect("contributed").claimed = true;
        let last = (0..CONTRIBUTORS).all(|who| !self.counts(epoch, who) || self.entry(epoch, who).claimed);
        let pot = self.pots.get_mut(&epoch).expect("ended");
        pot.left -= if last { pot.left } else { hash + compute };
        self.balance -= hash + capped;
        hash + capped
    }
}

struct Play {
    world: World,
    people: Vec<Person>,
    known: Known,
    accounts: HashMap<usize, Option<usize>>,
    salt: u64,
    /// Proofs, credits, claims and referred claims that happened.
    seen: [u64; 4],
}

impl Play {
    fn new() -> Self {
        let people: Vec<_> = (0..=u8::try_from(CONTRIBUTORS).expect("few")).map(Person::new).collect();
        let mut params = World::new(&people).params;
        params.epoch_blocks = EPOCH_BLOCKS;
        params.footstones = None;
        let rules = params.resources.as_mut().expect("has resources");
        rules.proof_hashes = u16::try_from(PROOF_HASHES).expect("few");
        rules.sols_per_unit = 1;
        rules.fee_per_unit = bmm_types::Amount(U256::from(20_000_000));
        rules.epochs_to_double = 3;
        let known = Known { rules: *rules, entries: BTreeMap::new(), pots: BTreeMap::new(), balance: 0 };
        let world = World::with_params(params);
        Self { world, people, known, accounts: HashMap::default(), salt: 0, seen: [0; 4] }
    }

    fn epoch(&self) -> u64 {
        (self.world.head.number + 1) / EPOCH_BLOCKS
    }

    fn sends(&mut self, act: &Act) -> Vec<Send> {
        let to = |from: usize, to, value, call: Vec<u8>| Send::new(self.people[from].address, to, value, call);
        match *act {
            Act::Prove { who, hashes, back } => {
                let Some(epoch) = self.epoch().checked_sub(back) else { return Vec::new() };
                let seed = self.world.call(Address::ZERO, RESOURCES, U256::ZERO, epochOfCall { epoch }.abi_encode());
                let seed = epochOfCall::abi_decode_returns(&seed.expect("a view").output).expect("its ABI").seed;
                let book = work(resource_leaf(self.people[who].address, seed), PROOF_HASHES, hashes);
                let proofs = book.solutions().map(|aux| alloy_rlp::encode(aux).into()).collect();
                vec![to(who, RESOURCES, U256::ZERO, proveCall { epoch, proofs }.abi_encode())]
            }
            Act::Job { who, amount } => {
                let salt = B256::from(U256::from(self.salt));
                let requester = self.people[CONTRIBUTORS].address;
                let (deadline, job) = (self.world.now + 50, job_id(self.world.params.chain_id, requester, salt));
                let open = openCall { salt, spec: B256::ZERO, deadline }.abi_encode();
                let totals = vec![U256::from(amount)];
                let settle = settleCall { job, root: B256::ZERO, providers: vec![self.people[who].address], totals };
                let sends = [(U256::from(amount), open), (U256::ZERO, settle.abi_encode())];
                let sends = sends.map(|(value, call)| to(CONTRIBUTORS, JOBS, value, call)).into();
                self.salt += 1;
                sends
            }
            Act::Claim { who, back } => {
                let Some(epoch) = self.epoch().checked_sub(back) else { return Vec::new() };
                let contributor = self.people[who].address;
                vec![to(CONTRIBUTORS, RESOURCES, U256::ZERO, claimCall { epoch, contributor }.abi_encode())]
            }
            Act::Register { who } => {
                let other = (who + 1) % CONTRIBUTORS;
                let known = self.accounts.contains_key(&other);
                let referrer = if known { account_id(&format!("person-{other}")) } else { B256::ZERO };
                let register = registerCall { handle: format!("person-{who}"), referrer };
                vec![to(who, ACCOUNTS, U256::ZERO, register.abi_encode())]
            }
        }
    }

    fn who(&self, address: Address) -> usize {
        self.people.iter().position(|person| person.address == address).expect("known")
    }

    /// What the events tell, in their order.
    fn note(&mut self, log: &alloy_primitives::Log, acts: &[Act]) {
        let now = self.world.head.number / EPOCH_BLOCKS;
        if let Ok(event) = Proven::decode_log(log) {
            let who = self.who(event.contributor);
            assert_eq!(event.epoch + 1, now, "in the next epoch only");
            assert!(self.world.head.number % EPOCH_BLOCKS < EPOCH_BLOCKS / 4, "in its first quarter");
            let hashes = acts.iter().find_map(|act| match act {
                Act::Prove { who: of, hashes, back: 1 } if *of == who => Some(*hashes),
                _ => None,
            });
            let seed =
                self.world.call(Address::ZERO, RESOURCES, U256::ZERO, epochOfCall { epoch: event.epoch }.abi_encode());
            let seed = epochOfCall::abi_decode_returns(&seed.expect("a view").output).expect("its ABI").seed;
            let book = work(resource_leaf(event.contributor, seed), PROOF_HASHES, hashes.expect("was sent"));
            let largest = book.solutions().map(bmm_pow::resource::solution_hash).max().expect("some");
            let estimate = U512::from(PROOF_HASHES - 1) * (U512::from(1) << 256) / U512::from(largest);
            assert_eq!((U512::from(event.hashes), event.power), (estimate, event.hashes * U256::from(ONE)));
            let entry = self.known.entries.entry((event.epoch, who)).or_default();
            assert_eq!(std::mem::replace(&mut entry.hash, event.power.to()), 0, "proven once");
            self.seen[0] += 1;
        } else if let Ok(event) = Paid::decode_log(log) {
            let who = self.who(event.provider);
            let fee: u128 = event.fee.to();
            self.known.entries.entry((now, who)).or_default().fees += fee;
            self.known.balance += fee;
            self.seen[1] += 1;
        } else if let Ok(event) = Claimed::decode_log(log) {
            let who = self.who(event.contributor);
            assert!(self.known.counts(event.epoch, who) && !self.known.entry(event.epoch, who).claimed, "once");
            let whole = self.known.claim(event.epoch, who);
            assert_eq!(event.reward + event.referred, U256::from(whole));
            let referrer = self.accounts.get(&who).copied().flatten();
            let expected = referrer.map_or(0, |_| whole * u128::from(self.known.rules.referral_bps) / 10_000);
            assert_eq!(event.referred, U256::from(expected));
            self.seen[2] += 1;
            self.seen[3] += u64::from(expected > 0);
        } else if let Ok(event) = Registered::decode_log(log) {
            let who = self.who(event.owner);
            let referrer = (!event.referrer.is_zero()).then_some((who + 1) % CONTRIBUTORS);
            self.accounts.insert(who, referrer);
        }
    }

    fn block(&mut self, acts: &[Act]) {
        self.known.begin_block(self.world.head.number + 1);
        // One proof each, so that it is known which came through.
        let acts: Vec<_> = acts
            .iter()
            .enumerate()
            .filter(|(at, act)| match act {
                Act::Prove { who, .. } => {
                    !acts[..*at].iter().any(|other| matches!(other, Act::Prove { who: of, .. } if of == who))
                }
                _ => true,
            })
            .map(|(_, act)| act.clone())
            .collect();
        let sends: Vec<_> = acts.iter().flat_map(|act| self.sends(act)).collect();
        let receipts = self.world.block(&sends);
        for receipt in receipts.into_iter().flatten() {
            receipt.logs().iter().for_each(|log| self.note(log, &acts));
        }
        let head = &self.world.head;
        let emission = self.world.params.emission.as_ref().expect("emits");
        let came = emission::reward(emission, head.number).resources
            + U256::from(head.base_fee_per_gas.expect("has one")) * U256::from(head.gas_used);
        self.known.balance += u128::try_from(came).expect("small");
        self.check();
    }

    fn check(&self) {
        let state = &self.world.state;
        assert_eq!(state.balance(RESOURCES), U256::from(self.known.balance), "what came less what was paid");
        assert_eq!(state.slot(RESOURCES, U256::ZERO), U256::from(self.known.reserved()), "what is reserved");
        let now = self.world.head.number / EPOCH_BLOCKS;
        for epoch in now.saturating_sub(2)..=now {
            let view = self.world.call(Address::ZERO, RESOURCES, U256::ZERO, epochOfCall { epoch }.abi_encode());
            let view = epochOfCall::abi_decode_returns(&view.expect("a view").output).expect("its ABI");
            let sums = self.known.sums(epoch);
            assert_eq!((view.hashPower, view.computePower), (U256::from(sums.0), U256::from(sums.1)), "epoch {epoch}");
            for who in 0..CONTRIBUTORS {
                let call = contributionOfCall { epoch, contributor: self.people[who].address };
                let view = self.world.call(Address::ZERO, RESOURCES, U256::ZERO, call.abi_encode()).expect("a view");
                let view = contributionOfCall::abi_decode_returns(&view.output).expect("its ABI");
                let powers = self.known.powers(epoch, who);
                assert_eq!(
                    view.power,
                    if self.known.counts(epoch, who) { U256::from(powers.0 + powers.1) } else { U256::ZERO }
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_pot_is_shared_to_the_unit(blocks in prop::collection::vec(prop::collection::vec(act(), 0..4), 8..60)) {
        let mut play = Play::new();
        for acts in &blocks {
            play.block(acts);
        }
    }
}

/// The random play does reach all that it is about: a history in which everything happens, and persistence is found out late.
#[test]
fn a_history_of_everything() {
    let mut play = Play::new();
    for number in 1..=10 * EPOCH_BLOCKS {
        let epoch = number / EPOCH_BLOCKS;
        let acts = match number % EPOCH_BLOCKS {
            // A credit before the proof of the epoch before it.
            0 => vec![Act::Job { who: 1, amount: u64::MAX / 4 }, Act::Register { who: 1 }],
            1 if !epoch.is_multiple_of(3) => (0..3).map(|who| Act::Prove { who, hashes: 4, back: 1 }).collect(),
            2 | 3 => (0..CONTRIBUTORS).map(|who| Act::Claim { who, back: 1 }).collect(),
            5 => vec![Act::Job { who: 3, amount: 5_000 }],
            6 if epoch > 0 => vec![Act::Register { who: 0 }],
            _ => Vec::new(),
        };
        play.block(&acts);
    }
    let [proofs, credits, claims, referred] = play.seen;
    assert!(proofs >= 15 && credits >= 15 && claims >= 20 && referred > 3, "{:?}", play.seen);
}

//! Over random sequences of everything that touches a job with stakes, from honest and dishonest callers: nobody gets out
//! more than was put in, the contract holds exactly the rest of the budget, the stakes and the bonds, what is taken goes to pot and
//! requester in the shares of the rule, and at the end of all times nothing is left in the contract.

use crate::testkit::{Person, Send, World, testimony};
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::{SolCall, SolEvent, SolStruct};
use bmm_types::system::{
    FOOTSTONES, JOBS,
    Jobs::{
        Cleared, Objected, Paid, Refunded, StakeTaken, Staked, Unstaked, accuseCall, claimCall, contradictCall,
        objectCall, openStakedCall, refundCall, resolveCall, ruleCall, settleCall, stakeCall, stakeOfCall, unstakeCall,
    },
    Voucher, job_id, jobs_domain, stake_state,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

const PROVIDERS: usize = 5;
const BUDGET: u64 = 1_000;
const LEAST: u64 = 100;
const TASK: u64 = 3;

#[derive(Clone, Debug)]
enum Act {
    Stake {
        provider: usize,
        amount: u64,
    },
    Unstake {
        provider: usize,
    },
    /// Who is accused, what it says, who says otherwise and what.
    Accuse {
        provider: usize,
        wrong: u8,
        others: Vec<usize>,
        right: u8,
        forged: bool,
    },
    Contradict {
        provider: usize,
        first: u8,
        second: u8,
    },
    /// `exact`: with the bond that is due.
    Object {
        provider: usize,
        exact: bool,
    },
    Rule {
        provider: usize,
        wrong: bool,
        by_jury: bool,
    },
    Resolve {
        provider: usize,
    },
    Claim {
        provider: usize,
        total: u64,
    },
    Settle {
        totals: Vec<u64>,
    },
    Refund,
    Wait {
        secs: u64,
    },
}

fn act() -> impl Strategy<Value = Act> {
    let who = 0..PROVIDERS;
    prop_oneof![
        6 => (who.clone(), prop_oneof![4 => LEAST..LEAST + 50, 1 => 0..LEAST]).prop_map(|(provider, amount)| Act::Stake { provider, amount }),
        2 => who.clone().prop_map(|provider| Act::Unstake { provider }),
        6 => (who.clone(), 0u8..3, prop::collection::vec(0..PROVIDERS, 1..4), 1u8..3, prop::bool::weighted(0.1))
            .prop_map(|(provider, wrong, others, right, forged)| Act::Accuse { provider, wrong, others, right, forged }),
        1 => (who.clone(), 0u8..3, 0u8..3).prop_map(|(provider, first, second)| Act::Contradict { provider, first, second }),
        3 => (who.clone(), prop::bool::weighted(0.8)).prop_map(|(provider, exact)| Act::Object { provider, exact }),
        3 => (who.clone(), any::<bool>(), prop::bool::weighted(0.8))
            .prop_map(|(provider, wrong, by_jury)| Act::Rule { provider, wrong, by_jury }),
        3 => who.clone().prop_map(|provider| Act::Resolve { provider }),
        2 => (who, 0u64..600).prop_map(|(provider, total)| Act::Claim { provider, total }),
        1 => prop::collection::vec(0u64..300, 0..=PROVIDERS).prop_map(|totals| Act::Settle { totals }),
        1 => Just(Act::Refund),
        3 => prop_oneof![1u64..5, 20u64..70].prop_map(|secs| Act::Wait { secs }),
    ]
}

/// What a bystander adds up from the events.
#[derive(Default)]
struct Known {
    spent: U256,
    refunded: Option<U256>,
    paid: BTreeMap<Address, U256>,
    stakes: BTreeMap<Address, U256>,
    bonds: BTreeMap<Address, U256>,
}

struct Play {
    world: World,
    requester: Person,
    providers: Vec<Person>,
    job: B256,
    known: Known,
    /// How often stakes were taken, disputes ended for the accused, stakes went back.
    seen: (u64, u64, u64),
}

impl Play {
    fn new() -> Self {
        let people: Vec<_> = (0..=u8::try_from(PROVIDERS).expect("few")).map(Person::new).collect();
        let mut world = World::new(&people);
        let (requester, providers) = (people[0], people[1..].to_vec());
        let deadline = world.now + 80;
        let open = openStakedCall { salt: B256::ZERO, spec: B256::ZERO, deadline, stake: U256::from(LEAST), quorum: 2 };
        assert!(world.send(Send::new(requester.address, JOBS, U256::from(BUDGET), open.abi_encode())).status());
        world.state.strip_code(FOOTSTONES);
        let job = job_id(world.params.chain_id, requester.address, B256::ZERO);
        Self { world, requester, providers, job, known: Known::default(), seen: (0, 0, 0) }
    }

    fn provider(&self, number: usize) -> Address {
        self.providers[number].address
    }

    fn says(&self, who: usize, output: u8) -> bmm_types::system::Testimony {
        testimony(self.world.params.chain_id, self.providers[who], self.job, TASK, 9, output)
    }

    fn act(&mut self, act: Act) {
        let (job, requester) = (self.job, self.requester.address);
        match act {
            Act::Stake { provider, amount } => self.send(self.provider(provider), amount, &stakeCall { job }),
            Act::Unstake { provider } => {
                self.send(requester, 0, &unstakeCall { job, provider: self.provider(provider) });
            }
            Act::Accuse { provider, wrong, others, right, forged } => {
                let mut others: Vec<_> = others.iter().map(|other| self.says(*other, right)).collect();
                others.sort_by_key(|testimony| testimony.provider);
                others.dedup_by_key(|testimony| testimony.provider);
                if forged {
                    others[0].fuel += 1;
                }
                let accused = self.says(provider, wrong);
                self.send(requester, 0, &accuseCall { job, task: TASK, accused, others });
            }
            Act::Contradict { provider, first, second } => {
                let (first, second) = (self.says(provider, first), self.says(provider, second));
                self.send(requester, 0, &contradictCall { job, task: TASK, first, second });
            }
            Act::Object { provider, exact } => {
                let provider = self.provider(provider);
                let outcome =
                    self.world.call(Address::ZERO, JOBS, U256::ZERO, stakeOfCall { job, provider }.abi_encode());
                let due = stakeOfCall::abi_decode_returns(&outcome.expect("a view").output).expect("its ABI").bond;
                let value = u64::try_from(due).expect("small") + u64::from(!exact);
                self.send(provider, value, &objectCall { job });
            }
            Act::Rule { provider, wrong, by_jury } => {
                let from = if by_jury { FOOTSTONES } else { requester };
                self.send(from, 0, &ruleCall { job, provider: self.provider(provider), wrong });
            }
            Act::Resolve { provider } => {
                self.send(requester, 0, &resolveCall { job, provider: self.provider(provider) });
            }
            Act::Claim { provider, total } => {
                let (provider, total) = (self.provider(provider), U256::from(total));
                let digest =
                    Voucher { job, provider, total }.eip712_signing_hash(&jobs_domain(self.world.params.chain_id));
                let signature: Bytes = self.requester.sign(digest).as_bytes().to_vec().into();
                self.send(requester, 0, &claimCall { job, provider, total, signature });
            }
            Act::Settle { totals } => {
                let mut pairs: Vec<_> =
                    totals.into_iter().enumerate().map(|(at, t)| (self.provider(at), U256::from(t))).collect();
                pairs.sort();
                let (providers, totals) = pairs.into_iter().unzip();
                self.send(requester, 0, &settleCall { job, root: B256::ZERO, providers, totals });
            }
            Act::Refund => self.send(requester, 0, &refundCall { job }),
            Act::Wait { secs } => self.world.now += secs,
        }
        self.check();
    }

    fn send(&mut self, from: Address, value: u64, call: &impl SolCall) {
        let receipt = self.world.send(Send::new(from, JOBS, U256::from(value), call.abi_encode()));
        let known = &mut self.known;
        for log in receipt.logs() {
            if let Ok(event) = Paid::decode_log(log) {
                known.spent += event.amount;
                *known.paid.entry(event.provider).or_default() += event.amount;
            } else if let Ok(event) = Refunded::decode_log(log) {
                assert_eq!(known.refunded.replace(event.amount), None, "refunded twice");
            } else if let Ok(event) = Staked::decode_log(log) {
                assert!(event.amount >= U256::from(LEAST));
                assert_eq!(known.stakes.insert(event.provider, event.amount), None, "staked twice");
            } else if let Ok(event) = Unstaked::decode_log(log) {
                assert_eq!(known.stakes.insert(event.provider, U256::ZERO), Some(event.amount));
                assert!(!event.amount.is_zero(), "returned twice");
                self.seen.2 += 1;
            } else if let Ok(event) = Objected::decode_log(log) {
                assert_eq!(known.bonds.insert(event.provider, event.bond).unwrap_or_default(), U256::ZERO);
            } else if let Ok(event) = Cleared::decode_log(log) {
                known.bonds.remove(&event.provider);
                self.seen.1 += 1;
            } else if let Ok(event) = StakeTaken::decode_log(log) {
                let stake = known.stakes.insert(event.provider, U256::ZERO).unwrap_or_default();
                let bond = known.bonds.remove(&event.provider).unwrap_or_default();
                assert!(!stake.is_zero(), "taken twice");
                assert_eq!(event.amount, stake + bond);
                let paid = known.paid.get(&event.provider).copied().unwrap_or_default();
                assert!(event.compensation <= paid.min(stake), "the requester gains");
                self.seen.0 += 1;
            }
        }
    }

    fn check(&self) {
        let rest = U256::from(BUDGET) - self.known.spent;
        let rest = if let Some(refunded) = self.known.refunded {
            assert_eq!(refunded, rest, "refund of the rest");
            U256::ZERO
        } else {
            rest
        };
        let stakes: U256 = self.known.stakes.values().sum();
        let bonds: U256 = self.known.bonds.values().sum();
        assert_eq!(self.world.state.balance(JOBS), rest + stakes + bonds, "the contract holds rest, stakes and bonds");
    }

    /// After the end of all times anybody empties everything.
    fn end(&mut self) {
        self.world.now += 10_000_000;
        for number in 0..PROVIDERS {
            for act in [Act::Resolve { provider: number }, Act::Unstake { provider: number }] {
                self.act(act);
            }
        }
        self.act(Act::Refund);
        assert_eq!(self.world.state.balance(JOBS), U256::ZERO, "something stays for ever");
        for number in 0..PROVIDERS {
            let call = stakeOfCall { job: self.job, provider: self.provider(number) };
            let outcome = self.world.call(Address::ZERO, JOBS, U256::ZERO, call.abi_encode()).expect("a view");
            let stake = stakeOfCall::abi_decode_returns(&outcome.output).expect("its ABI");
            assert!(matches!(stake.state, stake_state::NONE | stake_state::GONE) && stake.amount.is_zero());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn stakes_keep_their_promises(acts in prop::collection::vec(act(), 1..50)) {
        let mut play = Play::new();
        for act in acts {
            play.act(act);
        }
        play.end();
    }
}

/// The random play does reach every end of a dispute: a history that visits them all.
#[test]
fn every_end_of_a_dispute_is_reached() {
    let mut play = Play::new();
    (0..PROVIDERS).for_each(|provider| play.act(Act::Stake { provider, amount: 120 }));
    let accuse = |provider, others: [usize; 2]| Act::Accuse {
        provider,
        wrong: 1,
        others: others.into(),
        right: 2,
        forged: false,
    };
    play.act(Act::Claim { provider: 0, total: 70 });
    play.act(accuse(0, [1, 2]));
    play.act(Act::Object { provider: 0, exact: true });
    play.act(Act::Rule { provider: 0, wrong: true, by_jury: true });
    assert_eq!(play.seen, (1, 0, 0));
    play.act(accuse(3, [1, 2]));
    play.act(Act::Object { provider: 3, exact: true });
    play.act(Act::Rule { provider: 3, wrong: false, by_jury: true });
    assert_eq!(play.seen, (3, 1, 0), "both who testified lose");
    play.act(Act::Contradict { provider: 4, first: 1, second: 2 });
    assert_eq!(play.seen, (4, 1, 0));
    play.end();
    assert_eq!(play.seen, (4, 1, 1));
}

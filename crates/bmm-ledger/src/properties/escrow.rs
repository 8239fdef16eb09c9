//! Over random sequences of open, voucher, settle, claim and refund, from honest and dishonest callers: nobody is paid twice,
//! the budget is never passed, the contract holds exactly what is left of all jobs, and at the end of all times nothing.

use crate::{
    store::Receipt,
    testkit::{Person, Send, World, deployer, forwarded, forwarder},
};
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::{SolCall, SolEvent, SolStruct};
use bmm_types::system::{
    JOBS,
    Jobs::{Opened, Paid, Refunded, claimCall, openCall, refundCall, settleCall},
    Voucher, job_id, jobs_domain,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

const REQUESTERS: usize = 2;
const PROVIDERS: usize = 3;
const SALTS: u8 = 2;

#[derive(Clone, Debug)]
enum Act {
    Open {
        requester: usize,
        salt: u8,
        budget: u64,
        secs: u64,
    },
    /// A voucher, by whom it is signed, for which chain, and who sends it.
    Claim {
        job: (usize, u8),
        provider: usize,
        total: u64,
        signer: usize,
        chain: u64,
        sender: usize,
        through: bool,
    },
    /// Sends the last voucher again.
    Replay {
        sender: usize,
    },
    Settle {
        job: (usize, u8),
        sender: usize,
        totals: Vec<u64>,
        descending: bool,
    },
    Refund {
        job: (usize, u8),
        sender: usize,
        through: bool,
    },
    Wait {
        secs: u64,
    },
}

fn act() -> impl Strategy<Value = Act> {
    let job = (0..REQUESTERS, 0..SALTS);
    let total = prop_oneof![0..30u64, 0..3_000u64, Just(u64::MAX)];
    let everybody = REQUESTERS + PROVIDERS;
    // Mostly what honest people do, so that histories get far.
    let signer = prop_oneof![4 => Just(usize::MAX), 1 => 0..everybody];
    prop_oneof![
        2 => (0..REQUESTERS, 0..SALTS, prop_oneof![0..1_000u64, Just(u64::MAX)], 0..40u64)
            .prop_map(|(requester, salt, budget, secs)| Act::Open { requester, salt, budget, secs }),
        4 => (job.clone(), 0..PROVIDERS, total.clone(), signer.clone(), prop_oneof![5 => Just(0u64), 1 => Just(1)],
            0..everybody, any::<bool>())
            .prop_map(|(job, provider, total, signer, chain, sender, through)| {
                Act::Claim { job, provider, total, signer, chain, sender, through }
            }),
        1 => (0..everybody).prop_map(|sender| Act::Replay { sender }),
        2 => (job.clone(), signer, prop::collection::vec(total, 0..=PROVIDERS), prop::bool::weighted(0.1))
            .prop_map(|(job, sender, totals, descending)| Act::Settle { job, sender, totals, descending }),
        2 => (job, 0..everybody, any::<bool>()).prop_map(|(job, sender, through)| Act::Refund { job, sender, through }),
        2 => (1..60u64).prop_map(|secs| Act::Wait { secs }),
    ]
}

/// What a bystander knows of a job from events and signatures.
#[derive(Default)]
struct Known {
    budget: U256,
    paid: BTreeMap<Address, U256>,
    /// The most that the requester ever promised or settled.
    promised: BTreeMap<Address, U256>,
    refunded: Option<U256>,
}

impl Known {
    fn spent(&self) -> U256 {
        self.paid.values().sum()
    }
}

struct Play {
    world: World,
    people: Vec<Person>,
    forwarder: Address,
    jobs: BTreeMap<B256, Known>,
    last_claim: Bytes,
}

impl Play {
    fn new() -> Self {
        let people: Vec<_> = (0..5).map(Person::new).collect();
        let mut world = World::new(&people);
        let deploy = Send::create(people[4].address, U256::ZERO, &deployer(&forwarder(0xf1)));
        assert!(world.send(deploy).status());
        let forwarder = people[4].address.create(0);
        Self { world, people, forwarder, jobs: BTreeMap::new(), last_claim: Bytes::new() }
    }

    fn provider(&self, index: usize) -> Address {
        self.people[REQUESTERS + index].address
    }

    fn job(&self, (requester, salt): (usize, u8)) -> B256 {
        job_id(self.world.params.chain_id, self.people[requester].address, B256::repeat_byte(salt))
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Open { requester, salt, budget, secs } => {
                let deadline = self.world.now + secs;
                let open = openCall { salt: B256::repeat_byte(salt), spec: B256::ZERO, deadline }.abi_encode();
                self.send(requester, U256::from(budget), open.into(), false);
            }
            Act::Claim { job, provider, total, signer, chain, sender, through } => {
                let signer = if signer == usize::MAX { job.0 } else { signer };
                let (id, provider, total) = (self.job(job), self.provider(provider), U256::from(total));
                let domain = jobs_domain(self.world.params.chain_id + chain);
                let digest = Voucher { job: id, provider, total }.eip712_signing_hash(&domain);
                if signer == job.0 && chain == 0 {
                    let promised = self.jobs.entry(id).or_default().promised.entry(provider).or_default();
                    *promised = total.max(*promised);
                }
                let signature = self.people[signer].sign(digest).as_bytes().to_vec().into();
                self.last_claim = claimCall { job: id, provider, total, signature }.abi_encode().into();
                self.send(sender, U256::ZERO, self.last_claim.clone(), through);
            }
            Act::Replay { sender } => self.send(sender, U256::ZERO, self.last_claim.clone(), false),
            Act::Settle { job, sender, totals, descending } => self.settle(job, sender, totals, descending),
            Act::Refund { job, sender, through } => {
                let refund = refundCall { job: self.job(job) }.abi_encode();
                self.send(sender, U256::ZERO, refund.into(), through);
            }
            Act::Wait { secs } => self.world.now += secs,
        }
    }

    fn settle(&mut self, job: (usize, u8), sender: usize, totals: Vec<u64>, descending: bool) {
        let sender = if sender == usize::MAX { job.0 } else { sender };
        let id = self.job(job);
        let mut pairs: Vec<_> =
            totals.into_iter().enumerate().map(|(i, t)| (self.provider(i), U256::from(t))).collect();
        pairs.sort();
        if descending {
            pairs.reverse();
        }
        if sender == job.0 {
            for (provider, total) in &pairs {
                let promised = self.jobs.entry(id).or_default().promised.entry(*provider).or_default();
                *promised = (*total).max(*promised);
            }
        }
        let (providers, totals) = pairs.into_iter().unzip();
        let call = settleCall { job: id, root: B256::ZERO, providers, totals };
        self.send(sender, U256::ZERO, call.abi_encode().into(), false);
    }

    fn send(&mut self, sender: usize, value: U256, input: Bytes, through: bool) {
        let from = self.people[sender].address;
        let send = if through {
            Send::new(from, self.forwarder, value, forwarded(JOBS, &input))
        } else {
            Send::new(from, JOBS, value, input)
        };
        let before: Vec<_> = (0..PROVIDERS).map(|i| self.world.state.balance(self.provider(i))).collect();
        let receipt = self.world.send(send);
        self.watch(&receipt, &before, sender);
        self.check();
    }

    /// Follows the events, and holds them to the balances of those who pay no fees in this block.
    fn watch(&mut self, receipt: &Receipt, before: &[U256], sender: usize) {
        let mut earned: BTreeMap<Address, U256> = BTreeMap::new();
        for log in receipt.logs() {
            if let Ok(event) = Opened::decode_log(log) {
                self.jobs.entry(event.job).or_default().budget = event.budget;
            } else if let Ok(event) = Paid::decode_log(log) {
                let known = self.jobs.entry(event.job).or_default();
                *known.paid.entry(event.provider).or_default() += event.amount;
                *earned.entry(event.provider).or_default() += event.amount - event.fee;
            } else if let Ok(event) = Refunded::decode_log(log) {
                let known = self.jobs.entry(event.job).or_default();
                assert_eq!(known.refunded.replace(event.amount), None, "refunded twice");
            }
        }
        for (i, before) in before.iter().enumerate().filter(|(i, _)| i + REQUESTERS != sender) {
            let earned = earned.get(&self.provider(i)).copied().unwrap_or_default();
            assert_eq!(self.world.state.balance(self.provider(i)) - before, earned);
        }
    }

    fn check(&self) {
        let mut held = U256::ZERO;
        for known in self.jobs.values() {
            assert!(known.spent() <= known.budget, "budget passed");
            for (provider, paid) in &known.paid {
                assert!(*paid <= known.promised.get(provider).copied().unwrap_or_default(), "paid beyond the promise");
            }
            match known.refunded {
                None => held += known.budget - known.spent(),
                Some(amount) => assert_eq!(amount, known.budget - known.spent(), "refund of the rest"),
            }
        }
        assert_eq!(self.world.state.balance(JOBS), held, "the contract holds what is left of the jobs");
    }

    /// After the end of all times anybody empties every job.
    fn end(&mut self) {
        self.world.now += 10_000_000;
        for job in self.jobs.iter().filter(|(_, k)| !k.budget.is_zero()).map(|(job, _)| *job).collect::<Vec<_>>() {
            self.send(4, U256::ZERO, refundCall { job }.abi_encode().into(), true);
        }
        assert!(self.jobs.values().all(|k| k.budget.is_zero() || k.refunded.is_some()), "a job stays locked");
        assert_eq!(self.world.state.balance(JOBS), U256::ZERO);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn the_escrow_keeps_its_promises(acts in prop::collection::vec(act(), 1..40)) {
        let mut play = Play::new();
        for act in acts {
            play.act(act);
        }
        play.end();
    }
}

/// The random play does reach payments, settlements and refunds: an honest history in its own terms.
#[test]
fn an_honest_history_pays_settles_and_refunds() {
    let mut play = Play::new();
    let job = (0, 0);
    let honest = |provider, total| Act::Claim {
        job,
        provider,
        total,
        signer: usize::MAX,
        chain: 0,
        sender: REQUESTERS + provider,
        through: false,
    };
    play.act(Act::Open { requester: 0, salt: 0, budget: 1_000, secs: 30 });
    play.act(honest(0, 100));
    play.act(honest(0, 150));
    play.act(Act::Settle { job, sender: usize::MAX, totals: vec![200, 300], descending: false });
    play.act(honest(2, 7));
    play.act(Act::Wait { secs: 60 });
    play.act(Act::Refund { job, sender: 3, through: true });
    let known = &play.jobs[&play.job(job)];
    assert_eq!(known.spent(), U256::from(507));
    assert_eq!(known.refunded, Some(U256::from(493)));
    play.end();
}

//! Over random histories of footstones, honest, lazy and false, the contract does what a model over plain maps does: the same calls succeed, the same sets
//! are made, the same becomes final, and the contract holds bonds, owed rewards and the pot to the unit. `World::block` weighs the supply at every height.

mod model;

use crate::{
    emission,
    testkit::circle::{Circle, EPOCH, EPOCHS, INTERVAL, Signed, bmm, call_of, set_power},
};
use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolCall;
use bmm_types::{
    finality::offence,
    system::{
        FOOTSTONES,
        Footstones::{
            candidatesCall, checkpointOfCall, footstoneOfCall, joinCall, leaveCall, reportLostCall, rewardCall,
            setOfCall, slashCall, takeLostCall, topUpCall, withdrawCall,
        },
    },
};
use model::{Brought, Model, Refused};
use proptest::prelude::*;
use std::collections::BTreeMap;

const PEOPLE: u8 = 6;
/// One for each of the people.
type Parts = [u16; 6];

#[derive(Clone, Debug)]
enum Act {
    Join {
        who: usize,
        bond: u64,
    },
    TopUp {
        who: usize,
        more: u64,
    },
    Leave {
        who: usize,
    },
    Withdraw {
        who: usize,
    },
    Power {
        who: usize,
        units: u64,
    },
    /// Everybody bets on one link, each that part of its bond in hundredths; zero is silence. `back`: how many checkpoints before the last one the target is; `from`: how many
    /// before the highest justified one the source is.
    Bets {
        parts: Parts,
        back: u64,
        from: u64,
    },
    /// One bet on any link, perhaps on another branch, perhaps signed by somebody else.
    Bet {
        who: usize,
        source: u64,
        target: u64,
        part: u16,
        false_id: bool,
        forged: bool,
    },
    /// Two bets are shown; ends, and whether the second is on another branch.
    Slash {
        who: usize,
        first: (u64, u64),
        second: (u64, u64),
        other: bool,
    },
    Report {
        who: usize,
        back: u64,
        part: u16,
        false_id: bool,
    },
    Take {
        which: usize,
    },
    Reward {
        who: usize,
        from: u64,
        to: u64,
    },
    Pass {
        blocks: u64,
    },
    Wait {
        secs: u64,
    },
}

fn act() -> impl Strategy<Value = Act> {
    let who = 0..usize::from(PEOPLE);
    let part = prop_oneof![6 => Just(100u16), 2 => 0u16..=100, 1 => Just(101u16)];
    let parts = prop_oneof![
        6 => Just([100; 6]),
        3 => prop::array::uniform6(prop_oneof![3 => Just(100u16), 1 => Just(0), 1 => 1u16..=100]),
        1 => prop::array::uniform6(prop_oneof![1 => Just(100u16), 2 => Just(0)]),
    ];
    let number = 0u64..60;
    prop_oneof![
        3 => (who.clone(), prop_oneof![4 => 10u64..300, 1 => 0u64..10]).prop_map(|(who, bond)| Act::Join { who, bond }),
        1 => (who.clone(), 0u64..100).prop_map(|(who, more)| Act::TopUp { who, more }),
        1 => who.clone().prop_map(|who| Act::Leave { who }),
        2 => who.clone().prop_map(|who| Act::Withdraw { who }),
        1 => (who.clone(), prop_oneof![Just(0u64), Just(9), Just(10), Just(50), Just(1_000)]).prop_map(|(who, units)| Act::Power { who, units }),
        24 => (parts, prop_oneof![8 => Just(0u64), 1 => 1u64..3], prop_oneof![8 => Just(0u64), 1 => 1u64..3])
            .prop_map(|(parts, back, from)| Act::Bets { parts, back, from }),
        2 => (who.clone(), number.clone(), number.clone(), part.clone(), prop::bool::weighted(0.2), prop::bool::weighted(0.2))
            .prop_map(|(who, source, target, part, false_id, forged)| Act::Bet { who, source, target, part, false_id, forged }),
        1 => (who.clone(), (0u64..4, 4u64..8), (0u64..4, 4u64..8), any::<bool>())
            .prop_map(|(who, first, second, other)| Act::Slash { who, first, second, other }),
        2 => (who.clone(), 0u64..12, part, prop::bool::weighted(0.8)).prop_map(|(who, back, part, false_id)| Act::Report { who, back, part, false_id }),
        3 => (0usize..40).prop_map(|which| Act::Take { which }),
        4 => (who, number.clone(), number).prop_map(|(who, from, to)| Act::Reward { who, from, to }),
        2 => (1u64..8).prop_map(|blocks| Act::Pass { blocks }),
        1 => (EPOCH..3 * EPOCH).prop_map(|blocks| Act::Pass { blocks }),
        1 => (1u64..120).prop_map(|secs| Act::Wait { secs }),
    ]
}

fn units(amount: U256) -> u128 {
    amount.to()
}

struct Play {
    circle: Circle,
    model: Model,
}

impl Play {
    fn new() -> Self {
        let circle = Circle::with_rules(PEOPLE, |rules| {
            rules.least_weight = bmm_types::Amount::from_bmm(250);
            // Half is gone after three epochs, so that histories see it.
            rules.leak_bps = 2_000;
        });
        let power = circle.people.iter().map(|person| (person.address, 1_000)).collect();
        let rules = circle.world.params.footstones.expect("has footstones");
        let mut play = Self { circle, model: Model::new(rules, EPOCH, power) };
        play.pass(EPOCH + EPOCH / 2);
        for who in 0..4 {
            play.act(&Act::Join { who, bond: 100 });
        }
        play.pass(EPOCH / 2);
        play
    }

    fn pass(&mut self, blocks: u64) {
        for _ in 0..blocks {
            self.block(None, U256::ZERO, |_| Ok(()));
        }
    }

    /// Makes a block with that call, if any, and has the model do the same; both succeed or neither does.
    fn block(
        &mut self,
        call: Option<(usize, Vec<u8>)>,
        value: U256,
        known: impl FnOnce(&mut Model) -> Result<(), Refused>,
    ) {
        let (height, now) = (self.circle.world.head.number + 1, self.circle.world.now);
        self.model.begin(height, now);
        let mut after = self.model.clone();
        let expected = known(&mut after).is_ok();
        if expected {
            self.model = after;
        }
        let sends = call.map(|(who, input)| {
            let from = self.circle.people[who].address;
            crate::testkit::Send { gas: 16_000_000, ..crate::testkit::Send::new(from, FOOTSTONES, value, input) }
        });
        let receipts = self.circle.block(sends.as_slice());
        for receipt in receipts {
            assert_eq!(receipt.status(), expected, "at height {height}: {sends:?}");
        }
        let emission = self.circle.world.params.emission.as_ref().expect("the chain emits");
        self.model.pot += units(emission::reward(emission, height).footstones);
        self.compare();
    }

    fn compare(&self) {
        let (circle, model) = (&self.circle, &self.model);
        assert_eq!(units(circle.world.state.balance(FOOTSTONES)), model.holds(), "what the contract holds");
        let finality = circle.finality();
        let justified = model.justified.last().copied();
        assert_eq!((Some(finality.justified), finality.finalised), (justified, model.finalised));
        assert_eq!(finality.enabled, model.enabled());
        for (previous, set) in [(false, &model.current), (true, &model.previous)] {
            let read = circle.ask(&setOfCall { previous });
            let weights = read.weights.iter().map(|weight| units(*weight));
            let read: BTreeMap<Address, u128> = read.members.into_iter().zip(weights).collect();
            assert_eq!(Some(&read), set.as_ref().map(|set| &set.weights).or(Some(&BTreeMap::new())), "the set");
        }
        let candidates: Vec<_> = circle.ask(&candidatesCall {});
        for person in &circle.people {
            let read = circle.ask(&footstoneOfCall { footstone: person.address });
            let known = model.known.get(&person.address).cloned().unwrap_or_default();
            assert_eq!((read.state, units(read.bond), read.freeAt), (known.state, known.bond, known.free_at));
            assert_eq!(read.lastTarget, known.last_target);
            assert_eq!(candidates.contains(&person.address), known.candidate);
        }
        let shares = circle.ask(&checkpointOfCall { checkpoint: model.finalised });
        assert_eq!(units(shares.betAmount), model.bet_amount(model.finalised));
        assert_eq!(units(shares.pot), model.pots.get(&model.finalised).copied().unwrap_or(0));
    }

    fn address(&self, who: usize) -> Address {
        self.circle.people[who].address
    }

    fn bond(&self, who: usize) -> u128 {
        self.model.known.get(&self.address(who)).map_or(0, |known| known.bond)
    }

    /// A bet as it is signed, and as the model sees it.
    fn bring(
        &self,
        who: usize,
        source: u64,
        target: u64,
        part: u16,
        (false_id, forged): (bool, bool),
    ) -> (Signed, Brought) {
        let amount = self.bond(who) * u128::from(part) / 100;
        let id = if false_id { B256::repeat_byte(7) } else { self.circle.checkpoint(target) };
        let source_id = self.circle.checkpoint(source);
        let (bet, signature) = self.circle.bet_on(who, (source, source_id), (target, id), U256::from(amount));
        let wrong =
            self.circle.bet_on((who + 1) % usize::from(PEOPLE), (0, source_id), (target, id), U256::from(amount)).1;
        // A block's id is kept by the block after it.
        let known = |number: u64| number * INTERVAL <= self.circle.world.head.number;
        let brought = Brought {
            who: self.address(who),
            source,
            target,
            known: known(source) && known(target) && !false_id,
            amount,
            signed: !forged,
        };
        ((bet, if forged { wrong } else { signature }), brought)
    }

    fn bets(&mut self, bets: Vec<(Signed, Brought)>) {
        let (signed, brought): (Vec<_>, Vec<_>) = bets.into_iter().unzip();
        let input = call_of(signed).abi_encode();
        self.block(Some((0, input)), U256::ZERO, |model| model.bet(&brought));
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Join { who, bond } => {
                let (of, bond) = (self.address(who), bmm(bond));
                let call = Some((who, joinCall {}.abi_encode()));
                self.block(call, bond, |model| model.join(of, units(bond)));
            }
            Act::TopUp { who, more } => {
                let (of, more) = (self.address(who), bmm(more));
                self.block(Some((who, topUpCall {}.abi_encode())), more, |model| model.top_up(of, units(more)));
            }
            Act::Leave { who } => {
                let of = self.address(who);
                self.block(Some((who, leaveCall {}.abi_encode())), U256::ZERO, |model| model.leave(of));
            }
            Act::Withdraw { who } => {
                let footstone = self.address(who);
                let input = withdrawCall { footstone }.abi_encode();
                self.block(Some((0, input)), U256::ZERO, |model| model.withdraw(footstone));
            }
            Act::Power { who, units } => {
                let of = self.address(who);
                set_power(&mut self.circle.world, of, 0..EPOCHS, units);
                self.model.power.insert(of, units.into());
            }
            Act::Bets { parts, back, from } => {
                let last = self.circle.world.head.number / INTERVAL;
                let target = last.saturating_sub(back);
                let source = self.model.justified.last().map_or(0, |number| number.saturating_sub(from));
                let who = parts.iter().enumerate().filter(|(_, part)| **part > 0);
                let who = who.filter(|(who, _)| self.bond(*who) > 0);
                let bets = who.map(|(who, part)| self.bring(who, source, target, *part, (false, false))).collect();
                self.bets(bets);
            }
            Act::Bet { who, source, target, part, false_id, forged } => {
                let bet = self.bring(who, source, target, part, (false_id, forged));
                self.bets(vec![bet]);
            }
            Act::Slash { who, first, second, other } => {
                let (first, _) = self.bring(who, first.0, first.1, 1, (false, false));
                let (second, _) = self.bring(who, second.0, second.1, 1, (other, false));
                let (of, offends) = (self.address(who), offence(&first.0, &second.0).is_some());
                let call =
                    slashCall { first: first.0, firstSignature: first.1, second: second.0, secondSignature: second.1 };
                let call = Some((0, call.abi_encode()));
                self.block(call, U256::ZERO, |model| model.slash(of, offends).map(drop));
            }
            Act::Report { who, back, part, false_id } => {
                let target = self.model.finalised.saturating_sub(back);
                let ((bet, signature), brought) = self.bring(who, 0, target, part, (false_id, false));
                let input = reportLostCall { bet, signature }.abi_encode();
                self.block(Some((0, input)), U256::ZERO, |model| {
                    if false_id { model.report(brought.who, target, brought.amount) } else { Err(Refused) }
                });
            }
            Act::Take { which } => {
                let reported: Vec<_> = self.model.lost.keys().copied().collect();
                let (target, footstone) = reported.get(which % reported.len().max(1)).copied().unwrap_or_default();
                let input = takeLostCall { footstone, target }.abi_encode();
                self.block(Some((0, input)), U256::ZERO, |model| model.take(footstone, target));
            }
            Act::Reward { who, from, to } => {
                let footstone = self.address(who);
                let input = rewardCall { footstone, from, to }.abi_encode();
                self.block(Some((0, input)), U256::ZERO, |model| model.reward(footstone, from, to).map(drop));
            }
            Act::Pass { blocks } => self.pass(blocks),
            Act::Wait { secs } => self.circle.world.now += secs,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_contract_does_what_the_rules_say(acts in prop::collection::vec(act(), 1..120)) {
        let mut play = Play::new();
        for act in &acts {
            play.act(act);
        }
    }
}

/// A history that is sure to meet what matters, so that the property above is one about something.
#[test]
fn histories_reach_every_rule() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let mut seen = [0; 6];
    for _ in 0..12 {
        let acts = prop::collection::vec(act(), 400).new_tree(&mut runner).expect("a history").current();
        let mut play = Play::new();
        for act in &acts {
            play.act(act);
        }
        for (sum, seen) in seen.iter_mut().zip(play.model.seen) {
            *sum += seen;
        }
    }
    assert!(seen.iter().all(|seen| *seen > 3), "final, leaked, worn out, slashed, lost, rewarded: {seen:?}");
}

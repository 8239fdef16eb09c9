//! At every block of any history the sum of all balances is genesis and emission, to the unit ([`World::block`] weighs).

use crate::testkit::{Person, Send, World, deployer, forwarded, forwarder, short_lived};
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::{SolCall, SolStruct};
use bmm_types::system::{
    JOBS,
    Jobs::{claimCall, openCall, refundCall, settleCall},
    Permit, RESOURCES, TOKEN,
    Token::{approveCall, permitCall, transferCall, transferFromCall},
    Voucher, job_id, jobs_domain, token_domain,
};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Act {
    Transfer { to: usize, amount: u64 },
    Deploy { op: u8, value: u64 },
    Forward { nonce: u64, target: usize, value: u64 },
    FailingCode { code: usize },
    BornAndGone { heir: usize, value: u64 },
    Token { call: u8, other: usize, amount: u64 },
    Permit { spender: usize, nonce: u64 },
    Open { salt: u8, budget: u64, secs: u64 },
    Claim { salt: u8, provider: usize, total: u64 },
    Settle { salt: u8, providers: Vec<(usize, u64)> },
    Refund { salt: u8 },
    ShortOfGas { gas: u64 },
}

const PEOPLE: usize = 3;

/// Addresses that transfers and heirs go to: people, system accounts, the one being created, nobody.
fn place(people: &[Person], index: usize, own: Address) -> Address {
    match index {
        0..PEOPLE => people[index].address,
        3 => RESOURCES,
        4 => JOBS,
        5 => TOKEN,
        6 => own,
        7 => crate::testkit::MINER,
        _ => Address::repeat_byte(0x77),
    }
}

fn act() -> impl Strategy<Value = Act> {
    let (who, amount) = (0..9usize, prop_oneof![Just(0), 0..1_000u64, any::<u64>()]);
    prop_oneof![
        (who.clone(), amount.clone()).prop_map(|(to, amount)| Act::Transfer { to, amount }),
        (prop_oneof![Just(0xf1u8), Just(0xf2), Just(0xf4), Just(0xfa)], amount.clone())
            .prop_map(|(op, value)| Act::Deploy { op, value }),
        (0..4u64, who.clone(), amount.clone()).prop_map(|(nonce, target, value)| Act::Forward { nonce, target, value }),
        (0..4usize).prop_map(|code| Act::FailingCode { code }),
        (who.clone(), amount.clone()).prop_map(|(heir, value)| Act::BornAndGone { heir, value }),
        (0..3u8, who.clone(), amount.clone()).prop_map(|(call, other, amount)| Act::Token { call, other, amount }),
        (0..PEOPLE, 0..2u64).prop_map(|(spender, nonce)| Act::Permit { spender, nonce }),
        (0..3u8, amount.clone(), 1..50u64).prop_map(|(salt, budget, secs)| Act::Open { salt, budget, secs }),
        (0..3u8, who.clone(), amount.clone()).prop_map(|(salt, provider, total)| Act::Claim { salt, provider, total }),
        (0..3u8, prop::collection::vec((who, amount), 0..4))
            .prop_map(|(salt, providers)| Act::Settle { salt, providers }),
        (0..3u8).prop_map(|salt| Act::Refund { salt }),
        (21_000..60_000u64).prop_map(|gas| Act::ShortOfGas { gas }),
    ]
}

fn token_call(people: &[Person], from: Person, call: u8, other: Address, amount: U256) -> Bytes {
    match call {
        0 => transferCall { to: other, value: amount }.abi_encode(),
        1 => approveCall { spender: other, value: amount }.abi_encode(),
        _ => transferFromCall { from: people[0].address, to: from.address, value: amount }.abi_encode(),
    }
    .into()
}

fn permit(world: &World, owner: Person, spender: Address, nonce: u64) -> Bytes {
    let (value, deadline) = (U256::from(1_000), U256::MAX);
    let permit = Permit { owner: owner.address, spender, value, nonce: U256::from(nonce), deadline };
    let signature = owner.sign(permit.eip712_signing_hash(&token_domain(world.params.chain_id)));
    let (v, r, s) = (27 + u8::from(signature.v()), signature.r().into(), signature.s().into());
    permitCall { owner: owner.address, spender, value, deadline, v, r, s }.abi_encode().into()
}

fn claim(world: &World, signer: Person, job: B256, provider: Address, total: U256) -> Bytes {
    let digest = Voucher { job, provider, total }.eip712_signing_hash(&jobs_domain(world.params.chain_id));
    let signature = signer.sign(digest).as_bytes().to_vec().into();
    claimCall { job, provider, total, signature }.abi_encode().into()
}

/// Code that fails: revert, invalid opcode, endless loop, revert in creation after taking coins.
fn failing(code: usize) -> Vec<u8> {
    let bad: &[u8] = match code {
        0 => &[0x5f, 0x5f, 0xfd],
        1 => &[0xfe],
        2 => &[0x5b, 0x5f, 0x56],
        _ => &[0x60, 0x01, 0x5f, 0x55, 0x5f, 0x5f, 0xfd],
    };
    bad.to_vec()
}

fn to_send(world: &World, people: &[Person], from: Person, act: Act) -> Send {
    let own = from.address.create(world.state.account(from.address).nonce);
    let place = |index| place(people, index, own);
    let job = |salt| job_id(world.params.chain_id, from.address, B256::repeat_byte(salt));
    let system = |to, value, input: Bytes| Send::new(from.address, to, value, input);
    let zero = U256::ZERO;
    match act {
        Act::Transfer { to, amount } => system(place(to), U256::from(amount), Bytes::new()),
        Act::Deploy { op, value } => Send::create(from.address, U256::from(value), &deployer(&forwarder(op))),
        Act::Forward { nonce, target, value } => {
            let call = transferCall { to: from.address, value: U256::from(1) }.abi_encode();
            system(from.address.create(nonce), U256::from(value), forwarded(place(target), &call))
        }
        Act::FailingCode { code } => Send::create(from.address, U256::from(5), &failing(code)),
        Act::BornAndGone { heir, value } => Send::create(from.address, U256::from(value), &short_lived(place(heir))),
        Act::Token { call, other, amount } => {
            system(TOKEN, zero, token_call(people, from, call, place(other), U256::from(amount)))
        }
        Act::Permit { spender, nonce } => system(TOKEN, zero, permit(world, from, people[spender].address, nonce)),
        Act::Open { salt, budget, secs } => {
            let open = openCall { salt: B256::repeat_byte(salt), spec: B256::ZERO, deadline: world.now + secs };
            system(JOBS, U256::from(budget), open.abi_encode().into())
        }
        Act::Claim { salt, provider, total } => {
            system(JOBS, zero, claim(world, from, job(salt), place(provider), U256::from(total)))
        }
        Act::Settle { salt, providers } => {
            let mut pairs: Vec<_> = providers.into_iter().map(|(p, t)| (place(p), U256::from(t))).collect();
            pairs.sort();
            pairs.dedup_by_key(|pair| pair.0);
            let (providers, totals) = pairs.into_iter().unzip();
            let settle = settleCall { job: job(salt), root: B256::ZERO, providers, totals };
            system(JOBS, zero, settle.abi_encode().into())
        }
        Act::Refund { salt } => system(JOBS, zero, refundCall { job: job(salt) }.abi_encode().into()),
        Act::ShortOfGas { gas } => Send {
            gas,
            ..system(TOKEN, zero, transferCall { to: Address::repeat_byte(0x55), value: U256::ONE }.abi_encode().into())
        },
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_supply_is_genesis_and_emission(
        blocks in prop::collection::vec((0..100u64, prop::collection::vec((0..PEOPLE, act()), 0..8)), 1..8),
        blocks_per_era in 2u64..6,
    ) {
        let people: Vec<_> = (0..3).map(Person::new).collect();
        let mut world = World::new(&people);
        if let Some(emission) = world.params.emission.as_mut() {
            emission.blocks_per_era = blocks_per_era;
        }
        for (secs, acts) in blocks {
            world.now += secs;
            let sends: Vec<_> = acts.into_iter().map(|(who, act)| to_send(&world, &people, people[who], act)).collect();
            world.block(&sends);
        }
    }
}

/// Coins that a contract takes with it when one transaction creates and destroys it go to the resource pot.
#[test]
fn coins_of_the_short_lived_go_to_the_pot() {
    let person = Person::new(0);
    let mut world = World::new(&[person]);
    let own = person.address.create(0);
    let value = U256::from(123_456_789u64);
    let receipt = world.send(Send::create(person.address, value, &short_lived(own)));
    assert!(receipt.status());
    assert_eq!(world.state.balance(own), U256::ZERO);
    let emission = world.params.emission.as_ref().expect("emits");
    let base_fee = world.head.base_fee_per_gas.expect("has one");
    let fees = U256::from(base_fee) * U256::from(receipt.cumulative_gas_used());
    let expected = crate::emission::reward(emission, 1).resources + fees + value;
    assert_eq!(world.state.balance(RESOURCES), expected);
}

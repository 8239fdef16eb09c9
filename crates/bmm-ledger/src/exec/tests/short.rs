//! Calls under a bound of gas return what they return without one, or nothing.

use crate::{
    diff::{Account, AccountDiff, StateDiff},
    exec::{CallError, CallOutcome, CallRequest, StateRead, call, call_within},
    testkit::{MemState, Person, World},
};
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::SolCall;
use bmm_types::system::{JOBS, Jobs, TOKEN, Token};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestRunner},
};
use revm::{
    DatabaseRef,
    bytecode::opcode as op,
    state::{AccountInfo, Bytecode},
};
use std::{cell::Cell, convert::Infallible, iter};

const CAP: u64 = 300_000;

/// Contracts that call each other.
const CONTRACTS: [Address; 3] = [Address::repeat_byte(0xc0), Address::repeat_byte(0xc1), Address::repeat_byte(0xc2)];

/// A world in which the contracts have these codes.
fn world(codes: &[Vec<u8>]) -> World {
    let mut world = World::new(&[Person::new(0)]);
    let mut diff = StateDiff::default();
    for (address, code) in CONTRACTS.into_iter().zip(codes) {
        let code = Bytes::from(code.clone());
        let after = Account { nonce: 1, balance: U256::from(1_000_000), code_hash: keccak256(&code) };
        let storage = (1..4u64).map(|slot| (U256::from(slot), (U256::ZERO, U256::from(slot * 7)))).collect();
        diff.accounts.insert(address, AccountDiff { after: Some(after), storage, ..AccountDiff::default() });
        diff.code.insert(after.code_hash, code);
    }
    world.state.apply(&diff);
    world
}

fn request(input: impl Into<Bytes>, gas: Option<u64>) -> CallRequest {
    CallRequest { to: Some(CONTRACTS[0]), input: input.into(), gas, ..CallRequest::default() }
}

fn short(world: &World, db: impl StateRead, request: &CallRequest, gas: u64) -> Option<Result<CallOutcome, CallError>> {
    call_within(&world.params, &world.next_header(), db, request, CAP, gas)
}

/// A part of a program.
#[derive(Clone, Debug)]
enum Part {
    Push(u8),
    /// An instruction as it comes, with whatever lies on the stack.
    Plain(u8),
    /// Writes what `GAS` says into memory.
    TellGas(u8),
    /// A call of the kind with this much gas (or all), of this address, with this memory for input and output.
    Call {
        kind: u8,
        gas: Option<u16>,
        to: Address,
        input: (u32, u16),
        output: (u8, u8),
    },
    /// An expensive or far instruction: its offset and length in memory.
    Far {
        kind: u8,
        offset: u32,
        len: u16,
    },
    /// Does the rest so many times.
    Loop(u8),
}

fn part() -> impl Strategy<Value = Part> {
    let plain = prop::sample::select(vec![
        op::ADD,
        op::MUL,
        op::SUB,
        op::DIV,
        op::EXP,
        op::LT,
        op::ISZERO,
        op::NOT,
        op::BYTE,
        op::KECCAK256,
        op::ADDRESS,
        op::BALANCE,
        op::CALLER,
        op::CALLDATALOAD,
        op::CALLDATASIZE,
        op::CODESIZE,
        op::EXTCODESIZE,
        op::EXTCODEHASH,
        op::RETURNDATASIZE,
        op::RETURNDATACOPY,
        op::BLOCKHASH,
        op::TIMESTAMP,
        op::SELFBALANCE,
        op::BASEFEE,
        op::POP,
        op::MLOAD,
        op::MSTORE8,
        op::SLOAD,
        op::SSTORE,
        op::TLOAD,
        op::TSTORE,
        op::PC,
        op::MSIZE,
        op::GAS,
        op::DUP2,
        op::SWAP1,
        op::LOG1,
        op::PUSH0,
        op::MCOPY,
        op::CREATE,
        op::SELFDESTRUCT,
        op::INVALID,
        op::STOP,
        op::REVERT,
    ]);
    let built_in = (1u8..=0x12).prop_map(Address::with_last_byte);
    let to = prop_oneof![
        4 => prop::sample::select(CONTRACTS.to_vec()),
        3 => built_in,
        1 => prop::sample::select(vec![TOKEN, JOBS, Address::with_last_byte(0xee)]),
    ];
    let kind = prop::sample::select(vec![op::CALL, op::STATICCALL, op::DELEGATECALL, op::CALLCODE]);
    let far = prop::sample::select(vec![op::KECCAK256, op::RETURN, op::CALLDATACOPY, op::CODECOPY]);
    let input = prop_oneof![9 => 0..256u32, 1 => 0..200_000u32];
    prop_oneof![
        6 => any::<u8>().prop_map(Part::Push),
        8 => plain.prop_map(Part::Plain),
        3 => (0..8u8).prop_map(Part::TellGas),
        4 => (kind, any::<Option<u16>>(), to, (input, 0..300u16), any::<(u8, u8)>())
            .prop_map(|(kind, gas, to, input, output)| Part::Call { kind, gas, to, input, output }),
        1 => (far, 0..100_000u32, any::<u16>()).prop_map(|(kind, offset, len)| Part::Far { kind, offset, len }),
        1 => (1..40u8).prop_map(Part::Loop),
    ]
}

fn push(code: &mut Vec<u8>, value: u64) {
    code.push(op::PUSH8);
    code.extend(value.to_be_bytes());
}

/// Puts a program together that ends with its first words of memory, the gas that is left among them.
fn program(parts: &[Part]) -> Vec<u8> {
    let mut code = Vec::new();
    let mut loops = Vec::new();
    for part in parts {
        match *part {
            Part::Push(value) => code.extend([op::PUSH1, value]),
            Part::Plain(instruction) => code.push(instruction),
            Part::TellGas(word) => code.extend([op::GAS, op::PUSH1, word * 32, op::MSTORE]),
            Part::Call { kind, gas, to, input, output } => {
                let has_value = matches!(kind, op::CALL | op::CALLCODE);
                for value in [output.1.into(), output.0.into(), input.1.into(), input.0.into()] {
                    push(&mut code, value);
                }
                if has_value {
                    push(&mut code, u64::from(output.0 % 2));
                }
                code.push(op::PUSH20);
                code.extend(to.as_slice());
                match gas {
                    Some(gas) => push(&mut code, gas.into()),
                    None => code.push(op::GAS),
                }
                code.push(kind);
            }
            Part::Far { kind, offset, len } => {
                push(&mut code, len.into());
                if matches!(kind, op::CALLDATACOPY | op::CODECOPY) {
                    push(&mut code, 0);
                }
                push(&mut code, offset.into());
                code.push(kind);
            }
            Part::Loop(times) => {
                // The count lies in memory, where few touch it.
                code.extend([op::PUSH1, times, op::PUSH2, 4, 0, op::MSTORE]);
                loops.push(u16::try_from(code.len()).expect("short"));
                code.push(op::JUMPDEST);
            }
        }
    }
    for start in loops {
        let [high, low] = start.to_be_bytes();
        code.extend([op::PUSH2, 4, 0, op::MLOAD, op::DUP1, op::ISZERO, op::PUSH1, 1, op::ADD, op::POP]);
        code.extend([op::PUSH1, 1, op::SWAP1, op::SUB, op::DUP1, op::PUSH2, 4, 0, op::MSTORE]);
        code.extend([op::PUSH2, high, low, op::JUMPI]);
    }
    code.extend([op::GAS, op::PUSH1, 0, op::MSTORE, op::PUSH2, 1, 0, op::PUSH1, 0, op::RETURN]);
    code
}

#[test]
fn with_every_bound_a_call_returns_the_same_or_nothing() {
    let programs = vec(vec(part(), 0..24), CONTRACTS.len());
    let gas = prop::option::weighted(0.4, 21_000..CAP);
    let strategy = (programs, vec(any::<u8>(), 0..64), gas, any::<[u16; 3]>());
    let mut runner = TestRunner::new(Config { cases: 1_000, ..Config::default() });
    let (told, left, failed) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let count = |cell: &Cell<u32>| cell.set(cell.get() + 1);
    let run = runner.run(&strategy, |(programs, input, gas, budgets)| {
        let world = world(&programs.iter().map(|parts| program(parts)).collect::<Vec<_>>());
        let request = request(input, gas);
        let expected = call(&world.params, &world.next_header(), &world.state, &request, CAP);
        for budget in budgets.into_iter().map(u64::from).chain([0, 20_000, u64::MAX]) {
            match short(&world, &world.state, &request, budget) {
                Some(outcome) => {
                    count(if outcome.is_ok() { &told } else { &failed });
                    prop_assert_eq!(&outcome, &expected, "with {}", budget);
                }
                None => count(&left),
            }
        }
        Ok(())
    });
    run.unwrap_or_else(|error| panic!("{error}"));
    for (what, count) in [("told", told), ("failed", failed), ("left", left)] {
        assert!(count.get() > 200, "{what}: {}", count.get());
    }
}

#[test]
fn views_of_tokens_are_short() {
    let world = world(&[]);
    let holder = Person::new(0).address;
    let inputs = [
        (TOKEN, Token::balanceOfCall { account: holder }.abi_encode()),
        (JOBS, Jobs::refundCall { job: B256::ZERO }.abi_encode()),
    ];
    for (to, input) in inputs {
        let request = CallRequest { to: Some(to), input: input.into(), ..CallRequest::default() };
        let expected = call(&world.params, &world.next_header(), &world.state, &request, CAP);
        assert_eq!(short(&world, &world.state, &request, 50_000), Some(expected));
        assert_eq!(short(&world, &world.state, &request, 100), None);
    }
}

/// A state that counts what is read of it.
struct Counted<'a>(&'a MemState, Cell<u64>);

impl StateRead for Counted<'_> {
    fn has_storage(&self, address: Address) -> Result<bool, Infallible> {
        self.0.has_storage(address)
    }
}

impl DatabaseRef for Counted<'_> {
    type Error = Infallible;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, Infallible> {
        self.1.set(self.1.get() + 1);
        self.0.basic_ref(address)
    }

    fn code_by_hash_ref(&self, hash: B256) -> Result<Bytecode, Infallible> {
        self.0.code_by_hash_ref(hash)
    }

    fn storage_ref(&self, address: Address, slot: U256) -> Result<U256, Infallible> {
        self.1.set(self.1.get() + 1);
        self.0.storage_ref(address, slot)
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, Infallible> {
        self.0.block_hash_ref(number)
    }
}

#[test]
fn nothing_is_read_beyond_the_bound() {
    // Reads one slot after another, or calls one account after another, without an end.
    let reads =
        vec![op::PUSH0, op::JUMPDEST, op::DUP1, op::SLOAD, op::POP, op::PUSH1, 1, op::ADD, op::PUSH1, 1, op::JUMP];
    let calls = {
        let mut code = vec![op::PUSH0, op::JUMPDEST, op::PUSH1, 1, op::ADD];
        code.extend(iter::repeat_n(op::PUSH0, 5));
        code.extend([op::DUP6, op::GAS, op::CALL, op::POP, op::PUSH1, 1, op::JUMP]);
        code
    };
    for code in [reads, calls] {
        let world = world(&[code]);
        let state = Counted(&world.state, Cell::new(0));
        assert_eq!(short(&world, &state, &request([], None), 50_000), None);
        let read = state.1.get();
        assert!((10..40).contains(&read), "{read} reads");
    }
}

#[test]
fn what_is_long_at_once_is_not_begun() {
    let far = |kind| program(&[Part::Far { kind, offset: 200_000, len: 60_000 }]);
    let modexp = {
        // Lengths of 1,024 bytes each, which costs millions of gas.
        let mut code = Vec::new();
        for word in 0..3 {
            code.extend([op::PUSH2, 4, 0, op::PUSH1, word * 32, op::MSTORE]);
        }
        code.extend([op::PUSH1, 0xff, op::PUSH2, 5, 0, op::MSTORE8]);
        code.extend([op::PUSH0, op::PUSH0, op::PUSH2, 12, 96, op::PUSH0, op::PUSH1, 5, op::GAS, op::STATICCALL]);
        code.extend([op::PUSH0, op::MSTORE, op::PUSH1, 32, op::PUSH0, op::RETURN]);
        code
    };
    let creator = vec![op::PUSH0, op::PUSH0, op::PUSH0, op::CREATE];
    for code in [far(op::KECCAK256), far(op::RETURN), far(op::CALLDATACOPY), modexp, creator] {
        let world = world(&[code]);
        assert_eq!(short(&world, &world.state, &request([], None), 50_000), None);
    }
    let world = world(&[vec![op::STOP]]);
    let fits = request([], None);
    assert!(short(&world, &world.state, &fits, 50_000).is_some());
    let created = CallRequest { to: None, ..fits.clone() };
    let long = CallRequest { input: vec![0; 1 << 20].into(), ..fits };
    assert_eq!([created, long].map(|request| short(&world, &world.state, &request, 50_000)), [None, None]);
}

//! Contracts written by hand, and a history that uses them: nested calls of every kind, creations, reverts, logs, destruction.

use super::{
    node::{ECHO, Node, nobody},
    transactions::call_tx,
};
use alloy_consensus::TxEip1559;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use bmm_types::Transaction;

/// The opcodes that call.
pub const CALL: u8 = 0xf1;
pub const DELEGATECALL: u8 = 0xf4;
pub const STATICCALL: u8 = 0xfa;

/// Code that calls on by the opcode `op`: its call data is a word with the target, then the data. CALL passes the value on. A
/// failure of the target is its own.
pub fn forwarder(op: u8) -> Vec<u8> {
    // size = CALLDATASIZE - 32; CALLDATACOPY(0, 32, size); returned data and arguments, target, gas
    let mut code = vec![0x60, 0x20, 0x36, 0x03, 0x80, 0x60, 0x20, 0x5f, 0x37, 0x5f, 0x5f, 0x82, 0x5f];
    if op == CALL {
        code.push(0x34);
    }
    code.extend([0x5f, 0x35, 0x5a, op, 0x3d, 0x5f, 0x5f, 0x3e, 0x60]);
    let jump = u8::try_from(code.len() + 5).expect("short");
    // if success, return what was returned, else revert with it
    code.extend([jump, 0x57, 0x3d, 0x5f, 0xfd, 0x5b, 0x3d, 0x5f, 0xf3]);
    code
}

/// Code that creates by CREATE2 what its call data is the creation code of, with its value, and returns the address.
pub const FACTORY: [u8; 15] =
    [0x36, 0x5f, 0x5f, 0x37, 0x5f, 0x36, 0x5f, 0x34, 0xf5, 0x5f, 0x52, 0x60, 0x20, 0x5f, 0xf3];

/// Creation code that deploys `code`.
pub fn deployer(code: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(code.len()).expect("short").to_be_bytes();
    [&[0x61, high, low, 0x80, 0x60, 0x0a, 0x5f, 0x39, 0x5f, 0xf3], code].concat()
}

/// Code that destroys its contract in favour of `heir`; as creation code it destroys what it creates.
pub fn destroyer(heir: Address) -> Vec<u8> {
    [&[0x73], heir.as_slice(), &[0xff]].concat()
}

/// Data for a [`forwarder`].
pub fn forwarded(target: Address, data: &[u8]) -> Bytes {
    [target.into_word().as_slice(), data].concat().into()
}

/// Signs a call with value.
pub fn call_with_value(node: &Node, to: TxKind, value: u64, input: impl Into<Bytes>) -> Transaction {
    Node::sign(
        &node.key,
        TxEip1559 {
            chain_id: node.chain_id(),
            nonce: node.nonce(),
            gas_limit: 1_000_000,
            max_fee_per_gas: node.price(),
            max_priority_fee_per_gas: 5,
            to,
            value: U256::from(value),
            input: input.into(),
            ..TxEip1559::default()
        },
    )
}

/// Where the contracts of [`Scene::build`] are.
#[derive(Clone, Copy)]
pub struct Scene {
    pub echo: Address,
    pub call: Address,
    pub delegate: Address,
    pub fixed: Address,
    pub factory: Address,
    pub destroyer: Address,
}

impl Scene {
    /// Deploys the contracts, each by `mine`, which must mine the transaction at once.
    pub fn build(node: &Node, mut mine: impl FnMut(&Transaction)) -> Self {
        let mut deploy = |code: &[u8]| {
            let nonce = node.nonce();
            mine(&call_tx(node, TxKind::Create, code.to_vec()));
            node.key.address().create(nonce)
        };
        Self {
            echo: deploy(&ECHO),
            call: deploy(&deployer(&forwarder(CALL))),
            delegate: deploy(&deployer(&forwarder(DELEGATECALL))),
            fixed: deploy(&deployer(&forwarder(STATICCALL))),
            factory: deploy(&deployer(&FACTORY)),
            destroyer: deploy(&deployer(&destroyer(nobody(5)))),
        }
    }

    /// What the transactions of [`Self::play`] are called with: a name, the receiver, the value, the data.
    pub fn acts(&self) -> Vec<(&'static str, TxKind, u64, Bytes)> {
        let word = B256::with_last_byte(7);
        let nested = forwarded(self.delegate, &forwarded(self.echo, word.as_slice()));
        let failing = forwarded(self.fixed, &forwarded(self.echo, word.as_slice()));
        let twice = forwarded(self.call, &forwarded(self.factory, &deployer(&ECHO[10..])));
        vec![
            ("a transfer", TxKind::Call(nobody(3)), 1_000, Bytes::new()),
            ("a log and a slot", TxKind::Call(self.echo), 0, word.0.into()),
            ("a slot that is set already", TxKind::Call(self.echo), 0, B256::with_last_byte(9).0.into()),
            ("a revert", TxKind::Call(self.echo), 0, Bytes::new()),
            ("nested calls", TxKind::Call(self.call), 0, nested),
            ("a write in a static call", TxKind::Call(self.call), 0, failing),
            ("a creation inside a call", TxKind::Call(self.call), 0, twice),
            ("a creation with value", TxKind::Call(self.factory), 50, Bytes::new()),
            ("a contract that does not live long", TxKind::Call(self.factory), 60, destroyer(nobody(4)).into()),
            ("a destruction that only sends", TxKind::Call(self.destroyer), 70, Bytes::new()),
            ("a value through a call", TxKind::Call(self.call), 80, forwarded(nobody(6), &[])),
            ("a precompile", TxKind::Call(self.call), 0, forwarded(Address::with_last_byte(2), &[1, 2, 3])),
            ("a creation that fails", TxKind::Create, 0, Bytes::from_static(&[0x5f, 0x5f, 0xfd])),
            ("an invalid opcode", TxKind::Create, 0, Bytes::from_static(&[0xfe])),
        ]
    }

    /// Sends them one after the other by `mine`, and returns them with their names.
    pub fn play(&self, node: &Node, mut mine: impl FnMut(&Transaction)) -> Vec<(&'static str, Transaction)> {
        let acts = self.acts().into_iter();
        acts.map(|(name, to, value, input)| {
            let tx = call_with_value(node, to, value, input);
            mine(&tx);
            (name, tx)
        })
        .collect()
    }
}

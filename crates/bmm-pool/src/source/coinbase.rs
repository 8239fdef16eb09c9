//! The coinbase transaction of a parent, with a gap for the extra nonces.

use super::tree::COMMITMENT_LEN;
use crate::job::{EXTRANONCE1_LEN, EXTRANONCE2_LEN};
use bmm_pow::auxpow::wire::put_compact;

/// Longest tag of a pool, in bytes: more would not fit into a script of 100.
pub const MAX_TAG_BYTES: usize = 32;

/// Bytes of both extra nonces.
const EXTRA_LEN: u8 = 12;

/// An output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// In base units.
    pub value: u64,
    /// Its script.
    pub script: Vec<u8>,
}

/// What a coinbase holds.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// Height of the parent's block (BIP 34); `None` for a synthetic parent.
    pub height: Option<u64>,
    /// The commitment to merge-mined chains.
    pub commitment: Option<&'a [u8; COMMITMENT_LEN]>,
    /// The pool's name, for those who look at blocks; what is beyond 32 bytes is left out.
    pub tag: &'a [u8],
    /// The outputs.
    pub outputs: &'a [Output],
}

impl Plan<'_> {
    /// Serialises the transaction without witness: what stands before the extra nonces, and what after them.
    pub fn halves(&self) -> (Vec<u8>, Vec<u8>) {
        debug_assert_eq!(EXTRANONCE1_LEN.saturating_add(EXTRANONCE2_LEN), usize::from(EXTRA_LEN));
        let mut script = Vec::with_capacity(100);
        if let Some(height) = self.height {
            push_number(&mut script, height);
        }
        if let Some(commitment) = self.commitment {
            push(&mut script, commitment);
        }
        if !self.tag.is_empty() {
            push(&mut script, self.tag.get(..MAX_TAG_BYTES).unwrap_or(self.tag));
        }
        script.push(EXTRA_LEN);
        let mut head = Vec::with_capacity(160);
        head.extend_from_slice(&1u32.to_le_bytes()); // version
        head.push(1); // inputs
        head.extend_from_slice(&[0; 32]); // no previous output
        head.extend_from_slice(&u32::MAX.to_le_bytes());
        put_compact(&mut head, len(&script).saturating_add(EXTRA_LEN.into()));
        head.extend_from_slice(&script);
        let mut tail = Vec::with_capacity(100);
        tail.extend_from_slice(&u32::MAX.to_le_bytes()); // sequence
        put_compact(&mut tail, len(self.outputs));
        for Output { value, script } in self.outputs {
            tail.extend_from_slice(&value.to_le_bytes());
            put_compact(&mut tail, len(script));
            tail.extend_from_slice(script);
        }
        tail.extend_from_slice(&0u32.to_le_bytes()); // lock time
        (head, tail)
    }
}

fn len<T>(items: &[T]) -> u64 {
    u64::try_from(items.len()).unwrap_or(u64::MAX)
}

/// Appends data of up to 75 bytes as scripts do.
fn push(script: &mut Vec<u8>, data: &[u8]) {
    script.push(u8::try_from(data.len()).unwrap_or(u8::MAX));
    script.extend_from_slice(data);
}

/// Appends a number as Bitcoin's scripts do: an opcode of its own up to 16, else little-endian with room for a sign.
fn push_number(script: &mut Vec<u8>, number: u64) {
    const OP_0: u8 = 0;
    const OP_1: u8 = 0x51;
    let bytes = number.to_le_bytes();
    match number {
        0 => script.push(OP_0),
        1..=16 => script.push(bytes[0].saturating_add(OP_1).saturating_sub(1)),
        _ => {
            let len = bytes.iter().rposition(|byte| *byte != 0).map_or(1, |last| last.saturating_add(1));
            let mut data = bytes.get(..len).unwrap_or(&bytes).to_vec();
            if data.last().is_some_and(|byte| byte & 0x80 != 0) {
                data.push(0);
            }
            push(script, &data);
        }
    }
}

/// Inserts the witness of a coinbase, 32 zeros, which segwit's commitment counts with.
pub fn with_witness(coinbase: &[u8]) -> Vec<u8> {
    let (front, lock_time) = coinbase.split_at(coinbase.len().saturating_sub(4));
    let (version, body) = front.split_at(front.len().min(4));
    [version, &[0, 1], body, &[1, 32], &[0; 32], lock_time].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bmm_pow::auxpow::coinbase::script_sig;

    #[test]
    fn numbers_are_written_as_scripts_have_them() {
        let written = |number| {
            let mut script = Vec::new();
            push_number(&mut script, number);
            script
        };
        assert_eq!(written(0), [0]);
        assert_eq!(written(1), [0x51]);
        assert_eq!(written(16), [0x60]);
        assert_eq!(written(17), [1, 17]);
        assert_eq!(written(127), [1, 127]);
        assert_eq!(written(128), [2, 128, 0]);
        assert_eq!(written(432), [2, 0xb0, 1]);
        assert_eq!(written(2_800_000), [3, 0x80, 0xb9, 0x2a]);
    }

    #[test]
    fn the_longest_script_has_100_bytes_at_most() {
        let plan =
            Plan { height: Some(u64::from(u32::MAX)), commitment: Some(&[7; 44]), tag: &[b'x'; 40], outputs: &[] };
        let (head, tail) = plan.halves();
        let coinbase = [&head[..], &[9; 12], &tail].concat();
        let script = script_sig(&coinbase).expect("a transaction");
        assert!(script.ends_with(&[9; 12]) && script.len() <= 100, "{}", script.len());
    }

    #[test]
    fn a_witness_can_be_left_out_again() {
        let outputs = [Output { value: 5, script: vec![0x51] }, Output { value: 0, script: vec![0x6a; 38] }];
        let (head, tail) = Plan { height: Some(5), commitment: None, tag: b"", outputs: &outputs }.halves();
        let coinbase = [&head[..], &[9; 12], &tail].concat();
        let aux = bmm_types::AuxPow {
            coinbase: with_witness(&coinbase).into(),
            coinbase_branch: Vec::new(),
            chain_branch: Vec::new(),
            chain_index: 0,
            parent_header: [0; 80].into(),
        };
        let read = bmm_pow::auxpow::wire::decode(&bmm_pow::auxpow::wire::encode(&aux)).expect("a proof");
        assert_eq!(read.coinbase, coinbase);
    }
}

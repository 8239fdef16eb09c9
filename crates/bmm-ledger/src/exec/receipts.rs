//! Receipts as they come: their bloom filters, and the root over them.

use super::Receipt;
use alloy_consensus::{EthereumReceipt, ReceiptWithBloom, TxType};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Bloom, BloomInput, Log, keccak256, map::HashMap};
use alloy_trie::{EMPTY_ROOT_HASH, HashBuilder, Nibbles};

/// Hashes kept of addresses and of first topics; few contracts and events make up most of a block's logs.
const MAX_KEPT_HASHES: usize = 1_024;

/// Place of the receipt whose key comes out of order: rlp(0) is 0x80, after those of 1 to 127.
const FIRST_AFTER: usize = 0x80;

/// All that a block's receipts amount to.
#[derive(Debug)]
pub(super) struct Hashed {
    pub(super) receipts: Vec<Receipt>,
    /// Root of the trie from rlp(index) to the receipts' encodings (EIP-2718).
    pub(super) root: B256,
    pub(super) logs_bloom: Bloom,
}

/// The receipts of a block under execution. Each is hashed when it comes, so that another thread can do it meanwhile.
pub(super) struct Receipts {
    all: Vec<Receipt>,
    logs_bloom: Bloom,
    trie: HashBuilder,
    encoded: Vec<u8>,
    hashes: Hashes,
}

/// Hashes of what logs repeat.
#[derive(Default)]
struct Hashes {
    addresses: HashMap<Address, B256>,
    events: HashMap<B256, B256>,
}

impl Hashes {
    fn accrue(&mut self, bloom: &mut Bloom, log: &Log) {
        bloom.accrue(BloomInput::Hash(kept(&mut self.addresses, log.address, keccak256)));
        if let Some((event, arguments)) = log.topics().split_first() {
            bloom.accrue(BloomInput::Hash(kept(&mut self.events, *event, keccak256)));
            for topic in arguments {
                bloom.accrue(BloomInput::Raw(topic.as_slice()));
            }
        }
    }
}

fn kept<K: Copy + Eq + std::hash::Hash>(hashes: &mut HashMap<K, B256>, key: K, hash: impl Fn(K) -> B256) -> B256 {
    if hashes.len() >= MAX_KEPT_HASHES {
        hashes.clear();
    }
    *hashes.entry(key).or_insert_with(|| hash(key))
}

impl Receipts {
    /// Begins a block that may have `capacity` transactions.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            all: Vec::with_capacity(capacity),
            logs_bloom: Bloom::ZERO,
            trie: HashBuilder::default(),
            encoded: Vec::new(),
            hashes: Hashes::default(),
        }
    }

    /// Adds the next transaction's receipt.
    pub(super) fn push(&mut self, bare: EthereumReceipt) {
        let mut bloom = Bloom::ZERO;
        bare.logs.iter().for_each(|log| self.hashes.accrue(&mut bloom, log));
        if !bare.logs.is_empty() {
            self.logs_bloom |= bloom;
        }
        let tx_type = bare.tx_type;
        let receipt = ReceiptWithBloom::new(bare.into(), bloom);
        self.all.push(match tx_type {
            TxType::Legacy => Receipt::Legacy(receipt),
            TxType::Eip2930 => Receipt::Eip2930(receipt),
            TxType::Eip1559 => Receipt::Eip1559(receipt),
            TxType::Eip4844 => Receipt::Eip4844(receipt),
            TxType::Eip7702 => Receipt::Eip7702(receipt),
        });
        let index = self.all.len().saturating_sub(1);
        if index == FIRST_AFTER {
            self.hash(0);
        }
        if index != 0 {
            self.hash(index);
        }
    }

    fn hash(&mut self, index: usize) {
        let Some(receipt) = self.all.get(index) else { return };
        self.encoded.clear();
        receipt.encode_2718(&mut self.encoded);
        self.trie.add_leaf(Nibbles::unpack(alloy_rlp::encode_fixed_size(&index)), &self.encoded);
    }

    /// Ends the block.
    pub(super) fn finish(mut self) -> Hashed {
        if self.all.len() <= FIRST_AFTER {
            self.hash(0);
        }
        let root = if self.all.is_empty() { EMPTY_ROOT_HASH } else { self.trie.root() };
        Hashed { receipts: self.all, root, logs_bloom: self.logs_bloom }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_consensus::{TxReceipt, proofs};
    use alloy_primitives::{Bytes, LogData};
    use proptest::{collection, prelude::*};

    fn receipt() -> impl Strategy<Value = EthereumReceipt> {
        let log = (0u8..4, collection::vec(0u8..6, 0..5)).prop_map(|(address, topics)| Log {
            address: Address::repeat_byte(address),
            data: LogData::new_unchecked(topics.into_iter().map(B256::repeat_byte).collect(), Bytes::new()),
        });
        let types = vec![TxType::Legacy, TxType::Eip2930, TxType::Eip1559, TxType::Eip4844, TxType::Eip7702];
        (prop::sample::select(types), any::<bool>(), any::<u64>(), collection::vec(log, 0..3)).prop_map(
            |(tx_type, success, cumulative_gas_used, logs)| EthereumReceipt {
                tx_type,
                success,
                cumulative_gas_used,
                logs,
            },
        )
    }

    /// The library's way: everything at the end.
    fn check(bare: Vec<EthereumReceipt>) {
        let mut receipts = Receipts::new(0);
        for one in &bare {
            receipts.push(one.clone());
        }
        let expected: Vec<Receipt> = bare.into_iter().map(Receipt::from).collect();
        let hashed = receipts.finish();
        assert_eq!(hashed.root, proofs::calculate_receipt_root(&expected));
        assert_eq!(hashed.logs_bloom, expected.iter().fold(Bloom::ZERO, |all, one| all | one.bloom()));
        assert_eq!(hashed.receipts, expected);
    }

    proptest! {
        #[test]
        fn hashing_as_they_come_is_hashing_at_the_end(bare in collection::vec(receipt(), 0..300)) {
            check(bare);
        }
    }

    #[test]
    fn every_length_near_the_borders_of_rlp() {
        let one = EthereumReceipt { tx_type: TxType::Eip1559, success: true, cumulative_gas_used: 1, logs: Vec::new() };
        for length in [0, 1, 2, 127, 128, 129, 130, 255, 256, 257, 258] {
            check(vec![one.clone(); length]);
        }
    }
}

//! A private chain that grows in this process, with real work, so that tests have files and nodes to take it from.

use crate::run::Bmm;
use alloy_consensus::{SignableTransaction, TxEip1559};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use bmm_chain::{Chain, ChainOptions, ChainWriter, ManualClock, TemplateRequest};
use bmm_pow::{MiningJob, Throttle, mine};
use bmm_types::{ChainParams, Seal, SealedBlock, Transaction};
use std::{
    ops::RangeInclusive,
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::{SystemTime, UNIX_EPOCH},
};

pub struct Grown {
    pub chain: Arc<Chain>,
    pub key: PrivateKeySigner,
    clock: Arc<ManualClock>,
    params: ChainParams,
    nonce: u64,
}

impl Grown {
    /// A chain of `blocks` blocks with `transfers` to new accounts in each.
    pub fn new(blocks: u64, transfers: u64) -> Self {
        let key = PrivateKeySigner::from_bytes(&B256::repeat_byte(0x42)).expect("a key");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let begun = now - 100_000;
        let params = ChainParams::dev(key.address(), begun);
        let clock = Arc::new(ManualClock::new(begun + 1));
        let chain = Chain::in_memory(params.clone(), clock.clone(), ChainOptions::default()).expect("a chain");
        let mut grown = Self { chain, key, clock, params, nonce: 0 };
        grown.grow(blocks, transfers);
        grown
    }

    /// Adds blocks.
    pub fn grow(&mut self, blocks: u64, transfers: u64) {
        for _ in 0..blocks {
            self.clock.advance(1);
            for _ in 0..transfers {
                self.transfer();
            }
            self.chain.import(&self.next()).expect("a valid block");
        }
    }

    /// The next block, with its proof of work.
    pub fn next(&self) -> SealedBlock {
        let request = TemplateRequest { beneficiary: self.key.address(), ..TemplateRequest::default() };
        let sign = |hash| self.key.sign_hash_sync(&hash).expect("a local key signs");
        let template = self.chain.template(&request, &sign).expect("a template");
        let job = MiningJob { block_id: template.id, target: template.target, time: 0, extra_nonce: 0 };
        let proof = mine(&job, &(0..=u32::MAX), &AtomicBool::new(false), Throttle::NONE).expect("not stopped");
        SealedBlock { block: template.block, seal: Seal::AuxPow(Box::new(proof)) }
    }

    fn transfer(&mut self) {
        let transaction = transfer(&self.key, self.params.chain_id, self.nonce);
        self.nonce += 1;
        self.chain.submit(transaction).expect("a valid transaction");
    }

    /// Writes the chain's parameters beside a data folder.
    pub fn genesis(&self, bmm: &Bmm) -> PathBuf {
        bmm.file("genesis.toml", &toml::to_string(&self.params).expect("plain values"))
    }

    /// Blocks of the chain as a file.
    pub fn bytes(&self, numbers: RangeInclusive<u64>) -> Vec<u8> {
        let mut writer = ChainWriter::new(Vec::new(), self.chain.genesis()).expect("memory");
        for number in numbers {
            let block = self.chain.sealed_block(number).expect("readable").expect("stored");
            writer.append(&block).expect("memory");
        }
        writer.finish().expect("memory")
    }

    /// The head as commands tell it: number and id.
    pub fn head(&self) -> (u64, B256) {
        let head = self.chain.head();
        (head.number(), head.id)
    }
}

/// A transfer of one BMM to an account of its own.
fn transfer(key: &PrivateKeySigner, chain_id: u64, nonce: u64) -> Transaction {
    let tx = TxEip1559 {
        chain_id,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: 100_000_000_000,
        max_priority_fee_per_gas: 1_000_000_000,
        to: TxKind::Call(Address::from_word(keccak256(nonce.to_be_bytes()))),
        value: U256::from(1_000_000_000_000_000_000u64),
        ..TxEip1559::default()
    };
    let signature = key.sign_hash_sync(&tx.signature_hash()).expect("a local key signs");
    tx.into_signed(signature).into()
}

/// The same, encoded.
pub fn raw_transfer(key: &PrivateKeySigner, chain_id: u64, nonce: u64) -> Bytes {
    transfer(key, chain_id, nonce).encoded_2718().into()
}

//! A chain in memory for tests: every block is built, checked, executed a second time as a stranger's, and weighed.

pub(crate) mod circle;

use crate::{
    diff::{Account, StateDiff},
    emission,
    exec::{
        self, BlockBuilder, BlockPlan, CallError, CallOutcome, CallRequest, StateRead, TxError, TxOutcome,
        execute_block, header,
    },
    genesis,
    store::Receipt,
};
use alloy_consensus::{SignableTransaction, TxEip1559, crypto::secp256k1};
use alloy_eips::eip2930::AccessList;
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256, keccak256};
use bmm_pow::{AuxTree, ProofBook, SyntheticParent, hash_ahead, scrypt_hash};
use bmm_types::{
    Amount, Block, ChainParams, Header, Transaction,
    market::{self, merkle_proof, merkle_root, receipt_hash, result_leaf},
    params::{Allocation, JobRules},
    system::{self, RESOURCE_AUX_CHAIN_ID, Testimony},
};
use revm::{
    DatabaseRef,
    state::{AccountInfo, Bytecode},
};
use std::{collections::BTreeMap, convert::Infallible};

/// Gas limit of a test's transactions.
pub(crate) const GAS: u64 = 1_000_000;

/// The one that gets the blocks' rewards in tests.
pub(crate) const MINER: Address = Address::repeat_byte(0xbb);

/// A state as plain maps.
#[derive(Clone, Default)]
pub(crate) struct MemState {
    accounts: BTreeMap<Address, Account>,
    storage: BTreeMap<(Address, U256), U256>,
    code: BTreeMap<B256, Bytes>,
}

impl MemState {
    /// Applies a diff, holding it to its word on what was there before.
    pub(crate) fn apply(&mut self, diff: &StateDiff) {
        self.code.extend(diff.code.clone());
        for (&address, change) in &diff.accounts {
            assert_eq!(self.accounts.get(&address), change.before.as_ref(), "before of {address}");
            match change.after {
                Some(after) => {
                    assert!(!after.is_empty(), "{address} is kept though empty");
                    assert!(
                        after.code_hash == Account::default().code_hash || self.code.contains_key(&after.code_hash)
                    );
                    self.accounts.insert(address, after);
                }
                None => drop(self.accounts.remove(&address)),
            }
            for (&slot, &(before, after)) in &change.storage {
                assert_ne!(before, after);
                let old = self.storage.insert((address, slot), after).unwrap_or_default();
                assert_eq!(old, before, "slot {slot} of {address}");
            }
        }
    }

    pub(crate) fn account(&self, address: Address) -> Account {
        self.accounts.get(&address).copied().unwrap_or_default()
    }

    pub(crate) fn balance(&self, address: Address) -> U256 {
        self.account(address).balance
    }

    /// Makes a system account one that can send transactions, to stand for what acts in its name.
    pub(crate) fn strip_code(&mut self, address: Address) {
        let account = self.accounts.entry(address).or_default();
        *account = Account { balance: account.balance, nonce: account.nonce, ..Account::default() };
    }

    pub(crate) fn slot(&self, address: Address, slot: U256) -> U256 {
        self.storage.get(&(address, slot)).copied().unwrap_or_default()
    }

    /// Writes a slot, to stand for what would take many blocks.
    pub(crate) fn set_slot(&mut self, address: Address, slot: U256, value: U256) {
        self.storage.insert((address, slot), value);
    }

    /// Returns the sum of all balances.
    pub(crate) fn supply(&self) -> U256 {
        self.accounts.values().map(|a| a.balance).sum()
    }
}

impl StateRead for MemState {
    fn has_storage(&self, address: Address) -> Result<bool, Infallible> {
        Ok(self.storage.range((address, U256::ZERO)..).next().is_some_and(|((owner, _), _)| *owner == address))
    }
}

impl DatabaseRef for MemState {
    type Error = Infallible;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, Infallible> {
        Ok(self.accounts.get(&address).map(|a| AccountInfo {
            balance: a.balance,
            nonce: a.nonce,
            code_hash: a.code_hash,
            code: None,
            account_id: None,
        }))
    }

    fn code_by_hash_ref(&self, hash: B256) -> Result<Bytecode, Infallible> {
        Ok(Bytecode::new_raw(self.code.get(&hash).expect("asked for code that an account has").clone()))
    }

    fn storage_ref(&self, address: Address, slot: U256) -> Result<U256, Infallible> {
        Ok(self.slot(address, slot))
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, Infallible> {
        Ok(keccak256(number.to_be_bytes()))
    }
}

/// A key and its account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Person {
    secret: B256,
    pub(crate) address: Address,
}

impl Person {
    /// The person number `n`.
    pub(crate) fn new(n: u8) -> Self {
        let secret = B256::with_last_byte(n.checked_add(1).expect("few people"));
        let signature = secp256k1::sign_message(secret, B256::ZERO).expect("a good key");
        Self { secret, address: secp256k1::recover_signer(&signature, B256::ZERO).expect("its own signature") }
    }

    pub(crate) fn sign(&self, digest: B256) -> Signature {
        secp256k1::sign_message(self.secret, digest).expect("a good key")
    }
}

/// Makes a testimony: `person` signs a batch in which its result of `task` stands between others.
pub(crate) fn testimony(chain_id: u64, person: Person, job: B256, task: u64, fuel: u64, output: u8) -> Testimony {
    let rows = [
        (task.wrapping_sub(1), 5, B256::repeat_byte(9)),
        (task, fuel, B256::repeat_byte(output)),
        (task + 1, 5, B256::ZERO),
    ];
    let leaves = rows.map(|(task, fuel, output)| result_leaf(person.address, task, fuel, output));
    let root = merkle_root(&leaves);
    let receipt =
        market::Receipt { job, provider: person.address, lease: 3, batch: 4, tasks: 3, fuel: fuel + 10, results: root };
    Testimony {
        provider: person.address,
        lease: 3,
        batch: 4,
        tasks: 3,
        batchFuel: fuel + 10,
        root,
        signature: person.sign(receipt_hash(chain_id, &receipt)).as_bytes().to_vec().into(),
        fuel,
        output: B256::repeat_byte(output),
        proof: merkle_proof(&leaves, 1).expect("a leaf"),
    }
}

/// Does `hashes` hashes of work for `leaf` and returns the `count` smallest, each with its proof.
pub(crate) fn work(leaf: B256, count: usize, hashes: u32) -> ProofBook {
    let tree = AuxTree::new(&[(0x0BB3, B256::ZERO), (RESOURCE_AUX_CHAIN_ID, leaf)]).expect("two chains");
    let parent = SyntheticParent::of_tree(&tree, 1, 1_900_000_000);
    let headers: Vec<_> = (0..hashes).map(|nonce| parent.header(nonce)).collect();
    hash_ahead(&headers);
    let mut book = ProofBook::new(leaf, count);
    for (nonce, header) in (0..).zip(&headers) {
        let hash = U256::from_le_bytes(scrypt_hash(header));
        book.note(hash, || parent.assemble_leaf(1, nonce).expect("the second leaf"));
    }
    book
}

/// A transaction to be.
#[derive(Clone, Debug)]
pub(crate) struct Send {
    pub(crate) from: Address,
    /// A contract creation if absent.
    pub(crate) to: Option<Address>,
    pub(crate) value: U256,
    pub(crate) input: Bytes,
    pub(crate) gas: u64,
}

impl Send {
    pub(crate) fn new(from: Address, to: Address, value: U256, input: impl Into<Bytes>) -> Self {
        Self { from, to: Some(to), value, input: input.into(), gas: GAS }
    }

    pub(crate) fn create(from: Address, value: U256, code: &[u8]) -> Self {
        Self { from, to: None, value, input: code.to_vec().into(), gas: GAS }
    }

    /// Makes the transaction; nobody checks its signature, as senders are given beside it.
    pub(crate) fn transaction(&self, chain_id: u64, nonce: u64) -> Transaction {
        let tx = TxEip1559 {
            chain_id,
            nonce,
            gas_limit: self.gas,
            max_fee_per_gas: 20_000_000_000,
            max_priority_fee_per_gas: 1_000_000_000,
            to: self.to.map_or(TxKind::Create, TxKind::Call),
            value: self.value,
            access_list: AccessList::default(),
            input: self.input.clone(),
        };
        tx.into_signed(Signature::test_signature()).into()
    }
}

/// A chain in memory.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) params: ChainParams,
    pub(crate) state: MemState,
    pub(crate) head: Header,
    /// Time of the next block.
    pub(crate) now: u64,
}

impl World {
    /// A development chain where every one of `people` has a million BMM.
    pub(crate) fn new(people: &[Person]) -> Self {
        let mut params = ChainParams::dev(system::AIRDROP, 1_000_000);
        params.jobs = Some(JobRules { max_duration_secs: 1_000, claim_secs: 60, challenge_secs: 2, fee_bps: 100 });
        let balance = Amount::from_bmm(1_000_000);
        params.alloc.extend(people.iter().map(|p| Allocation { address: p.address, balance }));
        Self::with_params(params)
    }

    pub(crate) fn with_params(params: ChainParams) -> Self {
        let mut state = MemState::default();
        state.apply(&genesis::genesis_diff(&params));
        let head = genesis::genesis_block(&params, B256::ZERO).header;
        let now = head.timestamp + 10;
        Self { params, state, head, now }
    }

    fn plan(&self) -> BlockPlan {
        BlockPlan {
            beneficiary: MINER,
            timestamp: self.now,
            mix_hash: B256::repeat_byte(9),
            gas_limit: self.params.gas_limit,
            extra_data: Bytes::new(),
        }
    }

    /// Makes a block of those transactions that can be in one; `None` stands for those that cannot.
    pub(crate) fn block(&mut self, sends: &[Send]) -> Vec<Result<Receipt, TxError>> {
        let mut builder = BlockBuilder::begin(&self.params, &self.head, self.plan(), &self.state).expect("readable");
        let mut nonces = BTreeMap::new();
        let (mut senders, mut outcomes) = (Vec::new(), Vec::new());
        for send in sends {
            let nonce = nonces.entry(send.from).or_insert(self.state.account(send.from).nonce);
            let tx = send.transaction(self.params.chain_id, *nonce);
            outcomes.push(match builder.try_add(&tx, send.from).expect("readable") {
                TxOutcome::Included { .. } => {
                    *nonce += 1;
                    senders.push(send.from);
                    Ok(())
                }
                TxOutcome::Skipped(error) => Err(error),
            });
        }
        let built = builder.finish().expect("readable");
        let block = Block { header: built.header, body: built.body };
        header::check_header(&self.params, &self.head, &block.header).expect("a built header keeps the rules");
        header::check_body(&self.params, &block).expect("a built body is its header's");
        let executed = execute_block(&self.params, &block, &senders, &self.state).expect("a built block is valid");
        assert_eq!(executed.diff, built.executed.diff);
        self.state.apply(&executed.diff);
        self.head = block.header;
        self.now += 1;
        self.weigh();
        let mut receipts = executed.receipts.into_iter();
        outcomes.into_iter().map(|outcome| outcome.map(|()| receipts.next().expect("one each"))).collect()
    }

    /// The sum of all balances is what genesis and emission brought, to the unit.
    fn weigh(&self) {
        let emission = self.params.emission.as_ref().expect("the chain emits");
        let expected = self.params.genesis_supply().units() + emission::emitted(emission, self.head.number);
        assert_eq!(self.state.supply(), expected, "supply at height {}", self.head.number);
    }

    /// Sends one transaction in a block of its own; it must be in it.
    pub(crate) fn send(&mut self, send: Send) -> Receipt {
        self.block(&[send]).remove(0).expect("a transaction that can be in a block")
    }

    /// Calls `to` in the next block's environment and keeps nothing.
    pub(crate) fn call(
        &self,
        from: Address,
        to: Address,
        value: U256,
        input: impl Into<Bytes>,
    ) -> Result<CallOutcome, CallError> {
        let request =
            CallRequest { from: Some(from), to: Some(to), value, input: input.into(), ..CallRequest::default() };
        exec::call(&self.params, &self.next_header(), &self.state, &request, 30_000_000)
    }

    /// Environment of the next block.
    pub(crate) fn next_header(&self) -> Header {
        Header {
            number: self.head.number + 1,
            timestamp: self.now,
            beneficiary: MINER,
            base_fee_per_gas: Some(header::next_base_fee(&self.head)),
            ..self.head.clone()
        }
    }

    /// Returns the revert data of a call that must revert.
    pub(crate) fn revert_of(&self, from: Address, to: Address, value: U256, input: impl Into<Bytes>) -> Bytes {
        match self.call(from, to, value, input) {
            Err(CallError::Revert { data, .. }) => data,
            other => panic!("should revert, was {other:?}"),
        }
    }
}

/// Code that forwards a call by the opcode `op`: a word with the target, then the data. CALL and CALLCODE pass their value on.
pub(crate) fn forwarder(op: u8) -> Vec<u8> {
    let with_value = matches!(op, 0xf1 | 0xf2);
    // size = CALLDATASIZE - 32; CALLDATACOPY(0, 32, size); returned data and arguments, target, gas
    let mut code = vec![0x60, 0x20, 0x36, 0x03, 0x80, 0x60, 0x20, 0x5f, 0x37, 0x5f, 0x5f, 0x82, 0x5f];
    if with_value {
        code.push(0x34);
    }
    code.extend([0x5f, 0x35, 0x5a, op, 0x3d, 0x5f, 0x5f, 0x3e, 0x60]);
    let jump = u8::try_from(code.len() + 5).expect("short");
    // if success, return what was returned, else revert with it
    code.extend([jump, 0x57, 0x3d, 0x5f, 0xfd, 0x5b, 0x3d, 0x5f, 0xf3]);
    code
}

/// Creation code that deploys `code`.
pub(crate) fn deployer(code: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(code.len()).expect("short").to_be_bytes();
    [&[0x61, high, low, 0x80, 0x60, 0x0a, 0x5f, 0x39, 0x5f, 0xf3], code].concat()
}

/// Data for a [`forwarder`].
pub(crate) fn forwarded(target: Address, data: &[u8]) -> Bytes {
    [target.into_word().as_slice(), data].concat().into()
}

/// Creation code that destroys its own contract in favour of `heir`.
pub(crate) fn short_lived(heir: Address) -> Vec<u8> {
    [&[0x73], heir.as_slice(), &[0xff]].concat()
}

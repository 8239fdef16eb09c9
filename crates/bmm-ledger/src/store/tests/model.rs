//! A model beside the store: plain maps for the state after every block, and the reference roots over them.

use super::super::*;
use crate::diff::{Account, AccountDiff, StateDiff};
use alloy_consensus::{EthereumTxEnvelope, Receipt as Fields, SignableTransaction, TxLegacy, proofs};
use alloy_primitives::{Address, Bytes, Signature, TxKind, U256, keccak256};
use alloy_trie::{TrieAccount, root};
use bmm_types::{Block, BlockBody, Header, Seal, SealedBlock};
use proptest::{collection, prelude::*};
use revm::database_interface::DatabaseRef;
use std::collections::BTreeMap;

pub(super) const PARAMS: B256 = B256::repeat_byte(0xaa);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) accounts: BTreeMap<Address, Account>,
    pub(super) storage: BTreeMap<(Address, U256), U256>,
}

/// One step of a block: what happens to an account and to a few of its slots.
#[derive(Clone, Debug)]
pub(super) struct Touch {
    pub(super) who: u8,
    pub(super) nonce: u64,
    pub(super) code: bool,
    pub(super) remove: bool,
    pub(super) name_slots: bool,
    pub(super) slots: Vec<(u8, u8)>,
}

impl Model {
    fn slots_of(&self, address: Address) -> impl Iterator<Item = (U256, U256)> + '_ {
        self.storage.range((address, U256::ZERO)..=(address, U256::MAX)).map(|(key, value)| (key.1, *value))
    }

    fn root(&self) -> B256 {
        root::state_root_unhashed(self.accounts.iter().map(|(address, account)| {
            let slots = self.slots_of(*address).map(|(slot, value)| (slot.into(), value));
            let storage_root = root::storage_root_unhashed(slots);
            (*address, TrieAccount::new(account.nonce, account.balance, storage_root, account.code_hash))
        }))
    }

    /// Applies touches and returns the diff, as an executor would.
    fn apply(&mut self, touches: &[Touch]) -> StateDiff {
        let before = self.clone();
        let mut diff = StateDiff::default();
        for touch in touches {
            let address = Address::repeat_byte(touch.who);
            let entry = diff.accounts.entry(address).or_default();
            if touch.remove {
                self.accounts.remove(&address);
                let gone: Vec<_> = self.slots_of(address).map(|(slot, _)| slot).collect();
                for slot in gone {
                    self.storage.remove(&(address, slot));
                    if touch.name_slots {
                        entry.storage.entry(slot).or_default();
                    }
                }
                continue;
            }
            let account = self.accounts.entry(address).or_default();
            account.nonce = touch.nonce;
            account.balance += U256::from(touch.nonce) << 70;
            if touch.code {
                let code = Bytes::from(vec![0x5b, touch.who]);
                account.code_hash = keccak256(&code);
                diff.code.insert(account.code_hash, code);
            }
            for &(slot, value) in &touch.slots {
                let slot = U256::from(slot);
                entry.storage.entry(slot).or_default();
                match value {
                    0 => self.storage.remove(&(address, slot)),
                    value => self.storage.insert((address, slot), U256::from(value)),
                };
            }
        }
        for (address, entry) in &mut diff.accounts {
            entry.before = before.accounts.get(address).copied();
            entry.after = self.accounts.get(address).copied();
            for (slot, change) in &mut entry.storage {
                let value = |model: &Self| model.storage.get(&(*address, *slot)).copied().unwrap_or_default();
                *change = (value(&before), value(self));
            }
            // An account that went and came back within the block would need its unnamed slots named.
            if let (Some(_), Some(_)) = (entry.before, entry.after) {
                for (slot, value) in before.slots_of(*address) {
                    let after = self.storage.get(&(*address, slot)).copied().unwrap_or_default();
                    if after != value {
                        entry.storage.insert(slot, (value, after));
                    }
                }
            }
        }
        diff
    }

    pub(super) fn assert_same_as(&self, view: &StateView) {
        let mut seen = BTreeMap::new();
        view.for_each_account(|owner, account| assert!(seen.insert(owner, account).is_none())).expect("a sound store");
        let wanted: BTreeMap<_, _> =
            self.accounts.iter().map(|(address, account)| (keccak256(address), *account)).collect();
        assert_eq!(seen, wanted);
        self.assert_reads_same(view);
    }

    /// Compares reads alone, for views that cannot list accounts.
    pub(super) fn assert_reads_same(&self, view: &StateView) {
        for who in 0..8 {
            let address = Address::repeat_byte(who);
            assert_eq!(view.account(address).expect("a sound store"), self.accounts.get(&address).copied());
            for slot in (0..8).map(U256::from) {
                let wanted = self.storage.get(&(address, slot)).copied().unwrap_or_default();
                assert_eq!(view.storage(address, slot).expect("a sound store"), wanted);
            }
        }
    }
}

pub(super) fn touch() -> impl Strategy<Value = Touch> {
    let slots = collection::vec((0u8..8, 0u8..4), 0..5);
    (0u8..8, 0u64..5, any::<bool>(), prop::bool::weighted(0.2), any::<bool>(), slots)
        .prop_map(|(who, nonce, code, remove, name_slots, slots)| Touch { who, nonce, code, remove, name_slots, slots })
}

pub(super) fn transaction(nonce: u64) -> bmm_types::Transaction {
    let fields = TxLegacy { nonce, to: TxKind::Call(Address::ZERO), ..TxLegacy::default() };
    EthereumTxEnvelope::Legacy(fields.into_signed(Signature::test_signature()))
}

pub(super) fn block(
    parent: B256,
    number: u64,
    state_root: B256,
    transactions: Vec<bmm_types::Transaction>,
) -> SealedBlock {
    let receipts: Vec<_> = transactions.iter().map(|_| receipt(number)).collect();
    let header = Header {
        parent_hash: parent,
        number,
        state_root,
        transactions_root: proofs::calculate_transaction_root(&transactions),
        receipts_root: proofs::calculate_receipt_root(&receipts),
        ..Header::default()
    };
    let body = BlockBody { transactions, ..BlockBody::default() };
    SealedBlock { block: Block { header, body }, seal: Seal::None }
}

pub(super) fn receipt(gas: u64) -> Receipt {
    Receipt::Legacy(Fields { status: true.into(), cumulative_gas_used: gas, logs: vec![] }.with_bloom())
}

/// The model's whole history beside the store.
pub(super) struct Chain {
    pub(super) store: Store,
    pub(super) blocks: Vec<SealedBlock>,
    pub(super) states: Vec<Model>,
}

impl Chain {
    pub(super) fn new(store: Store) -> Self {
        let mut model = Model::default();
        let alloc = model.apply(&[Touch {
            who: 1,
            nonce: 3,
            code: true,
            remove: false,
            name_slots: false,
            slots: vec![(1, 1), (2, 3)],
        }]);
        let genesis = block(B256::ZERO, 0, model.root(), vec![]);
        store.init(&genesis, alloc).expect("a fitting genesis");
        Self { store, blocks: vec![genesis], states: vec![model] }
    }

    pub(super) fn tip(&self) -> (&SealedBlock, &Model) {
        (self.blocks.last().expect("genesis stays"), self.states.last().expect("genesis stays"))
    }

    /// The next block and the model after it, not committed.
    pub(super) fn next(&self, touches: &[Touch]) -> (Staged, SealedBlock, Model) {
        let (parent, model) = self.tip();
        let mut model = model.clone();
        let diff = model.apply(touches);
        let staged = self.store.stage(parent.id(), diff).expect("a fitting diff");
        assert_eq!(staged.root(), model.root());
        let number = u64::try_from(self.blocks.len()).expect("short histories");
        let block = block(parent.id(), number, staged.root(), vec![transaction(number)]);
        (staged, block, model)
    }

    pub(super) fn commit(&mut self, touches: &[Touch]) {
        let (staged, block, model) = self.next(touches);
        let number = block.block.header.number;
        self.store.commit(staged, &block, &[receipt(number)], U256::from(number)).expect("a fitting block");
        self.blocks.push(block);
        self.states.push(model);
    }

    pub(super) fn rewind(&mut self) {
        if self.blocks.len() < 2 {
            return;
        }
        let gone = self.blocks.pop().expect("two at least");
        self.states.pop();
        let head = self.store.rewind(gone.id()).expect("the head can go");
        assert_eq!(head.id, self.tip().0.id());
        assert_eq!(self.store.receipts(gone.id()).expect("a sound store"), None);
        assert_eq!(self.store.diff(gone.id()).expect("a sound store"), None);
        assert_eq!(self.store.block(gone.id()).expect("a sound store"), Some(gone));
    }

    /// Everything that can be asked, against the model; the trie's tables against a trie built anew.
    pub(super) fn check(&self) {
        let (block, model) = self.tip();
        let head = self.store.head().expect("there is genesis");
        assert_eq!((head.id, head.number), (block.id(), block.block.header.number));
        model.assert_same_as(&self.store.view().expect("there is a head"));
        for (block, model) in self.blocks.iter().zip(&self.states) {
            let view = self.store.view_at(block.id()).expect("not too deep");
            model.assert_same_as(&view);
            let number = block.block.header.number;
            assert_eq!(view.block(), Head { number, id: block.id() });
            assert_eq!(view.block_hash_ref(number).expect("a sound store"), block.id());
            assert_eq!(view.block_hash_ref(number + 1).expect("a sound store"), B256::ZERO);
            assert_eq!(self.store.canonical(number).expect("a sound store"), Some(block.id()));
            for (transaction, index) in block.block.body.transactions.iter().zip(0..) {
                let place = self.store.transaction_place(*transaction.hash()).expect("a sound store");
                assert_eq!(place, Some(TransactionPlace { block: block.id(), index }));
            }
        }
        let next = head.number + 1;
        assert_eq!(self.store.canonical(next).expect("a sound store"), None);
    }

    /// The state at the head, against the model.
    pub(super) fn check_head(&self) {
        self.tip().1.assert_same_as(&self.store.view().expect("there is a head"));
    }

    /// The tables as they are after a flush, against those of a store that was begun with this state; the tries' nodes above all.
    pub(super) fn check_tables(&self) {
        let (_, model) = self.tip();
        let fresh = Store::in_memory(PARAMS).expect("memory");
        let mut diff = StateDiff::default();
        for (address, account) in &model.accounts {
            let storage = model.slots_of(*address).map(|(slot, value)| (slot, (U256::ZERO, value))).collect();
            let entry = AccountDiff { after: Some(*account), storage, ..AccountDiff::default() };
            diff.accounts.insert(*address, entry);
        }
        let genesis = block(B256::ZERO, 0, model.root(), vec![]);
        fresh.init(&genesis, diff).expect("a fitting genesis");
        self.store.flush().expect("room");
        fresh.flush().expect("room");
        for table in [tables::ACCOUNTS, tables::STORAGE, tables::ACCOUNT_TRIE, tables::STORAGE_TRIE] {
            assert_eq!(dump(&self.store, table), dump(&fresh, table));
        }
    }
}

fn dump(store: &Store, table: tables::Table) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut entries = Vec::new();
    let each = |key: &[u8], value: &[u8]| {
        entries.push((key.to_vec(), value.to_vec()));
        Ok(true)
    };
    store.snapshot().scan(table, &[], each).expect("a sound store");
    entries
}

//! How far back one can look: pruned stores and archives.

use super::{
    super::*,
    model::{self, Chain, PARAMS},
    touch,
};
use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_trie::{EMPTY_ROOT_HASH, Nibbles, TrieAccount, proof::verify_proof};
use proptest::{collection, prelude::*};

fn store(history: History) -> Store {
    Store::in_memory_with(PARAMS, StoreOptions { history, ..StoreOptions::default() }).expect("memory")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn an_archive_reads_every_state(
        blocks in collection::vec(collection::vec(touch(), 0..5), 20..60),
        rewound in 0usize..12,
        more in collection::vec(collection::vec(touch(), 0..5), 0..12),
    ) {
        let mut chain = Chain::new(store(History::Archive));
        for touches in &blocks {
            chain.commit(touches);
        }
        (0..rewound).for_each(|_| chain.rewind());
        for touches in &more {
            chain.commit(touches);
        }
        for flushed in [false, true] {
            if flushed {
                chain.store.flush().expect("memory");
            }
            for (block, model) in chain.blocks.iter().zip(&chain.states) {
                let view = chain.store.view_at(block.id()).expect("in the archive");
                model.assert_reads_same(&view);
            }
        }
    }

    #[test]
    fn a_pruned_store_goes_back_as_far_as_it_keeps(blocks in collection::vec(collection::vec(touch(), 0..5), 6..40)) {
        const KEPT: u64 = 5;
        let mut chain = Chain::new(store(History::Last(KEPT)));
        for touches in &blocks {
            let parent = chain.tip().0.id();
            let side = super::block(parent, u64::try_from(chain.blocks.len()).expect("few"), B256::ZERO, vec![]);
            chain.store.store_side_block(&side, alloy_primitives::U256::ZERO).expect("memory");
            chain.commit(touches);
        }
        let head = chain.store.head().expect("there is one").number;
        for number in 0..=head {
            let at = usize::try_from(number).expect("few");
            let (block, model) = (&chain.blocks[at], &chain.states[at]);
            // Headers, bodies and receipts stay.
            let stored = chain.store.block(block.id()).expect("sound");
            prop_assert_eq!(stored.as_ref(), Some(block));
            prop_assert!(chain.store.receipts(block.id()).expect("sound").is_some());
            let kept = number + KEPT >= head;
            prop_assert_eq!(chain.store.blocks_at(number).expect("sound").len(), if kept && number > 0 { 2 } else { 1 });
            match chain.store.view_at_number(number) {
                Ok(view) => model.assert_same_as(&view),
                Err(StoreError::TooDeep { limit, .. }) => prop_assert!(!kept && limit <= KEPT + 1),
                Err(error) => panic!("{error}"),
            }
        }
        for _ in 0..=KEPT {
            chain.rewind();
            chain.check_head();
        }
        let head = chain.tip().0.id();
        let refused = matches!(chain.store.rewind(head), Err(StoreError::TooDeep { .. }));
        prop_assert!(chain.blocks.len() == 1 || refused);
    }
}

#[test]
fn an_archive_begun_late_reads_from_there_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let open = |history| {
        let options = StoreOptions { history, ..StoreOptions::default() };
        Store::open_with(folder.path(), PARAMS, options).expect("its folder")
    };
    let mut chain = Chain::new(open(History::Last(3)));
    (0..30).for_each(|_| chain.commit(&[super::some_touch(1)]));
    let Chain { store, blocks, states } = chain;
    drop(store);
    let mut chain = Chain { store: open(History::Archive), blocks, states };
    (0..30).for_each(|_| chain.commit(&[super::some_touch(2)]));
    for number in [30, 35, 60] {
        let view = chain.store.view_at_number(number).expect("in the archive");
        chain.states[usize::try_from(number).expect("few")].assert_reads_same(&view);
    }
    assert!(matches!(chain.store.view_at_number(20), Err(StoreError::TooDeep { .. })));
}

/// Proves an account and a slot of the model and checks both against the state root in the block's header.
fn check_proof(chain: &Chain, at: usize, view: &StateView) {
    let (block, model) = (&chain.blocks[at], &chain.states[at]);
    for who in [1, 2, 3] {
        let address = Address::repeat_byte(who);
        let proof = view.prove(address, &[U256::from(1)]).expect("near enough");
        assert_eq!(proof.account, model.accounts.get(&address).copied(), "block {at}");
        let leaf = proof.account.map(|account| {
            alloy_rlp::encode(TrieAccount::new(account.nonce, account.balance, proof.storage_root, account.code_hash))
        });
        let key = Nibbles::unpack(keccak256(address));
        verify_proof(block.block.header.state_root, key, leaf, &proof.nodes).expect("a proof of the account");
        let slot = &proof.slots[0];
        assert_eq!(slot.value, model.storage.get(&(address, slot.slot)).copied().unwrap_or_default(), "block {at}");
        if proof.storage_root != EMPTY_ROOT_HASH {
            let leaf = (!slot.value.is_zero()).then(|| alloy_rlp::encode(slot.value));
            let key = Nibbles::unpack(tables::hash_slot(slot.slot));
            verify_proof(proof.storage_root, key, leaf, &slot.nodes).expect("a proof of the slot");
        }
    }
}

#[test]
fn proofs_reach_as_deep_as_diffs_are_laid_back() {
    const KEPT: u64 = 40;
    for (history, deepest) in [(History::Archive, MAX_VIEW_DEPTH), (History::Last(KEPT), KEPT)] {
        let mut chain = Chain::new(store(history));
        for number in 0..deepest + 30 {
            let touch = super::some_touch(u8::try_from(number % 3).expect("few"));
            let (nonce, slots) = (number, vec![(1, u8::try_from(number % 5).expect("few"))]);
            let remove = number % 7 == 0;
            chain.commit(&[model::Touch { nonce, remove, slots, ..touch }]);
        }
        let head = chain.store.head().expect("there is one").number;
        for depth in [0, 1, 16, 17, deepest - 1, deepest] {
            let view = chain.store.view_at_number(head - depth).expect("near enough");
            check_proof(&chain, usize::try_from(head - depth).expect("few"), &view);
        }
        for depth in [deepest + 9, head] {
            let proof = chain.store.view_at_number(head - depth).and_then(|view| view.prove(Address::ZERO, &[]));
            assert!(matches!(proof, Err(StoreError::TooDeep { .. })), "{history:?}, {depth}: {proof:?}");
        }
    }
}

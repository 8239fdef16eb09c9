//! Sources that lie: any answer, changed in any way, is refused or without effect.

use super::{Busy, Place, options};
use crate::sync::Bent;
use alloy_primitives::{Bytes, U256};
use bmm_chain::sync::{Answer, Request, SnapshotOptions, SyncError};
use bmm_types::Engine;
use proptest::{prelude::*, sample::Index, strategy::ValueTree, test_runner::TestRunner};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What is done to the n-th answer of a kind.
#[derive(Clone, Copy, Debug)]
enum Lie {
    Drop(Index),
    Change(Index, u8),
    Key(Index, u8),
    Repeat(Index),
    Cut(Index),
    NoProof,
    Flip(Index, Index, u8),
    DropNode(Index),
    Nothing,
    Gone,
    Silent,
}

fn lie() -> impl Strategy<Value = Lie> {
    let index = any::<Index>;
    prop_oneof![
        index().prop_map(Lie::Drop),
        (index(), 1u8..).prop_map(|(at, by)| Lie::Change(at, by)),
        (index(), any::<u8>()).prop_map(|(at, bit)| Lie::Key(at, bit)),
        index().prop_map(Lie::Repeat),
        index().prop_map(Lie::Cut),
        Just(Lie::NoProof),
        (index(), index(), 1u8..).prop_map(|(node, at, by)| Lie::Flip(node, at, by)),
        index().prop_map(Lie::DropNode),
        Just(Lie::Nothing),
        Just(Lie::Gone),
        Just(Lie::Silent),
    ]
}

fn bend<T: Clone>(items: &mut Vec<T>, lie: Lie, change: impl FnOnce(&mut T, u8), rekey: impl FnOnce(&mut T, u8)) {
    if items.is_empty() {
        return;
    }
    let len = items.len();
    match lie {
        Lie::Drop(at) => drop(items.remove(at.index(len))),
        Lie::Change(at, by) => change(&mut items[at.index(len)], by),
        Lie::Key(at, bit) => rekey(&mut items[at.index(len)], bit),
        Lie::Repeat(at) => items.push(items[at.index(len)].clone()),
        Lie::Cut(at) => items.truncate(at.index(len)),
        Lie::Nothing => items.clear(),
        _ => {}
    }
}

fn bend_nodes(nodes: &mut Vec<Bytes>, lie: Lie) {
    let len = nodes.len();
    match lie {
        Lie::NoProof => nodes.clear(),
        Lie::DropNode(at) if len > 0 => drop(nodes.remove(at.index(len))),
        Lie::Flip(node, at, by) if len > 0 => {
            let node = &mut nodes[node.index(len)];
            let mut bytes = node.to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= by;
            *node = bytes.into();
        }
        _ => {}
    }
}

fn flip(bytes: &mut [u8], bit: u8) {
    let at = usize::from(bit / 8) % bytes.len();
    bytes[at] ^= 1 << (bit % 8);
}

fn tell_lie(lie: Lie, answer: Answer) -> Result<Answer, String> {
    Ok(match (lie, answer) {
        (Lie::Silent, _) => return Err("nobody answers".into()),
        (Lie::Gone, Answer::Accounts(_)) => Answer::Accounts(None),
        (Lie::Gone, Answer::Slots(_)) => Answer::Slots(None),
        (Lie::Gone, Answer::Nodes(_)) => Answer::Nodes(None),
        (_, Answer::Head(head)) => Answer::Head(head),
        (_, Answer::Headers(mut headers)) => {
            let change = |sealed: &mut bmm_chain::SealedHeader, by: u8| {
                sealed.header.gas_used = sealed.header.gas_used.wrapping_add(u64::from(by));
            };
            bend(&mut headers, lie, change, |sealed, bit| flip(sealed.header.state_root.as_mut_slice(), bit));
            Answer::Headers(headers)
        }
        (_, Answer::Accounts(Some(mut range))) => {
            let change =
                |account: &mut bmm_chain::RangeAccount, by: u8| account.nonce = account.nonce.wrapping_add(by.into());
            bend(&mut range.accounts, lie, change, |account, bit| flip(account.key.as_mut_slice(), bit));
            bend_nodes(&mut range.nodes, lie);
            Answer::Accounts(Some(range))
        }
        (_, Answer::Slots(Some(mut ranges))) => {
            if let Some(range) = ranges.last_mut() {
                let change = |slot: &mut bmm_chain::RangeSlot, by| slot.value ^= U256::from(by);
                bend(&mut range.slots, lie, change, |slot, bit| flip(slot.key.as_mut_slice(), bit));
                bend_nodes(&mut range.nodes, lie);
            }
            if matches!(lie, Lie::Repeat(_)) {
                ranges.extend(ranges.last().cloned());
            }
            Answer::Slots(Some(ranges))
        }
        (_, Answer::Nodes(Some(mut nodes))) => {
            bend(
                &mut nodes,
                lie,
                |node, by| *node = [&node[..], &[by]].concat().into(),
                |node, _| *node = Bytes::new(),
            );
            bend_nodes(&mut nodes, lie);
            Answer::Nodes(Some(nodes))
        }
        (_, Answer::Codes(mut codes)) => {
            bend(
                &mut codes,
                lie,
                |code, by| *code = [&code[..], &[by]].concat().into(),
                |code, _| *code = Bytes::new(),
            );
            Answer::Codes(codes)
        }
        (_, answer) => answer,
    })
}

/// A chain whose state is in part of an older pivot: taking it asks for everything that there is.
fn half_taken(busy: &Busy, place: &Place) {
    let state = AtomicU64::new(0);
    let part = Bent(busy.source(), |request: &Request, answer: Answer| {
        let counts = matches!(request, Request::Accounts { .. } | Request::Slots { .. });
        if counts && state.fetch_add(1, Ordering::Relaxed) >= 8 { Err("enough".into()) } else { Ok(answer) }
    });
    place.take(busy.world.chain.params(), &part, &options()).expect_err("it ends in the middle");
}

/// Takes a chain of which a part is there already from a source that lies once, to a question of that kind; then, if that was refused,
/// from an honest one. Returns why it was refused, and whether a lie was told at all.
fn with_a_lie(lie: Lie, kind: usize, which: u64) -> (Option<SyncError>, bool) {
    let busy = Busy::new(Engine::Dev, 300, 12);
    for n in 0..12 {
        busy.write(n, 0, 40, 3);
    }
    (0..14).for_each(|_| busy.busy_block());
    let place = Place::new();
    half_taken(&busy, &place);
    (0..12).for_each(|_| busy.busy_block());
    let chain = &busy.world.chain;
    let (asked, told) = (AtomicU64::new(0), AtomicBool::new(false));
    let liar = Bent(busy.source(), |request: &Request, answer: Answer| {
        // The old pivot is not at hand any more.
        if let Request::Accounts { block, .. } | Request::Slots { block, .. } | Request::Nodes { block, .. } = request
            && chain.header(*block).expect("readable").expect("known").number + 10 < chain.head().number()
        {
            return tell_lie(Lie::Gone, answer);
        }
        let of_kind = matches!(
            (kind, &answer),
            (0, Answer::Headers(_))
                | (1, Answer::Accounts(_))
                | (2, Answer::Slots(_))
                | (3, Answer::Nodes(_))
                | (4, Answer::Codes(_))
        );
        if of_kind && asked.fetch_add(1, Ordering::Relaxed) == which {
            told.store(true, Ordering::Relaxed);
            tell_lie(lie, answer)
        } else {
            Ok(answer)
        }
    });
    let small = SnapshotOptions { range_bytes: 1_500, ..options() };
    let refused = place.take(chain.params(), &liar, &small).err();
    if refused.is_some() {
        place.take(chain.params(), &busy.source(), &small).expect("an honest source goes on");
    }
    place.holds(&busy);
    (refused, told.into_inner())
}

/// Lies that always matter, told where each kind of question is first asked.
#[test]
fn a_lie_of_every_kind_is_refused() {
    let mut runner = TestRunner::deterministic();
    let index = any::<Index>().new_tree(&mut runner).expect("an index").current();
    for (kind, lies, words) in [
        (1, [Lie::Drop(index), Lie::Change(index, 1), Lie::NoProof, Lie::Nothing], "gives accounts from 0x"),
        (2, [Lie::Drop(index), Lie::Change(index, 1), Lie::Key(index, 7), Lie::Repeat(index)], ""),
        (3, [Lie::Change(index, 1), Lie::Flip(index, index, 1), Lie::Nothing, Lie::Silent], ""),
        (4, [Lie::Change(index, 1), Lie::Key(index, 1), Lie::Nothing, Lie::Silent], ""),
    ] {
        for lie in lies {
            let (refused, told) = with_a_lie(lie, kind, 0);
            assert!(told, "kind {kind} is never asked for");
            let refused = refused.unwrap_or_else(|| panic!("{lie:?} of kind {kind} is not refused"));
            assert!(refused.is_of_source() && refused.to_string().contains(words), "{lie:?}: {refused}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 20, ..ProptestConfig::default() })]

    /// Whatever is changed in whatever answer, either it is refused, or the state is the true one all the same.
    #[test]
    fn lies_are_refused_or_without_effect(lie in lie(), kind in 0usize..5, which in 0u64..12) {
        let (refused, _) = with_a_lie(lie, kind, which);
        prop_assert!(refused.as_ref().is_none_or(SyncError::is_of_source), "{refused:?}");
    }
}

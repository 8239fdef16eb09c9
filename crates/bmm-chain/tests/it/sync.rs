//! Taking a chain from a source, honest or not.

use crate::world::{World, params, proof};
use alloy_primitives::{Bytes, U256};
use bmm_chain::{
    Chain, ChainOptions, ImportError,
    sync::{Answer, ChainSource, Following, Request, Source, SyncError},
};
use bmm_types::Engine;
use std::sync::atomic::{AtomicBool, Ordering};

pub fn go_on() -> impl FnMut(Following) -> bool + Send {
    |_| true
}

type Bend = fn(&Request, Answer) -> Result<Answer, String>;

/// A source that changes some answers of a chain.
pub struct Bent<F>(pub ChainSource, pub F);

impl<F: Fn(&Request, Answer) -> Result<Answer, String> + Sync> Source for Bent<F> {
    fn name(&self) -> String {
        "the bent source".into()
    }

    fn ask(&self, request: &Request) -> Result<Answer, String> {
        self.1(request, self.0.ask(request)?)
    }
}

pub fn source(world: &World) -> ChainSource {
    ChainSource(world.chain.clone())
}

fn grown(blocks: u64) -> World {
    let world = World::new(Engine::Pow);
    for block in 0..blocks {
        world.pay(1, block, 5);
        world.grow(0);
    }
    world
}

pub fn same_head(a: &Chain, b: &Chain) {
    assert_eq!((a.head().id, a.head().work), (b.head().id, b.head().work));
}

#[test]
fn a_new_chain_catches_up_and_follows_a_change_of_branch() {
    let (theirs, ours) = (grown(300), World::new(Engine::Pow));
    ours.clock.advance(1_000);
    let mut seen = Vec::new();
    let followed = ours
        .chain
        .follow(&source(&theirs), &mut |following| {
            seen.push(following.at);
            true
        })
        .expect("a good source");
    assert_eq!((followed.imported, followed.gas), (300, 300 * 21_000));
    assert!(seen.iter().copied().eq(1..=300));
    same_head(&ours.chain, &theirs.chain);
    assert_eq!(ours.chain.follow(&source(&theirs), &mut go_on()).expect("a good source").imported, 0);

    // Both go on by themselves; theirs gets longer.
    for _ in 0..5 {
        ours.grow(2);
    }
    for _ in 0..9 {
        theirs.grow(3);
    }
    let followed = ours.chain.follow(&source(&theirs), &mut go_on()).expect("a good source");
    assert_eq!(followed.imported, 9);
    same_head(&ours.chain, &theirs.chain);
}

#[test]
fn it_stops_when_told_and_goes_on_later() {
    let (theirs, ours) = (grown(60), World::new(Engine::Pow));
    ours.clock.advance(1_000);
    let error = ours.chain.follow(&source(&theirs), &mut |following| following.at < 20).expect_err("told to stop");
    assert!(matches!(error, SyncError::Interrupted));
    // Some were under way.
    let reached = ours.chain.head().number();
    assert!((20..60).contains(&reached), "{reached}");
    let imported = ours.chain.follow(&source(&theirs), &mut go_on()).expect("a good source").imported;
    assert_eq!(imported, 60 - reached);
    same_head(&ours.chain, &theirs.chain);
}

#[test]
fn another_chain_is_refused() {
    let mut other = params(Engine::Pow);
    other.gas_limit -= 1;
    let (theirs, ours) = (World::with(other, ChainOptions::default()), World::new(Engine::Pow));
    theirs.grow(0);
    let error = ours.chain.follow(&source(&theirs), &mut go_on()).expect_err("another chain");
    assert!(matches!(error, SyncError::OtherChain { .. }), "{error}");
}

#[test]
fn an_invalid_block_is_named_with_its_rule() {
    let (theirs, ours) = (grown(30), World::new(Engine::Pow));
    ours.clock.advance(1_000);
    let bent = Bent(source(&theirs), |_: &Request, mut answer| {
        if let Answer::Blocks(blocks) = &mut answer {
            for sealed in blocks.iter_mut().filter(|sealed| sealed.block.header.number == 17) {
                sealed.block.header.difficulty += U256::from(1);
                sealed.seal = proof(&sealed.block, 0);
            }
        }
        Ok(answer)
    });
    let error = ours.chain.follow(&bent, &mut go_on()).expect_err("invalid");
    let SyncError::Invalid { number, error, .. } = error else { panic!("{error}") };
    assert!(number == 17 && matches!(*error, ImportError::Difficulty { .. }), "{number} {error}");
    assert_eq!(ours.chain.head().number(), 16);
}

#[test]
fn sources_that_answer_something_else_are_given_up() {
    let theirs = grown(20);
    let bends: [Bend; 5] = [
        |_, _| Err("no connection".into()),
        |_, _| Ok(Answer::Head(u64::MAX)),
        |request, answer| Ok(if *request == Request::Head { Answer::Headers(Vec::new()) } else { answer }),
        // More than was asked for.
        |_, mut answer| {
            if let Answer::Blocks(blocks) = &mut answer {
                blocks.push(blocks[0].clone());
            }
            Ok(answer)
        },
        // Nothing at all.
        |_, answer| Ok(if matches!(answer, Answer::Blocks(_)) { Answer::Blocks(Vec::new()) } else { answer }),
    ];
    for bend in bends {
        let ours = World::new(Engine::Pow);
        ours.clock.advance(1_000);
        let error = ours.chain.follow(&Bent(source(&theirs), bend), &mut go_on()).expect_err("no use");
        assert!(matches!(error, SyncError::Source { .. }), "{error}");
    }
}

/// A source that gives up its branch for a longer one while it is asked.
#[test]
fn a_source_may_change_its_branch_meanwhile() {
    let theirs = grown(40);
    let ours = World::new(Engine::Pow);
    ours.clock.advance(1_000);
    let longer = World::new(Engine::Pow);
    for _ in 0..60 {
        longer.grow(4);
    }
    theirs.clock.advance(1_000);
    let changed = AtomicBool::new(false);
    let bent = Bent(source(&theirs), |_: &Request, mut answer| {
        if let Answer::Blocks(blocks) = &mut answer
            && !changed.swap(true, Ordering::Relaxed)
        {
            // It answers with a part, and is over on the other branch before the rest is asked for.
            blocks.truncate(10);
            for number in 1..=60 {
                let block = longer.chain.sealed_block(number).expect("readable").expect("stored");
                theirs.chain.import(&block).expect("valid");
            }
        }
        Ok(answer)
    });
    ours.chain.follow(&bent, &mut go_on()).expect("it ends well");
    same_head(&ours.chain, &longer.chain);
}

/// A child may build on the randomness of another seal than the one that came first.
#[test]
fn blocks_are_given_with_the_seal_that_their_child_needs() {
    let ours = grown(2);
    let id = ours.chain.head().id;
    let block = ours.chain.block(id).expect("readable").expect("stored");
    let further = (1..100).map(|extra| proof(&block.block, extra)).find(|seal| *seal != block.seal).expect("another");
    assert!(ours.chain.add_seal(id, further.clone()).expect("valid"));
    let mut next = ours.template(0).block;
    next.header.mix_hash = further.randomness(id);
    next.header.extra_data = Bytes::copy_from_slice(&next.header.extra_data);
    let next = crate::world::resign(next, 0);
    let sealed = crate::world::seal(&ours.chain, next);
    ours.clock.advance(1);
    ours.chain.import(&sealed).expect("the second seal counts");
    let given = ours.chain.sealed_block(2).expect("readable").expect("stored");
    assert_eq!(given.seal, further);

    let new = World::new(Engine::Pow);
    new.clock.advance(1_000);
    new.chain.follow(&source(&ours), &mut go_on()).expect("a good source");
    same_head(&new.chain, &ours.chain);
}

//! What bets make of checkpoints, by the same rules as the contract; its word is where counting begins.

use super::BetBook;
use alloy_primitives::B256;
use bmm_ledger::rights::{Checkpoint, Members, Rights};
use bmm_types::finality::is_quorum;

/// Rule: a link counts when amounts on it reach 2/3 of the weight of the set, and of that of the set before if there was one, and its target
/// is not older than the set. Nothing counts below the least weight.
pub fn is_justifying(
    book: &BetBook,
    rights: &Rights,
    checkpoint_blocks: u64,
    source: Checkpoint,
    target: Checkpoint,
) -> bool {
    let enough = |members: &Members| is_quorum(book.amount(source, target, members), members.weight());
    rights.enabled
        && target.number.saturating_mul(checkpoint_blocks) >= rights.current.since
        && enough(&rights.current)
        && (rights.previous.members.is_empty() || enough(&rights.previous))
}

/// Counts on from what the state of a branch's last block says, and from `before`, the justified and final checkpoints that were counted
/// before, as far as they lie on the branch: returns the highest justified and final checkpoints of the branch, which has
/// the checkpoint of a number that `on_branch` says.
///
/// Rule: a target is justified from a justified source that is not below the last final one; a source becomes final when the next checkpoint
/// is justified from it.
pub fn count<E>(
    book: &BetBook,
    rights: &Rights,
    checkpoint_blocks: u64,
    before: (Checkpoint, Checkpoint),
    on_branch: impl Fn(u64) -> Result<Option<B256>, E>,
) -> Result<(Checkpoint, Checkpoint), E> {
    let mut justified = vec![rights.finalised, rights.justified];
    let mut finalised = rights.finalised;
    for known in [before.0, before.1] {
        if on_branch(known.number)? == Some(known.id) {
            justified.push(known);
        }
    }
    if before.1.number > finalised.number {
        finalised = before.1;
    }
    for (target, source) in book.links_above(finalised.number) {
        if source.number < finalised.number
            || !justified.contains(&source)
            || on_branch(target.number)? != Some(target.id)
            || !is_justifying(book, rights, checkpoint_blocks, source, target)
        {
            continue;
        }
        justified.push(target);
        if source.number.checked_add(1) == Some(target.number) {
            finalised = source;
        }
    }
    let highest = justified.into_iter().max_by_key(|checkpoint| checkpoint.number).unwrap_or(rights.justified);
    Ok((highest, finalised))
}

/// Rule: a link promises to count on another branch when amounts on it reach 2/3 of the weight of either set of the node's own. The other
/// branch may have kept footstones that this one has lost, so that its set is nearer to the one before.
fn is_promising(book: &BetBook, rights: &Rights, source: Checkpoint, target: Checkpoint) -> bool {
    let enough = |members: &Members| {
        !members.members.is_empty() && is_quorum(book.amount(source, target, members), members.weight())
    };
    rights.enabled && (enough(&rights.current) || enough(&rights.previous))
}

/// Returns the checkpoints above a number that bets promise to be justified on whatever branch they lie, the highest first: by a set of
/// the node's own branch, and without knowing that their sources are justified.
pub fn promised(book: &BetBook, rights: &Rights, above: u64) -> Vec<Checkpoint> {
    let mut found: Vec<Checkpoint> = Vec::new();
    for (target, source) in book.links_above(above).into_iter().rev() {
        if found.last() != Some(&target) && is_promising(book, rights, source, target) {
            found.push(target);
        }
    }
    found
}

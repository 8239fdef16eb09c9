//! Dividing sorted changes by where they lead.

use super::{
    Nibbles,
    batch::Entry,
    record::{Branch, WIDTH},
    update::Old,
};

/// A child that changes below it concern.
pub(super) struct Group<'a> {
    pub nibble: u8,
    pub old: Old,
    pub entries: &'a [Entry],
}

/// Divides changes by the children of a branch that they concern.
pub(super) fn groups<'a>(
    path: &Nibbles,
    branch: &Branch,
    mut beside: Option<(u8, Old)>,
    mut entries: &'a [Entry],
) -> Vec<Group<'a>> {
    let mut groups = Vec::with_capacity(WIDTH.min(entries.len() + 1));
    loop {
        let next = entries.first().map(|entry| entry.key.get_unchecked(path.len()));
        let old = beside.take_if(|(nibble, _)| next.is_none_or(|next| *nibble <= next));
        let Some(nibble) = old.as_ref().map(|(nibble, _)| *nibble).or(next) else { return groups };
        let end = entries.partition_point(|entry| entry.key.get_unchecked(path.len()) <= nibble);
        let (own, rest) = entries.split_at(end);
        entries = rest;
        let old = match old {
            Some((_, old)) => old,
            None if branch.children[usize::from(nibble)].is_empty() => Old::Nothing,
            None if branch.is_leaf(nibble) => Old::Leaf,
            None => Old::Recorded,
        };
        groups.push(Group { nibble, old, entries: own });
    }
}

/// The changes whose keys begin with `path`, out of ascending ones.
pub(super) fn beginning_with<'a>(entries: &'a [Entry], path: &Nibbles) -> &'a [Entry] {
    let start = entries.partition_point(|entry| entry.key < *path);
    let entries = &entries[start..];
    let end = entries.partition_point(|entry| entry.key.starts_with(path));
    &entries[..end]
}

//! Headers from one peer, checked as they come.

use super::{Checked, Fault};
use crate::{
    node::{
        Node,
        ask::NoAnswer,
        wire::{self, MAX_HEADERS, MAX_NUMBERS, Request, exact_list},
    },
    peers::Offence,
};
use alloy_primitives::B256;
use bmm_chain::{HeaderLine, ImportError, SealedHeader};
use libp2p::PeerId;
use std::{fmt::Display, sync::Arc, time::Instant};
use tokio::sync::mpsc;

/// Headers of a branch that are held in memory before it shows more work than the head has: some 60 MB.
const MAX_UNPROVEN: usize = 65_536;

/// Answers with fewer headers than this, or that take half the time they may, are slow. So many of them are enough of one peer: it must
/// not hold up what others could give.
const FEW_HEADERS: u64 = 32;
const MAX_SLOW: u32 = 4;

impl From<NoAnswer> for Fault {
    fn from(error: NoAnswer) -> Self {
        Self::new(None, error)
    }
}

fn internal(error: impl Display) -> Fault {
    Fault::new(None, error)
}

/// Finds the highest block that a peer and this node have on their canonical chains.
pub(super) async fn common_block(node: &Arc<Node>, peer: PeerId, their_head: u64) -> Result<u64, Fault> {
    // Block `low` is common, `high` is not, or is not there.
    let (mut low, mut high) = (0, their_head.min(node.chain.head().number()) + 1);
    while high - low > 1 {
        let numbers = spread(low, high);
        let theirs =
            node.ask(peer, &Request::Ids(numbers.clone()), |bytes| exact_list::<B256>(bytes, MAX_NUMBERS)).await?;
        for (number, theirs) in numbers.iter().zip(theirs.iter().map(Some).chain(std::iter::repeat(None))) {
            let ours = node.chain.canonical(*number).map_err(internal)?;
            if ours.is_some() && ours.as_ref() == theirs {
                low = *number;
            } else {
                high = *number;
                break;
            }
        }
    }
    Ok(low)
}

/// Returns up to 64 numbers between `low` and `high`, ascending: the last ones of all, and others evenly. Branches mostly part near
/// the head.
fn spread(low: u64, high: u64) -> Vec<u64> {
    let between = high - low - 1;
    let most = MAX_NUMBERS as u64;
    if between <= most {
        return (low + 1..high).collect();
    }
    let near = 8;
    let far = most - near;
    let rest = between - near;
    let mut numbers: Vec<u64> = (1..=far)
        .map(|n| low + 1 + u64::try_from(u128::from(rest - 1) * u128::from(n) / u128::from(far)).unwrap_or(0))
        .collect();
    numbers.extend(high - near..high);
    numbers.dedup();
    numbers
}

/// Takes headers after the block `common` up to the peer's head, checks them, and hands them on once their work is more than that of
/// the head, or they hold a checkpoint that bets justify.
pub(super) async fn take(
    node: Arc<Node>,
    peer: PeerId,
    common: u64,
    their_head: u64,
    to: mpsc::Sender<Vec<Checked>>,
) -> Result<(), Fault> {
    node.chain.may_branch_off(common).map_err(internal)?;
    learn_seal(&node, peer, common).await?;
    let line = node.chain.canonical(common).and_then(|id| id.map_or(Ok(None), |id| node.chain.line_after(id)));
    let Some(mut line) = line.map_err(internal)? else { return Err(internal("the common block went away")) };
    let mut held: Vec<Checked> = Vec::new();
    let mut slow = 0;
    while line.number() < their_head {
        let first = line.number() + 1;
        let request = Request::Headers { first, count: MAX_HEADERS as u64 };
        let asked = Instant::now();
        let headers = node.ask(peer, &request, wire::headers).await?;
        if asked.elapsed() > node.config.answer_within / 2
            || (headers.len() as u64) < FEW_HEADERS.min(their_head - line.number())
        {
            slow += 1;
            if slow >= MAX_SLOW {
                return Err(Fault::new(Offence::Stall, "the headers come too slowly"));
            }
        }
        let Some(next) = headers.first() else { break };
        if next.header.number != first {
            return Err(Fault::new(Offence::Lie, format!("header {} came for {first}", next.header.number)));
        }
        if next.header.parent_hash != line.id() {
            // It may have gone to another branch since it was asked.
            return Err(Fault::new(Offence::Stall, "the headers do not follow one another"));
        }
        let also = node.clone();
        let checked = tokio::task::spawn_blocking(move || check(&also, line, headers)).await.map_err(internal)?;
        let mut more;
        (line, more) = checked?;
        held.append(&mut more);
        if line.work() > node.chain.head().work.get() || line.is_promised() {
            if to.send(std::mem::take(&mut held)).await.is_err() {
                return Ok(());
            }
        } else if held.len() > MAX_UNPROVEN {
            return Err(Fault::new(Offence::Lie, "a branch of too many headers with too little work"));
        }
    }
    Ok(())
}

/// Learns the seal of the common block on which the peer's branch builds: of several valid ones this node may know another.
async fn learn_seal(node: &Arc<Node>, peer: PeerId, common: u64) -> Result<(), Fault> {
    if common == 0 {
        return Ok(());
    }
    let request = Request::Headers { first: common, count: 1 };
    let Some(theirs) = node.ask(peer, &request, wire::headers).await?.into_iter().next() else { return Ok(()) };
    let also = node.clone();
    let added = tokio::task::spawn_blocking(move || also.chain.add_seal(theirs.header.hash_slow(), theirs.seal));
    if let Err(error) = added.await.map_err(internal)? {
        tracing::debug!(%peer, %error, "a seal of the common block is not kept");
    }
    Ok(())
}

fn check(node: &Node, mut line: HeaderLine, headers: Vec<SealedHeader>) -> Result<(HeaderLine, Vec<Checked>), Fault> {
    let mut checked = Vec::with_capacity(headers.len());
    node.chain.hash_ahead(headers.iter().map(|sealed| &sealed.seal));
    for sealed in headers {
        let id = node.chain.extend_line(&mut line, &sealed).map_err(|error| {
            let offence = match error {
                ImportError::TooFarAhead { .. } => None,
                // Between two questions another child, of another seal, may have become canonical there.
                ImportError::MixHash { .. } => Some(Offence::Stall),
                ref error if error.is_internal() => None,
                _ => Some(Offence::Invalid),
            };
            Fault::new(offence, format!("header {}: {error}", sealed.header.number))
        })?;
        checked.push(Checked { id, sealed });
    }
    Ok((line, checked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spread_within_bounds() {
        for (low, high) in [(0, 2), (0, 64), (0, 65), (0, 66), (5, 1_000), (0, u64::MAX), (u64::MAX - 3, u64::MAX)] {
            let numbers = spread(low, high);
            assert!(!numbers.is_empty() && numbers.len() <= MAX_NUMBERS, "{low} {high}");
            assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{low} {high} {numbers:?}");
            assert!(numbers[0] > low && *numbers.last().expect("some") == high - 1, "{low} {high} {numbers:?}");
        }
    }
}

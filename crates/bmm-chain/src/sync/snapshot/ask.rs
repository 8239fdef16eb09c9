//! Asking for pieces of a state, and holding what comes against the state root.

use super::{
    super::{Answer, Request, SyncError},
    Halt, Run, Source,
};
use crate::ranges::{AccountRange, CODES_AT_ONCE, OWNERS_AT_ONCE, RangeAccount, RangeSlot, SlotRange};
use alloy_primitives::{B256, Bytes, keccak256};
use bmm_ledger::{
    store::NewHeader,
    trie::{Leaf, Nibbles, verify_range},
};
use std::{collections::BTreeSet, panic::resume_unwind};

/// Bytes by which an answer may be longer than asked for: one leaf.
const SLACK_BYTES: u64 = 256;

/// An answer that was asked for while the piece before was stored.
pub(super) type Ahead = Option<Result<Answer, String>>;

/// Asks a question, if there is one, while `work` goes on.
pub(super) fn asking<T>(
    source: &dyn Source,
    request: Option<Request>,
    work: impl FnOnce() -> Result<T, Halt>,
) -> Result<(T, Ahead), Halt> {
    std::thread::scope(|scope| {
        let asked = request.map(|request| scope.spawn(move || source.ask(&request)));
        let done = work();
        let answer = asked.map(|asked| asked.join().unwrap_or_else(|panic| resume_unwind(panic)));
        Ok((done?, answer))
    })
}

/// A range that is proven.
pub(super) struct Proven {
    pub leaves: Vec<Leaf>,
    /// Whether more follow.
    pub more: bool,
}

impl Run<'_> {
    /// Makes the question for accounts.
    pub(super) fn accounts_request(&self, pivot: &NewHeader, from: B256) -> Request {
        Request::Accounts { block: pivot.id, from, max_bytes: self.options.range_bytes }
    }

    /// Asks for accounts, unless an answer is there.
    pub(super) fn ask_accounts(
        &mut self,
        source: &dyn Source,
        pivot: &NewHeader,
        from: B256,
        ahead: Ahead,
    ) -> Result<(AccountRange, Proven), Halt> {
        let request = self.accounts_request(pivot, from);
        let range = match ahead.unwrap_or_else(|| source.ask(&request)) {
            Ok(Answer::Accounts(Some(range))) => range,
            Ok(Answer::Accounts(None)) => return Err(Halt::Gone),
            other => return Err(unfit(source, &request, other)),
        };
        let leaves = range.accounts.iter().map(RangeAccount::leaf).collect();
        let proven = self.prove(source, &[pivot.header.state_root, from], leaves, &range.nodes, "accounts")?;
        Ok((range, proven))
    }

    /// Makes the question for the slots of the first of these accounts, given with their storage roots.
    pub(super) fn slots_request(&self, pivot: &NewHeader, storages: &[(B256, B256)], from: B256) -> Request {
        Request::Slots {
            block: pivot.id,
            owners: storages.iter().take(OWNERS_AT_ONCE).map(|(owner, _)| *owner).collect(),
            from,
            max_bytes: self.options.range_bytes,
        }
    }

    /// Asks for slots, of the first account from one on, unless an answer is there. Those of one account at least come.
    pub(super) fn ask_slots(
        &mut self,
        source: &dyn Source,
        pivot: &NewHeader,
        storages: &[(B256, B256)],
        from: B256,
        ahead: Ahead,
    ) -> Result<Vec<Proven>, Halt> {
        let request = self.slots_request(pivot, storages, from);
        let most = storages.len().min(OWNERS_AT_ONCE);
        let ranges: Vec<SlotRange> = match ahead.unwrap_or_else(|| source.ask(&request)) {
            Ok(Answer::Slots(Some(ranges))) if !ranges.is_empty() && ranges.len() <= most => ranges,
            Ok(Answer::Slots(None)) => return Err(Halt::Gone),
            other => return Err(unfit(source, &request, other)),
        };
        let all = ranges.len();
        let mut proven = Vec::with_capacity(all);
        let mut start = from;
        for ((_, root), range) in storages.iter().zip(ranges) {
            let leaves = range.slots.iter().map(RangeSlot::leaf).collect();
            let part = self.prove(source, &[*root, start], leaves, &range.nodes, "slots")?;
            if part.more && proven.len().saturating_add(1) < all {
                return Err(SyncError::source(source, "gives slots of one account in part, and then of others").into());
            }
            proven.push(part);
            start = B256::ZERO;
        }
        Ok(proven)
    }

    /// Asks for nodes of a trie; one at least comes. They are held against their parents by whoever walks.
    pub(super) fn ask_nodes(
        &mut self,
        source: &dyn Source,
        pivot: &NewHeader,
        owner: Option<B256>,
        paths: Vec<Nibbles>,
    ) -> Result<Vec<Bytes>, Halt> {
        let wanted = paths.len();
        let request = Request::Nodes { block: pivot.id, owner, paths };
        match source.ask(&request) {
            Ok(Answer::Nodes(Some(nodes))) if !nodes.is_empty() && nodes.len() <= wanted => {
                self.came(nodes.iter().map(|node| node.len()));
                Ok(nodes)
            }
            Ok(Answer::Nodes(None)) => Err(Halt::Gone),
            other => Err(unfit(source, &request, other)),
        }
    }

    /// Takes those of the codes that are not there yet.
    pub(super) fn take_codes(
        &mut self,
        source: &dyn Source,
        hashes: impl IntoIterator<Item = B256>,
    ) -> Result<(), Halt> {
        let hashes: BTreeSet<B256> = hashes.into_iter().collect();
        let mut missing: BTreeSet<B256> = self.loading.missing_codes(hashes)?.into_iter().collect();
        while !missing.is_empty() {
            let request = Request::Codes { hashes: missing.iter().take(CODES_AT_ONCE).copied().collect() };
            let codes = match source.ask(&request) {
                Ok(Answer::Codes(codes)) => codes,
                other => return Err(unfit(source, &request, other)),
            };
            if codes.is_empty() {
                return Err(SyncError::source(source, "does not have the code of an account").into());
            }
            let codes: Vec<_> = codes.into_iter().map(|code| (keccak256(&code), code)).collect();
            if codes.iter().any(|(hash, _)| !missing.remove(hash)) {
                return Err(SyncError::source(source, "gives code of another hash than it was asked for").into());
            }
            self.came(codes.iter().map(|(_, code)| code.len()));
            self.loading.put_codes(&codes)?;
        }
        Ok(())
    }

    fn prove(
        &mut self,
        source: &dyn Source,
        [root, from]: &[B256; 2],
        leaves: Vec<Leaf>,
        nodes: &[Bytes],
        what: &str,
    ) -> Result<Proven, Halt> {
        let bytes = leaves.iter().map(|leaf| leaf.value.len().saturating_add(32));
        let sum = bytes.clone().fold(0u64, |sum, len| sum.saturating_add(u64::try_from(len).unwrap_or(u64::MAX)));
        let limit = self.options.range_bytes;
        if sum > limit.saturating_add(SLACK_BYTES) {
            let what = format!("gives {sum} bytes of {what}, asked for at most {limit}");
            return Err(SyncError::source(source, what).into());
        }
        let more = verify_range(*root, *from, &leaves, nodes).map_err(|error| {
            SyncError::source(
                source,
                format!("gives {what} from {from} on that are not those of the state root {root}: {error}"),
            )
        })?;
        self.came(bytes);
        Ok(Proven { leaves, more })
    }

    /// Counts what came.
    fn came(&mut self, bytes: impl Iterator<Item = usize>) {
        self.answers = self.answers.saturating_add(1);
        let sum = bytes.fold(0u64, |sum, len| sum.saturating_add(u64::try_from(len).unwrap_or(u64::MAX)));
        self.place.bytes = self.place.bytes.saturating_add(sum);
    }
}

fn unfit(source: &dyn Source, request: &Request, answer: Result<Answer, String>) -> Halt {
    super::super::unfit(source, request, answer).into()
}

//! Running stored blocks again: finding them, their parents' states, and the bounds of every trace.

use crate::{
    error::{RpcError, RpcResult},
    eth::at,
    methods::{Context, Json},
};
use alloy_eips::BlockId;
use alloy_primitives::{Address, B256};
use alloy_rpc_types_eth::TransactionInfo;
use bmm_ledger::{
    exec::{Replay, Subject, TraceError, TraceLimits},
    store::StateView,
};
use bmm_types::{BlockBody, Header};
use serde::Serialize;
use std::{
    io,
    time::{Duration, Instant},
};

/// Time that one trace gets where its caller names none.
pub(crate) const TRACE_TIME: Duration = Duration::from_secs(10);

/// Longest time that a caller may ask for.
pub(crate) const MAX_TRACE_TIME: Duration = Duration::from_mins(1);

/// What is recorded takes more memory than its answer; so much may be recorded for each byte that may be answered.
const RECORDED_PER_ANSWERED: usize = 3;

impl From<TraceError> for RpcError {
    fn from(error: TraceError) -> Self {
        match error {
            TraceError::Call(error) => error.into(),
            TraceError::Time | TraceError::Bytes(_) => Self::Limit(error.to_string()),
            TraceError::Options(words) => Self::Params(words),
        }
    }
}

/// What one call may still take: time, and bytes to record.
pub(crate) struct Budget {
    is_over: Box<dyn Fn() -> bool + Sync>,
    bytes: usize,
}

impl Budget {
    /// Begins now, with `time`.
    pub(crate) fn new(context: &Context, time: Duration) -> Self {
        let until = Instant::now() + time.min(MAX_TRACE_TIME);
        let answer = usize::try_from(context.config.max_response_bytes).unwrap_or(usize::MAX);
        let bytes = answer.saturating_mul(RECORDED_PER_ANSWERED);
        Self { is_over: Box::new(move || Instant::now() > until), bytes }
    }

    /// What is left.
    pub(crate) fn limits(&self) -> TraceLimits<'_> {
        TraceLimits { is_over: &*self.is_over, max_bytes: self.bytes }
    }

    /// Takes off what a trace recorded, and returns the trace.
    pub(crate) fn spend<T>(&mut self, (trace, bytes): (T, usize)) -> T {
        self.bytes = self.bytes.saturating_sub(bytes);
        trace
    }

    /// Refuses to go on when the time is up.
    pub(crate) fn check(&self) -> RpcResult<()> {
        if (self.is_over)() { Err(TraceError::Time.into()) } else { Ok(()) }
    }
}

/// A stored block, and what it takes to run it again.
pub(crate) struct Stored {
    pub(crate) id: B256,
    pub(crate) header: Header,
    pub(crate) body: BlockBody,
    pub(crate) senders: Vec<Address>,
}

impl Stored {
    /// Finds a block; `None` where the node does not have it.
    pub(crate) fn find(context: &Context, block: BlockId) -> RpcResult<Option<Self>> {
        let Some(found) = context.chain.resolve(block)? else { return Ok(None) };
        let (id, header) = (found.id, found.header.clone());
        let broken = || RpcError::Internal(format!("block {id} has a header but no body"));
        let Some(body) = context.chain.body(id)? else {
            at::must_be_whole(context, id)?;
            return Err(broken());
        };
        let senders = context.chain.senders(&body)?;
        Ok(Some(Self { id, header, body, senders }))
    }

    /// Finds a block that must be there.
    pub(crate) fn get(context: &Context, block: BlockId) -> RpcResult<Self> {
        Self::find(context, block)?.ok_or_else(|| RpcError::no_block(shown(block)))
    }

    /// Finds the block of a transaction, and the transaction's place in it.
    pub(crate) fn of_transaction(context: &Context, hash: B256) -> RpcResult<Option<(Self, usize)>> {
        let Some(found) = context.chain.transaction(hash)? else { return Ok(None) };
        Ok(Self::find(context, found.block.into())?.map(|block| (block, found.index)))
    }

    /// Begins to run the block on its parent's state.
    pub(crate) fn replay<'a>(&self, context: &'a Context) -> RpcResult<Replay<'a, StateView>> {
        if self.header.number == 0 {
            return Err(RpcError::Refused("genesis is not traceable: it has no parent and no transactions".into()));
        }
        let state = context.chain.state(self.header.parent_hash.into())?;
        Ok(Replay::block(context.chain.params(), &self.header, state)?)
    }

    /// Begins to run the block, and runs the transactions before `index`.
    pub(crate) fn replay_to<'a>(
        &self,
        context: &'a Context,
        index: usize,
        budget: &Budget,
    ) -> RpcResult<Replay<'a, StateView>> {
        let mut replay = self.replay(context)?;
        for (tx, sender) in self.body.transactions.iter().zip(&self.senders).take(index) {
            budget.check()?;
            replay.skip(tx, *sender)?;
        }
        Ok(replay)
    }

    /// The transaction at `index`, to be run.
    pub(crate) fn subject(&self, index: usize) -> RpcResult<Subject<'_>> {
        let found = self.body.transactions.get(index).zip(self.senders.get(index));
        let missing = || RpcError::Refused(format!("block {} has no transaction {index}", self.id));
        found.map(|(tx, sender)| Subject::Transaction(tx, *sender)).ok_or_else(missing)
    }

    /// Says where the transaction at `index` stands.
    pub(crate) fn place(&self, index: usize) -> TransactionInfo {
        TransactionInfo {
            hash: self.body.transactions.get(index).map(|tx| *tx.tx_hash()),
            index: u64::try_from(index).ok(),
            block_hash: Some(self.id),
            block_number: Some(self.header.number),
            base_fee: self.header.base_fee_per_gas,
            block_timestamp: Some(self.header.timestamp),
        }
    }
}

fn shown(block: BlockId) -> String {
    match block {
        BlockId::Hash(hash) => hash.block_hash.to_string(),
        BlockId::Number(number) => number.to_string(),
    }
}

/// A buffer that does not grow without end.
struct Bounded {
    bytes: Vec<u8>,
    max: usize,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len().saturating_add(bytes.len()) > self.max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes an answer that may be long, and stops where it passes what may be answered.
pub(crate) fn long_json<T: Serialize + ?Sized>(context: &Context, value: &T) -> RpcResult<Json> {
    let max = usize::try_from(context.config.max_response_bytes).unwrap_or(usize::MAX);
    let mut out = Bounded { bytes: Vec::new(), max };
    let internal = |error: String| RpcError::Internal(format!("the answer cannot be written as JSON: {error}"));
    serde_json::to_writer(&mut out, value).map_err(|error| {
        if error.is_io() {
            RpcError::Limit(format!("the answer is longer than {max} bytes; ask for less at once"))
        } else {
            internal(error.to_string())
        }
    })?;
    let text = String::from_utf8(out.bytes).map_err(|error| internal(error.to_string()))?;
    Ok(Json::new(text))
}

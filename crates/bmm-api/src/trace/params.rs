//! Parameters of the trace module.

use crate::params::{Param, by_serde};
use alloy_eips::BlockNumberOrTag;
use alloy_primitives::{Address, U64, map::HashSet};
use alloy_rpc_types_eth::TransactionRequest;
use alloy_rpc_types_trace::{
    filter::{TraceFilter, TraceFilterMode},
    parity::TraceType,
};
use serde::Deserialize;

/// Calls of one `trace_callMany`.
const MAX_CALLS: usize = 256;

/// Addresses of one list in a filter.
const MAX_ADDRESSES: usize = 1_000;

/// The kinds of traces that are wanted.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct TraceTypes(pub(crate) HashSet<TraceType>);

impl Param for TraceTypes {
    const EXPECTED: &'static str = "a list of \"trace\", \"stateDiff\" and \"vmTrace\"";

    fn read(json: &str) -> Result<Self, Option<String>> {
        let types: Self = by_serde(json)?;
        if types.0.is_empty() { Err(Some("the list is empty".into())) } else { Ok(types) }
    }
}

/// Calls, each with the kinds of its traces.
pub(crate) struct Calls(pub(crate) Vec<(TransactionRequest, TraceTypes)>);

impl Param for Calls {
    const EXPECTED: &'static str = "a list of at most 256 pairs of a transaction object and a list of kinds of traces";

    fn read(json: &str) -> Result<Self, Option<String>> {
        let calls: Vec<(TransactionRequest, TraceTypes)> = by_serde(json)?;
        if calls.len() > MAX_CALLS {
            return Err(Some(format!("{} calls", calls.len())));
        }
        Ok(Self(calls))
    }
}

/// Where a call stands among the calls of a transaction: its index in each call around it.
pub(crate) struct Path(pub(crate) Vec<usize>);

impl Param for Path {
    const EXPECTED: &'static str = "a list of indices such as [\"0x0\", \"0x2\"]";

    fn read(json: &str) -> Result<Self, Option<String>> {
        let path: Vec<U64> = by_serde(json)?;
        Ok(Self(path.into_iter().map(|index| index.saturating_to()).collect()))
    }
}

/// Which traces `trace_filter` is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Filter {
    pub(crate) from_block: Option<BlockNumberOrTag>,
    pub(crate) to_block: Option<BlockNumberOrTag>,
    pub(crate) from_address: Option<Vec<Address>>,
    pub(crate) to_address: Option<Vec<Address>>,
    pub(crate) mode: TraceFilterMode,
    pub(crate) after: Option<U64OrNumber>,
    pub(crate) count: Option<U64OrNumber>,
}

/// A count, as hex or as a plain number, as callers send both.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum U64OrNumber {
    /// `"0x10"`.
    Hex(U64),
    /// `16`.
    Number(u64),
}

impl U64OrNumber {
    pub(crate) fn get(self) -> usize {
        let value = match self {
            Self::Hex(value) => value.to(),
            Self::Number(value) => value,
        };
        usize::try_from(value).unwrap_or(usize::MAX)
    }
}

impl Filter {
    /// The addresses and how they go together, as the library matches them.
    pub(crate) fn addresses(&mut self) -> TraceFilter {
        TraceFilter {
            from_address: self.from_address.take().unwrap_or_default(),
            to_address: self.to_address.take().unwrap_or_default(),
            mode: self.mode,
            ..TraceFilter::default()
        }
    }
}

impl Param for Filter {
    const EXPECTED: &'static str = "a filter object: fromBlock, toBlock, fromAddress, toAddress, mode, after, count";

    fn read(json: &str) -> Result<Self, Option<String>> {
        let filter: Self = by_serde(json)?;
        let longest = [&filter.from_address, &filter.to_address].into_iter().flatten().map(Vec::len).max();
        match longest {
            Some(len) if len > MAX_ADDRESSES => {
                Err(Some(format!("{len} addresses in one list, at most {MAX_ADDRESSES}")))
            }
            _ => Ok(filter),
        }
    }
}

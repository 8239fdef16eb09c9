//! Beginning from a snapshot: headers from genesis on, then the state of one block not far below the head (the pivot) in ranges with
//! proofs, instead of executing the past. From the pivot on every block is executed as any other.
//!
//! What comes goes into a store in the making beside the chain's place, with a note of what comes next, so that it can be given up and
//! taken up at any time. While the source moves on, the state of the pivot may become too old for it: then a younger block becomes the
//! pivot, and the rest is taken from its state. What has changed in the first part meanwhile is found in the end, by going down
//! the trie from the last pivot's root along the nodes that differ.

mod ask;
mod headers;
mod heal;
mod state;

use super::{Source, SyncError, ask_blocks};
use crate::{chain::begin, clock::Clock, error::ChainError, params::check, ranges::MAX_RANGE_BYTES};
use alloy_primitives::B256;
use alloy_rlp::{RlpDecodable, RlpEncodable};
use bmm_ledger::{
    exec::header::check_body,
    store::{Head, Loading, NewHeader, Store, StoreError, StoreOptions},
};
use bmm_pow::Asert;
use bmm_types::{ChainParams, SealedBlock};
use std::path::{Path, PathBuf};

/// How far below the source's head the pivot is taken: a change of branch hardly goes as deep, and the state there stays at hand for
/// the longest time.
pub const PIVOT_DEPTH: u64 = 64;

/// How far below the source's head the pivot of an interrupted run is taken up again.
const MAX_OLD_PIVOT_DEPTH: u64 = 512;

/// Pivots after one another of which a source gives nothing before it is given up.
const MAX_GONE: u32 = 16;

/// A block that the operator has from somebody they trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Its number.
    pub number: u64,
    /// Its id.
    pub id: B256,
}

/// What may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotOptions {
    /// Memory, and how much of the past is kept from the pivot on.
    pub store: StoreOptions,
    /// A block that the chain must contain. Proofs of work of the blocks below it are not checked: their ids follow from its.
    pub checkpoint: Option<Checkpoint>,
    /// See [`PIVOT_DEPTH`].
    pub pivot_depth: u64,
    /// Bytes of accounts or slots that are asked for at once, at most [`MAX_RANGE_BYTES`].
    pub range_bytes: u64,
}

impl Default for SnapshotOptions {
    fn default() -> Self {
        Self {
            store: StoreOptions::default(),
            checkpoint: None,
            pivot_depth: PIVOT_DEPTH,
            range_bytes: MAX_RANGE_BYTES,
        }
    }
}

/// What is being taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotStep {
    /// Headers.
    Headers,
    /// Accounts, slots and codes.
    State,
    /// What has changed since.
    Changes,
}

/// How far it is. Counts of the state go on over interruptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotProgress {
    /// What is being taken.
    pub step: SnapshotStep,
    /// Number of the last header.
    pub header: u64,
    /// Number of the source's head.
    pub head: u64,
    /// Number of the pivot; 0 before there is one.
    pub pivot: u64,
    /// The part of all keys of accounts whose accounts are there, of 65,536.
    pub done: u32,
    /// Accounts that came.
    pub accounts: u64,
    /// Slots that came.
    pub slots: u64,
    /// Bytes of accounts, slots, nodes and codes that came, as they are in the trie.
    pub bytes: u64,
}

/// Is told how far it is, and says whether to go on.
pub type TellSnapshot<'a> = &'a mut dyn FnMut(SnapshotProgress) -> bool;

/// Takes a chain up to a block near a source's head into `folder`, which holds no chain yet or none beyond genesis; returns that block.
/// [`crate::Chain::open`] and [`crate::Chain::follow`] go on from there. A source that is at fault is left for the next one.
///
/// `None`: the source's chain is too short for a pivot, and nothing was made; follow it from genesis.
///
/// # Errors
/// [`SyncError`] of the last source; what came is kept in a folder beside, and taken up by the next call.
/// [`SyncError::NotNew`] when `folder` holds a chain.
pub fn take_snapshot(
    params: &ChainParams,
    folder: &Path,
    clock: &dyn Clock,
    sources: &[&dyn Source],
    options: &SnapshotOptions,
    tell: TellSnapshot<'_>,
) -> Result<Option<Head>, SyncError> {
    let asert = check(params)?;
    hold_new(params, folder, options)?;
    let making = making(folder);
    let loading = Loading::open(&making, params.digest(), options.store)?;
    let mut head = loading.head();
    if head.is_none() {
        let mut run = Run::new(params, asert, clock, options, loading, tell)?;
        head = run.with_any(sources)?;
        if head.is_none() {
            drop(run);
            remove(&making)?;
            return Ok(None);
        }
    }
    put_in_place(&making, folder)?;
    Ok(head)
}

/// Returns the folder in which a snapshot for `folder` is made.
#[must_use]
pub fn making(folder: &Path) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(".sync");
    folder.with_file_name(name)
}

/// Refuses a folder that holds more than genesis.
fn hold_new(params: &ChainParams, folder: &Path, options: &SnapshotOptions) -> Result<(), SyncError> {
    if !folder.exists() {
        return Ok(());
    }
    let store = Store::open_with(folder, params.digest(), options.store)?;
    match store.head() {
        Some(head) if head.number > 0 => Err(SyncError::NotNew { folder: folder.to_owned(), head: head.number }),
        _ => Ok(()),
    }
}

/// Moves the complete store to its place. What is there holds nothing but genesis.
fn put_in_place(making: &Path, folder: &Path) -> Result<(), SyncError> {
    remove(folder)?;
    let failed = |source| StoreError::Folder { folder: folder.to_owned(), source };
    std::fs::rename(making, folder).map_err(failed)?;
    // Elsewhere than on Unix a folder cannot be opened.
    if cfg!(unix)
        && let Some(parent) = folder.parent()
    {
        std::fs::File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)?;
    }
    Ok(())
}

fn remove(folder: &Path) -> Result<(), StoreError> {
    match std::fs::remove_dir_all(folder) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError::Folder { folder: folder.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Where it is; stored with every piece.
#[derive(Clone, Debug, Default, PartialEq, Eq, RlpEncodable, RlpDecodable)]
struct Place {
    /// Number and id of the checkpoint below which proofs of work were not checked; zero for none.
    checkpoint: u64,
    checkpoint_id: B256,
    /// The block whose state is being taken.
    pivot: B256,
    /// The first account that is missing.
    next: B256,
    /// Whether none is.
    loaded: bool,
    /// An account whose slots have come in part; zero for none.
    owner: B256,
    /// The first of its slots that is missing.
    slot: B256,
    /// Whether accounts were changed after they had come, so that slots without an account may have been left.
    healing: bool,
    accounts: u64,
    slots: u64,
    bytes: u64,
}

/// Why a piece could not be taken.
enum Halt {
    /// The source does not have the pivot's state at hand.
    Gone,
    Error(SyncError),
}

impl<E: Into<SyncError>> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// One call of [`take_snapshot`].
struct Run<'a> {
    params: &'a ChainParams,
    asert: Asert,
    clock: &'a dyn Clock,
    options: &'a SnapshotOptions,
    loading: Loading,
    tell: TellSnapshot<'a>,
    place: Place,
    step: SnapshotStep,
    header: u64,
    /// Number of the source's head.
    head: u64,
    pivot: u64,
    /// Pieces of the state that came.
    answers: u64,
}

impl<'a> Run<'a> {
    fn new(
        params: &'a ChainParams,
        asert: Asert,
        clock: &'a dyn Clock,
        options: &'a SnapshotOptions,
        loading: Loading,
        tell: TellSnapshot<'a>,
    ) -> Result<Self, SyncError> {
        if loading.canonical(0)?.is_none() {
            let store = Store::in_memory(params.digest())?;
            begin(params, &store)?;
            let id = store.canonical(0)?.ok_or(StoreError::Empty)?;
            let genesis = store.block(id)?.ok_or(StoreError::Empty)?;
            loading.put_genesis(&genesis)?;
        }
        let place = match loading.progress()? {
            Some(bytes) => alloy_rlp::decode_exact(&bytes).map_err(|error| StoreError::Corrupt {
                table: "notes",
                key: "loading".into(),
                what: error.to_string(),
            })?,
            None => Place::default(),
        };
        let step = SnapshotStep::Headers;
        let mut run = Self {
            params,
            asert,
            clock,
            options,
            loading,
            tell,
            place,
            step,
            header: 0,
            head: 0,
            pivot: 0,
            answers: 0,
        };
        run.settle_checkpoint()?;
        Ok(run)
    }

    /// Takes it from the first source that is not at fault.
    fn with_any(&mut self, sources: &[&dyn Source]) -> Result<Option<Head>, SyncError> {
        let mut fault = SyncError::NoSource;
        for source in sources {
            match self.with(*source) {
                Err(error) if error.is_of_source() => {
                    tracing::warn!(%error, "a source of the snapshot is left");
                    fault = error;
                }
                result => {
                    self.loading.flush()?;
                    return result;
                }
            }
        }
        self.loading.flush()?;
        Err(fault)
    }

    fn with(&mut self, source: &dyn Source) -> Result<Option<Head>, SyncError> {
        let mut gone = 0u32;
        loop {
            self.step = SnapshotStep::Headers;
            self.take_headers(source)?;
            let Some(pivot) = self.choose_pivot(gone)? else { return Ok(None) };
            let before = self.answers;
            match self.take_state(source, &pivot) {
                Ok(()) => {
                    self.loading.finish(pivot.id)?;
                    return Ok(Some(Head { number: pivot.header.number, id: pivot.id }));
                }
                Err(Halt::Error(error)) => return Err(error),
                Err(Halt::Gone) => {
                    // Without any answer, it does not go so far back: next time a younger block is tried.
                    gone = if self.answers > before { 0 } else { gone.saturating_add(1) };
                    self.place.pivot = B256::ZERO;
                    if gone > MAX_GONE {
                        return Err(SyncError::source(source, "has the state of none of its last blocks at hand"));
                    }
                }
            }
        }
    }

    /// Chooses the pivot; that of an interrupted run, if the source may still have its state. `None`: the chain is too short.
    fn choose_pivot(&mut self, gone: u32) -> Result<Option<NewHeader>, SyncError> {
        let missing = |number: u64| StoreError::NotCanonical(number.to_string());
        let wanted = self.head.saturating_sub(self.options.pivot_depth.checked_shr(gone).unwrap_or(0));
        if wanted == 0 || self.head <= self.options.pivot_depth {
            return Ok(None);
        }
        let mut number = wanted;
        if !self.place.pivot.is_zero()
            && let Some(old) = self.loading.number_of(self.place.pivot)?
            && old <= self.head
            && self.head.saturating_sub(old) <= MAX_OLD_PIVOT_DEPTH
        {
            number = old;
        }
        let pivot = self.loading.header(number)?.ok_or_else(|| missing(number))?;
        (self.place.pivot, self.pivot) = (pivot.id, number);
        Ok(Some(pivot))
    }

    /// Takes the state of the pivot.
    fn take_state(&mut self, source: &dyn Source, pivot: &NewHeader) -> Result<(), Halt> {
        self.step = SnapshotStep::State;
        self.load(source, pivot)?;
        self.heal(source, pivot)?;
        self.take_body(source, pivot)?;
        Ok(self.go_on()?)
    }

    /// Takes the pivot's body, so that the head's can be asked for from the beginning.
    fn take_body(&self, source: &dyn Source, pivot: &NewHeader) -> Result<(), Halt> {
        let Some(SealedBlock { block, .. }) = ask_blocks(source, pivot.header.number, 1)?.pop() else {
            return Err(Halt::Gone);
        };
        let id = block.header.hash_slow();
        if id != pivot.id {
            return Err(Halt::Gone);
        }
        check_body(self.params, &block)
            .map_err(|error| headers::invalid(source, pivot.header.number, id, error.into()))?;
        Ok(self.loading.put_body(id, &block.body)?)
    }

    fn note(&self) -> Vec<u8> {
        alloy_rlp::encode(&self.place)
    }

    /// Tells how far it is.
    fn go_on(&mut self) -> Result<(), SyncError> {
        let next = u32::from(u16::from_be_bytes([self.place.next[0], self.place.next[1]]));
        let told = SnapshotProgress {
            step: self.step,
            header: self.header,
            head: self.head,
            pivot: self.pivot,
            done: if self.place.loaded { 1 << 16 } else { next },
            accounts: self.place.accounts,
            slots: self.place.slots,
            bytes: self.place.bytes,
        };
        if (self.tell)(told) { Ok(()) } else { Err(SyncError::Interrupted) }
    }
}

impl From<StoreError> for SyncError {
    fn from(error: StoreError) -> Self {
        Self::Chain(ChainError::Store(error))
    }
}

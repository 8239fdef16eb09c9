//! Following a source block by block: each is checked and executed as any other.

use super::{BLOCKS_AT_ONCE, Source, SyncError, ask_blocks, ask_head, find_common};
use crate::{chain::Chain, error::ImportError, pipeline::ImportAllError};
use bmm_types::SealedBlock;
use std::{
    collections::VecDeque,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
};

/// Pages of blocks that wait to be imported.
const PAGES_AHEAD: usize = 2;

/// How often the source may change its branch under our feet before it is given up.
const MAX_RESTARTS: u32 = 16;

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Following {
    /// Number of the last block that was taken.
    pub at: u64,
    /// Number of the source's head, as last heard.
    pub head: u64,
    /// Blocks imported so far.
    pub imported: u64,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Followed {
    /// Blocks imported.
    pub imported: u64,
    /// Gas that they used.
    pub gas: u64,
}

/// Is told how far it is, and says whether to go on.
pub type Progress<'a> = &'a mut (dyn FnMut(Following) -> bool + Send);

impl Chain {
    /// Takes blocks from a source until its head is reached. `progress` is told of each new head.
    ///
    /// # Errors
    /// [`SyncError`]; what was imported before stays.
    pub fn follow(&self, source: &dyn Source, progress: Progress<'_>) -> Result<Followed, SyncError> {
        let mut followed = Followed::default();
        let mut restarts = 0;
        loop {
            let head = ask_head(source)?;
            let common = self.common_block(source, head)?;
            if common == head {
                return Ok(followed);
            }
            match self.take_range(source, common.saturating_add(1), head, &mut followed, progress) {
                Ok(()) => {}
                // The source went over to another branch in between.
                Err(SyncError::Invalid { error, .. })
                    if matches!(*error, ImportError::UnknownParent(_)) && restarts < MAX_RESTARTS =>
                {
                    restarts = restarts.saturating_add(1);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Finds the highest block that both have.
    pub(crate) fn common_block(&self, source: &dyn Source, head: u64) -> Result<u64, SyncError> {
        find_common(source, self.genesis(), (head, self.head().number()), |number| Ok(self.canonical(number)?))
    }

    /// Takes the blocks `from` to `to`, asking for the next ones while these are imported.
    fn take_range(
        &self,
        source: &dyn Source,
        from: u64,
        to: u64,
        followed: &mut Followed,
        progress: Progress<'_>,
    ) -> Result<(), SyncError> {
        let (sender, pages) = sync_channel(PAGES_AHEAD);
        let stop = AtomicBool::new(false);
        let (mut came, mut fault) = (false, None);
        let result = std::thread::scope(|scope| {
            scope.spawn(move || ask_pages(source, from, to, &sender));
            let (mut page, came, fault, stop) = (VecDeque::new(), &mut came, &mut fault, &stop);
            // The receiver goes with the iterator, before the thread is waited for.
            let blocks = std::iter::from_fn(move || {
                while page.is_empty() && !stop.load(Ordering::Relaxed) {
                    match pages.recv() {
                        Ok(Ok(next)) => {
                            self.hash_ahead(next.iter().map(|block| &block.seal));
                            page = VecDeque::<SealedBlock>::from(next);
                        }
                        Ok(Err(error)) => {
                            *fault = Some(error);
                            return None;
                        }
                        Err(_) => return None,
                    }
                }
                *came |= !page.is_empty();
                page.pop_front().filter(|_| !stop.load(Ordering::Relaxed))
            });
            self.import_all(blocks, |head| {
                followed.imported = followed.imported.saturating_add(1);
                followed.gas = followed.gas.saturating_add(head.header.gas_used);
                if !progress(Following { at: head.number(), head: to, imported: followed.imported }) {
                    stop.store(true, Ordering::Relaxed);
                }
            })
        });
        if let Err(refused) = result {
            let ImportAllError { number, id, error, .. } = *refused;
            return Err(SyncError::Invalid { source_name: source.name(), number, id, error: Box::new(error) });
        }
        match fault {
            Some(error) => Err(error),
            None if stop.into_inner() => Err(SyncError::Interrupted),
            None if !came => {
                let what =
                    format!("does not give block {from}, which it says it has; it may have begun from a snapshot");
                Err(SyncError::source(source, what))
            }
            None => Ok(()),
        }
    }
}

/// Asks for page after page, until nobody listens or there is none.
fn ask_pages(source: &dyn Source, from: u64, to: u64, pages: &SyncSender<Result<Vec<SealedBlock>, SyncError>>) {
    let mut next = from;
    while next <= to {
        let count = to.saturating_sub(next).saturating_add(1).min(BLOCKS_AT_ONCE);
        let page = ask_blocks(source, next, count);
        let last = page.as_ref().ok().and_then(|page| page.last()).map(|sealed| sealed.block.header.number);
        if pages.send(page).is_err() {
            return;
        }
        let Some(last) = last else { return };
        next = last.saturating_add(1);
    }
}

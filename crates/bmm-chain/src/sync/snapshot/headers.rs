//! The chain of headers, each checked by every rule that needs no state.

use super::{
    super::{HEADERS_AT_ONCE, SyncError, ask_head, ask_headers, find_common},
    Checkpoint, Run, Source,
};
use crate::{engine, error::ImportError, header::HeaderRules, serve::SealedHeader};
use alloy_primitives::B256;
use bmm_ledger::store::{NewHeader, StoreError};
use bmm_pow::Work;
use bmm_types::{Header, Seal};
use std::panic::resume_unwind;

/// Headers of another branch that are held before it is known to have more work.
const MAX_HELD: usize = 1 << 14;

/// How often the source may change its branch under our feet.
const MAX_RESTARTS: u32 = 16;

/// What became of a look at the source's headers.
enum Taken {
    All,
    /// The source went over to another branch in between.
    Changed,
}

impl Run<'_> {
    /// Takes the headers up to the source's head. What came before stays, unless the source's branch has more work.
    pub(super) fn take_headers(&mut self, source: &dyn Source) -> Result<(), SyncError> {
        for _ in 0..MAX_RESTARTS {
            if let Taken::All = self.take_headers_once(source)? {
                let last = self.own_last()?.header.number;
                match self.options.checkpoint {
                    Some(checkpoint) if last < checkpoint.number => {
                        let what = format!("has no block {} yet, which is the checkpoint", checkpoint.number);
                        return Err(SyncError::source(source, what));
                    }
                    _ => return Ok(()),
                }
            }
        }
        Err(SyncError::source(source, "changes its branch again and again"))
    }

    /// Forgets headers that were taken below another checkpoint and never met it: their proofs of work were not checked.
    pub(super) fn settle_checkpoint(&mut self) -> Result<(), SyncError> {
        let wanted = self.options.checkpoint.map_or((0, B256::ZERO), |checkpoint| (checkpoint.number, checkpoint.id));
        let before = (self.place.checkpoint, self.place.checkpoint_id);
        if wanted == before {
            return Ok(());
        }
        let met = before.0 == 0 || self.loading.canonical(before.0)? == Some(before.1);
        let meets = self.loading.canonical(wanted.0)?.is_none_or(|id| wanted.0 == 0 || id == wanted.1);
        if !met || !meets {
            self.begin_again()?;
        }
        (self.place.checkpoint, self.place.checkpoint_id) = wanted;
        Ok(self.loading.note(&self.note())?)
    }

    /// Forgets all headers but genesis. The state stays: whatever the next pivot is, it is made that one's.
    fn begin_again(&self) -> Result<(), SyncError> {
        Ok(self.loading.remove_headers(1)?)
    }

    fn own(&self, number: u64) -> Result<NewHeader, SyncError> {
        Ok(self.loading.header(number)?.ok_or_else(|| StoreError::NotCanonical(number.to_string()))?)
    }

    fn own_last(&self) -> Result<NewHeader, SyncError> {
        Ok(self.loading.last_header()?.ok_or(StoreError::Empty)?)
    }

    fn take_headers_once(&mut self, source: &dyn Source) -> Result<Taken, SyncError> {
        self.head = ask_head(source)?;
        let own_last = self.own_last()?;
        self.header = own_last.header.number;
        let genesis = self.own(0)?.id;
        let common =
            find_common(source, genesis, (self.head, self.header), |number| Ok(self.loading.canonical(number)?))?;
        let mut last = self.own(common)?;
        // A branch beside what is there must have more work before it counts.
        let unmet = self.options.checkpoint.is_some_and(|checkpoint| self.header < checkpoint.number);
        let mut beside = common < self.header && !unmet;
        let mut held = Vec::new();
        let mut seals = vec![last.seal.clone()];
        if common > 0 && common < self.head {
            match self.their_seal(source, &last)? {
                None => return Ok(Taken::Changed),
                Some(seal) => seals.push(seal),
            }
        }
        while last.header.number < self.head {
            self.go_on()?;
            let first = last.header.number.saturating_add(1);
            let count = self.head.saturating_sub(last.header.number).min(HEADERS_AT_ONCE);
            let page = ask_headers(source, first, count)?;
            match page.first() {
                None => return Ok(Taken::Changed),
                Some(sealed) if sealed.header.parent_hash != last.id => return Ok(Taken::Changed),
                Some(_) => {}
            }
            let page = self.check_page(source, &last, &seals, page)?;
            let Some(new_last) = page.last().cloned() else { return Ok(Taken::Changed) };
            held.extend(page);
            beside = beside && new_last.work <= own_last.work;
            if beside {
                if held.len() > MAX_HELD {
                    let what = format!(
                        "leaves the chain of headers taken so far at block {common}, more than {MAX_HELD} blocks back"
                    );
                    return Err(SyncError::source(source, what));
                }
            } else {
                self.loading.put_headers(&held)?;
                held.clear();
                self.header = new_last.header.number;
            }
            seals = vec![new_last.seal.clone()];
            last = new_last;
        }
        if held.is_empty() {
            return Ok(Taken::All);
        }
        let what = format!("follows a branch from block {common} on that has less work than the one taken so far");
        Err(SyncError::source(source, what))
    }

    /// The seal that the source gives with a header that is there already: it may be another, on which the next header builds. `None`
    /// when the source has another header there by now.
    fn their_seal(&self, source: &dyn Source, own: &NewHeader) -> Result<Option<Seal>, SyncError> {
        let Some(sealed) = ask_headers(source, own.header.number, 1)?.pop() else { return Ok(None) };
        if sealed.header.hash_slow() != own.id {
            return Ok(None);
        }
        if sealed.seal == own.seal {
            return Ok(Some(sealed.seal));
        }
        engine::check_seal(self.params, own.id, &own.header, &sealed.seal)
            .map_err(|error| invalid(source, own.header.number, own.id, error))?;
        self.loading.put_seal(own.id, &sealed.seal)?;
        Ok(Some(sealed.seal))
    }

    /// Checks headers that follow one another, on all cores.
    fn check_page(
        &mut self,
        source: &dyn Source,
        parent: &NewHeader,
        seals: &[Seal],
        page: Vec<SealedHeader>,
    ) -> Result<Vec<NewHeader>, SyncError> {
        let rules =
            HeaderRules { params: self.params, asert: &self.asert, now: self.clock.now_secs(), checkpoint: None };
        let checks = Checks { rules, checkpoint: self.options.checkpoint, source };
        let ids: Vec<B256> = page.iter().map(|sealed| sealed.header.hash_slow()).collect();
        let parents = std::iter::once((&parent.header, seals))
            .chain(page.iter().map(|sealed| (&sealed.header, std::slice::from_ref(&sealed.seal))));
        let jobs: Vec<_> = parents.zip(page.iter().zip(&ids)).collect();
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let share = jobs.len().div_ceil(threads).max(1);
        let result = std::thread::scope(|scope| {
            let check = |jobs: &[Job<'_>]| {
                let proven =
                    jobs.iter().map(|(_, (sealed, _))| sealed).filter(|sealed| checks.wants_work(&sealed.header));
                engine::hash_ahead(self.params, proven.map(|sealed| &sealed.seal));
                jobs.iter().try_for_each(|job| checks.check(job))
            };
            let workers: Vec<_> = jobs.chunks(share).map(|jobs| scope.spawn(move || check(jobs))).collect();
            // The first in order is the one that is told of.
            let results = workers.into_iter().map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)));
            results.collect::<Result<(), SyncError>>()
        });
        if let Err(SyncError::Checkpoint { .. }) = result {
            self.begin_again()?;
        }
        result?;
        let mut work = Work::from_stored(parent.work);
        let headers = page.into_iter().zip(ids).map(|(SealedHeader { header, seal }, id)| {
            work = engine::total_work(self.params, work, &header);
            NewHeader { id, header, seal, work: work.get() }
        });
        Ok(headers.collect())
    }
}

/// A parent with its seals, and a header with its id.
type Job<'a> = ((&'a Header, &'a [Seal]), (&'a SealedHeader, &'a B256));

/// What headers are held against.
struct Checks<'a> {
    rules: HeaderRules<'a>,
    checkpoint: Option<Checkpoint>,
    source: &'a dyn Source,
}

impl Checks<'_> {
    /// Whether a header's work is looked at: below the checkpoint its id follows from that one's.
    fn wants_work(&self, header: &Header) -> bool {
        self.checkpoint.is_none_or(|checkpoint| header.number >= checkpoint.number)
    }

    fn check(&self, (parent, (sealed, id)): &Job<'_>) -> Result<(), SyncError> {
        let SealedHeader { header, seal } = sealed;
        let refuse = |error| invalid(self.source, header.number, **id, error);
        self.rules.check_unsealed(*parent, header).map_err(refuse)?;
        if let Some(Checkpoint { number, id: wanted }) = self.checkpoint {
            if !self.wants_work(header) {
                return Ok(());
            }
            if header.number == number && **id != wanted {
                return Err(SyncError::Checkpoint { source_name: self.source.name(), number, wanted, found: **id });
            }
        }
        engine::check_seal(self.rules.params, **id, header, seal).map_err(refuse)
    }
}

pub(super) fn invalid(source: &dyn Source, number: u64, id: B256, error: ImportError) -> SyncError {
    SyncError::Invalid { source_name: source.name(), number, id, error: Box::new(error) }
}

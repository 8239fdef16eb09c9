//! The provider: takes leases, keeps its slots busy, and checks that it is paid.
//!
//! It asks for the next lease when half of the last one is started, so that its slots never wait for a message. It stops
//! asking a requester that owes it more than a few batches.

mod api;
mod pay;
mod work;

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256};
use bmm_types::market::{JobAnnouncement, JobSpec, Lease, Offer, TaskRange, ToProvider, ToRequester, Wire};

use crate::Micros;
use crate::money::Prices;

pub use api::{Chunk, Effect, Event, ProviderConfig};
pub use pay::{JobEarnings, MAX_UNCOLLECTED, is_covered};

use pay::Account;
use work::{Running, Work};

/// How far a job is on this side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Program and inputs are on their way.
    Preparing,
    /// Tasks can run.
    Ready,
    /// Nothing more runs; the last voucher waits for the settlement.
    Closed,
}

/// One job that this provider works for.
struct Job {
    /// The requester, as the transport knows it.
    from: Address,
    announcement: JobAnnouncement,
    state: State,
    tasks: u64,
    copies: u8,
    /// Whether a lease request stands.
    requested: bool,
    work: Work,
    account: Account,
}

/// A provider with its slots and jobs.
pub struct Provider {
    config: ProviderConfig,
    prices: Prices,
    slots: Vec<Option<Running>>,
    /// Slots that something else than tasks has: services.
    held: usize,
    jobs: BTreeMap<B256, Job>,
    /// The job that was served last; jobs take turns.
    turn: B256,
    leaving: Option<String>,
    now: Micros,
    effects: Vec<Effect>,
}

/// Says why this provider cannot work for a job; `None` if it can.
fn objection(
    config: &ProviderConfig,
    from: Address,
    announcement: &JobAnnouncement,
    spec: &JobSpec,
    now: Micros,
) -> Option<String> {
    let (offer, chain_id): (&Offer, u64) = (&config.offer.offer, config.chain_id);
    let limits = &spec.limits;
    if announcement.requester != from {
        return Some(format!("the job is of {}, who does not speak for itself", announcement.requester));
    }
    if announcement.chain_id != chain_id {
        return Some(format!("the job is on chain {}, this provider on {chain_id}", announcement.chain_id));
    }
    if !offer.runtimes.contains(&spec.runtime) {
        return Some(format!("there is no {} runtime here", spec.runtime));
    }
    if limits.memory_bytes > offer.memory_bytes {
        return Some(format!("limits.memory is above the {} bytes offered", offer.memory_bytes));
    }
    if limits.time_millis > offer.time_millis {
        return Some(format!("limits.time is above the {} ms offered", offer.time_millis));
    }
    if limits.output_bytes > offer.output_bytes {
        return Some(format!("limits.output is above the {} bytes offered", offer.output_bytes));
    }
    if spec.budget.price.is_some_and(|most| offer.price_per_gfuel > most) {
        return Some(format!("budget.price is below the {} asked for", offer.price_per_gfuel));
    }
    if spec.stake > config.max_stake {
        return Some(format!(
            "it asks for a stake of {}, and this provider locks at most {}",
            spec.stake, config.max_stake
        ));
    }
    if announcement.deadline <= now / crate::SECOND {
        return Some("the deadline has passed".to_owned());
    }
    None
}

impl Provider {
    /// Makes a provider without jobs.
    pub fn new(config: ProviderConfig) -> Self {
        let offer = &config.offer.offer;
        let slots = std::iter::repeat_with(|| None).take(offer.slots.into()).collect();
        let prices = Prices::of(offer);
        let (jobs, turn) = (BTreeMap::new(), B256::ZERO);
        Self { config, prices, slots, held: 0, jobs, turn, leaving: None, now: 0, effects: Vec::new() }
    }

    /// Handles an event; the effects are to be carried out in their order.
    pub fn handle(&mut self, now: Micros, event: Event) -> Vec<Effect> {
        self.now = self.now.max(now);
        match event {
            Event::Connected { requester } => {
                let message = ToRequester::Offer(Box::new(self.config.offer.clone()));
                self.effects.push(Effect::Send { to: requester, message });
            }
            Event::Message { from, message } => self.message(from, message),
            Event::Disconnected { requester } => {
                self.jobs_of(requester).into_iter().for_each(|job| self.interrupt(job));
            }
            Event::Interrupted { job } => self.interrupt(job),
            Event::Ready { job } => {
                if let Some(job) = self.jobs.get_mut(&job).filter(|job| job.state == State::Preparing) {
                    job.state = State::Ready;
                }
            }
            Event::Unable { job, reason } => {
                if let Some(removed) = self.jobs.remove(&job) {
                    self.decline(removed.from, job, &reason);
                }
            }
            Event::Done { slot, results, busy_micros } => self.done(slot, results, busy_micros),
            Event::Paid { job } => self.forget(job),
            Event::Drain { reason } => self.drain(&reason),
            Event::Held { slots } => self.hold(slots),
            Event::Escrow { job, left, paid } => self.escrow_seen(job, left, paid),
            Event::Leave { reason } => self.leave(&reason),
            Event::Resume => self.leaving = None,
            Event::Tick => self.claim_what_is_due(),
        }
        self.go_on();
        std::mem::take(&mut self.effects)
    }

    fn message(&mut self, from: Address, message: ToProvider) {
        match message {
            ToProvider::Job(announcement) => self.announced(from, announcement),
            ToProvider::Lease { job, lease } => self.leased(from, job, lease),
            ToProvider::Recall { job: id, tasks } => {
                if let Some(job) = self.ready(from, id) {
                    let ranges = job.work.give_back(tasks);
                    self.effects.push(Effect::Send { to: from, message: ToRequester::Released { job: id, ranges } });
                }
            }
            ToProvider::Drop { job: id, ranges } => {
                if let Some(job) = self.ready(from, id) {
                    job.work.forget(&ranges);
                    self.stop_running(id, |range| ranges.contains(&range));
                }
            }
            ToProvider::Voucher { voucher, standing } => self.paid(from, voucher, standing),
            ToProvider::Standing { job, standing } => {
                if let Some(job) = self.jobs.get_mut(&job).filter(|job| job.from == from) {
                    job.account.standing = standing;
                }
            }
            ToProvider::Over { job, .. } => {
                if self.jobs.get(&job).is_some_and(|job| job.from == from) {
                    self.close(job);
                }
            }
        }
    }

    /// A lease is taken if it was asked for, one a request, so that nobody fills the queue. Another goes back at once: after a pause
    /// two requests may cross, and what is dropped in silence would count as out for ever.
    fn leased(&mut self, from: Address, id: B256, lease: Lease) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.from == from && job.state != State::Closed) else {
            return;
        };
        let is_wanted = job.state == State::Ready && std::mem::take(&mut job.requested);
        if is_wanted && self.held < self.slots.len() {
            // Tasks past the end are the requester's error, and nothing that could be run.
            let inside = |range: &TaskRange| range.end() <= job.tasks;
            job.work.add(lease.id, lease.ranges.into_iter().filter(inside).collect());
        } else {
            let message = ToRequester::Released { job: id, ranges: lease.ranges };
            self.effects.push(Effect::Send { to: from, message });
        }
        // It crossed the word that no more work is taken.
        if let Some(reason) = self.leaving.clone() {
            self.drain(&reason);
        }
    }

    /// Returns a job that can run, if it is this requester's.
    fn ready(&mut self, from: Address, job: B256) -> Option<&mut Job> {
        self.jobs.get_mut(&job).filter(|job| job.from == from && job.state == State::Ready)
    }

    fn jobs_of(&self, requester: Address) -> Vec<B256> {
        self.jobs.iter().filter(|(_, job)| job.from == requester).map(|(id, _)| *id).collect()
    }

    fn decline(&mut self, to: Address, job: B256, reason: &str) {
        let reason = reason.chars().take(250).collect();
        self.effects.push(Effect::Send { to, message: ToRequester::Decline { job, reason } });
    }

    /// A requester has a job: it is taken if it fits, and prepared unless it is known already.
    fn announced(&mut self, from: Address, announcement: JobAnnouncement) {
        let id = announcement.job;
        if let Some(job) = self.jobs.get_mut(&id) {
            // The requester came back: what was leased before is void.
            if job.from == from && job.state == State::Ready {
                self.interrupt(id);
            }
            return;
        }
        // A no would hold for the whole job; an offer asks for the announcement again when there is work to be taken.
        if self.leaving.is_some() {
            return;
        }
        let spec = match JobSpec::decode(&announcement.spec) {
            Ok(spec) => spec,
            Err(error) => return self.decline(from, id, &error.to_string()),
        };
        let now = self.now;
        let objection = objection(&self.config, from, &announcement, &spec, now);
        let objection = objection.or_else(|| {
            // Those that only wait for their settlement take no room.
            let live = self.jobs.values().filter(|job| job.state != State::Closed).count();
            (live >= self.config.max_jobs).then(|| "there are too many jobs already".to_owned())
        });
        if let Some(reason) = objection {
            return self.decline(from, id, &reason);
        }
        let job = Job {
            from,
            announcement: announcement.clone(),
            state: State::Preparing,
            tasks: spec.tasks().unwrap_or(0),
            copies: spec.verify.copies(),
            requested: false,
            work: Work::default(),
            account: Account::default(),
        };
        self.jobs.insert(id, job);
        self.effects.push(Effect::Prepare { announcement: Box::new(announcement), spec: Box::new(spec) });
    }

    /// Drops all work of a job; it can be taken up again by a new announcement.
    fn interrupt(&mut self, id: B256) {
        self.stop_running(id, |_| true);
        if let Some(job) = self.jobs.get_mut(&id) {
            job.work.clear();
            job.requested = false;
        }
    }

    /// A job is over: nothing more runs, the voucher stays until it is paid.
    fn close(&mut self, id: B256) {
        self.interrupt(id);
        if let Some(job) = self.jobs.get_mut(&id) {
            job.state = State::Closed;
            job.announcement.spec = Vec::new();
            if job.account.voucher.is_none() {
                self.forget(id);
            }
        }
    }

    fn forget(&mut self, id: B256) {
        self.stop_running(id, |_| true);
        if self.jobs.remove(&id).is_some() {
            self.effects.push(Effect::Forget { job: id });
        }
    }

    /// What is not started goes back; what runs is finished.
    fn drain(&mut self, reason: &str) {
        self.leaving = Some(reason.to_owned());
        self.give_all_back();
    }

    fn give_all_back(&mut self) {
        for (id, job) in &mut self.jobs {
            let ranges = job.work.give_back(u32::MAX);
            if job.state == State::Ready && !ranges.is_empty() {
                let message = ToRequester::Released { job: *id, ranges };
                self.effects.push(Effect::Send { to: job.from, message });
            }
        }
    }

    /// Tasks that run go on, but no further one starts while more slots are taken than there are.
    fn hold(&mut self, slots: u16) {
        self.held = usize::from(slots);
        if self.room() == 0 {
            self.give_all_back();
        }
    }

    /// Returns the number of slots that are for tasks now.
    fn room(&self) -> usize {
        self.slots.len().saturating_sub(self.held)
    }

    /// Returns the number of slots that run tasks.
    pub fn busy_slots(&self) -> u16 {
        u16::try_from(self.slots.iter().filter(|slot| slot.is_some()).count()).unwrap_or(u16::MAX)
    }

    /// Tells whether nothing runs and every result that was sent is paid for or told to be worth nothing.
    pub fn is_idle(&self) -> bool {
        let settled = |job: &Job| job.state != State::Ready || job.work.is_idle() && job.account.is_answered();
        self.slots.iter().all(Option::is_none) && self.jobs.values().all(settled)
    }

    /// Returns the number of slots without work.
    pub fn free_slots(&self) -> u16 {
        u16::try_from(self.room()).unwrap_or(u16::MAX).saturating_sub(self.busy_slots())
    }

    fn leave(&mut self, reason: &str) {
        self.leaving = Some(reason.to_owned());
        for (id, job) in &mut self.jobs {
            if job.state == State::Ready {
                work::flush(&mut self.effects, &self.config, *id, job, self.prices, self.now, true);
                let reason = reason.chars().take(250).collect();
                self.effects.push(Effect::Send { to: job.from, message: ToRequester::Leave { job: *id, reason } });
            }
        }
        let ids: Vec<B256> = self.jobs.keys().copied().collect();
        for id in ids {
            self.interrupt(id);
        }
    }

    /// Returns what each job has earned so far.
    pub fn earnings(&self) -> Vec<JobEarnings> {
        self.jobs.iter().map(|(id, job)| job.account.earnings(*id)).collect()
    }
}

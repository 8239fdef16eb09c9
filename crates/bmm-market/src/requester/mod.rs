//! The requester: hands tasks out, verifies what comes back, pays, and can be restarted at any moment.
//!
//! Money: what is accepted is recorded ([`Effect::Record`]) before its voucher is signed ([`Effect::SignVoucher`]), totals
//! are cumulative, and nothing is accepted that would take the sum of all totals past the escrow. So a crash between any
//! two effects neither pays twice nor promises what is not there.

mod api;
mod assign;
mod audit;
mod collect;
mod contest;
mod evidence;
mod finish;
mod lease;
mod log;
mod peers;
mod progress;
mod queue;
mod restore;
mod results;
mod settle;
mod sums;
mod tail;
mod verify;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use alloy_primitives::{Address, B256};
use bmm_types::market::{
    Content, JobAnnouncement, JobSpec, SignedOffer, SpecError, Standing, TaskRange, ToProvider, ToRequester, Wire,
};
use bmm_types::{Amount, ContentHash};

use bmm_types::system::Jobs::{accuseCall, contradictCall};

use crate::Micros;
use crate::money::Prices;

pub use api::{Check, Effect, Ending, Event, JobFailure, Phase, RequesterConfig, Verdict};
pub use bmm_types::market::{merkle_proof, merkle_root, merkle_verify};
use evidence::Words;
pub use evidence::receipt_of;
pub use progress::{Condition, Explanation, Progress, ProviderProgress, TaskState, Verification, explain_offers};
pub use results::VerifiedResult;
pub use settle::{Accepted, ProviderTotal, Settlement};

use contest::Contest;
use lease::LeaseState;
use log::{Entry, PaidTask};
use peers::Peers;
use queue::Queue;
use results::Results;
use tail::Tail;

/// Most leases that one provider may hold; it is not answered beyond them.
const MAX_LEASES_PER_PROVIDER: usize = 64;
/// Most providers of one job.
const MAX_PROVIDERS: usize = 65_536;

/// Says why a job cannot be taken up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequesterError {
    /// The description has no tasks or too many.
    #[error("the job's description is wrong: {0}")]
    Spec(#[from] SpecError),
    /// The log is of another job.
    #[error("the log belongs to another job description ({found}, not {expected}); keep log and description together")]
    OtherJob {
        /// Description that the log names.
        found: ContentHash,
        /// Description that was given.
        expected: ContentHash,
    },
    /// The log is empty or damaged from its first entry.
    #[error("the log has no sound entry; run the job again")]
    EmptyLog,
}

/// What is known of the escrow.
#[derive(Clone, Copy, Debug)]
struct Escrow {
    job: B256,
    amount: Amount,
}

/// Bytes that are on their way.
struct Fetching {
    /// What was asked for: the length is the asked provider's word.
    content: Content,
    /// Who was asked.
    peer: usize,
    /// Tasks that wait for bytes of this hash.
    tasks: BTreeSet<u64>,
}

/// A requester of one job.
pub struct Requester {
    config: RequesterConfig,
    spec: JobSpec,
    spec_bytes: Vec<u8>,
    tasks: u64,
    phase: Phase,
    ending: Option<Ending>,
    merged: bool,
    settled: Option<B256>,
    escrow: Option<Escrow>,
    /// End of work, Unix seconds.
    deadline: u64,
    peers: Peers,
    leases: BTreeMap<u64, LeaseState>,
    next_lease: u64,
    /// First task that was never handed out.
    fresh: u64,
    /// Tasks that (some of) need another run; [`Contest::wanted`] and [`Results`] hold the truth.
    queue: Queue,
    contests: HashMap<u64, Contest>,
    /// Tasks that wait for bytes, by their hash.
    fetching: HashMap<ContentHash, Fetching>,
    results: Results,
    accepted: Vec<Accepted>,
    spent: Amount,
    fuel: u64,
    /// What the dearest result so far used: fuel and bytes.
    max_fuel: u64,
    max_bytes: u64,
    failures: u64,
    /// When work was last out.
    busy_at: Micros,
    started_at: Option<Micros>,
    done_at_start: u64,
    /// Pay that is accepted in this event and not yet recorded, by provider and by whether
    /// nobody else has looked at it.
    earned: BTreeMap<(usize, bool), (Vec<PaidTask>, u64, Amount)>,
    /// Providers that asked for tasks in this event.
    asked: Vec<usize>,
    /// When all that wait were last looked at, and with whom the next look begins.
    served_at: Micros,
    serve_from: usize,
    /// What can be done at the end of the job for those who have nothing.
    tail: Tail,
    /// Bytes that arrived in this event.
    stored: Vec<(Content, Vec<u8>)>,
    /// Providers found wrong in this event, and in which task.
    caught: BTreeMap<usize, u64>,
    /// Tasks that the own machine is to check, and how many it checks now.
    checks: VecDeque<u64>,
    checks_out: u16,
    /// Results that are paid for, whosever.
    paid_runs: u64,
    /// Results that the own machine has decided about.
    own_checked: u64,
    /// Tasks that an operator was drawn for, and until when it has its turn.
    draws: VecDeque<(Micros, u64)>,
    /// Calls that are in the log and not yet sent.
    accusations: Vec<accuseCall>,
    contradictions: Vec<contradictCall>,
    /// What staked providers signed of late.
    words: Words,
    out_of_budget: bool,
    /// The first reason found in this event to end the job.
    doom: Option<Ending>,
    now: Micros,
    effects: Vec<Effect>,
}

impl Requester {
    /// Takes up a new job. The first effects come with [`Event::Opened`]; what [`Self::start_log`] returns goes into the log first.
    pub fn new(config: RequesterConfig, spec: JobSpec) -> Result<Self, RequesterError> {
        let tasks = spec.tasks()?;
        let spec_bytes = spec.encode();
        Ok(Self {
            config,
            spec,
            spec_bytes,
            tasks,
            phase: Phase::Opening,
            ending: None,
            merged: false,
            settled: None,
            escrow: None,
            deadline: u64::MAX,
            peers: Peers::default(),
            leases: BTreeMap::new(),
            next_lease: 1,
            fresh: 0,
            queue: Queue::default(),
            contests: HashMap::new(),
            fetching: HashMap::new(),
            results: Results::new(tasks),
            accepted: Vec::new(),
            spent: Amount::ZERO,
            fuel: 0,
            max_fuel: 0,
            max_bytes: 0,
            failures: 0,
            busy_at: 0,
            started_at: None,
            done_at_start: 0,
            earned: BTreeMap::new(),
            asked: Vec::new(),
            served_at: 0,
            serve_from: 0,
            tail: Tail::default(),
            stored: Vec::new(),
            caught: BTreeMap::new(),
            checks: VecDeque::new(),
            checks_out: 0,
            paid_runs: 0,
            own_checked: 0,
            draws: VecDeque::new(),
            accusations: Vec::new(),
            contradictions: Vec::new(),
            words: Words::default(),
            out_of_budget: false,
            doom: None,
            now: 0,
            effects: Vec::new(),
        })
    }

    /// Returns the first bytes of a new job's log.
    pub fn start_log(&self) -> Vec<u8> {
        log::encode(&Entry::Job { spec: ContentHash::of(&self.spec_bytes) })
    }

    /// Handles an event; the effects are to be carried out in their order.
    pub fn handle(&mut self, now: Micros, event: Event) -> Vec<Effect> {
        self.now = self.now.max(now);
        match event {
            Event::Opened { job, escrow, deadline } => self.opened(job, escrow, deadline),
            Event::Message { from, message } => self.message(from, message),
            Event::Lost { provider } => self.lost(provider),
            Event::Fetched { from, hash, ok } => self.fetched(from, hash, ok),
            Event::Checked { task, verdict } => self.checked(task, verdict),
            Event::Stake { provider, amount } => self.stake_found(provider, amount),
            Event::Merged(result) => self.merged(result),
            Event::Settled { transaction } => self.settled(transaction),
            Event::Cancel { reason } => self.cancel(reason),
            Event::Tick => {}
        }
        self.conclude();
        std::mem::take(&mut self.effects)
    }

    /// Does what every event may have made necessary: recording, paying, punishing, ending, handing out.
    fn conclude(&mut self) {
        if !self.stored.is_empty() {
            self.effects.push(Effect::Store(std::mem::take(&mut self.stored)));
        }
        // Before punishing, so that the log tells it in the order in which it was.
        self.record_earned();
        while let Some((peer, task)) = self.caught.pop_first() {
            self.punish(peer, task);
        }
        self.send_accusations();
        self.tell_standings();
        if self.phase == Phase::Running {
            self.pass_over();
            self.start_checks();
            self.check_end();
        }
        if self.phase == Phase::Running {
            self.serve();
        }
        self.asked.clear();
    }

    fn message(&mut self, from: Address, message: ToRequester) {
        let job = self.escrow.map(|escrow| escrow.job);
        match message {
            ToRequester::Offer(offer) => self.offered(from, *offer),
            ToRequester::LeaseRequest { job: of, slots } if Some(of) == job => {
                if let Some(number) = self.peers.number(from) {
                    let peer = &mut self.peers.list[number];
                    let offered = peer.offer.as_ref().map_or(1, |offer| offer.slots);
                    peer.waiting = Some(slots.min(offered));
                    self.asked.push(number);
                }
            }
            ToRequester::Released { job: of, ranges } if Some(of) == job => self.released(from, &ranges),
            ToRequester::Results(results) if Some(results.batch.job) == job => self.collect(from, results),
            ToRequester::Decline { job: of, reason } if Some(of) == job => {
                if let Some(peer) = self.peers.number(from) {
                    self.release_all(peer);
                    self.peers.list[peer].refused = Some(format!("it declined: {reason}"));
                }
            }
            ToRequester::Leave { job: of, .. } if Some(of) == job => self.lost(from),
            // About another job, or one that this process has not seen on chain yet.
            _ => {}
        }
    }

    /// A provider introduces itself: its offer is held to the job's conditions, and the job is announced to it.
    fn offered(&mut self, from: Address, signed: SignedOffer) {
        let known = self.peers.number(from);
        if (known.is_none() && self.peers.list.len() >= MAX_PROVIDERS)
            || signed.offer.provider != from
            || (self.config.check_signatures && !signed.is_signed(self.config.chain_id))
        {
            return;
        }
        let number = self.peers.enter(from);
        self.peers.list[number].trust = self.config.trust.trust(from);
        let unmet = progress::unmet(&self.spec, &signed.offer, self.now);
        // An offer opens a conversation: whatever was leased in an earlier one is void.
        self.release_all(number);
        let peer = &mut self.peers.list[number];
        peer.connected = true;
        // A price holds for the whole job, so a later offer of a provider that has worked already changes nothing.
        if peer.offer.is_none() || peer.standing == Standing::default() {
            peer.prices = Prices::of(&signed.offer);
            // One that was wrong stays out, whatever it offers.
            let wrong = peer.refused.take().filter(|_| peer.wrong);
            peer.refused = wrong.or_else(|| unmet.first().map(|(condition, why)| format!("{condition}: {why}")));
            peer.offer = Some(signed.offer);
        }
        self.announce(number);
    }

    fn announce(&mut self, peer: usize) {
        let Some(escrow) = self.escrow.filter(|_| self.phase == Phase::Running) else { return };
        let peer = &self.peers.list[peer];
        if peer.is_usable() {
            let announcement = JobAnnouncement {
                job: escrow.job,
                requester: self.config.requester,
                chain_id: self.config.chain_id,
                budget: escrow.amount,
                deadline: self.deadline,
                spec: self.spec_bytes.clone(),
            };
            self.effects.push(Effect::Send { to: peer.address, message: ToProvider::Job(announcement) });
        }
    }

    fn opened(&mut self, job: B256, escrow: Amount, deadline: u64) {
        if self.phase != Phase::Opening {
            return;
        }
        if self.escrow.is_none() {
            self.record(&Entry::Opened { job, escrow });
        }
        self.record(&Entry::Run);
        self.next_lease = self.next_lease.max(((self.next_lease >> 40) + 1) << 40);
        self.escrow = Some(Escrow { job, amount: escrow });
        self.deadline = deadline;
        self.busy_at = self.now;
        self.started_at = Some(self.now);
        self.peers.reckon_with(self.terms());
        self.done_at_start = self.results.done();
        if let Some(transaction) = self.settled {
            self.phase = Phase::Settling;
            self.settled(transaction);
        } else if let Some(ending) = self.ending.clone() {
            self.settle(ending);
        } else if self.results.done() == self.tasks {
            self.complete();
        } else {
            self.phase = Phase::Running;
            (0..self.peers.list.len()).for_each(|peer| self.announce(peer));
        }
    }

    /// Returns how far the job is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Returns how the job ended or is about to end.
    pub fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }

    /// Returns the job's description.
    pub fn spec(&self) -> &JobSpec {
        &self.spec
    }

    /// Returns the number of tasks.
    pub fn tasks(&self) -> u64 {
        self.tasks
    }

    /// Returns how many tasks have a verified result.
    pub fn done(&self) -> u64 {
        self.results.done()
    }

    /// Returns how many results the own machine has decided about.
    pub fn own_checked(&self) -> u64 {
        self.own_checked
    }

    /// Returns the verified result of a task; its bytes were given to [`Effect::Store`] or fetched, or are empty.
    pub fn result(&self, task: u64) -> Option<VerifiedResult> {
        self.results.get(task)
    }

    /// Returns every acceptance so far: the leaves of the settlement's tree, in order.
    pub fn accepted(&self) -> &[Accepted] {
        &self.accepted
    }

    fn record(&mut self, entry: &Entry) {
        self.effects.push(Effect::Record(log::encode(entry)));
    }
}

/// Cuts ranges to the size that the queue holds, so that going through it is cheap.
fn split_ranges(ranges: Vec<TaskRange>) -> Vec<TaskRange> {
    const MOST: u32 = 4_096;
    let cut = |range: TaskRange| {
        let pieces = range.count.div_ceil(MOST);
        (0..pieces).map(move |piece| {
            let first = range.first + u64::from(piece) * u64::from(MOST);
            TaskRange { first, count: MOST.min(range.count - piece * MOST) }
        })
    };
    ranges.into_iter().flat_map(cut).collect()
}

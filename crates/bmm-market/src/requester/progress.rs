//! What a person wants to know: how far the job is, what it costs, and who could work for it.

use std::collections::BTreeMap;

use alloy_primitives::Address;
use bmm_types::Amount;
use bmm_types::market::{JobSpec, Machine, Needs, Offer, Standing, Verify};

use super::Requester;
use super::api::{Ending, Phase};
use super::contest::Contest;
use super::peers::Peer;
use crate::{Micros, SECOND};

/// How far a job is.
#[derive(Clone, Debug)]
pub struct Progress {
    /// How far a job is, in one word.
    pub phase: Phase,
    /// Tasks of the job.
    pub tasks: u64,
    /// Tasks with a verified result.
    pub done: u64,
    /// Runs that failed, whoever's fault it was.
    pub failures: u64,
    /// Runs that are out.
    pub running: u64,
    /// Results that wait for verification or for their bytes.
    pub pending: u64,
    /// Verified results per second since the work began.
    pub tasks_per_second: u64,
    /// Accepted pay.
    pub spent: Amount,
    /// What the escrow holds.
    pub escrow: Amount,
    /// What the whole job will cost if the rest is like what is done; `None` until something is done.
    pub projected: Option<Amount>,
    /// Paid fuel.
    pub fuel: u64,
    /// Time left if the rest is like what is done; `None` until something is done.
    pub left_micros: Option<Micros>,
    /// The providers.
    pub providers: Vec<ProviderProgress>,
}

/// What one provider does for a job.
#[derive(Clone, Debug)]
pub struct ProviderProgress {
    /// Who.
    pub provider: Address,
    /// Whether it is connected and gets work.
    pub usable: bool,
    /// Why it gets no work, if it does not.
    pub refused: Option<String>,
    /// Tasks that it has out.
    pub running: u64,
    /// How its results stand.
    pub standing: Standing,
    /// Measured time of a task, nanoseconds; 0 until measured.
    pub task_nanos: u64,
    /// Earned so far.
    pub total: Amount,
}

/// How far one task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// It waits for a provider.
    Waiting,
    /// It is with a provider.
    Running,
    /// It has a verified result.
    Done,
    /// Its last run failed, and nobody tries again yet; or the job ended by it.
    Failed,
    /// It has a result that waits to be verified.
    Checking,
}

/// How the results of a job were verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// Results that somebody else found as well, or a verifier said yes to.
    pub checked: u64,
    /// Of them, in this process, those that the requester's own machine looked at.
    pub own_machine: u64,
    /// Results that rest on their provider's word alone.
    pub unchecked: u64,
    /// Providers that were found wrong, and in which task.
    pub wrong: Vec<(Address, u64)>,
}

/// One condition that a job makes on providers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Name: the key of the job file where there is one.
    pub name: &'static str,
    /// What is asked for.
    pub wanted: String,
    /// How many providers meet it.
    pub matching: usize,
    /// The others, each with what it has instead.
    pub others: Vec<(Address, String)>,
}

/// Why the job has the providers that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Providers that made an offer.
    pub providers: usize,
    /// Providers that meet every condition.
    pub matching: usize,
    /// Each condition.
    pub conditions: Vec<Condition>,
    /// Operators that the verification needs.
    pub needed: usize,
}

/// A condition and, if an offer does not meet it, what the offer has.
type Checked = (&'static str, String, Option<String>);

/// Holds an offer to every condition of a job.
fn conditions(spec: &JobSpec, offer: &Offer, now: Micros) -> Vec<Checked> {
    let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
    let seconds = |millis: u64| format!("{}.{:03} s", millis / 1_000, millis % 1_000);
    let at_least = |name, wanted: u64, has: u64, show: &dyn Fn(u64) -> String| {
        (name, format!("at least {}", show(wanted)), (has < wanted).then(|| format!("it allows {}", show(has))))
    };
    let lacks_runtime = !offer.runtimes.contains(&spec.runtime);
    let runtimes = || offer.runtimes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
    let price = spec.budget.price;
    let dear = price.is_some_and(|most| offer.price_per_gfuel > most);
    let mut all = vec![
        ("app", format!("the {} runtime", spec.runtime), lacks_runtime.then(|| format!("it has {}", runtimes()))),
        at_least("limits.memory", spec.limits.memory_bytes, offer.memory_bytes, &mib),
        at_least("limits.time", spec.limits.time_millis, offer.time_millis, &seconds),
        at_least("limits.output", spec.limits.output_bytes, offer.output_bytes, &mib),
        (
            "budget.price",
            price.map_or("any price".to_owned(), |most| format!("at most {most} per Gfuel")),
            dear.then(|| format!("it asks {} per Gfuel", offer.price_per_gfuel)),
        ),
        (
            "offer",
            "an offer that is still valid".to_owned(),
            (offer.expires_at <= now / SECOND).then(|| "it has expired".to_owned()),
        ),
    ];
    machine_conditions(&spec.needs, &offer.machine, &mut all);
    all
}

/// Holds a machine to what a job needs; what it does not ask for is no condition.
fn machine_conditions(needs: &Needs, machine: &Machine, all: &mut Vec<Checked>) {
    let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
    if needs.cores > 0 {
        let lacks = machine.cores < needs.cores;
        all.push((
            "needs.cores",
            format!("at least {}", needs.cores),
            lacks.then(|| format!("it has {}", machine.cores)),
        ));
    }
    let sizes = [
        ("needs.memory", needs.memory_bytes, machine.memory_bytes),
        ("needs.disk", needs.disk_bytes, machine.disk_bytes),
    ];
    for (name, wanted, has) in sizes.into_iter().filter(|(_, wanted, _)| *wanted > 0) {
        all.push((name, format!("at least {}", mib(wanted)), (has < wanted).then(|| format!("it has {}", mib(has)))));
    }
    if !needs.features.is_empty() {
        let lacking: Vec<&str> =
            needs.features.iter().filter(|name| !machine.features.contains(name)).map(String::as_str).collect();
        let why = (!lacking.is_empty()).then(|| format!("it lacks {}", lacking.join(", ")));
        all.push(("needs.feature", needs.features.join(", "), why));
    }
    if let Some(wanted) = needs.gpu_bytes {
        let largest = machine.gpus.iter().max_by_key(|gpu| gpu.memory_bytes);
        let why = match largest {
            None => Some("it has no GPU for tasks (provide.gpus in its configuration names them)".to_owned()),
            Some(gpu) if gpu.memory_bytes < wanted => {
                Some(format!("it has {} with {}", gpu.name, mib(gpu.memory_bytes)))
            }
            Some(_) => None,
        };
        let asked = if wanted == 0 { "any GPU".to_owned() } else { format!("a GPU with at least {}", mib(wanted)) };
        all.push(("needs.gpu", asked, why));
    }
}

/// Returns the conditions that an offer does not meet.
pub(super) fn unmet(spec: &JobSpec, offer: &Offer, now: Micros) -> Vec<(&'static str, String)> {
    conditions(spec, offer, now).into_iter().filter_map(|(name, _, why)| Some((name, why?))).collect()
}

/// Says for each condition of a job how many offers meet it and why the others do not.
pub fn explain_offers<'a>(spec: &JobSpec, offers: impl IntoIterator<Item = &'a Offer>, now: Micros) -> Explanation {
    let mut by_name: BTreeMap<usize, Condition> = BTreeMap::new();
    let (mut providers, mut matching) = (0, 0);
    for offer in offers {
        providers += 1;
        let checked = conditions(spec, offer, now);
        matching += usize::from(checked.iter().all(|(_, _, why)| why.is_none()));
        for (number, (name, wanted, why)) in checked.into_iter().enumerate() {
            let new = Condition { name, wanted, matching: 0, others: Vec::new() };
            let condition = by_name.entry(number).or_insert(new);
            match why {
                None => condition.matching += 1,
                Some(why) => condition.others.push((offer.provider, why)),
            }
        }
    }
    let conditions = by_name.into_values().collect();
    Explanation { providers, matching, conditions, needed: spec.verify.copies().into() }
}

impl Requester {
    /// Says how far the job is.
    pub fn progress(&self, now: Micros) -> Progress {
        let done = self.results.done();
        let worked = self.started_at.map_or(0, |start| now.saturating_sub(start));
        let here = u128::from(done.saturating_sub(self.done_at_start));
        let left = u128::from(self.tasks - done);
        let rate = (here * u128::from(SECOND)).checked_div(worked.into()).unwrap_or(0);
        let left_micros = (left * u128::from(worked)).checked_div(here);
        let provider = |peer: &Peer| ProviderProgress {
            provider: peer.address,
            usable: peer.is_usable(),
            refused: peer.refused.clone(),
            running: peer.out,
            standing: peer.standing,
            task_nanos: peer.task_nanos,
            total: peer.total,
        };
        Progress {
            phase: self.phase,
            tasks: self.tasks,
            done,
            failures: self.failures,
            running: self.peers.list.iter().map(|peer| peer.out).sum(),
            pending: self.peers.list.iter().map(|peer| peer.standing.pending).sum(),
            tasks_per_second: u64::try_from(rate).unwrap_or(u64::MAX),
            spent: self.spent,
            escrow: self.escrow.map(|escrow| escrow.amount).unwrap_or_default(),
            projected: self.spent.mul_div(self.tasks.into(), done.into()),
            fuel: self.fuel,
            left_micros: left_micros.map(|left| u64::try_from(left).unwrap_or(u64::MAX)),
            providers: self.peers.list.iter().map(provider).collect(),
        }
    }

    /// Says how far each of the first `most` tasks is.
    pub fn task_states(&self, most: u64) -> Vec<TaskState> {
        let mut states: Vec<TaskState> = (0..self.tasks.min(most)).map(|task| self.task_state(task)).collect();
        // A task that is done may be out once more, to be compared.
        for task in self.leases.values().flat_map(|lease| lease.remaining().take_while(|task| *task < most)) {
            let state = usize::try_from(task).ok().and_then(|task| states.get_mut(task));
            if let Some(state) = state.filter(|state| **state != TaskState::Done) {
                *state = TaskState::Running;
            }
        }
        states
    }

    /// Says how far a task is that nobody has out.
    fn task_state(&self, task: u64) -> TaskState {
        if self.results.is_done(task) {
            return TaskState::Done;
        }
        match self.contests.get(&task) {
            Some(contest) if contest.returned() > 0 => TaskState::Checking,
            Some(contest) if contest.program_failures() + contest.host_failures() > 0 => TaskState::Failed,
            _ if self.ending.as_ref().and_then(Ending::task) == Some(task) => TaskState::Failed,
            _ => TaskState::Waiting,
        }
    }

    /// Says how the results were verified; looks at all of them. In a job that verifies nothing, everything is unchecked.
    pub fn verification(&self) -> Verification {
        let unchecked = match self.spec.verify {
            Verify::None => self.results.done(),
            Verify::Replicate(_) => 0,
            Verify::Audit(_) | Verify::Checker(_) => self.results.unchecked(),
        };
        let wrong = self.peers.list.iter().filter_map(|peer| Some((peer.address, peer.wrong_in?)));
        Verification {
            checked: self.results.done().saturating_sub(unchecked),
            own_machine: self.own_checked,
            unchecked,
            wrong: wrong.collect(),
        }
    }

    /// Says per condition how many of the known providers match and why the others do not.
    pub fn explain(&self) -> Explanation {
        let connected = self.peers.list.iter().filter(|peer| peer.connected);
        explain_offers(&self.spec, connected.filter_map(|peer| peer.offer.as_ref()), self.now)
    }

    /// Names a provider that gets no work, and why.
    fn why_not(&self) -> String {
        let reason = |peer: &Peer| {
            let lost = || (!peer.connected).then(|| "its connection is lost".to_owned());
            let reason = peer.refused.clone().or_else(lost)?;
            Some(format!(" (one that cannot, {}: {reason})", peer.address))
        };
        self.peers.list.iter().filter(|peer| !peer.wrong).find_map(reason).unwrap_or_default()
    }

    /// Says why nothing goes on.
    pub(super) fn stall_reason(&self) -> String {
        let usable = self.peers.usable().count();
        let copies = usize::from(self.spec.verify.copies());
        if usable == 0 && self.peers.list.is_empty() {
            return "no provider has made an offer; start one with `bmm provide`".to_owned();
        }
        if usable == 0 {
            let all = self.peers.list.len();
            return format!("none of {all} providers can work for it{}; see `bmm job explain`", self.why_not());
        }
        if let (Verify::Replicate(n), true) = (self.spec.verify, usable < copies) {
            return format!(
                "verify.mode replicate with n = {n} needs {n} operators, and {usable} can work{}; lower n or add providers",
                self.why_not()
            );
        }
        let lacks = |contest: &Contest| contest.wanted > 0 && self.peers.have_all_had(contest);
        if let Some(task) = self.contests.iter().filter(|(_, contest)| lacks(contest)).map(|(task, _)| *task).min() {
            return format!("task {task} needs another operator, and every one of {usable} has had it; add providers");
        }
        let unpaid: u64 = self.peers.usable().map(|(_, peer)| peer.standing.pending).sum();
        let why = if unpaid > 0 { format!("; {unpaid} of their results wait to be verified") } else { String::new() };
        format!("{usable} providers can work for it, but none asks for tasks{why}")
    }
}

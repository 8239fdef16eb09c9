//! Parties that follow the protocol to the letter and still want more than their due, or want others to have less.

use alloy_primitives::{Address, B256};
use alloy_signer_local::PrivateKeySigner;
use bmm_market::provider::{self, Provider, ProviderConfig};
use bmm_market::requester::{self, Effect, Ending, JobFailure, Requester, RequesterConfig, receipt_of};
use bmm_market::{Micros, SECOND};
use bmm_types::Amount;
use bmm_types::market::{
    Content, FailureKind, JobAnnouncement, JobSpec, Lease, ResultBatch, SignatureBytes, SignedResults, SignedVoucher,
    Standing, TaskEnd, TaskFailure, TaskOutput, TaskRange, TaskResult, ToProvider, ToRequester, Verify, Wire,
    merkle_verify, receipt_hash, recover, result_leaf, voucher_hash,
};
use bmm_types::system::{Jobs::contradictCall, Voucher};

use super::fixtures::{CHAIN, JOB, key, offer, sign, spec};

const NOW: Micros = 1_000 * SECOND;
const DEADLINE: u64 = 100_000;
const GFUEL: u64 = 1_000_000_000;

/// A requester of some tasks with some providers at one BMM per Gfuel, each with two slots.
struct Bench {
    requester: Requester,
    effects: Vec<Effect>,
    now: Micros,
}

impl Bench {
    fn new(tasks: u64, verify: Verify, providers: &[&PrivateKeySigner]) -> Self {
        Self::of(spec(tasks, verify, Amount::from_bmm(1_000)), providers)
    }

    fn of(spec: JobSpec, providers: &[&PrivateKeySigner]) -> Self {
        let escrow = spec.budget.max;
        let config = RequesterConfig::new(CHAIN, key(1).address());
        let requester = Requester::new(config, spec).unwrap();
        let mut bench = Self { requester, effects: Vec::new(), now: NOW };
        bench.tell(requester::Event::Opened { job: JOB, escrow, deadline: DEADLINE });
        for provider in providers {
            bench.says(provider, &ToRequester::Offer(Box::new(offer(provider, 2, Amount::from_bmm(1)))));
        }
        bench
    }

    fn tell(&mut self, event: requester::Event) {
        let effects = self.requester.handle(self.now, event);
        let asks = |effect: &Effect| match effect {
            Effect::LookUpStake { provider } => Some(*provider),
            _ => None,
        };
        let asked: Vec<Address> = effects.iter().filter_map(asks).collect();
        self.effects.extend(effects);
        for provider in asked {
            self.tell(requester::Event::Stake { provider, amount: Amount::from_bmm(5) });
        }
    }

    fn says(&mut self, from: &PrivateKeySigner, message: &ToRequester) {
        let message = ToRequester::decode(&message.encode()).unwrap();
        self.tell(requester::Event::Message { from: from.address(), message });
    }

    /// Asks for tasks; returns the lease, if one comes at once.
    fn lease(&mut self, from: &PrivateKeySigner, slots: u16) -> Option<Lease> {
        self.effects.clear();
        self.says(from, &ToRequester::LeaseRequest { job: JOB, slots });
        self.leased(from)
    }

    fn leased(&self, to: &PrivateKeySigner) -> Option<Lease> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Send { to: address, message: ToProvider::Lease { lease, .. } } if *address == to.address() => {
                Some(lease.clone())
            }
            _ => None,
        })
    }

    fn results(&mut self, from: &PrivateKeySigner, lease: u64, busy_micros: u64, results: Vec<TaskResult>) {
        let batch = ResultBatch { job: JOB, lease, batch: 1, busy_micros, results };
        let signature = sign(from, receipt_hash(CHAIN, &batch.receipt(from.address())));
        self.says(from, &ToRequester::Results(SignedResults { batch, signature }));
    }

    fn total(&self, of: &PrivateKeySigner) -> Amount {
        let progress = self.requester.progress(self.now);
        progress.providers.iter().find(|provider| provider.provider == of.address()).map_or(Amount::ZERO, |p| p.total)
    }
}

/// Returns what the effects append to the log.
fn records(effects: &[Effect]) -> Vec<u8> {
    let record = |effect: &Effect| if let Effect::Record(bytes) = effect { bytes.clone() } else { Vec::new() };
    effects.iter().flat_map(record).collect()
}

fn tasks(lease: &Lease) -> Vec<u64> {
    lease.ranges.iter().flat_map(|range| range.first..range.end()).collect()
}

fn done(index: u64, fuel: u64, bytes: &[u8]) -> TaskResult {
    TaskResult { index, fuel, peak_memory_bytes: 0, end: TaskEnd::Done(TaskOutput::Inline(bytes.to_vec())) }
}

fn stored(index: u64, content: Content) -> TaskResult {
    let end = TaskEnd::Done(TaskOutput::Stored { hash: content.hash, size: content.size });
    TaskResult { index, fuel: GFUEL, peak_memory_bytes: 0, end }
}

fn failed(index: u64, fuel: u64) -> TaskResult {
    let failure = TaskFailure {
        kind: FailureKind::Program,
        reason: "exit_code:1".into(),
        message: "it exited".into(),
        stderr: vec![b'x'; 1_000],
    };
    TaskResult { index, fuel, peak_memory_bytes: 0, end: TaskEnd::Failed(Box::new(failure)) }
}

#[test]
fn nobody_takes_a_lease_from_another_by_naming_it() {
    let (honest, thief) = (key(2), key(3));
    let mut bench = Bench::new(2, Verify::None, &[&honest, &thief]);
    let lease = bench.lease(&honest, 2).unwrap();
    bench.results(&thief, lease.id, 1, tasks(&lease).into_iter().map(|task| done(task, GFUEL, b"bad")).collect());
    assert_eq!(bench.total(&thief), Amount::ZERO);
    bench.results(&honest, lease.id, 1, tasks(&lease).into_iter().map(|task| done(task, GFUEL, b"good")).collect());
    assert_eq!((bench.total(&honest), bench.requester.progress(NOW).done), (Amount::from_bmm(2), 2));
}

#[test]
fn a_failing_program_is_paid_for_the_least_that_anybody_claims() {
    let (honest, greedy) = (key(2), key(3));
    let mut bench = Bench::new(1, Verify::None, &[&honest, &greedy]);
    let lease = bench.lease(&honest, 1).unwrap();
    bench.results(&honest, lease.id, 1, vec![failed(0, 2 * GFUEL)]);
    let lease = bench.lease(&greedy, 1).unwrap();
    bench.results(&greedy, lease.id, 1, vec![failed(0, 900 * GFUEL)]);
    assert!(matches!(bench.requester.ending(), Some(Ending::Failed(JobFailure::Program { providers: 2, .. }))));
    assert_eq!((bench.total(&honest), bench.total(&greedy)), (Amount::from_bmm(2), Amount::from_bmm(2)));
}

#[test]
fn every_task_says_how_far_it_is() {
    use requester::TaskState::{Done, Failed, Running, Waiting};
    let (one, other) = (key(2), key(3));
    let mut bench = Bench::new(4, Verify::None, &[&one, &other]);
    let lease = bench.lease(&one, 2).unwrap();
    assert_eq!((tasks(&lease), bench.requester.task_states(3)), (vec![0, 1], vec![Running, Running, Waiting]));
    bench.results(&one, lease.id, 1, vec![done(0, GFUEL, b"x"), failed(1, GFUEL)]);
    assert_eq!(bench.requester.task_states(9), [Done, Failed, Waiting, Waiting]);
    let lease = bench.lease(&other, 1).unwrap();
    assert_eq!((tasks(&lease)[0], bench.requester.task_states(2)), (1, vec![Done, Running]));
    bench.results(&other, lease.id, 1, vec![failed(1, GFUEL)]);
    assert_eq!(bench.requester.ending().and_then(Ending::task), Some(1));
    assert_eq!(bench.requester.task_states(9), [Done, Failed, Waiting, Waiting]);
}

#[test]
fn fuel_that_no_processor_burns_in_the_time_is_no_result() {
    let liar = key(2);
    let mut bench = Bench::new(4, Verify::None, &[&liar]);
    let lease = bench.lease(&liar, 1).unwrap();
    bench.results(&liar, lease.id, 1, vec![done(0, u64::MAX, b"x")]);
    let progress = bench.requester.progress(NOW);
    assert_eq!((progress.done, progress.spent, progress.phase), (0, Amount::ZERO, requester::Phase::Running));
}

#[test]
fn who_says_to_be_slow_is_not_waited_for() {
    let (idler, willing) = (key(2), key(3));
    let mut bench = Bench::new(3, Verify::None, &[&idler, &willing]);
    let lease = bench.lease(&idler, 4_096).unwrap();
    assert_eq!(lease.tasks(), 2, "no more slots than were offered");
    // One result in a second that is said to have taken for ever; the other task is kept.
    bench.now += SECOND;
    bench.results(&idler, lease.id, u64::MAX, vec![done(0, GFUEL, b"x")]);
    let other = bench.lease(&willing, 1).unwrap();
    bench.results(&willing, other.id, SECOND, vec![done(2, GFUEL, b"x")]);
    assert_eq!((tasks(&lease)[1], bench.lease(&willing, 1)), (1, None));
    bench.effects.clear();
    bench.now += 60 * SECOND;
    bench.tell(requester::Event::Tick);
    let again = bench.leased(&willing).map(|lease| tasks(&lease));
    assert_eq!(again, Some(vec![1]));
}

#[test]
fn bytes_have_one_length_whatever_is_claimed() {
    let (honest, liar) = (key(2), key(3));
    let mut bench = Bench::new(2, Verify::None, &[&honest, &liar]);
    let content = Content::of(b"the bytes");
    let first = bench.lease(&honest, 1).unwrap();
    bench.results(&honest, first.id, 1, vec![stored(0, content)]);
    let second = bench.lease(&liar, 1).unwrap();
    bench.results(&liar, second.id, 1, vec![stored(1, Content { size: 60_000_000, ..content })]);
    bench.tell(requester::Event::Fetched { from: honest.address(), hash: content.hash, ok: true });
    assert_eq!((bench.total(&honest), bench.total(&liar)), (Amount::from_bmm(1), Amount::ZERO));
    let found = bench.requester.progress(NOW).providers;
    assert!(found.iter().any(|p| p.provider == liar.address() && p.refused.is_some()));
    // The task goes to the honest one.
    assert_eq!(bench.lease(&honest, 1).map(|lease| tasks(&lease)), Some(vec![1]));
}

fn announcement(job: B256, requester: Address) -> JobAnnouncement {
    let spec = spec(40, Verify::None, Amount::from_bmm(5)).encode();
    JobAnnouncement { job, requester, chain_id: CHAIN, budget: Amount::from_bmm(5), deadline: DEADLINE, spec }
}

fn hears(provider: &mut Provider, message: ToProvider) -> Vec<provider::Effect> {
    provider.handle(NOW, provider::Event::Message { from: key(1).address(), message })
}

fn sent(effects: &[provider::Effect]) -> Vec<&ToRequester> {
    let sends = effects.iter().filter_map(|effect| match effect {
        provider::Effect::Send { message, .. } => Some(message),
        _ => None,
    });
    sends.collect()
}

#[test]
fn nobody_announces_the_job_of_another() {
    let mut provider = Provider::new(ProviderConfig::new(CHAIN, offer(&key(2), 1, Amount::from_bmm(1))));
    let effects = hears(&mut provider, ToProvider::Job(announcement(JOB, key(7).address())));
    assert!(matches!(sent(&effects)[..], [ToRequester::Decline { .. }]), "{effects:?}");
    let event = provider::Event::Message {
        from: key(7).address(),
        message: ToProvider::Job(announcement(JOB, key(7).address())),
    };
    assert!(matches!(provider.handle(NOW, event)[..], [provider::Effect::Prepare { .. }]));
}

#[test]
fn failing_runs_are_not_given_away() {
    let mut provider = Provider::new(ProviderConfig::new(CHAIN, offer(&key(2), 1, Amount::from_bmm(1))));
    hears(&mut provider, ToProvider::Job(announcement(JOB, key(1).address())));
    let mut effects = provider.handle(NOW, provider::Event::Ready { job: JOB });
    let mut runs = 0;
    for lease in 0..40 {
        if !sent(&effects).iter().any(|message| matches!(message, ToRequester::LeaseRequest { .. })) {
            break;
        }
        let ranges = vec![TaskRange { first: lease, count: 1 }];
        hears(&mut provider, ToProvider::Lease { job: JOB, lease: Lease { id: lease, ranges } });
        let results = vec![failed(lease, GFUEL)];
        effects = provider.handle(NOW, provider::Event::Done { slot: 0, results, busy_micros: SECOND });
        runs += 1;
    }
    assert!((1..=6).contains(&runs), "{runs} unpaid runs");
}

#[test]
fn jobs_that_wait_for_their_settlement_take_no_room() {
    let config = ProviderConfig { max_jobs: 1, ..ProviderConfig::new(CHAIN, offer(&key(2), 1, Amount::from_bmm(1))) };
    let mut provider = Provider::new(config);
    for number in 1..4 {
        let job = B256::with_last_byte(number);
        let effects = hears(&mut provider, ToProvider::Job(announcement(job, key(1).address())));
        assert!(matches!(effects[..], [provider::Effect::Prepare { .. }]), "{effects:?}");
        provider.handle(NOW, provider::Event::Ready { job });
        let (own, total) = (key(2).address(), Amount::from_bmm(1));
        let hash = voucher_hash(CHAIN, &Voucher { job, provider: own, total: total.units() });
        let voucher = SignedVoucher { job, provider: own, total, signature: sign(&key(1), hash) };
        hears(&mut provider, ToProvider::Voucher { voucher, standing: Standing::default() });
        hears(&mut provider, ToProvider::Over { job, reason: String::new() });
    }
    assert_eq!(provider.earnings().len(), 3);
    let later = provider.handle((DEADLINE + 1) * SECOND, provider::Event::Tick);
    assert_eq!(later.iter().filter(|effect| matches!(effect, provider::Effect::Claim(_))).count(), 3);
}

/// After a pause a provider may ask twice, and be answered twice: the requester takes the second lease for out until it hears of it.
#[test]
fn a_lease_beyond_what_was_asked_for_goes_back() {
    let config = ProviderConfig::new(CHAIN, offer(&key(2), 1, Amount::from_bmm(1)));
    let mut provider = Provider::new(config);
    let lease = |id, first| {
        let ranges = vec![TaskRange { first, count: 2 }];
        ToProvider::Lease { job: JOB, lease: Lease { id, ranges } }
    };
    hears(&mut provider, ToProvider::Job(announcement(JOB, key(1).address())));
    let back = |effects: &[provider::Effect]| match effects {
        [provider::Effect::Send { message: ToRequester::Released { ranges, .. }, .. }] => ranges.clone(),
        other => panic!("{other:?}"),
    };
    let early = hears(&mut provider, lease(1, 0));
    assert_eq!(back(&early), [TaskRange { first: 0, count: 2 }], "nothing is ready yet");
    provider.handle(NOW, provider::Event::Ready { job: JOB });
    let run = hears(&mut provider, lease(2, 0));
    assert!(matches!(run[0], provider::Effect::Run(_)), "{run:?}");
    assert!(hears(&mut provider, lease(3, 2)).is_empty(), "it asked again when half of the first was started");
    let second = hears(&mut provider, lease(4, 4));
    assert_eq!(back(&second), [TaskRange { first: 4, count: 2 }]);
}

#[test]
fn a_slot_that_a_service_has_takes_no_task() {
    let mut provider = Provider::new(ProviderConfig::new(CHAIN, offer(&key(2), 1, Amount::from_bmm(1))));
    hears(&mut provider, ToProvider::Job(announcement(JOB, key(1).address())));
    provider.handle(NOW, provider::Event::Ready { job: JOB });
    let ranges = vec![TaskRange { first: 0, count: 3 }];
    let run = hears(&mut provider, ToProvider::Lease { job: JOB, lease: Lease { id: 1, ranges } });
    assert!(matches!(run[0], provider::Effect::Run(_)), "{run:?}");
    let held = provider.handle(NOW, provider::Event::Held { slots: 1 });
    let back = sent(&held);
    assert!(matches!(back[..], [ToRequester::Released { ranges, .. }] if ranges[0].count == 2), "{held:?}");
    assert_eq!((provider.busy_slots(), provider.free_slots()), (1, 0), "what runs goes on");
    let results = vec![done(0, GFUEL, b"x")];
    let ended = provider.handle(NOW, provider::Event::Done { slot: 0, results, busy_micros: 1 });
    assert!(matches!(ended[..], [provider::Effect::SignResults { .. }]), "no request, no run: {ended:?}");
    let freed = provider.handle(NOW, provider::Event::Held { slots: 0 });
    assert!(matches!(sent(&freed)[..], [ToRequester::LeaseRequest { slots: 1, .. }]), "{freed:?}");
}

#[test]
fn results_whose_bytes_were_lost_are_made_again() {
    let honest = key(2);
    let spec = spec(3, Verify::None, Amount::from_bmm(1_000));
    let config = RequesterConfig::new(CHAIN, key(1).address());
    let mut bench = Bench::new(3, Verify::None, &[&honest]);
    let mut log = bench.requester.start_log();
    log.extend(records(&bench.effects));
    let lease = bench.lease(&honest, 2).unwrap();
    bench.effects.clear();
    bench.results(&honest, lease.id, 1, vec![done(0, GFUEL, b"kept"), done(1, GFUEL, b"lost")]);
    log.extend(records(&bench.effects));

    let (mut restored, _) = Requester::restore(config, spec, &log).unwrap();
    assert_eq!(restored.progress(NOW).done, 2);
    assert_eq!(restored.give_up_missing(|content| content == Content::of(b"kept")), 1);
    let mut bench = Bench { requester: restored, effects: Vec::new(), now: NOW };
    bench.tell(requester::Event::Opened { job: JOB, escrow: Amount::from_bmm(1_000), deadline: DEADLINE });
    bench.says(&honest, &ToRequester::Offer(Box::new(offer(&honest, 2, Amount::from_bmm(1)))));
    let lease = bench.lease(&honest, 2).unwrap();
    assert_eq!(tasks(&lease), [1, 2]);
    bench.results(&honest, lease.id, 1, vec![done(1, GFUEL, b"lost"), done(2, GFUEL, b"new")]);
    assert_eq!((bench.requester.phase(), bench.total(&honest)), (requester::Phase::Merging, Amount::from_bmm(4)));
    assert_eq!(bench.requester.give_up_missing(|_| false), 0, "only before the work begins");
}

/// A job of two tasks, each run on two providers that have 5 BMM at stake.
fn staked() -> JobSpec {
    let spec = spec(2, Verify::Replicate(2), Amount::from_bmm(1_000));
    JobSpec { stake: Amount::from_bmm(5), canonical_nans: true, ..spec }
}

/// Returns the contradictions that the effects show to the escrow.
fn shown(effects: &[Effect]) -> Vec<contradictCall> {
    let call = |effect: &Effect| if let Effect::Contradict(call) = effect { Some((**call).clone()) } else { None };
    effects.iter().filter_map(call).collect()
}

#[test]
fn two_signed_results_of_one_task_are_shown_to_the_escrow() {
    let (first, second, liar) = (key(2), key(3), key(4));
    for together in [true, false] {
        let mut bench = Bench::of(staked(), &[&first, &second, &liar]);
        let opened = records(&bench.effects);
        // At first its stake is looked up.
        let lease = bench.lease(&liar, 2).or_else(|| bench.lease(&liar, 2)).unwrap();
        let (one, other) = (done(tasks(&lease)[0], GFUEL, b"good"), done(tasks(&lease)[0], GFUEL, b"bad"));
        bench.effects.clear();
        if together {
            bench.results(&liar, lease.id, 1, vec![one, other]);
        } else {
            bench.results(&liar, lease.id, 1, vec![one.clone()]);
            bench.results(&liar, lease.id, 1, vec![one]);
            assert!(shown(&bench.effects).is_empty(), "the same twice is no contradiction");
            bench.results(&liar, lease.id, 1, vec![other]);
        }
        let log = [bench.requester.start_log(), opened, records(&bench.effects)].concat();
        let calls = shown(&bench.effects);
        let [call] = calls.as_slice() else { panic!("one call: {calls:?}") };
        for testimony in [&call.first, &call.second] {
            let signature = SignatureBytes::from_slice(&testimony.signature);
            let signer = recover(&signature, receipt_hash(CHAIN, &receipt_of(JOB, testimony)));
            assert_eq!((signer, testimony.provider), (Some(liar.address()), liar.address()));
            let leaf = result_leaf(liar.address(), call.task, testimony.fuel, testimony.output);
            assert!(merkle_verify(&testimony.proof, testimony.root, leaf), "the escrow can follow it");
        }
        assert_ne!(call.first.output, call.second.output);
        // It gets nothing and no more work, and others do the tasks.
        assert_eq!((bench.total(&liar), bench.lease(&liar, 2)), (Amount::ZERO, None));

        // What was recorded before a crash is shown again after it.
        let config = RequesterConfig::new(CHAIN, key(1).address());
        let (mut again, _) = Requester::restore(config, staked(), &log).unwrap();
        let escrow = Amount::from_bmm(1_000);
        let effects = again.handle(NOW, requester::Event::Opened { job: JOB, escrow, deadline: DEADLINE });
        assert_eq!(shown(&effects), calls);

        for honest in [&first, &second] {
            let lease = bench.lease(honest, 2).or_else(|| bench.lease(honest, 2)).unwrap();
            let right = tasks(&lease).into_iter().map(|task| done(task, GFUEL, b"good")).collect();
            bench.results(honest, lease.id, 1, right);
        }
        assert_eq!(bench.requester.done(), 2);
        assert!(shown(&bench.effects).is_empty(), "once is enough");
    }
}

#[test]
fn what_lacks_one_run_comes_first_so_that_nobody_waits_for_the_pay_of_much() {
    let (liar, first, second) = (key(2), key(3), key(4));
    let mut bench = Bench::new(40, Verify::Replicate(2), &[&liar, &first, &second]);
    while let Some(lease) = bench.lease(&liar, 2) {
        let bad = tasks(&lease).into_iter().map(|task| done(task, GFUEL, b"bad")).collect();
        bench.results(&liar, lease.id, 1, bad);
    }
    let pending = |bench: &Bench, of: &PrivateKeySigner| {
        let providers = bench.requester.progress(bench.now).providers;
        providers.iter().find(|provider| provider.provider == of.address()).expect("it offered").standing.pending
    };
    // Each asks anew as soon as it has delivered, as providers do.
    let mut leases = [&first, &second].map(|honest| (honest, bench.lease(honest, 1)));
    while bench.requester.progress(bench.now).done < 40 {
        for (honest, held) in &mut leases {
            let Some(lease) = held.take() else {
                *held = bench.lease(honest, 1);
                continue;
            };
            let good = tasks(&lease).into_iter().map(|task| done(task, GFUEL, b"good")).collect();
            bench.now += SECOND;
            bench.results(honest, lease.id, SECOND, good);
            let most = pending(&bench, honest);
            assert!(most <= 2, "{most} results of an honest provider wait to be verified");
            *held = bench.lease(honest, 1);
        }
    }
    assert_eq!(bench.total(&liar), Amount::ZERO);
}

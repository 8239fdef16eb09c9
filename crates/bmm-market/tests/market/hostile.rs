//! Messages that no honest party sends: nothing panics, nothing is paid, nothing grows without bound.

use alloy_primitives::{Address, B256};
use bmm_market::SECOND;
use bmm_market::provider::{self, Provider, ProviderConfig};
use bmm_market::requester::{self, Requester, RequesterConfig, Verdict};
use bmm_types::Amount;
use bmm_types::market::{
    Audit, Checker, Content, JobAnnouncement, JobSpec, Lease, ResultBatch, SignatureBytes, SignedResults,
    SignedVoucher, Standing, TaskEnd, TaskOutput, TaskRange, TaskResult, ToProvider, ToRequester, Verify, Wire,
    receipt_hash, voucher_hash,
};
use bmm_types::system::Voucher;
use proptest::prelude::*;

use super::fixtures::{CHAIN, JOB, key, offer, sign, spec};

const NOW: u64 = 1_000 * SECOND;
const DEADLINE: u64 = 10_000;

fn ranges() -> impl Strategy<Value = Vec<TaskRange>> {
    let range = (0u64..40, 0u32..20).prop_map(|(first, count)| TaskRange { first, count });
    prop_oneof![
        prop::collection::vec(range, 0..5),
        Just(vec![TaskRange { first: u64::MAX - 1, count: 5 }]),
        Just(vec![TaskRange { first: 3, count: u32::MAX }]),
    ]
}

fn result() -> impl Strategy<Value = TaskResult> {
    let output = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..4).prop_map(TaskOutput::Inline),
        any::<u64>().prop_map(|size| TaskOutput::Stored { hash: Content::of(b"x").hash, size }),
    ];
    (0u64..60, any::<u64>(), output).prop_map(|(index, fuel, output)| TaskResult {
        index,
        fuel,
        peak_memory_bytes: 0,
        end: TaskEnd::Done(output),
    })
}

fn verify() -> impl Strategy<Value = Verify> {
    let checker = Checker { app: Content::of(b"verifier"), floor_ppm: 500_000, listing: None };
    prop_oneof![
        Just(Verify::None),
        (2u8..5).prop_map(Verify::Replicate),
        Just(Verify::Audit(Audit { floor_ppm: 300_000 })),
        Just(Verify::Checker(checker)),
    ]
}

fn to_requester() -> impl Strategy<Value = ToRequester> {
    let results =
        (0u64..4, any::<u64>(), prop::collection::vec(result(), 0..6)).prop_map(|(lease, busy_micros, results)| {
            let lease = (1u64 << 40) + lease;
            let batch = ResultBatch { job: JOB, lease, batch: 1, busy_micros, results };
            let signature = sign(&key(2), receipt_hash(CHAIN, &batch.receipt(key(2).address())));
            ToRequester::Results(SignedResults { batch, signature })
        });
    prop_oneof![
        1 => Just(ToRequester::Offer(Box::new(offer(&key(2), 2, Amount::from_bmm(1))))),
        1 => (1u16..9).prop_map(|slots| ToRequester::LeaseRequest { job: JOB, slots }),
        1 => ranges().prop_map(|ranges| ToRequester::Released { job: JOB, ranges }),
        2 => results,
        1 => Just(ToRequester::Leave { job: JOB, reason: String::new() }),
        1 => Just(ToRequester::LeaseRequest { job: B256::ZERO, slots: 1 }),
    ]
}

fn to_provider() -> impl Strategy<Value = ToProvider> {
    let announcement = |deadline| JobAnnouncement {
        job: JOB,
        requester: key(1).address(),
        chain_id: CHAIN,
        budget: Amount::from_bmm(5),
        deadline,
        spec: spec(40, Verify::None, Amount::from_bmm(5)).encode(),
    };
    let voucher = (any::<bool>(), 0u64..9).prop_map(|(good, total)| {
        let (provider, total) = (key(2).address(), Amount::from_bmm(total));
        let hash = voucher_hash(CHAIN, &Voucher { job: JOB, provider, total: total.units() });
        let signature = if good { sign(&key(1), hash) } else { SignatureBytes::ZERO };
        ToProvider::Voucher {
            voucher: SignedVoucher { job: JOB, provider, total, signature },
            standing: Standing::default(),
        }
    });
    prop_oneof![
        Just(ToProvider::Job(announcement(DEADLINE))),
        Just(ToProvider::Job(JobAnnouncement { spec: vec![1, 2, 3], ..announcement(DEADLINE) })),
        (0u64..5, ranges()).prop_map(|(id, ranges)| ToProvider::Lease { job: JOB, lease: Lease { id, ranges } }),
        any::<u32>().prop_map(|tasks| ToProvider::Recall { job: JOB, tasks }),
        ranges().prop_map(|ranges| ToProvider::Drop { job: JOB, ranges }),
        voucher,
        Just(ToProvider::Over { job: JOB, reason: String::new() }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_requester_survives_any_provider(
        messages in prop::collection::vec((to_requester(), any::<bool>()), 1..40),
        verify in verify(),
        own_checks in 0u16..3,
        stake in 0u64..2,
    ) {
        let config = RequesterConfig { own_checks, ..RequesterConfig::new(CHAIN, key(1).address()) };
        let escrow = Amount::from_bmm(5);
        let stake = if verify.compares() { Amount::from_bmm(stake) } else { Amount::ZERO };
        let job = JobSpec { stake, canonical_nans: true, ..spec(40, verify, escrow) };
        let mut requester = Requester::new(config, job).unwrap();
        requester.handle(NOW, requester::Event::Opened { job: JOB, escrow, deadline: DEADLINE });
        for (message, known) in messages {
            // What does not decode never arrives.
            let Ok(message) = ToRequester::decode(&message.encode()) else { continue };
            let from = if known { key(2).address() } else { Address::repeat_byte(9) };
            let mut answers = vec![requester::Event::Message { from, message }];
            while let Some(event) = answers.pop() {
                for effect in requester.handle(NOW, event) {
                    match effect {
                        requester::Effect::Check { task, .. } => {
                            let verdict = match task % 3 {
                                0 => Verdict::Found { content: Content::of(&[]), fuel: 3 },
                                1 => Verdict::Judged(task % 2 == 0),
                                _ => Verdict::Unable(String::new()),
                            };
                            answers.push(requester::Event::Checked { task, verdict });
                        }
                        requester::Effect::LookUpStake { provider } => {
                            answers.push(requester::Event::Stake { provider, amount: Amount::from_bmm(1) });
                        }
                        requester::Effect::Fetch { from, content } => {
                            answers.push(requester::Event::Fetched { from, hash: content.hash, ok: content.size % 2 == 0 });
                        }
                        requester::Effect::Accuse(_) => prop_assert!(false, "one provider alone accuses nobody"),
                        _ => {}
                    }
                }
            }
            // Answers that nobody asked for.
            requester.handle(NOW, requester::Event::Checked { task: 7, verdict: Verdict::Judged(false) });
            requester.handle(NOW, requester::Event::Stake { provider: Address::repeat_byte(7), amount: escrow });
            let progress = requester.progress(NOW);
            prop_assert!(progress.spent <= escrow);
            let stranger = progress.providers.iter().find(|provider| provider.provider != key(2).address());
            prop_assert!(stranger.is_none_or(|stranger| stranger.total.is_zero()));
        }
    }

    #[test]
    fn a_provider_survives_any_requester(messages in prop::collection::vec(to_provider(), 1..40)) {
        let mut provider = Provider::new(ProviderConfig::new(CHAIN, offer(&key(2), 2, Amount::from_bmm(1))));
        let mut kept = Amount::ZERO;
        for message in messages {
            let Ok(message) = ToProvider::decode(&message.encode()) else { continue };
            let event = provider::Event::Message { from: key(1).address(), message };
            let mut effects = provider.handle(NOW, event);
            effects.extend(provider.handle(NOW, provider::Event::Ready { job: JOB }));
            for effect in effects {
                match effect {
                    provider::Effect::KeepVoucher(voucher) => {
                        prop_assert!(voucher.total >= kept && voucher.total <= Amount::from_bmm(5));
                        prop_assert!(voucher.is_signed(CHAIN, key(1).address()));
                        kept = voucher.total;
                    }
                    provider::Effect::Forget { .. } => kept = Amount::ZERO,
                    provider::Effect::Run(chunk) => prop_assert!(chunk.tasks.end() <= 40 && chunk.tasks.count > 0),
                    _ => {}
                }
            }
        }
    }
}

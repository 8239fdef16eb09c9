//! Messages from outside: what is sent comes back, what is out of bounds is refused, nothing panics.

use super::*;
use crate::Amount;
use alloy_primitives::{Address, B256};
use proptest::prelude::*;

fn results(bytes: Vec<u8>) -> ToRequester {
    let end = TaskEnd::Done(TaskOutput::Inline(bytes));
    let done = TaskResult { index: 3, fuel: 1_000, peak_memory_bytes: 65_536, end };
    let failure = TaskFailure {
        kind: FailureKind::Program,
        reason: "exit_code:1".into(),
        message: "the program exited with code 1".into(),
        stderr: b"no such file".to_vec(),
    };
    let failed = TaskResult { end: TaskEnd::Failed(Box::new(failure)), index: 4, ..done.clone() };
    let batch =
        ResultBatch { job: B256::repeat_byte(1), lease: 2, batch: 1, busy_micros: 5, results: vec![done, failed] };
    ToRequester::Results(SignedResults { batch, signature: SignatureBytes::ZERO })
}

fn lease(ranges: Vec<TaskRange>) -> ToProvider {
    ToProvider::Lease { job: B256::ZERO, lease: Lease { id: 1, ranges } }
}

/// Reads bytes as one kind of message; what is read survives being written and read again.
fn reads<T: Wire + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> bool {
    let Ok(message) = T::decode(bytes) else { return false };
    assert_eq!(T::decode(&message.encode()).as_ref(), Ok(&message));
    true
}

fn machine() -> Machine {
    let gpus = vec![Gpu { name: "card".into(), memory_bytes: 8 << 30 }];
    Machine { cores: 8, memory_bytes: 16 << 30, disk_bytes: 1 << 40, features: vec!["avx2".into()], gpus }
}

fn needs() -> Needs {
    Needs { cores: 4, features: vec!["avx2".into()], gpu_bytes: Some(8 << 30), ..Needs::default() }
}

#[test]
fn what_a_machine_has_and_what_is_needed_are_bounded() {
    let sound = |machine: &Machine| machine.check().is_ok();
    assert!(sound(&machine()));
    assert!(!sound(&Machine { features: vec!["x".repeat(33)], ..machine() }));
    let name = "x".repeat(97);
    assert!(!sound(&Machine { gpus: vec![Gpu { name, memory_bytes: 0 }], ..machine() }));
    let many = JobSpec { needs: Needs { features: vec!["avx2".into(); 33], ..needs() }, ..spec() };
    assert!(JobSpec::decode(&many.encode()).is_err());
    let unknown = JobSpec { needs: Needs { features: vec!["avx9".into()], ..needs() }, ..spec() };
    assert!(JobSpec::decode(&unknown.encode()).is_err());
}

fn spec() -> JobSpec {
    let content = Content::of(b"content");
    let axis = |name: &str, kind| Axis { name: name.into(), kind };
    let files = || vec![InputFile { path: "scenes/a.txt".into(), content }];
    JobSpec {
        name: "job".into(),
        app: content,
        args: vec!["{rows.start}".into()],
        env: vec![("HOME".into(), "/out".into())],
        entry: "run".into(),
        inputs: files(),
        axes: vec![
            axis("rows", AxisKind::Range { start: -5, end: 1_080, chunk: 16 }),
            axis("v", AxisKind::Values(vec!["a".into(), "b".into()])),
            axis("l", AxisKind::Lines { content, lines: 7, chunk: 2 }),
            axis("r", AxisKind::Rows { content, rows: 3, chunk: 1, columns: vec!["id".into()], stdin: true }),
            axis("f", AxisKind::Files(files())),
        ],
        output: Output {
            collect: Collect::File("/out/tile.ppm".into()),
            merge: Merge::App { app: content, args: vec!["--width".into()] },
            file: "render.png".into(),
        },
        verify: Verify::Replicate(3),
        limits: TaskLimits { fuel: Some(5), ..TaskLimits::default() },
        budget: Budget { max: Amount::ONE_BMM, deadline_seconds: 60, price: Some(Amount::ONE_BMM) },
        canonical_nans: true,
        runtime: Runtime::Wasm,
        needs: needs(),
        deterministic: true,
        stake: Amount::ONE_BMM,
        draw: B256::repeat_byte(8),
        extra: vec![1, 2],
    }
}

type Reader = fn(&[u8]) -> bool;

/// Returns one message of every kind, encoded, with its reader.
fn every_message() -> Vec<(Reader, Vec<u8>)> {
    let (job, address, standing) = (B256::repeat_byte(1), Address::repeat_byte(2), Standing::default());
    let (signature, reason) = (SignatureBytes::repeat_byte(3), || "a reason".to_owned());
    let ranges = || vec![TaskRange { first: 3, count: 4 }, TaskRange { first: 9, count: 1 }];
    let offer = SignedOffer {
        offer: Offer {
            provider: address,
            price_per_gfuel: Amount::ONE_BMM,
            price_per_gib: Amount::ZERO,
            slots: 2,
            memory_bytes: 1 << 30,
            time_millis: 60_000,
            output_bytes: 1 << 20,
            runtimes: vec![Runtime::Wasm, Runtime::Miner],
            isa: "x86_64".into(),
            rating_fuel_per_second: 1,
            hashing: Some(Hashing { price_per_ghash: Amount::ONE_BMM, hashes_per_second: 20_000 }),
            machine: machine(),
            expires_at: 2,
            sequence: 3,
        },
        signature,
    };
    let voucher = SignedVoucher { job, provider: address, total: Amount::ONE_BMM, signature };
    let announcement = JobAnnouncement {
        job,
        requester: address,
        chain_id: 7,
        budget: Amount::ONE_BMM,
        deadline: 9,
        spec: spec().encode(),
    };
    let to_provider = [
        ToProvider::Job(announcement),
        lease(ranges()),
        ToProvider::Recall { job, tasks: 5 },
        ToProvider::Drop { job, ranges: ranges() },
        ToProvider::Voucher { voucher, standing },
        ToProvider::Standing { job, standing },
        ToProvider::Over { job, reason: reason() },
    ];
    let to_requester = [
        ToRequester::Offer(Box::new(offer.clone())),
        ToRequester::Decline { job, reason: reason() },
        ToRequester::LeaseRequest { job, slots: 4 },
        ToRequester::Released { job, ranges: ranges() },
        results(vec![5; 40]),
        ToRequester::Leave { job, reason: reason() },
    ];
    let listing = Listing {
        offer: offer.offer.clone(),
        peer: vec![0, 36, 8, 1],
        addresses: vec![vec![4, 127, 0, 0, 1, 6, 0, 80]],
        free_slots: 1,
        listed_at_millis: 5_000,
        expires_at: 100,
    };
    let listing = SignedListing { listing, signature: SignatureBytes::ZERO };
    let mut all: Vec<(Reader, Vec<u8>)> = vec![
        (reads::<JobSpec>, spec().encode()),
        (reads::<SignedOffer>, offer.encode()),
        (reads::<SignedListing>, listing.encode()),
    ];
    all.extend(to_provider.iter().map(|message| (reads::<ToProvider> as Reader, message.encode())));
    all.extend(to_requester.iter().map(|message| (reads::<ToRequester> as Reader, message.encode())));
    all
}

#[test]
fn a_stake_needs_results_that_every_honest_run_shares() {
    let refused = |job: JobSpec| matches!(JobSpec::decode(&job.encode()), Err(WireError::Field { .. }));
    let audit = Verify::Audit(Audit { floor_ppm: 20_000 });
    let checker = |floor_ppm| Verify::Checker(Checker { app: Content::of(b"app"), floor_ppm, listing: None });
    assert!(!refused(JobSpec { verify: audit, ..spec() }));
    assert!(!refused(JobSpec { verify: checker(1_000_000), stake: Amount::ZERO, ..spec() }));
    for bad in [
        JobSpec { verify: Verify::None, ..spec() },
        JobSpec { verify: checker(1_000_000), ..spec() },
        JobSpec { canonical_nans: false, ..spec() },
        JobSpec { deterministic: false, stake: Amount::ZERO, ..spec() },
        JobSpec { verify: Verify::Audit(Audit { floor_ppm: 1_000_001 }), ..spec() },
        JobSpec { verify: checker(1_000_001), stake: Amount::ZERO, ..spec() },
        JobSpec { verify: Verify::Replicate(16), ..spec() },
        JobSpec { stake: Amount(alloy_primitives::U256::MAX), ..spec() },
    ] {
        assert!(refused(bad.clone()), "{bad:?}");
    }
}

#[test]
fn bounds_hold_while_decoding() {
    assert!(ToRequester::decode(&results(vec![0; MAX_INLINE_BYTES]).encode()).is_ok());
    assert!(matches!(
        ToRequester::decode(&results(vec![0; MAX_INLINE_BYTES + 1]).encode()),
        Err(WireError::Malformed(_))
    ));
    let range = |first, count| TaskRange { first, count };
    assert!(ToProvider::decode(&lease(vec![range(0, 5), range(5, MAX_LEASE_TASKS - 5)]).encode()).is_ok());
    for bad in [
        vec![range(0, MAX_LEASE_TASKS + 1)],
        vec![range(5, 1), range(4, 1)],
        vec![range(0, 0)],
        vec![range(u64::MAX, 1)],
    ] {
        assert!(matches!(ToProvider::decode(&lease(bad).encode()), Err(WireError::Field { .. })));
    }
    let many = (0..=u64::try_from(MAX_LEASE_RANGES).expect("small")).map(|at| range(at * 2, 1)).collect();
    assert!(matches!(ToProvider::decode(&lease(many).encode()), Err(WireError::Malformed(_))));
}

#[test]
fn versions_and_leftovers_are_refused() {
    let mut bytes = results(vec![1]).encode();
    bytes.push(0);
    assert_eq!(ToRequester::decode(&bytes), Err(WireError::Trailing(1)));
    bytes[0] = 9;
    assert_eq!(ToRequester::decode(&bytes), Err(WireError::Version { found: 9 }));
    assert_eq!(ToRequester::decode(&[]), Err(WireError::Empty));
    assert!(matches!(SignedOffer::decode(&[1; 5_000]), Err(WireError::TooLong { .. })));
}

#[test]
fn a_receipt_changes_with_every_field_of_its_results() {
    let batch = |fuel, bytes: &[u8]| {
        let end = TaskEnd::Done(TaskOutput::Inline(bytes.to_vec()));
        let results = vec![TaskResult { index: 3, fuel, peak_memory_bytes: 0, end }];
        let batch = ResultBatch { job: B256::ZERO, lease: 2, batch: 1, busy_micros: 5, results };
        receipt_hash(1, &batch.receipt(Address::ZERO))
    };
    assert_ne!(batch(1, b"a"), batch(2, b"a"));
    assert_ne!(batch(1, b"a"), batch(1, b"b"));
    assert_eq!(batch(1, b"a"), batch(1, b"a"));
}

#[test]
fn a_voucher_of_another_chain_or_sum_has_another_hash() {
    let hash =
        |chain, total| voucher_hash(chain, &crate::system::Voucher { job: B256::ZERO, provider: Address::ZERO, total });
    let total = Amount::ONE_BMM.units();
    assert_ne!(hash(1, total), hash(2, total));
    assert_ne!(hash(1, total), hash(1, Amount::ZERO.units()));
}

proptest! {
    #[test]
    fn messages_round_trip(bytes in prop::collection::vec(any::<u8>(), 0..50)) {
        let message = results(bytes);
        prop_assert_eq!(ToRequester::decode(&message.encode()), Ok(message));
    }

    #[test]
    fn damaged_messages_never_panic(number in 0usize..64, flips in prop::collection::vec((any::<usize>(), any::<u8>()), 1..6), cut: usize, keep: bool) {
        let whole = every_message();
        let (decode, mut bytes) = whole[number % whole.len()].clone();
        prop_assert!(decode(&bytes), "an undamaged message is read");
        for (at, byte) in flips {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        if !keep {
            bytes.truncate(cut % bytes.len());
        }
        let _ = decode(&bytes);
    }

    #[test]
    fn decoding_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), flips in prop::collection::vec((0usize..300, any::<u8>()), 0..4)) {
        let _ = ToRequester::decode(&bytes);
        let _ = ToProvider::decode(&bytes);
        let _ = JobSpec::decode(&bytes);
        let _ = SignedOffer::decode(&bytes);
        let mut message = results(bytes).encode();
        for (at, byte) in flips {
            if let Some(place) = message.get_mut(at) {
                *place = byte;
            }
        }
        let _ = ToRequester::decode(&message);
    }
}

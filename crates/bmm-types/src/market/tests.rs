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

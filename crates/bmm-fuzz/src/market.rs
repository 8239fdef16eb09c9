//! What requesters, providers and their networks tell each other: messages, listings, sessions, introductions; and job files.

use crate::{
    choice,
    stream::{Script, block_on},
    take,
};
use alloy_primitives::{Address, B256};
use bmm_market::{job::JobFile, rental::RentalFile, service::ServiceFile};
use bmm_net::{
    frame::read_frame,
    market::{Book, BookLimits, Pulse, Role, Speaker, introduce, run_session},
};
use bmm_types::{
    ContentHash,
    market::{
        FromHost, FromMiner, JobSpec, MAX_LEASE_TASKS, MAX_TASKS, RentalSpec, ServiceSpec, SignatureBytes,
        SignedListing, SignedOffer, ToHost, ToMiner, ToProvider, ToRequester, Wire,
    },
};
use std::{sync::Arc, time::Duration};

/// Chain of every signature.
const CHAIN: u64 = 7;
/// Longer than anything takes here.
const LONG: Duration = Duration::from_hours(1);

/// Reads the bytes as what the first one says.
pub fn run(mut bytes: &[u8]) {
    match choice(&mut bytes) % 11 {
        0 => {
            to_provider(bytes);
            drop(same::<ToHost>(bytes));
            drop(same::<ToMiner>(bytes));
        }
        1 => {
            to_requester(bytes);
            drop(same::<FromHost>(bytes));
            drop(same::<FromMiner>(bytes));
        }
        2 => drop(same::<SignedOffer>(bytes).map(|offer| offer.is_signed(CHAIN))),
        3 => drop(same::<SignedListing>(bytes).map(|listing| listing.is_signed(CHAIN))),
        4 => {
            spec(bytes);
            let _ = same::<ServiceSpec>(bytes).and_then(|spec| spec.cost());
            drop(same::<RentalSpec>(bytes));
        }
        5 => book(bytes),
        6 => session(bytes),
        7 => introduction(bytes),
        8 => frames(bytes),
        9 => {
            job_file(bytes);
            let text = String::from_utf8_lossy(bytes);
            // The image that it names is not there.
            drop(ServiceFile::parse(&text).and_then(|file| file.build(std::path::Path::new("/nowhere"))));
            drop(RentalFile::parse(&text).and_then(|file| file.build("name")));
        }
        _ => name(bytes),
    }
}

/// Reads a message: it keeps its length, can be written down again in as many bytes at most, and reads the same then.
fn same<T: Wire + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Option<T> {
    let message = T::decode(bytes).ok()?;
    let encoded = message.encode();
    assert!(bytes.len() <= T::MAX_BYTES && encoded.len() <= bytes.len(), "{} of {} bytes", encoded.len(), bytes.len());
    assert_eq!(T::decode(&encoded).as_ref(), Ok(&message));
    Some(message)
}

fn to_provider(bytes: &[u8]) {
    match same(bytes) {
        Some(ToProvider::Job(job)) => {
            job.spec_hash();
            spec(&job.spec);
        }
        Some(ToProvider::Lease { lease, .. }) => {
            assert!(lease.tasks() <= MAX_LEASE_TASKS.into());
            assert!(lease.ranges.iter().all(|range| range.contains(range.first) && !range.contains(range.end())));
        }
        Some(ToProvider::Voucher { voucher, .. }) => drop(voucher.is_signed(CHAIN, voucher.provider)),
        _ => {}
    }
}

fn to_requester(bytes: &[u8]) {
    if let Some(ToRequester::Results(results)) = same(bytes) {
        let (provider, batch) = (Address::repeat_byte(1), &results.batch);
        let contents = batch.contents();
        assert_eq!(contents.len(), batch.results.len());
        assert_eq!(batch.receipt(provider), batch.receipt_over(provider, &contents));
        assert_eq!(results.is_signed(CHAIN, provider), results.is_signed_over(CHAIN, provider, &contents));
    }
}

fn spec(bytes: &[u8]) {
    let Some(spec) = same::<JobSpec>(bytes) else { return };
    let tasks = spec.tasks().expect("what decodes has tasks");
    assert!((1..=MAX_TASKS).contains(&tasks));
    assert!(spec.contents().len() <= spec.encode().len() / 32, "more content than is named");
    assert!(spec.verify.copies() >= 1 && spec.verify.quorum() >= 1);
    spec.work_hash();
}

fn book(mut bytes: &[u8]) {
    let now = u64::from_le_bytes(take(&mut bytes));
    let mut book = Book::new(CHAIN, BookLimits { providers: 2, ..BookLimits::default() });
    while !bytes.is_empty() {
        let length = usize::from(u16::from_le_bytes(take(&mut bytes)));
        let (listing, rest) = bytes.split_at(bytes.len().min(length));
        bytes = rest;
        if let Ok(heard) = book.hear(listing, now) {
            assert!(heard.is_signed(CHAIN) && heard.listing.offer.expires_at > now / 1_000);
        }
        assert!(book.len() <= 2);
    }
    book.forget_expired(u64::MAX);
    assert!(book.is_empty());
}

fn session(mut bytes: &[u8]) {
    let piece = usize::from(choice(&mut bytes));
    block_on(async {
        let script = Script::new(bytes.to_vec(), piece);
        let (sender, mut receiver) = run_session(script, Pulse { keep_alive: LONG, patience: LONG });
        let mut heard = 0;
        while let Ok(message) = receiver.next().await {
            assert!(!message.is_empty());
            heard += message.len() + 4;
            let _ = ToProvider::decode(&message);
        }
        assert!(heard <= bytes.len(), "more was heard than said");
        drop(sender);
    });
}

fn introduction(bytes: &[u8]) {
    let operator = Address::repeat_byte(1);
    let sign = Arc::new(|_| SignatureBytes::ZERO);
    let speaker = Speaker { chain_id: CHAIN, genesis: B256::ZERO, operator, sign, peer: vec![1] };
    let mut script = Script::new(bytes.to_vec(), 64);
    let known = block_on(introduce(&mut script, &speaker, Role::Provider, &[2]));
    // Nobody can sign a nonce that was drawn a moment ago.
    assert!(known.is_err(), "{known:?} was believed");
    assert!(script.told.len() <= 1 + 8 + 32 + 20 + 32 + 65);
}

fn frames(mut bytes: &[u8]) {
    let limit = usize::from(u16::from_le_bytes(take(&mut bytes)));
    let mut script = Script::new(bytes.to_vec(), 100);
    block_on(async {
        while let Ok(message) = read_frame(&mut script, limit, LONG).await {
            assert!(message.len() <= limit);
        }
    });
}

fn job_file(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match JobFile::parse(text) {
        Ok(file) => drop(file),
        // People see it.
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn name(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(hash) = text.parse::<ContentHash>() {
        assert_eq!(hash.to_string(), text);
    }
    if let Ok(amount) = text.parse::<bmm_types::Amount>() {
        assert_eq!(amount.to_string().parse(), Ok(amount));
    }
}

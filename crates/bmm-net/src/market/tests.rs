//! Introductions that lie, sessions that break, listings that nobody should believe.

use super::*;
use alloy_primitives::{Address, B256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use bmm_types::{
    Amount,
    market::{Listing, Offer, Runtime, SignatureBytes, SignedListing, Wire, listing_hash},
};
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::PeerId;
use std::{sync::Arc, time::Duration};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

type Pipe = Compat<tokio::io::DuplexStream>;

fn pipe(room: usize) -> (Pipe, Pipe) {
    let (one, other) = tokio::io::duplex(room);
    (one.compat(), other.compat())
}

fn signer(key: &PrivateKeySigner) -> Arc<dyn Fn(B256) -> SignatureBytes + Send + Sync> {
    let key = key.clone();
    Arc::new(move |hash| SignatureBytes::from(key.sign_hash_sync(&hash).expect("signed").as_bytes()))
}

fn speaker(peer: &[u8]) -> Speaker {
    let key = PrivateKeySigner::random();
    let genesis = B256::repeat_byte(3);
    Speaker { chain_id: 7, genesis, operator: key.address(), sign: signer(&key), peer: peer.to_vec() }
}

type Met = Result<Address, HelloError>;

/// Lets a requester with the peer id "r" and a provider with the peer id "p" meet; each is told who the transport says that the other is.
async fn meet(requester: &Speaker, provider: &Speaker, roles: (Role, Role), told: (&[u8], &[u8])) -> (Met, Met) {
    let (mut here, mut there) = pipe(4_096);
    let one = async {
        let met = introduce(&mut here, requester, roles.0, told.0).await;
        drop(here);
        met
    };
    let other = async {
        let met = introduce(&mut there, provider, roles.1, told.1).await;
        drop(there);
        met
    };
    futures::join!(one, other)
}

const ROLES: (Role, Role) = (Role::Requester, Role::Provider);

#[tokio::test]
async fn both_sides_prove_who_they_are() {
    let (requester, provider) = (speaker(b"r"), speaker(b"p"));
    let (one, other) = meet(&requester, &provider, ROLES, (b"p", b"r")).await;
    assert_eq!(one.expect("believed"), provider.operator);
    assert_eq!(other.expect("believed"), requester.operator);
}

#[tokio::test]
async fn proofs_hold_for_one_connection_and_role() {
    let (requester, provider) = (speaker(b"r"), speaker(b"p"));
    let unproved = |met: Met| matches!(met, Err(HelloError::Unproved(_)));
    // Somebody in the middle, whom the requester knows as "m", passes everything on.
    let (one, other) = meet(&requester, &provider, ROLES, (b"m", b"m")).await;
    assert!(unproved(one) && unproved(other));
    let (one, _) = meet(&requester, &provider, (Role::Requester, Role::Requester), (b"p", b"r")).await;
    assert!(unproved(one), "a requester's proof is none of a provider");
    let thief = Speaker { operator: provider.operator, ..speaker(b"p") };
    let (one, _) = meet(&requester, &thief, ROLES, (b"p", b"r")).await;
    assert!(unproved(one), "another's address without its key");
}

#[tokio::test]
async fn other_chains_are_not_spoken_with() {
    let requester = speaker(b"r");
    let other_chain = |met: Met| matches!(met, Err(HelloError::OtherChain { .. }));
    let far = Speaker { chain_id: 8, ..speaker(b"p") };
    let (one, other) = meet(&requester, &far, ROLES, (b"p", b"r")).await;
    assert!(other_chain(one) && other_chain(other));
    let fork = Speaker { genesis: B256::ZERO, ..speaker(b"p") };
    assert!(other_chain(meet(&requester, &fork, ROLES, (b"p", b"r")).await.0));
    let (mut here, mut there) = pipe(4_096);
    there.write_all(&[9; 93]).await.expect("room");
    let met = introduce(&mut here, &requester, Role::Requester, b"p").await;
    assert!(matches!(met, Err(HelloError::Version(9))));
}

const SLOW: Pulse = Pulse { keep_alive: Duration::from_mins(1), patience: Duration::from_mins(10) };

#[tokio::test]
async fn messages_arrive_whole_and_in_order() {
    let (here, there) = pipe(1_000);
    let ((send, mut receive), (answer, mut hear)) = (run_session(here, SLOW), run_session(there, SLOW));
    let message = |number: usize| vec![u8::try_from(number % 251).expect("small"); 1 + number * 37];
    let said = tokio::spawn(async move {
        for number in 0..300 {
            while let Err(error) = send.try_send(message(number)) {
                assert_eq!(error, SendError::Full);
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(receive.next().await.expect("an answer"), b"thanks");
    });
    for number in 0..300 {
        assert_eq!(hear.next().await.expect("a message"), message(number));
    }
    answer.try_send(b"thanks".to_vec()).expect("room");
    said.await.expect("no panic");
    assert!(matches!(hear.next().await, Err(Ended::Io(_))), "the other side is gone");
}

#[tokio::test]
async fn what_is_queued_goes_out_although_the_sender_is_dropped() {
    let (here, there) = pipe(100);
    let (send, receive) = run_session(here, SLOW);
    send.try_send(vec![1; 5_000]).expect("room");
    send.try_send(vec![2; 5_000]).expect("room");
    drop((send, receive));
    let (_answer, mut hear) = run_session(there, SLOW);
    assert_eq!(hear.next().await.expect("the first"), [1; 5_000]);
    assert_eq!(hear.next().await.expect("the second"), [2; 5_000]);
    assert!(hear.next().await.is_err());
}

#[tokio::test]
async fn queues_are_bounded() {
    let (here, _there) = pipe(16);
    let (send, _receive) = run_session(here, SLOW);
    let large = || vec![0; 8 << 20];
    let count = (0..100).take_while(|_| send.try_send(large()).is_ok()).count();
    assert!((7..=9).contains(&count), "some 64 MiB wait, not more: {count}");
    assert_eq!(send.try_send(vec![0; 33 << 20]), Err(SendError::TooLong));
}

#[tokio::test]
async fn silence_ends_a_session_and_signs_of_life_do_not() {
    let quick = Pulse { keep_alive: Duration::from_millis(5), patience: Duration::from_millis(100) };
    let (here, _silent) = pipe(1_000_000);
    let (_send, mut receive) = run_session(here, quick);
    assert!(matches!(receive.next().await, Err(Ended::Silent)));
    // The other end sees frames without content while nothing is said.
    let (here, mut raw) = pipe(1_000);
    let (_send, _receive) = run_session(here, quick);
    let mut signs = [1; 12];
    raw.read_exact(&mut signs).await.expect("three signs of life");
    assert_eq!(signs, [0; 12]);
}

#[tokio::test]
async fn hostile_frames_end_the_session() {
    let (here, mut raw) = pipe(1_000);
    let (_send, mut receive) = run_session(here, SLOW);
    raw.write_all(&u32::MAX.to_le_bytes()).await.expect("room");
    assert!(matches!(receive.next().await, Err(Ended::TooLong(_))));
    let (here, mut raw) = pipe(1_000);
    let (_send, mut receive) = run_session(here, SLOW);
    raw.write_all(&[255, 0, 0, 0, 1, 2]).await.expect("room");
    raw.close().await.expect("closed");
    assert!(matches!(receive.next().await, Err(Ended::Io(_))), "a frame that ends too early");
}

const NOW: u64 = 1_000_000_000;

fn listing(key: &PrivateKeySigner, listed_at_millis: u64) -> SignedListing {
    let offer = Offer {
        provider: key.address(),
        price_per_gfuel: Amount::ONE_BMM,
        price_per_gib: Amount::ZERO,
        slots: 4,
        memory_bytes: 1,
        time_millis: 1,
        output_bytes: 1,
        runtimes: vec![Runtime::Wasm],
        isa: "x86_64".into(),
        rating_fuel_per_second: 1,
        hashing: None,
        machine: bmm_types::market::Machine::default(),
        expires_at: u64::MAX,
        sequence: 1,
    };
    let peer = PeerId::random().to_bytes();
    let expires_at = listed_at_millis / 1_000 + 100;
    signed(key, Listing { offer, peer, addresses: Vec::new(), free_slots: 1, listed_at_millis, expires_at })
}

fn signed(key: &PrivateKeySigner, listing: Listing) -> SignedListing {
    let signature = signer(key)(listing_hash(7, &listing));
    SignedListing { listing, signature }
}

#[test]
fn the_book_keeps_the_latest_listing_of_each_provider() {
    let mut book = Book::new(7, BookLimits::default());
    let key = PrivateKeySigner::random();
    let first = listing(&key, NOW);
    assert_eq!(book.hear(&first.encode(), NOW), Ok(&first));
    assert_eq!(book.hear(&first.encode(), NOW), Err(Refusal::Old));
    assert_eq!(book.hear(&listing(&key, NOW - 1).encode(), NOW), Err(Refusal::Old));
    assert_eq!(book.hear(&listing(&key, NOW + 999).encode(), NOW), Err(Refusal::TooOften));
    let later = listing(&key, NOW + 1_000);
    assert_eq!(book.hear(&later.encode(), NOW), Ok(&later));
    assert_eq!((book.len(), book.of(key.address())), (1, Some(&later)));
    book.forget_expired(NOW + 200_000);
    assert!(book.is_empty());
}

#[test]
fn what_is_not_to_be_believed_does_not_enter_the_book() {
    let mut book = Book::new(7, BookLimits::default());
    let key = PrivateKeySigner::random();
    let good = listing(&key, NOW);
    let mut forged = good.clone();
    forged.listing.offer.price_per_gfuel = Amount::ZERO;
    assert_eq!(book.hear(&forged.encode(), NOW), Err(Refusal::Unsigned));
    assert!(Book::new(8, BookLimits::default()).hear(&good.encode(), NOW).is_err(), "for another chain");
    assert_eq!(book.hear(&good.encode(), NOW + 100_000), Err(Refusal::NotNow), "expired");
    assert_eq!(book.hear(&listing(&key, NOW + 60_001).encode(), NOW), Err(Refusal::NotNow), "from the future");
    let nowhere = signed(&key, Listing { peer: b"nobody".to_vec(), ..good.listing.clone() });
    assert_eq!(book.hear(&nowhere.encode(), NOW), Err(Refusal::NoPeer));
    let endless = signed(&key, Listing { expires_at: NOW, ..good.listing.clone() });
    assert!(matches!(book.hear(&endless.encode(), NOW), Err(Refusal::Malformed(_))));
    assert!(book.hear(&[], NOW).is_err() && book.hear(&[255; 9_000], NOW).is_err());
    assert!(book.is_empty());
}

#[test]
fn a_full_book_gives_up_what_ends_first() {
    let mut book = Book::new(7, BookLimits { providers: 2, ..BookLimits::default() });
    let keys: Vec<PrivateKeySigner> = (0..3).map(|_| PrivateKeySigner::random()).collect();
    for (key, at) in keys.iter().zip([NOW + 5_000, NOW, NOW + 9_000]) {
        book.hear(&listing(key, at).encode(), NOW).expect("believed");
    }
    assert_eq!((book.len(), book.of(keys[1].address())), (2, None));
}

//! Content over pipes: what comes is what was asked for, a break is gone on from, wrong bytes are noticed where they come.

use super::*;
use bmm_types::market::Content;
use futures::io::AsyncReadExt;
use futures::{AsyncWriteExt, FutureExt};
use libp2p::PeerId;
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::io::DuplexStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

type Pipe = Compat<DuplexStream>;

fn pipe() -> (Pipe, Pipe) {
    let (one, other) = tokio::io::duplex(100_000);
    (one.compat(), other.compat())
}

/// Bytes that differ from chunk to chunk.
fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at / 7 + at / CHUNK_BYTES) % 251).expect("small")).collect()
}

fn source(dir: &Path, bytes: &[u8]) -> (Source, Content) {
    let content = Content::of(bytes);
    std::fs::write(dir.join(content.hash.to_string()), bytes).expect("written");
    let dir = dir.to_owned();
    (Source::new(move |hash| Some(dir.join(hash.to_string())).filter(|path| path.exists())), content)
}

fn store(dir: &Path, limit: u64) -> ContentStore {
    ContentStore::open(&dir.join("store"), limit).expect("a store")
}

async fn fetch(source: &Source, content: Content, store: &ContentStore) -> Result<(), FetchError> {
    let (mut here, there) = pipe();
    let source = source.clone();
    let serving = tokio::spawn(async move { serve(there, &source).await });
    let fetched = fetch_from(&mut here, content, store).await;
    drop(here);
    let _ = serving.await.expect("no panic");
    fetched
}

#[tokio::test]
async fn what_comes_is_what_was_asked_for() {
    let dir = tempfile::tempdir().expect("a folder");
    for len in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 17] {
        let whole = bytes(len);
        let (source, content) = source(dir.path(), &whole);
        let store = store(dir.path(), 1 << 30);
        fetch(&source, content, &store).await.expect("fetched");
        assert_eq!(store.read(content.hash).expect("readable"), Some(whole), "{len} bytes");
    }
    let (source, _) = source(dir.path(), b"x");
    let other = Content::of(b"y");
    let error = fetch(&source, other, &store(dir.path(), 1 << 30)).await.expect_err("it is not there");
    assert!(matches!(error, FetchError::NotThere(hash) if hash == other.hash) && !error.is_fault(), "{error}");
}

/// Passes on what a server says, but ends after `most` bytes.
async fn fetch_cut(source: &Source, content: Content, store: &ContentStore, most: usize) -> FetchError {
    let (mut here, cut) = pipe();
    let (from_cut, there) = pipe();
    let source = source.clone();
    let serving = tokio::spawn(async move { serve(there, &source).await });
    let cutting = tokio::spawn(async move {
        let (mut from_client, mut to_client) = cut.split();
        let (from_server, mut to_server) = from_cut.split();
        let up = futures::io::copy(&mut from_client, &mut to_server);
        let mut limited = from_server.take(most.try_into().expect("small"));
        let down = async {
            let copied = futures::io::copy(&mut limited, &mut to_client).await;
            to_client.close().await.and(copied)
        };
        futures::future::select(Box::pin(up), Box::pin(down)).await.factor_first().0
    });
    let error = fetch_from(&mut here, content, store).await.expect_err("cut off");
    drop(here);
    let _ = cutting.await.expect("no panic");
    let _ = serving.await.expect("no panic");
    error
}

#[tokio::test]
async fn a_break_is_gone_on_from() {
    let dir = tempfile::tempdir().expect("a folder");
    let whole = bytes(5 * CHUNK_BYTES + 99);
    let (source, content) = source(dir.path(), &whole);
    let kept = store(dir.path(), 1 << 30);
    // Two answers, the list of six chunks, and three and a half chunks.
    let error = fetch_cut(&source, content, &kept, 2 + 6 * 32 + 3 * CHUNK_BYTES + CHUNK_BYTES / 2).await;
    assert!(matches!(error, FetchError::Io(_)) && !error.is_fault(), "{error}");
    // Another process goes on; what it lacks is the list and two and a half chunks.
    let kept = ContentStore::open(&dir.path().join("store"), 1 << 30).expect("opened again");
    let rest = 2 + 6 * 32 + 2 * CHUNK_BYTES + 99;
    let error = fetch_cut(&source, content, &kept, rest - 1).await;
    assert!(matches!(error, FetchError::Io(_)), "one byte less than the rest is not enough: {error}");
    fetch(&source, content, &kept).await.expect("the rest");
    assert_eq!(kept.read(content.hash).expect("readable"), Some(whole));
}

/// A server that follows the protocol, but says other bytes than it should.
async fn fetch_from_liar(content: Content, list: ChunkList, sent: Vec<u8>, store: &ContentStore) -> FetchError {
    let (mut here, mut there) = pipe();
    let lying = tokio::spawn(async move {
        let mut request = [0; REQUEST_BYTES];
        while there.read_exact(&mut request).await.is_ok() {
            let request = Request::decode(&request).expect("a request");
            let rest = sent.get(usize::try_from(request.from).expect("small") * CHUNK_BYTES..).unwrap_or_default();
            let answer = if request.list { list.encode() } else { rest.to_vec() };
            let _ = there.write_all(&[HERE]).await;
            let _ = there.write_all(&answer).await;
            let _ = there.flush().await;
        }
    });
    let error = fetch_from(&mut here, content, store).await.expect_err("wrong bytes");
    drop(here);
    lying.await.expect("no panic");
    error
}

#[tokio::test]
async fn wrong_bytes_are_the_peers_fault() {
    let dir = tempfile::tempdir().expect("a folder");
    let kept = store(dir.path(), 1 << 30);
    let whole = bytes(3 * CHUNK_BYTES);
    let content = Content::of(&whole);
    let list = |of: &[u8]| ChunkList::read(of, content.size).expect("a list");
    let mut wrong = whole.clone();
    wrong[CHUNK_BYTES + 5] ^= 1;
    // A chunk that is not as listed is noticed at once.
    let error = fetch_from_liar(content, list(&whole), wrong.clone(), &kept).await;
    assert!(matches!(error, FetchError::WrongChunk(1)) && error.is_fault(), "{error}");
    // A list that fits wrong chunks is noticed at the end, and nothing of it is kept.
    let error = fetch_from_liar(content, list(&wrong), wrong.clone(), &kept).await;
    assert!(matches!(error, FetchError::WrongWhole(_)) && error.is_fault(), "{error}");
    let small = Content::of(b"small");
    let error = fetch_from_liar(small, list(&whole), b"smell".to_vec(), &kept).await;
    assert!(matches!(error, FetchError::WrongWhole(hash) if hash == small.hash) && error.is_fault(), "{error}");
    assert_eq!(kept.bytes(), 0);
    // After all of that, an honest peer's bytes are taken.
    let (honest, _) = source(dir.path(), &whole);
    fetch(&honest, content, &kept).await.expect("fetched");
}

#[test]
fn what_was_used_longest_ago_goes_unless_it_is_pinned() {
    let dir = tempfile::tempdir().expect("a folder");
    let kept = store(dir.path(), 100);
    let put = |byte: u8| kept.put(&[byte; 30]);
    let (one, two, three) = (put(1).expect("room"), put(2).expect("room"), put(3).expect("room"));
    assert!(kept.find(one).is_some());
    let pin = kept.pin(two);
    let four = put(4).expect("room for the fourth in the place of the third");
    let here = |hash| kept.find(hash).is_some();
    assert_eq!((here(one), here(two), here(three), here(four)), (true, true, false, true));
    let others = (kept.pin(one), kept.pin(four));
    assert!(matches!(put(5), Err(StoreError::Full { wanted: 30, limit: 100, used: 90 })), "everything is in use");
    drop((pin, others));
    put(5).expect("now there is room");
    let files = std::fs::read_dir(dir.path().join("store")).expect("a folder").count();
    assert_eq!(files, 4, "three pieces and the folder of unfinished ones");
    let again = store(dir.path(), 40);
    assert!(again.bytes() <= 40, "a lower limit holds from the start");
}

#[test]
fn a_damaged_file_counts_as_missing() {
    let dir = tempfile::tempdir().expect("a folder");
    let kept = store(dir.path(), 1_000);
    let hash = kept.put(b"precious").expect("room");
    std::fs::write(kept.find(hash).expect("here"), b"rotten!!").expect("written");
    assert_eq!(kept.read(hash).expect("readable"), None);
    assert!(kept.find(hash).is_none());
}

#[tokio::test]
async fn what_several_want_comes_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let whole = bytes(4 * CHUNK_BYTES);
    let (source, content) = source(dir.path(), &whole);
    let opened = Arc::new(AtomicUsize::new(0));
    let count = opened.clone();
    let nobody = PeerId::random();
    let open: Opener<Pipe> = Arc::new(move |peer| {
        let (source, count) = (source.clone(), count.clone());
        async move {
            if peer == nobody {
                return Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
            }
            count.fetch_add(1, Ordering::SeqCst);
            let (here, there) = pipe();
            tokio::spawn(async move { serve(there, &source).await });
            Ok(here)
        }
        .boxed()
    });
    let fetcher = Fetcher::new(store(dir.path(), 1 << 30), open, |_, error| panic!("nobody is at fault: {error}"));
    let peers = [nobody, PeerId::random()];
    let twenty = (0..20).map(|_| fetcher.fetch(content, &peers));
    for fetched in futures::future::join_all(twenty).await {
        fetched.expect("fetched");
    }
    assert_eq!(opened.load(Ordering::SeqCst), 1);
    assert!(matches!(&*fetcher.fetch(Content::of(b"?"), &[]).await.expect_err("from whom?"), FetchError::Nobody(_)));
}

//! Content exchange: a server that is asked anything, and a fetch from a peer that says anything.

use crate::{
    choice,
    stream::{Script, block_on},
    take,
};
use bmm_net::content::{CHUNK_BYTES, ChunkList, ContentStore, FetchError, Source, fetch_from, serve};
use bmm_types::market::Content;
use std::{path::PathBuf, sync::LazyLock};

/// Length of the content that is here: three chunks, the last a short one.
const LENGTH: usize = 2 * CHUNK_BYTES + 77;
/// Questions of one input.
const QUESTIONS: usize = 3;

/// What is served, and a store that things are fetched into.
struct Place {
    file: PathBuf,
    whole: Vec<u8>,
    content: Content,
    store: ContentStore,
    unfinished: PathBuf,
    _dir: tempfile::TempDir,
}

static PLACE: LazyLock<Place> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("a folder");
    let whole: Vec<u8> = (0..LENGTH).map(|at| u8::try_from((at / 3 + at / CHUNK_BYTES) % 251).unwrap_or(0)).collect();
    let file = dir.path().join("served");
    std::fs::write(&file, &whole).expect("written");
    let store = ContentStore::open(&dir.path().join("store"), 1 << 30).expect("a store");
    let unfinished = dir.path().join("store/partial");
    Place { file, content: Content::of(&whole), whole, store, unfinished, _dir: dir }
});

/// Reads the bytes as what the first one says.
pub fn run(mut bytes: &[u8]) {
    match choice(&mut bytes) % 4 {
        0 => list(bytes),
        1 => asked(bytes),
        2 => fetched_small(bytes),
        _ => fetched(bytes),
    }
}

fn list(mut bytes: &[u8]) {
    let size = u64::from_le_bytes(take(&mut bytes));
    let Ok(list) = ChunkList::decode(size, bytes) else { return };
    assert_eq!((list.size(), list.encode().as_slice()), (size, bytes));
    assert!(list.count() <= 1 || bytes.len() == 32 * usize::try_from(list.count()).unwrap_or(0));
    assert!(!list.is_chunk(list.count(), b""), "a chunk past the last");
    assert!(!list.is_chunk(0, &vec![0; CHUNK_BYTES + 1]), "a chunk that is too long");
}

/// Whatever is asked for, what comes is a part of what is here.
fn asked(mut bytes: &[u8]) {
    let place = &*PLACE;
    let mut questions = Vec::new();
    for _ in 0..QUESTIONS {
        let kind = choice(&mut bytes);
        let size = if kind & 0x80 == 0 { place.content.size } else { u64::from_le_bytes(take(&mut bytes)) };
        let name = if kind & 0x40 == 0 { place.content.hash.0.0 } else { take(&mut bytes) };
        questions.extend([&[kind & 0x3f][..], &name, &size.to_le_bytes(), &take::<4>(&mut bytes)].concat());
    }
    questions.truncate(questions.len() - usize::from(choice(&mut bytes) % 50));
    let mut script = Script::new(questions, 1 << 20);
    let file = place.file.clone();
    let source = Source::new(move |hash| (hash == place.content.hash).then(|| file.clone()));
    let _ = block_on(serve(&mut script, &source));
    assert!(script.told.len() <= QUESTIONS * (LENGTH + 1), "{} bytes were sent", script.told.len());
}

/// A peer that says just this.
fn fetched_small(bytes: &[u8]) {
    let content = Content::of(b"small");
    let got = fetch(content, bytes.to_vec());
    assert_eq!(got.is_ok(), bytes.starts_with(b"\x01small"), "{got:?}");
}

/// A peer that sends the truth, changed in some places and cut off.
fn fetched(mut bytes: &[u8]) {
    let place = &*PLACE;
    let list = ChunkList::read(place.whole.as_slice(), place.content.size).expect("a list").encode();
    let mut says = [&[1][..], &list, &[1], &place.whole].concat();
    let truth = says.clone();
    let cut = usize::try_from(u32::from_le_bytes(take(&mut bytes))).unwrap_or(0) % (says.len() + 1);
    for _ in 0..bytes.len().min(16) / 4 {
        let [one, two, three, with] = take(&mut bytes);
        let at = usize::from_le_bytes([one, two, three, 0, 0, 0, 0, 0]) % says.len();
        says[at] ^= with;
    }
    says.truncate(says.len() - cut);
    let got = fetch(place.content, says.clone());
    assert_eq!(got.is_ok(), says == truth, "{got:?}");
    match got {
        // Cut off after truth: nobody's fault. Changed: the peer's, if it said enough to tell.
        Err(error) if truth.starts_with(&says) => assert!(!error.is_fault(), "{error}"),
        Err(FetchError::Store(error)) => panic!("the store: {error}"),
        _ => {}
    }
}

/// Fetches into the store what the peer says, and takes it out again.
fn fetch(content: Content, says: Vec<u8>) -> Result<(), FetchError> {
    let store = &PLACE.store;
    // What an earlier input left is not gone on from.
    for unfinished in std::fs::read_dir(&PLACE.unfinished).expect("a folder").flatten() {
        std::fs::remove_file(unfinished.path()).expect("a file of the store");
    }
    let mut script = Script::new(says, 100_000);
    let got = block_on(fetch_from(&mut script, content, store));
    let kept = store.read(content.hash).expect("a readable store");
    assert_eq!(kept.is_some(), got.is_ok(), "kept, though it did not come");
    assert!(kept.is_none_or(|bytes| Content::of(&bytes) == content));
    store.remove(content.hash);
    got
}

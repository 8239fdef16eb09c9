//! What miners and other people's pools send: lines of Stratum, user names and passwords, merged-mining proofs.

use crate::{choice, take};
use bmm_pool::{
    share::MAX_WORKER_BYTES,
    stratum::{Id, Incoming, Lines, MAX_LINE_BYTES, Param, Password, User},
};
use bmm_pow::auxpow::wire;

/// Most levels of lists in a parameter that is let through.
const MAX_DEPTH: usize = 4;
/// Longest id that is let through, bytes.
const MAX_ID_BYTES: usize = 64;

/// The first byte chooses: a merged-mining proof, a line, a stream of lines in pieces, a user name, a password.
pub fn run(mut bytes: &[u8]) {
    match choice(&mut bytes) % 5 {
        0 => proof(bytes),
        1 => line(bytes),
        2 => stream(bytes),
        3 => user(&String::from_utf8_lossy(bytes)),
        _ => {
            Password::parse(&String::from_utf8_lossy(bytes));
        }
    }
}

/// What is read of a proof is written and read again as the same.
fn proof(bytes: &[u8]) {
    match wire::decode(bytes) {
        Ok(aux) => {
            let written = wire::encode(&aux);
            assert!(written.len() <= bytes.len() && bytes.len() <= wire::MAX_WIRE_LEN);
            assert_eq!(wire::decode(&written), Ok(aux));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A line is read within its bounds.
fn line(bytes: &[u8]) {
    let bound = |id: &Id| match id {
        Id::Text(text) => assert!(text.len() <= MAX_ID_BYTES),
        Id::Null | Id::Number(_) => {}
    };
    match Incoming::parse(bytes) {
        Ok(Incoming::Request(request)) => {
            bound(&request.id);
            assert!(request.params.iter().all(|param| depth(param) <= MAX_DEPTH));
        }
        Ok(Incoming::Answer(id, result)) => {
            bound(&id);
            assert!(depth(&result) <= MAX_DEPTH);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn depth(param: &Param<'_>) -> usize {
    match param {
        Param::List(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
        Param::Map(map) => 1 + map.iter().map(|(_, param)| depth(param)).max().unwrap_or(0),
        _ => 0,
    }
}

/// The same lines come out however the bytes are cut, and none is longer than allowed.
fn stream(mut bytes: &[u8]) {
    let piece = usize::from(take::<1>(&mut bytes)[0]) + 1;
    let read = |piece: usize| {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        let ended = bytes.chunks(piece).try_for_each(|piece| lines.push(piece, |line| found.push(line.to_vec())));
        (found, ended.is_ok())
    };
    let (whole, whole_ended) = read(bytes.len().max(1));
    assert_eq!(read(piece), (whole.clone(), whole_ended), "pieces of {piece} bytes are read differently");
    assert!(whole.iter().all(|line| !line.is_empty() && line.len() <= MAX_LINE_BYTES));
}

/// A user name that is let through can be written down.
fn user(name: &str) {
    if let Ok(user) = User::parse(name) {
        assert!(!user.account.is_zero());
        assert!(user.worker.len() <= MAX_WORKER_BYTES && user.worker.is_ascii());
    }
}

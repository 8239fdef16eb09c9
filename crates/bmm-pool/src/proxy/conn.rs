//! A miner's connection to a proxy.

use super::desk::{Desk, Numbered, Prefix};
use crate::{
    stratum::{Id, Incoming, Lines, Param, Reject, Request, render},
    upstream::{UpstreamShare, UpstreamWork},
};
use alloy_primitives::hex;
use bmm_pow::scrypt_hash;
use serde_json::json;
use std::{collections::HashSet, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
    time::{Instant, timeout},
};

/// Answers of the pool that wait for a miner.
const MAX_ANSWERS: usize = 256;
/// How long a miner may take for a line, and be silent.
const PATIENCE: Duration = Duration::from_secs(30);
const SILENCE: Duration = Duration::from_mins(15);
/// What is no share, in a row, until a miner is sent away.
const MAX_FAULTS: u32 = 100;
/// Shares of one job that are remembered, against those sent twice.
const MAX_SEEN: usize = 1 << 14;
/// How far ahead of its job a header's time may be, in seconds.
const MAX_AHEAD_SECS: u32 = 7_200;
/// Longest name of a worker that is kept, in characters.
const MAX_NAME: usize = 64;

/// What a miner was told, and what it has sent.
struct Miner<'a> {
    desk: &'a Desk,
    prefix: Prefix<'a>,
    answers: mpsc::Sender<String>,
    /// Extra nonce and room for the miner's own, as it knows them.
    extranonce: Option<(Vec<u8>, usize)>,
    takes_extranonce: bool,
    name: Option<Arc<str>>,
    worker: Option<Arc<str>>,
    difficulty: Option<f64>,
    told: u64,
    seen: HashSet<(u64, Vec<u8>, u32, u32)>,
    faults: u32,
}

/// Serves a miner until it leaves, or must; under `name`, whatever it calls itself, if there is one.
pub async fn serve(stream: impl AsyncRead + AsyncWrite, name: Option<Arc<str>>, desk: &Desk) {
    let Some(prefix) = desk.prefix() else { return };
    let (answers, mut answered) = mpsc::channel(MAX_ANSWERS);
    let mut miner = Miner {
        desk,
        prefix,
        answers,
        extranonce: None,
        takes_extranonce: false,
        name,
        worker: None,
        difficulty: None,
        told: 0,
        seen: HashSet::new(),
        faults: 0,
    };
    let (from, to) = tokio::io::split(stream);
    tokio::pin!(from, to);
    let mut work = desk.work();
    let mut lines = Lines::default();
    let mut chunk = vec![0; 4_096];
    let mut heard = Instant::now();
    loop {
        let patience = if miner.worker.is_some() { SILENCE } else { PATIENCE };
        let until = heard.checked_add(patience).unwrap_or(heard);
        let mut out = String::new();
        let goes_on = tokio::select! {
            read = from.read(&mut chunk) => {
                heard = Instant::now();
                match read {
                    Ok(count) if count > 0 => {
                        let bytes = chunk.get(..count).unwrap_or_default();
                        let newest = work.borrow().clone();
                        lines.push(bytes, |line| miner.line(line, newest.as_ref(), &mut out)).is_ok()
                    }
                    _ => false,
                }
            }
            line = answered.recv() => match line {
                Some(line) => { out = line; true }
                None => false,
            },
            changed = work.changed() => {
                let newest = work.borrow_and_update().clone();
                changed.is_ok() && newest.is_none_or(|newest| miner.tell(&newest, &mut out))
            }
            () = tokio::time::sleep_until(until) => false,
        };
        let is_sent = send(&mut to, &out).await;
        if !goes_on || !is_sent || miner.faults >= MAX_FAULTS {
            return;
        }
    }
}

async fn send(to: &mut (impl AsyncWrite + Unpin), lines: &str) -> bool {
    lines.is_empty() || matches!(timeout(PATIENCE, to.write_all(lines.as_bytes())).await, Ok(Ok(())))
}

impl Miner<'_> {
    /// The extra nonce for work: the pool's and the miner's prefix, and the room that is left.
    fn extranonce_for(&self, work: &UpstreamWork) -> Option<(Vec<u8>, usize)> {
        let prefix = self.prefix.bytes(work.extranonce2_len)?;
        let rest = work.extranonce2_len.checked_sub(prefix.len())?;
        Some(([&work.extranonce1[..], &prefix].concat(), rest))
    }

    /// Tells of work. False where the miner must connect anew for it.
    fn tell(&mut self, newest: &Numbered, out: &mut String) -> bool {
        let (Some(known), Some(_)) = (&self.extranonce, &self.worker) else { return true };
        let Numbered { number, work, clean } = newest;
        let Some(extranonce) = self.extranonce_for(work) else {
            render::show_message(out, "the pool leaves too little room for extra nonces behind this proxy");
            return false;
        };
        if *known != extranonce {
            if !self.takes_extranonce {
                out.push_str(render::RECONNECT);
                return false;
            }
            let params = json!([hex::encode(&extranonce.0), extranonce.1]);
            message(out, &json!({ "id": null, "method": "mining.set_extranonce", "params": params }));
            self.extranonce = Some(extranonce);
        }
        if self.difficulty != Some(work.difficulty) {
            self.difficulty = Some(work.difficulty);
            message(out, &json!({ "id": null, "method": "mining.set_difficulty", "params": [work.difficulty] }));
        }
        if *clean {
            self.seen.clear();
        }
        // A miner that is told for the first time has nothing that could be of worth.
        let clean = *clean || self.told == 0;
        self.told = *number;
        message(out, &notify(*number, work, clean));
        true
    }

    fn line(&mut self, line: &[u8], newest: Option<&Numbered>, out: &mut String) {
        match Incoming::parse(line) {
            Ok(Incoming::Request(request)) => self.request(&request, newest, out),
            Ok(Incoming::Answer(..)) => {}
            Err(error) => {
                self.faults = self.faults.saturating_add(10);
                render::refusal(out, &Id::Null, Reject::Other, &error.to_string());
            }
        }
    }

    fn request(&mut self, request: &Request<'_>, newest: Option<&Numbered>, out: &mut String) {
        let Request { id, method, params } = request;
        match &**method {
            "mining.subscribe" => self.subscribe(id, newest, out),
            "mining.authorize" => {
                let name = params.first().and_then(Param::text).unwrap_or_default();
                let name: String = name.chars().filter(|letter| !letter.is_control()).take(MAX_NAME).collect();
                self.worker = Some(self.name.clone().unwrap_or_else(|| name.into()));
                render::result(out, id, "true");
                self.tell_first(newest, out);
            }
            "mining.extranonce.subscribe" => {
                self.takes_extranonce = true;
                render::result(out, id, "true");
            }
            "mining.submit" => {
                if let Err((reject, why)) = self.submit(id, params) {
                    // While no pool works, every share is an old one, and that is no fault of the miner's.
                    self.faults = self.faults.saturating_add(u32::from(reject != Reject::Stale));
                    self.desk.invalid(self.worker.as_deref().unwrap_or_default());
                    render::refusal(out, id, reject, why);
                }
            }
            // No version is rolled, and no difficulty of its own is given.
            "mining.configure" => render::result(out, id, "{\"version-rolling\":false}"),
            "mining.suggest_difficulty" | "mining.suggest_target" | "mining.multi_version" => {
                render::result(out, id, "true");
            }
            "mining.ping" => render::result(out, id, "\"pong\""),
            _ => render::refusal(out, id, Reject::Other, "this proxy does not know that method"),
        }
    }

    fn subscribe(&mut self, id: &Id, newest: Option<&Numbered>, out: &mut String) {
        let Some(extranonce) = newest.and_then(|newest| self.extranonce_for(&newest.work)) else {
            self.faults = self.faults.saturating_add(MAX_FAULTS);
            return render::refusal(out, id, Reject::Other, "no pool gives work at the moment; try again later");
        };
        let json =
            json!([[["mining.set_difficulty", "1"], ["mining.notify", "1"]], hex::encode(&extranonce.0), extranonce.1]);
        render::result(out, id, &json.to_string());
        self.extranonce = Some(extranonce);
        self.tell_first(newest, out);
    }

    fn tell_first(&mut self, newest: Option<&Numbered>, out: &mut String) {
        if let Some(newest) = newest.filter(|_| self.told == 0) {
            self.tell(newest, out);
        }
    }

    /// Takes a share: checks it, and hands it on.
    fn submit(&mut self, id: &Id, params: &[Param<'_>]) -> Result<(), (Reject, &'static str)> {
        let other = |why| (Reject::Other, why);
        let worker = self.worker.clone().ok_or((Reject::Unauthorised, "authorise first"))?;
        let text = |index: usize| params.get(index).and_then(Param::text).ok_or(other("a parameter is missing"));
        let number = |index| u32::from_str_radix(text(index)?, 16).map_err(|_| other("a number is not hexadecimal"));
        let job = u64::from_str_radix(text(1)?, 16).ok().and_then(|number| self.desk.job(number));
        let Numbered { number: job, work, .. } = job.ok_or((Reject::Stale, "the job is unknown, or an old one"))?;
        let own = hex::decode(text(2)?).map_err(|_| other("the extra nonce is not hexadecimal"))?;
        let (extranonce, room) = self.extranonce_for(&work).ok_or(other("no room for extra nonces"))?;
        if own.len() != room {
            return Err(other("the extra nonce has another length than was told"));
        }
        let (time, nonce) = (number(3)?, number(4)?);
        if time.checked_sub(work.job.time).is_none_or(|ahead| ahead > MAX_AHEAD_SECS) {
            return Err(other("the time is before its job's, or too far after it"));
        }
        if self.seen.len() >= MAX_SEEN {
            return Err(other("too many shares of one job"));
        }
        if !self.seen.insert((job, own.clone(), time, nonce)) {
            return Err((Reject::Duplicate, "this share was sent before"));
        }
        let extranonce2 = [extranonce.get(work.extranonce1.len()..).unwrap_or_default(), &own].concat();
        let mut header = work.header(&extranonce2);
        header[68..72].copy_from_slice(&time.to_le_bytes());
        header[76..].copy_from_slice(&nonce.to_le_bytes());
        if !work.target.is_met_by(&scrypt_hash(&header)) {
            return Err((Reject::LowDifficulty, "the hash is above the target"));
        }
        self.faults = 0;
        let share = UpstreamShare { work, extranonce2, time, nonce, tag: 0 };
        self.desk.hand_on(share, self.answers.clone(), id.clone(), &worker);
        Ok(())
    }
}

/// The notice of a job, with the number that miners know it by.
fn notify(number: u64, work: &UpstreamWork, clean: bool) -> serde_json::Value {
    let job = &work.job;
    let mut previous = job.previous.0;
    previous.chunks_mut(4).for_each(<[u8]>::reverse);
    let branch: Vec<String> = job.branch.iter().map(hex::encode).collect();
    let params = json!([
        format!("{number:x}"),
        hex::encode(previous),
        hex::encode(&job.coinbase_head),
        hex::encode(&job.coinbase_tail),
        branch,
        format!("{:08x}", job.version),
        format!("{:08x}", job.bits),
        format!("{:08x}", job.time),
        clean,
    ]);
    json!({ "id": null, "method": "mining.notify", "params": params })
}

fn message(out: &mut String, message: &serde_json::Value) {
    out.push_str(&message.to_string());
    out.push('\n');
}

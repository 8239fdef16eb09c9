//! Writes answers and notices.

use super::request::Id;
use crate::{
    difficulty::ShareDifficulty,
    job::{EXTRANONCE1_LEN, EXTRANONCE2_LEN, Job},
};
use alloy_primitives::hex;
use std::fmt::Write as _;

/// Why a request is refused, with the numbers that the field uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reject {
    /// Anything else: 20.
    Other,
    /// The job is unknown, or worth nothing any more: 21.
    Stale,
    /// The share came before: 22.
    Duplicate,
    /// The hash is above the share's target: 23.
    LowDifficulty,
    /// The worker was not authorised on this connection: 24.
    Unauthorised,
    /// `mining.subscribe` did not come: 25.
    NotSubscribed,
}

impl Reject {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 6] =
        [Self::Other, Self::Stale, Self::Duplicate, Self::LowDifficulty, Self::Unauthorised, Self::NotSubscribed];

    /// Returns the number on the wire.
    pub const fn code(self) -> u8 {
        match self {
            Self::Other => 20,
            Self::Stale => 21,
            Self::Duplicate => 22,
            Self::LowDifficulty => 23,
            Self::Unauthorised => 24,
            Self::NotSubscribed => 25,
        }
    }

    /// Returns a name for statistics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Other => "other",
            Self::Stale => "stale",
            Self::Duplicate => "duplicate",
            Self::LowDifficulty => "low_difficulty",
            Self::Unauthorised => "unauthorised",
            Self::NotSubscribed => "not_subscribed",
        }
    }
}

/// Writing to a `String` cannot fail.
const WRITTEN: &str = "a text takes any length";

fn id(out: &mut String, id: &Id) {
    match id {
        Id::Null => out.push_str("{\"id\":null"),
        Id::Number(number) => write!(out, "{{\"id\":{number}").expect(WRITTEN),
        Id::Text(text) => write!(out, "{{\"id\":{}", quoted(text)).expect(WRITTEN),
    }
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("any text is a JSON string")
}

/// Answers with a result that is JSON already.
pub fn result(out: &mut String, to: &Id, json: &str) {
    id(out, to);
    writeln!(out, ",\"result\":{json},\"error\":null}}").expect(WRITTEN);
}

/// Refuses a request.
pub fn refusal(out: &mut String, to: &Id, reject: Reject, why: &str) {
    id(out, to);
    writeln!(out, ",\"result\":null,\"error\":[{},{},null]}}", reject.code(), quoted(why)).expect(WRITTEN);
}

/// Answers `mining.subscribe`.
pub fn subscribed(out: &mut String, to: &Id, session: u64, extranonce1: [u8; EXTRANONCE1_LEN]) {
    let extranonce1 = hex::encode(extranonce1);
    let json = format!(
        "[[[\"mining.set_difficulty\",\"{session:016x}\"],[\"mining.notify\",\"{session:016x}\"]],\"{extranonce1}\",{EXTRANONCE2_LEN}]"
    );
    result(out, to, &json);
}

/// `mining.set_difficulty`: holds for jobs that are notified of from now on.
pub fn set_difficulty(out: &mut String, difficulty: ShareDifficulty) {
    writeln!(out, "{{\"id\":null,\"method\":\"mining.set_difficulty\",\"params\":[{difficulty}]}}").expect(WRITTEN);
}

/// `mining.set_extranonce`
pub fn set_extranonce(out: &mut String, extranonce1: [u8; EXTRANONCE1_LEN]) {
    let extranonce1 = hex::encode(extranonce1);
    writeln!(
        out,
        "{{\"id\":null,\"method\":\"mining.set_extranonce\",\"params\":[\"{extranonce1}\",{EXTRANONCE2_LEN}]}}"
    )
    .expect(WRITTEN);
}

/// `client.reconnect`, to where the miner is connected now.
pub const RECONNECT: &str = "{\"id\":null,\"method\":\"client.reconnect\",\"params\":[]}\n";

/// `client.get_version`, whose answer comes under the id [`VERSION_ID`].
pub const GET_VERSION: &str = "{\"id\":\"version\",\"method\":\"client.get_version\",\"params\":[]}\n";

/// See [`GET_VERSION`].
pub const VERSION_ID: &str = "version";

/// `client.show_message`
pub fn show_message(out: &mut String, text: &str) {
    writeln!(out, "{{\"id\":null,\"method\":\"client.show_message\",\"params\":[{}]}}", quoted(text)).expect(WRITTEN);
}

/// A job as `mining.notify` tells it, but for what differs between connections. Most of a notice is the same for all of them.
#[derive(Debug)]
pub struct Notice {
    before_version: String,
    after_version: String,
}

impl Notice {
    /// Renders a job.
    pub fn new(job: &Job) -> Self {
        // Miners take the previous block as eight numbers of 32 bits, each turned round.
        let mut previous = job.previous.0;
        previous.chunks_exact_mut(4).for_each(<[u8]>::reverse);
        let branch: Vec<String> = job.branch.iter().map(|node| format!("\"{}\"", hex::encode(node))).collect();
        let before_version = format!(
            "\"{}\",\"{}\",\"{}\",[{}]",
            hex::encode(previous),
            hex::encode(&job.coinbase_head),
            hex::encode(&job.coinbase_tail),
            branch.join(",")
        );
        Self { before_version, after_version: format!("\"{:08x}\",\"{:08x}\"", job.bits, job.time) }
    }

    /// `mining.notify` under a job id, with a version of the header.
    pub fn render(&self, out: &mut String, job_id: &str, version: u32, clean: bool) {
        let Self { before_version, after_version } = self;
        writeln!(
            out,
            "{{\"id\":null,\"method\":\"mining.notify\",\"params\":[\"{job_id}\",{before_version},\"{version:08x}\",{after_version},{clean}]}}"
        )
        .expect(WRITTEN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::B256;
    use serde_json::{Value, json};

    fn read(line: &str) -> Value {
        assert!(line.ends_with('\n') && line.matches('\n').count() == 1, "one line: {line}");
        serde_json::from_str(line).expect("JSON")
    }

    #[test]
    fn answers_have_the_fields_that_miners_read() {
        let mut out = String::new();
        refusal(&mut out, &Id::Text("a\"b".into()), Reject::Stale, "the job is over\n");
        assert_eq!(read(&out), json!({ "id": "a\"b", "result": null, "error": [21, "the job is over\n", null] }));
        out.clear();
        subscribed(&mut out, &Id::Number(1), 0xabc, [0, 1, 2, 255]);
        let pair = |name| json!([name, "0000000000000abc"]);
        let lists = json!([pair("mining.set_difficulty"), pair("mining.notify")]);
        assert_eq!(read(&out), json!({ "id": 1, "result": [lists, "000102ff", 8], "error": null }));
        out.clear();
        set_difficulty(&mut out, ShareDifficulty::nearest(0.125).expect("positive"));
        assert_eq!(read(&out)["params"], json!([0.125]));
    }

    #[test]
    fn a_job_is_told_in_the_order_of_cpuminer() {
        let job = Job {
            number: 1,
            coinbase_head: vec![1, 2],
            coinbase_tail: vec![3],
            branch: vec![B256::repeat_byte(7)],
            version: 0x2000_0000,
            previous: B256::new(std::array::from_fn(|i| u8::try_from(i).expect("below 32"))),
            bits: 0x1e0f_fff0,
            time: 0x6500_0001,
            clean: false,
            chains: Vec::new(),
            effort: None,
        };
        let mut out = String::new();
        Notice::new(&job).render(&mut out, "10", job.version, true);
        let params = read(&out)["params"].clone();
        let previous = "03020100070605040b0a09080f0e0d0c13121110171615141b1a19181f1e1d1c";
        assert_eq!(
            params,
            json!(["10", previous, "0102", "03", ["07".repeat(32)], "20000000", "1e0ffff0", "65000001", true])
        );
    }

    #[test]
    fn fixed_notices_are_lines() {
        assert_eq!(read(RECONNECT)["method"], "client.reconnect");
        assert_eq!(read(GET_VERSION)["id"], VERSION_ID);
    }
}

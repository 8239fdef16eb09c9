//! What is said on a connection to a pool. No sockets and no clock.

use super::job::{UpstreamJob, UpstreamWork, wire_target};
use alloy_primitives::hex;
use serde_json::{Value, json};
use std::{collections::VecDeque, sync::Arc};

/// Longest line of a pool that is taken, in bytes: coinbases that pay hundreds of miners are long.
pub const MAX_LINE_BYTES: usize = 256 << 10;
/// Shares whose answer is waited for.
const MAX_PENDING: usize = 4_096;
/// Longest extra nonces that are taken, in bytes.
const MAX_EXTRANONCE: usize = 32;
/// Longest words of a pool that are repeated, in characters.
const MAX_WORDS: usize = 300;

/// Ids of the requests at the beginning; shares have later ones.
const SUBSCRIBE: u64 = 1;
const AUTHORIZE: u64 = 2;
const EXTRANONCE: u64 = 3;
const FIRST_SHARE: u64 = 10;

/// What a pool must not say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// No JSON, or no message.
    #[error("the pool says what is no message of Stratum: {0}")]
    NoMessage(String),
    /// A message with a part that cannot be.
    #[error("the pool's {method} has a part that cannot be read: {what}")]
    Part {
        /// The message.
        method: &'static str,
        /// The part.
        what: &'static str,
    },
    /// The pool does not want this miner.
    #[error("the pool refuses the user {user}: {reason}")]
    Unauthorised {
        /// Name of the user.
        user: String,
        /// The pool's words.
        reason: String,
    },
}

/// A share for a pool.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamShare {
    /// The work that it was found on.
    pub work: Arc<UpstreamWork>,
    /// The miner's extra nonce.
    pub extranonce2: Vec<u8>,
    /// Time in the header.
    pub time: u32,
    /// The nonce.
    pub nonce: u32,
    /// What the sender makes of its answer; nothing is done with it here.
    pub tag: u64,
}

/// What follows from something that a pool said.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// There is work.
    Work(Arc<UpstreamWork>),
    /// A share is accepted, or refused with these words.
    Verdict(UpstreamShare, Result<(), String>),
    /// This line is to be sent.
    Answer(String),
    /// Words for the person at the screen.
    Words(String),
    /// The miner is to connect anew.
    Reconnect,
}

/// One connection.
#[derive(Debug)]
pub struct Session {
    number: u64,
    user: String,
    agent: String,
    extranonce1: Option<Vec<u8>>,
    extranonce2_len: usize,
    difficulty: f64,
    job: Option<Arc<UpstreamJob>>,
    authorised: bool,
    next_id: u64,
    pending: VecDeque<(u64, UpstreamShare)>,
}

fn line(id: u64, method: &str, params: &Value) -> String {
    format!("{}\n", json!({ "id": id, "method": method, "params": params }))
}

impl Session {
    /// Begins a connection. Returns what is to be sent first.
    pub fn begin(number: u64, user: &str, password: &str, agent: &str) -> (Self, String) {
        let hello = [
            line(SUBSCRIBE, "mining.subscribe", &json!([agent])),
            line(AUTHORIZE, "mining.authorize", &json!([user, password])),
            line(EXTRANONCE, "mining.extranonce.subscribe", &json!([])),
        ];
        let session = Self {
            number,
            user: user.to_owned(),
            agent: agent.to_owned(),
            extranonce1: None,
            extranonce2_len: 0,
            difficulty: 1.0,
            job: None,
            authorised: false,
            next_id: FIRST_SHARE,
            pending: VecDeque::new(),
        };
        (session, hello.concat())
    }

    /// Whether the pool has taken the user.
    pub fn is_authorised(&self) -> bool {
        self.authorised && self.extranonce1.is_some()
    }

    /// Returns the line that hands in a share; `None` for one of another connection.
    pub fn submit(&mut self, share: UpstreamShare) -> Option<String> {
        if share.work.session != self.number {
            return None;
        }
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1).max(FIRST_SHARE);
        let params = json!([
            self.user,
            share.work.job.id,
            hex::encode(&share.extranonce2),
            format!("{:08x}", share.time),
            format!("{:08x}", share.nonce),
        ]);
        if self.pending.len() >= MAX_PENDING {
            self.pending.pop_front();
        }
        self.pending.push_back((id, share));
        Some(line(id, "mining.submit", &params))
    }

    /// Takes a line of the pool's.
    pub fn hear(&mut self, line: &[u8]) -> Result<Option<Said>, ProtocolError> {
        let message: Value =
            serde_json::from_slice(line).map_err(|error| ProtocolError::NoMessage(error.to_string()))?;
        let Some(message) = message.as_object() else {
            return Err(ProtocolError::NoMessage("it is no object".to_owned()));
        };
        let id = message.get("id").cloned().unwrap_or_default();
        match message.get("method").and_then(Value::as_str) {
            Some(method) => {
                let params = message.get("params").and_then(Value::as_array);
                self.told(method, params.map(Vec::as_slice).unwrap_or_default(), &id)
            }
            None => match id.as_u64() {
                Some(id) => self.answered(id, message.get("result"), message.get("error")),
                None => Ok(None),
            },
        }
    }

    fn told(&mut self, method: &str, params: &[Value], id: &Value) -> Result<Option<Said>, ProtocolError> {
        let part = |method, what| ProtocolError::Part { method, what };
        match method {
            "mining.set_difficulty" => {
                let number = |value: &Value| value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
                let difficulty = params.first().and_then(number).filter(|number| wire_target(*number).is_some());
                // It holds for the jobs that follow.
                self.difficulty = difficulty.ok_or_else(|| part("mining.set_difficulty", "the difficulty"))?;
                Ok(None)
            }
            "mining.notify" => {
                let job = UpstreamJob::read(params).map_err(|what| part("mining.notify", what))?;
                self.job = Some(Arc::new(job));
                Ok(self.work())
            }
            "mining.set_extranonce" => {
                self.set_extranonce("mining.set_extranonce", params.first(), params.get(1))?;
                Ok(None)
            }
            "client.reconnect" => Ok(Some(Said::Reconnect)),
            "client.show_message" => Ok(params.first().and_then(Value::as_str).map(|words| Said::Words(shown(words)))),
            "client.get_version" => {
                Ok(Some(Said::Answer(format!("{}\n", json!({ "id": id, "result": self.agent, "error": null })))))
            }
            "mining.ping" => {
                Ok(Some(Said::Answer(format!("{}\n", json!({ "id": id, "result": "pong", "error": null })))))
            }
            _ => Ok(None),
        }
    }

    fn set_extranonce(
        &mut self,
        method: &'static str,
        first: Option<&Value>,
        len: Option<&Value>,
    ) -> Result<(), ProtocolError> {
        let part = |what| ProtocolError::Part { method, what };
        let first = first.and_then(Value::as_str).and_then(|text| hex::decode(text).ok());
        let first = first.filter(|bytes| bytes.len() <= MAX_EXTRANONCE).ok_or_else(|| part("the extra nonce"))?;
        let len = len.and_then(Value::as_u64).and_then(|len| usize::try_from(len).ok());
        let len = len.filter(|len| *len <= MAX_EXTRANONCE).ok_or_else(|| part("the extra nonce's size"))?;
        (self.extranonce1, self.extranonce2_len) = (Some(first), len);
        Ok(())
    }

    fn answered(
        &mut self,
        id: u64,
        result: Option<&Value>,
        error: Option<&Value>,
    ) -> Result<Option<Said>, ProtocolError> {
        let error = error.filter(|error| !error.is_null());
        let is_true = result == Some(&Value::Bool(true));
        match id {
            SUBSCRIBE => {
                let result = result.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
                self.set_extranonce("mining.subscribe", result.get(1), result.get(2))?;
                // Some pools send the first job before they answer.
                Ok(self.work())
            }
            AUTHORIZE if is_true && error.is_none() => {
                self.authorised = true;
                Ok(None)
            }
            AUTHORIZE => {
                let reason = error.map_or_else(|| "no reason is given".to_owned(), words_of);
                Err(ProtocolError::Unauthorised { user: self.user.clone(), reason })
            }
            id => {
                let Some(place) = self.pending.iter().position(|(pending, _)| *pending == id) else { return Ok(None) };
                let Some((_, share)) = self.pending.remove(place) else { return Ok(None) };
                let verdict = match error {
                    None if is_true => Ok(()),
                    None => Err("no reason is given".to_owned()),
                    Some(error) => Err(words_of(error)),
                };
                Ok(Some(Said::Verdict(share, verdict)))
            }
        }
    }

    fn work(&self) -> Option<Said> {
        let (job, extranonce1) = (self.job.as_ref()?, self.extranonce1.as_ref()?);
        Some(Said::Work(Arc::new(UpstreamWork {
            session: self.number,
            job: Arc::clone(job),
            extranonce1: extranonce1.clone(),
            extranonce2_len: self.extranonce2_len,
            difficulty: self.difficulty,
            target: wire_target(self.difficulty)?,
        })))
    }
}

/// Words of an error: `[code, words, …]`, `{"message": …}`, or a text.
fn words_of(error: &Value) -> String {
    let words = error.get(1).or_else(|| error.get("message")).unwrap_or(error);
    words.as_str().map_or_else(|| shown(&words.to_string()), shown)
}

/// Cuts words, and leaves out what could move the cursor.
fn shown(words: &str) -> String {
    words.chars().filter(|letter| !letter.is_control()).take(MAX_WORDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOTIFY: &str = r#"{"id":null,"method":"mining.notify","params":["j1","0000000000000000000000000000000000000000000000000000000000000000","aa","bb",[],"20000000","1e0ffff0","713fb300",false]}"#;

    fn session() -> Session {
        let (mut session, hello) = Session::begin(4, "me", "x", "test/1");
        assert_eq!(hello.lines().count(), 3);
        let heard = session.hear(br#"{"id":1,"result":[[["mining.notify","1"]],"0a0b",4],"error":null}"#);
        assert_eq!(heard, Ok(None));
        assert_eq!(session.hear(br#"{"id":2,"result":true,"error":null}"#), Ok(None));
        assert!(session.is_authorised());
        session
    }

    fn work(session: &mut Session) -> Arc<UpstreamWork> {
        match session.hear(NOTIFY.as_bytes()) {
            Ok(Some(Said::Work(work))) => work,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_difficulty_holds_for_the_jobs_that_follow() {
        let mut session = session();
        let before = work(&mut session);
        assert_eq!((before.difficulty, &before.extranonce1[..], before.extranonce2_len), (1.0, &[10, 11][..], 4));
        for (line, difficulty) in [
            (r#"{"method":"mining.set_difficulty","params":[512]}"#, 512.0),
            (r#"{"method":"mining.set_difficulty","params":["0.25"]}"#, 0.25),
        ] {
            assert_eq!(session.hear(line.as_bytes()), Ok(None));
            assert!((work(&mut session).difficulty - difficulty).abs() < f64::EPSILON);
        }
        session.hear(br#"{"method":"mining.set_extranonce","params":["ff",2]}"#).expect("good");
        let after = work(&mut session);
        assert_eq!((&after.extranonce1[..], after.extranonce2_len), (&[255][..], 2));
    }

    #[test]
    fn shares_are_told_accepted_and_refused() {
        let mut session = session();
        let work = work(&mut session);
        let share = |tag| UpstreamShare {
            work: Arc::clone(&work),
            extranonce2: vec![0, 1, 2, 3],
            time: 0x713f_b300,
            nonce: 7,
            tag,
        };
        let line = session.submit(share(1)).expect("of this connection");
        assert_eq!(
            line,
            "{\"id\":10,\"method\":\"mining.submit\",\"params\":[\"me\",\"j1\",\"00010203\",\"713fb300\",\"00000007\"]}\n"
        );
        for tag in 2..=5 {
            session.submit(share(tag)).expect("of this connection");
        }
        for (answer, tag, verdict) in [
            (r#"{"id":11,"result":true,"error":null}"#, 2, Ok(())),
            (r#"{"id":10,"result":null,"error":[21,"Job not found",null]}"#, 1, Err("Job not found".to_owned())),
            (r#"{"id":12,"result":false,"error":{"code":23,"message":"low"}}"#, 3, Err("low".to_owned())),
            (r#"{"id":14,"result":false,"error":null}"#, 5, Err("no reason is given".to_owned())),
        ] {
            assert_eq!(session.hear(answer.as_bytes()), Ok(Some(Said::Verdict(share(tag), verdict))));
        }
        assert_eq!(session.hear(br#"{"id":11,"result":true}"#), Ok(None), "answered already");
        let of_another = UpstreamShare { work: Arc::new(UpstreamWork { session: 3, ..(*work).clone() }), ..share(9) };
        assert_eq!(session.submit(of_another), None);
    }

    #[test]
    fn what_a_pool_asks_is_answered() {
        let mut session = session();
        let heard = session.hear(br#"{"id":"v","method":"client.get_version","params":[]}"#);
        assert_eq!(heard, Ok(Some(Said::Answer("{\"error\":null,\"id\":\"v\",\"result\":\"test/1\"}\n".into()))));
        let heard = session.hear(b"{\"method\":\"client.show_message\",\"params\":[\"hi\\u001b[2J\"]}");
        assert_eq!(heard, Ok(Some(Said::Words("hi[2J".into()))));
        let heard = session.hear(br#"{"method":"client.reconnect","params":["evil.example",1,1]}"#);
        assert_eq!(heard, Ok(Some(Said::Reconnect)));
        assert_eq!(session.hear(br#"{"method":"mining.unheard_of","params":{}}"#), Ok(None));
    }

    #[test]
    fn what_cannot_be_is_told() {
        let refused = |line: &str| session().hear(line.as_bytes()).expect_err(line).to_string();
        for (line, word) in [
            ("no json", "no message"),
            ("[]", "no object"),
            (r#"{"method":"mining.set_difficulty","params":[0]}"#, "difficulty"),
            (r#"{"method":"mining.notify","params":[]}"#, "id"),
            (r#"{"method":"mining.set_extranonce","params":["00",33]}"#, "size"),
            (r#"{"id":1,"result":null,"error":[20,"full",null]}"#, "mining.subscribe"),
            (r#"{"id":2,"result":false,"error":[24,"who?",null]}"#, "who?"),
        ] {
            let words = refused(line);
            assert!(words.contains(word), "{words}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_heard_without_a_panic(line in ".{0,200}") {
            let _ = session().hear(line.as_bytes());
        }
    }
}

//! JSON-RPC 2.0 around the methods: what a request asks for, and how its answers are written.
//!
//! A request is one call or a batch. Calls are read in place; their answers go one after another into one buffer.

use crate::{
    aux,
    error::{RpcError, RpcResult, write_error},
    methods::{Context, Json},
    server::Session,
};
use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt, sync::Arc};
use tokio::task;

/// One call, read in place.
#[derive(Deserialize)]
struct Call<'a> {
    #[serde(borrow, default)]
    jsonrpc: Option<Cow<'a, str>>,
    /// As it came. Absent in a notification; `null` is an id.
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

/// Reads a member that is there, `null` included.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// The members of a batch, as far as they are allowed.
struct Batch<'a> {
    calls: Vec<&'a RawValue>,
    /// Whether there are more.
    too_many: bool,
}

/// Reads a batch of at most so many calls; what follows is only checked to be JSON.
struct BatchVisitor(usize);

impl<'de> Visitor<'de> for BatchVisitor {
    type Value = Batch<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of calls")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Batch<'de>, A::Error> {
        let mut batch = Batch { calls: Vec::new(), too_many: false };
        while batch.calls.len() < self.0 {
            let Some(call) = list.next_element()? else { return Ok(batch) };
            batch.calls.push(call);
        }
        while list.next_element::<IgnoredAny>()?.is_some() {
            batch.too_many = true;
        }
        Ok(batch)
    }
}

fn read_batch(json: &str, most: usize) -> serde_json::Result<Batch<'_>> {
    let mut reader = serde_json::Deserializer::from_str(json);
    let batch = de::Deserializer::deserialize_seq(&mut reader, BatchVisitor(most))?;
    reader.end()?;
    Ok(batch)
}

/// Calls of a batch that are answered before others get their turn on this thread: a millisecond of signatures.
const AT_ONCE: usize = 32;

/// Whether something can be an id: text, a number, or `null`. Answers carry it as it came, so it must be one that every reader can read: no
/// number beyond those of JavaScript, no half of a character.
fn is_id(id: &str) -> bool {
    match id.as_bytes().first() {
        Some(b'"') => !id.contains('\\') || serde_json::from_str::<Cow<'_, str>>(id).is_ok(),
        Some(b'-' | b'0'..=b'9') => id.parse::<f64>().is_ok_and(f64::is_finite),
        first => first == Some(&b'n'),
    }
}

/// Whether a request begins as an object or a list does.
pub(crate) fn may_be_json(request: &[u8]) -> bool {
    matches!(request.trim_ascii_start().first(), Some(b'{' | b'['))
}

/// Answers a request into `out`, which stays empty where nothing is to be answered. `session` is the WebSocket that it came by.
pub(crate) async fn answer(context: &Arc<Context>, session: Option<&Session>, request: &[u8], out: &mut Vec<u8>) {
    let Ok(request) = std::str::from_utf8(request) else { return refuse(out, &RpcError::Unreadable) };
    if request.trim_start().starts_with('[') {
        answer_batch(context, session, request, out).await;
    } else {
        answer_one(context, session, request, out).await;
    }
}

async fn answer_batch(context: &Arc<Context>, session: Option<&Session>, request: &str, out: &mut Vec<u8>) {
    let most = usize::try_from(context.config.max_batch).unwrap_or(usize::MAX);
    let batch = match read_batch(request, most) {
        Ok(batch) if batch.too_many => return refuse(out, &RpcError::BatchTooLong(most)),
        Ok(batch) if batch.calls.is_empty() => return refuse(out, &RpcError::Malformed("the batch is empty")),
        Ok(batch) => batch,
        Err(_) => return refuse(out, &RpcError::Unreadable),
    };
    for (index, call) in batch.calls.into_iter().enumerate() {
        if index > 0 && index.is_multiple_of(AT_ONCE) {
            task::yield_now().await;
        }
        let before = out.len();
        out.push(if before == 0 { b'[' } else { b',' });
        let start = out.len();
        answer_one(context, session, call.get(), out).await;
        if out.len() == start {
            // A notification.
            out.truncate(before);
        }
    }
    if !out.is_empty() {
        out.push(b']');
    }
}

async fn answer_one(context: &Arc<Context>, session: Option<&Session>, request: &str, out: &mut Vec<u8>) {
    let call: Call<'_> = match serde_json::from_str(request) {
        // serde would read a list of the members' values, too.
        Ok(call) if request.trim_start().starts_with('{') => call,
        Err(error) if !error.is_data() => return refuse(out, &RpcError::Unreadable),
        _ => {
            return refuse(
                out,
                &RpcError::Malformed("a call is an object with the members jsonrpc, id, method, params"),
            );
        }
    };
    let id = match call.id.map(RawValue::get) {
        Some(id) if !is_id(id) => return refuse(out, &RpcError::Malformed("`id` must be text, a number or null")),
        id => id,
    };
    // What software for Bitcoin-style nodes sends: JSON-RPC 1.0, which says no version, or says so.
    let is_old = matches!(call.jsonrpc.as_deref(), None | Some("1.0" | "1.1"))
        && call.method.as_deref().is_some_and(|method| aux::NAMES.contains(&method));
    let result = match (&call.jsonrpc, &call.method) {
        (_, Some(method)) if is_old => context.run(session, method, call.params).await,
        (Some(version), _) if version != "2.0" => Err(RpcError::Malformed("`jsonrpc` must be \"2.0\"")),
        (None, _) => Err(RpcError::Malformed("`jsonrpc` is missing; it must be \"2.0\"")),
        (_, None) => Err(RpcError::Malformed("`method` is missing")),
        (_, Some(method)) => context.run(session, method, call.params).await,
    };
    let Some(id) = id else {
        // Faults of the envelope are told even where no id was read.
        if let Err(fault @ RpcError::Malformed(_)) = result {
            refuse(out, &fault);
        }
        return;
    };
    let is_answered = is_old && result.is_ok();
    write(context, out, id, result);
    if is_answered && out.ends_with(b"}") {
        // JSON-RPC 1.0 has both members always.
        out.pop();
        out.extend_from_slice(b",\"error\":null}");
    }
}

/// Writes one answer; one that passes the limit becomes an error.
fn write(context: &Context, out: &mut Vec<u8>, id: &str, result: RpcResult<Json>) {
    let start = out.len();
    match result {
        Ok(json) => {
            let room = usize::try_from(context.config.max_response_bytes).unwrap_or(usize::MAX).saturating_sub(start);
            if json.get().len() > room {
                return write_error(out, id, &RpcError::AnswerTooLong(context.config.max_response_bytes));
            }
            out.reserve(id.len() + json.get().len() + 40);
            out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
            out.extend_from_slice(id.as_bytes());
            out.extend_from_slice(b",\"result\":");
            out.extend_from_slice(json.get().as_bytes());
            out.push(b'}');
        }
        Err(error) => write_error(out, id, &error),
    }
}

/// Answers what has no id that could be read.
pub(crate) fn refuse(out: &mut Vec<u8>, error: &RpcError) {
    write_error(out, "null", error);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_and_null_ids_are_told_apart() {
        let id = |json: &'static str| serde_json::from_str::<Call<'_>>(json).expect("a call").id.map(RawValue::get);
        assert_eq!(id(r#"{"method":"m"}"#), None);
        assert_eq!(id(r#"{"id":null}"#), Some("null"));
        assert_eq!(id(r#"{"id":-1.5e3}"#), Some("-1.5e3"));
        assert_eq!(id(r#"{"id":"a\"b"}"#), Some(r#""a\"b""#));
        for (json, good) in
            [("true", false), ("{}", false), ("[1]", false), ("1", true), ("\"x\"", true), ("null", true)]
        {
            assert_eq!(is_id(json), good, "{json}");
        }
        for (json, good) in [("1e400", false), ("-1e308", true), (r#""\ud800""#, false), (r#""\u00e9\n""#, true)] {
            assert_eq!(is_id(json), good, "{json}");
        }
    }

    #[test]
    fn batches_are_read_up_to_the_limit() {
        let batch = |json: &'static str| read_batch(json, 2).map(|batch| (batch.calls.len(), batch.too_many)).ok();
        assert_eq!(batch("[]"), Some((0, false)));
        assert_eq!(batch(" [1, {} ] "), Some((2, false)));
        assert_eq!(batch("[1,2,3,4]"), Some((2, true)));
        for broken in ["[1,2,3", "[1,]", "[] []", "["] {
            assert_eq!(batch(broken), None, "{broken}");
        }
    }
}

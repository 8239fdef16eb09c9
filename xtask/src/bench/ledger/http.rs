//! JSON-RPC over HTTP/1.1 on raw sockets: requests ready to be written, and answers read as far as is needed.

use crate::bench::Outcome;
use alloy_primitives::Bytes;
use serde_json::{Value, json};
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

/// Longest answer that is read.
const MAX_ANSWER: usize = 64 << 20;
/// Longest wait for one answer.
pub const PATIENCE: Duration = Duration::from_mins(1);
/// The header that says how long an answer is.
const LENGTH: &[u8] = b"content-length:";
/// Pool's words when it has no room.
const FULL: &str = "full";

/// One request, ready to be written. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Request {
    /// Head and body.
    pub bytes: Arc<[u8]>,
    /// Calls in it.
    pub calls: usize,
}

impl Request {
    fn post(body: &str, calls: usize) -> Self {
        let bytes = format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Self { bytes: bytes.into_bytes().into(), calls }
    }

    /// One call.
    pub fn call(method: &str, params: &Value) -> Self {
        Self::post(&call(0, method, params).to_string(), 1)
    }

    /// A JSON-RPC batch.
    pub fn batch(calls: &[(&str, Value)]) -> Self {
        let list: Vec<Value> =
            calls.iter().enumerate().map(|(id, (method, params))| call(id, method, params)).collect();
        Self::post(&Value::Array(list).to_string(), calls.len())
    }

    /// `eth_sendRawTransaction` for each, in one request.
    pub fn send(transactions: &[Bytes]) -> Self {
        let calls: Vec<_> = transactions.iter().map(|raw| ("eth_sendRawTransaction", json!([raw]))).collect();
        match &calls[..] {
            [(method, params)] => Self::call(method, params),
            calls => Self::batch(calls),
        }
    }

    fn body(&self) -> &[u8] {
        let start = find(&self.bytes, b"\r\n\r\n").map_or(0, |at| at + 4);
        &self.bytes[start..]
    }
}

fn call(id: usize, method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

fn find(bytes: &[u8], word: &[u8]) -> Option<usize> {
    bytes.windows(word.len()).position(|window| window == word)
}

/// Returns where the body of the answer at the beginning of `bytes` starts and ends, if its head is complete.
pub fn frame(bytes: &[u8]) -> Outcome<Option<(usize, usize)>> {
    let (mut start, mut length) = (0, None);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\r\n");
        match text {
            None if !line.ends_with(b"\n") => return Ok(None),
            Some(status) if start == 0 && !status.starts_with(b"HTTP/1.1 200") => {
                return Err(format!("the server answered {}", String::from_utf8_lossy(status)).into());
            }
            Some([]) => {
                let length = length.filter(|length| *length <= MAX_ANSWER);
                let (start, length) = (start + 2, length.ok_or("the server's answer has no usable length")?);
                return Ok(Some((start, start + length)));
            }
            _ => {}
        }
        if let Some((name, value)) = line.split_at_checked(LENGTH.len())
            && name.eq_ignore_ascii_case(LENGTH)
        {
            length = std::str::from_utf8(value)?.trim().parse::<usize>().ok();
        }
        start += line.len();
    }
    Ok(None)
}

/// Whether each of `calls` answers has a result that is not null. Results stand behind `jsonrpc` and `id`.
pub fn is_good(body: &[u8], calls: usize) -> bool {
    let is_result = |bytes: &[u8]| bytes.starts_with(b"\"result\":") && !bytes[9..].starts_with(b"null");
    if calls == 1 {
        let head = &body[..body.len().min(64)];
        return find(head, b"\"result\":").is_some_and(|at| is_result(&body[at..]));
    }
    body.iter().enumerate().filter(|(at, byte)| **byte == b'"' && is_result(&body[*at..])).count() == calls
}

/// A blocking client for what is not measured.
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    /// Connects.
    pub fn new(address: SocketAddr) -> Outcome<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    fn ask(&mut self, request: &Request) -> Outcome<Value> {
        self.stream.write_all(&request.bytes)?;
        self.buffer.clear();
        let mut part = vec![0; 64 << 10];
        loop {
            if let Some((start, end)) = frame(&self.buffer)?
                && self.buffer.len() >= end
            {
                return Ok(serde_json::from_slice(&self.buffer[start..end])?);
            }
            let read = self.stream.read(&mut part)?;
            if read == 0 {
                return Err("the server closed the connection".into());
            }
            self.buffer.extend_from_slice(&part[..read]);
        }
    }

    /// Makes one call and returns its result.
    pub fn call(&mut self, method: &str, params: &Value) -> Outcome<Value> {
        let mut answer = self.ask(&Request::call(method, params))?;
        if answer.get("error").is_some() {
            return Err(format!("{method}: {answer}").into());
        }
        Ok(answer["result"].take())
    }

    /// Makes many calls in batches, and returns their results in order.
    pub fn calls(&mut self, calls: &[(&str, Value)]) -> Outcome<Vec<Value>> {
        let mut results = Vec::with_capacity(calls.len());
        for chunk in calls.chunks(500) {
            let mut answers: Vec<Value> = serde_json::from_value(self.ask(&Request::batch(chunk))?)?;
            answers.sort_by_key(|answer| answer["id"].as_u64());
            if let Some(refused) = answers.iter().find(|answer| answer.get("error").is_some()) {
                return Err(format!("{}: {refused}", chunk[0].0).into());
            }
            results.extend(answers.iter_mut().map(|answer| answer["result"].take()));
        }
        Ok(results)
    }
}

/// Returns those calls of a request that a full pool refused; any other refusal is an error.
pub fn refused(request: &Request, answer: &[u8]) -> Outcome<Request> {
    let list = |bytes: &[u8]| -> Outcome<Vec<Value>> {
        Ok(match serde_json::from_slice(bytes)? {
            Value::Array(list) => list,
            one => vec![one],
        })
    };
    let (calls, answers) = (list(request.body())?, list(answer)?);
    let mut left = Vec::new();
    for answer in answers {
        if !answer["result"].is_null() {
            continue;
        }
        let words = answer["error"]["message"].as_str().unwrap_or_default();
        if !words.contains(FULL) {
            return Err(format!("a call was refused: {answer}").into());
        }
        left.extend(calls.iter().find(|call| call["id"] == answer["id"]).cloned());
    }
    Ok(match &left[..] {
        [one] if request.calls == 1 => Request::post(&one.to_string(), 1),
        calls => Request::post(&Value::Array(calls.to_vec()).to_string(), calls.len()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_framed_and_judged() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Type: x\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(frame(text).expect("good"), Some((text.len() - 2, text.len())));
        for part in [0, 16, 20, text.len() - 3] {
            assert_eq!(frame(&text[..part]).expect("good so far"), None);
        }
        assert!(frame(b"HTTP/1.1 429 no\r\n\r\n").is_err() && frame(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(is_good(br#"{"jsonrpc":"2.0","id":0,"result":"0x1"}"#, 1));
        assert!(!is_good(br#"{"jsonrpc":"2.0","id":0,"result":null}"#, 1));
        assert!(!is_good(br#"{"jsonrpc":"2.0","id":0,"error":{"code":1}}"#, 1));
        let batch = br#"[{"id":0,"result":1},{"id":1,"error":{"message":"pool is full"}}]"#;
        assert!(!is_good(batch, 2) && is_good(batch, 1));
    }

    #[test]
    fn only_what_a_full_pool_refused_is_sent_again() {
        let request = Request::send(&[vec![1].into(), vec![2].into()]);
        let answer = br#"[{"id":0,"result":"0x1"},{"id":1,"error":{"message":"the pool is full"}}]"#;
        let again = refused(&request, answer).expect("worth another try");
        assert!(again.calls == 1 && find(again.body(), b"0x02").is_some() && find(again.body(), b"0x01").is_none());
        let other = br#"[{"id":0,"error":{"message":"nonce too low"}},{"id":1,"result":"0x1"}]"#;
        assert!(refused(&request, other).is_err());
    }
}

//! Nodes of chains, asked by JSON-RPC over HTTP: several of one chain, so that the next answers when one does not.

use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    fmt,
    path::PathBuf,
    str::FromStr,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};
use ureq::Agent;

/// Longest answer that is read, in bytes: a template of a full block in hex, with its names around.
const MAX_ANSWER_BYTES: u64 = 64 << 20;
/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a usual call may take.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// Codes of Bitcoin-style nodes that say: ask another one. Not connected, catching up, starting.
const NOT_READY: [i64; 3] = [-9, -10, -28];

/// Who one is to a node.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// The node asks nobody.
    None,
    /// The node writes name and password into this file whenever it starts.
    Cookie(PathBuf),
    /// Name and password.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
}

/// Where a node is. Read from `http://host:port` or `http://user:password@host:port`; printed without the password.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeUrl {
    url: String,
    login: Login,
}

impl NodeUrl {
    /// Returns the same place, with name and password from the file that the node writes.
    #[must_use]
    pub fn with_cookie(self, file: PathBuf) -> Self {
        Self { login: Login::Cookie(file), ..self }
    }
}

impl FromStr for NodeUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // What is wrong is told without the text, which may hold a password.
        let wrong =
            |what: &str| format!("the address of a node {what}; write it as http://user:password@127.0.0.1:9332");
        let rest = text.strip_prefix("http://").ok_or_else(|| wrong("must begin with http://"))?;
        let (login, place) = match rest.rsplit_once('@') {
            None => (Login::None, rest),
            Some((login, place)) => {
                let (user, password) = login.split_once(':').ok_or_else(|| wrong("has a name without a password"))?;
                (Login::Password { user: user.into(), password: password.into() }, place)
            }
        };
        let url = format!("http://{place}");
        let uri: ureq::http::Uri = url.parse().map_err(|_| wrong("is no URL"))?;
        if uri.host().is_none_or(str::is_empty) {
            return Err(wrong("names no host"));
        }
        Ok(Self { url, login })
    }
}

impl fmt::Display for NodeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl fmt::Debug for NodeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeUrl({})", self.url)
    }
}

/// Why a node gave no answer of use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// No node is configured.
    #[error("no node is configured; name one by its address")]
    NoNode,
    /// It could not be asked.
    #[error("the node at {url} does not answer: {reason}")]
    Unreachable {
        /// Which one.
        url: String,
        /// What the system says.
        reason: String,
    },
    /// It does not know us.
    #[error("the node at {url} refuses name and password; check them, or the cookie file")]
    Login {
        /// Which one.
        url: String,
    },
    /// The cookie file cannot be read.
    #[error("the cookie file {path}: {reason}; is the node running, and may this user read it?")]
    Cookie {
        /// The file.
        path: String,
        /// What the system says.
        reason: String,
    },
    /// It refuses the call.
    #[error("the node at {url} refuses {method}: {message} (code {code})")]
    Refused {
        /// Which one.
        url: String,
        /// The call.
        method: String,
        /// Its code.
        code: i64,
        /// Its words.
        message: String,
    },
    /// It answers something else than it should.
    #[error("the answer of the node at {url} to {method} is not understood: {reason}")]
    Answer {
        /// Which one.
        url: String,
        /// The call.
        method: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl NodeError {
    /// Returns the code with which a node refused.
    pub fn code(&self) -> Option<i64> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether another node of the same chain may do better.
    fn is_of_this_node(&self) -> bool {
        match self {
            Self::Refused { code, .. } => NOT_READY.contains(code),
            _ => true,
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    result: Value,
    error: Option<Fault>,
}

#[derive(Deserialize)]
struct Fault {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    message: String,
}

/// The nodes of one chain, the preferred first.
#[derive(Debug)]
pub struct Nodes {
    urls: Vec<NodeUrl>,
    agent: Agent,
    current: AtomicUsize,
}

impl Nodes {
    /// Takes the addresses; asks nobody yet.
    pub fn new(urls: Vec<NodeUrl>) -> Self {
        let config = Agent::config_builder()
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .build();
        Self { urls, agent: config.into(), current: AtomicUsize::new(0) }
    }

    /// Returns the index of the node that is asked first.
    pub fn current(&self) -> usize {
        self.current.load(Ordering::Relaxed)
    }

    /// Returns the address of the node that is asked first.
    pub fn current_url(&self) -> String {
        self.urls.get(self.current()).map(ToString::to_string).unwrap_or_default()
    }

    /// Goes back to the first node, when another one is asked and the first answers `method` again.
    pub fn return_to_first(&self, method: &str) {
        if self.current() != 0 && self.ask(0, method, &json!([]), CONNECT_TIMEOUT).is_ok() {
            self.current.store(0, Ordering::Relaxed);
        }
    }

    /// Asks the current node, and where it cannot answer the next, which then is the current one.
    pub fn call(&self, method: &str, params: &Value) -> Result<Value, NodeError> {
        self.call_within(method, params, CALL_TIMEOUT).map(|(answer, _)| answer)
    }

    /// Asks as [`Self::call`] does, for so long, and tells which one has answered.
    pub fn call_within(&self, method: &str, params: &Value, timeout: Duration) -> Result<(Value, usize), NodeError> {
        let (first, count) = (self.current(), self.urls.len());
        let mut last = NodeError::NoNode;
        for step in 0..count {
            let index = first.wrapping_add(step).checked_rem(count).unwrap_or_default();
            match self.ask(index, method, params, timeout) {
                Ok(answer) => {
                    self.current.store(index, Ordering::Relaxed);
                    return Ok((answer, index));
                }
                Err(error) if error.is_of_this_node() => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// Asks one node.
    pub fn ask(&self, index: usize, method: &str, params: &Value, timeout: Duration) -> Result<Value, NodeError> {
        let node = self.urls.get(index).ok_or(NodeError::NoNode)?;
        let url = || node.to_string();
        let unreachable = |error: ureq::Error| NodeError::Unreachable { url: url(), reason: error.to_string() };
        let mut request = self.agent.post(&node.url).config().timeout_global(Some(timeout)).build();
        if let Some((user, password)) = credentials(&node.login)? {
            request = request.header("authorization", basic(&user, &password));
        }
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let mut response = request.send_json(&body).map_err(unreachable)?;
        let status = response.status().as_u16();
        if matches!(status, 401 | 403) {
            return Err(NodeError::Login { url: url() });
        }
        let text = response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_string().map_err(unreachable)?;
        let answer: Answer = serde_json::from_str(&text).map_err(|error| NodeError::Answer {
            url: url(),
            method: method.into(),
            reason: format!("HTTP status {status}, {error}"),
        })?;
        match answer.error {
            None => Ok(answer.result),
            Some(Fault { code, message }) => {
                let message = message.chars().take(300).collect();
                Err(NodeError::Refused { url: url(), method: method.into(), code, message })
            }
        }
    }

    /// Makes the error for an answer that is not what it should be.
    pub fn misunderstood(&self, method: &str, reason: impl fmt::Display) -> NodeError {
        NodeError::Answer { url: self.current_url(), method: method.into(), reason: reason.to_string() }
    }
}

/// Name and password. A cookie is read every time: the node writes a new one when it starts.
fn credentials(login: &Login) -> Result<Option<(String, String)>, NodeError> {
    match login {
        Login::None => Ok(None),
        Login::Password { user, password } => Ok(Some((user.clone(), password.clone()))),
        Login::Cookie(path) => {
            let fail = |reason: String| NodeError::Cookie { path: path.display().to_string(), reason };
            let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
            let (user, password) = text.trim_end().split_once(':').ok_or_else(|| fail("holds no colon".into()))?;
            Ok(Some((user.into(), password.into())))
        }
    }
}

/// The header of HTTP's basic login.
fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", data_encoding::BASE64.encode(format!("{user}:{password}").as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_printed_without_the_password() {
        let plain: NodeUrl = "http://127.0.0.1:8545".parse().expect("good");
        assert!(plain.to_string() == "http://127.0.0.1:8545" && plain.login == Login::None);
        let with: NodeUrl = "http://me:s@cret@localhost:9332/".parse().expect("good");
        assert!(with.login == Login::Password { user: "me".into(), password: "s@cret".into() });
        assert!(!format!("{with} {with:?}").contains("cret"));
        for wrong in ["", "127.0.0.1:1", "https://x", "http://", "http://secret@host", "http://a b"] {
            let words = wrong.parse::<NodeUrl>().expect_err(wrong);
            assert!(!words.contains("secret") && words.contains("http://user:password@"), "{words}");
        }
    }

    #[test]
    fn nobody_there_and_no_cookie_are_told() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
        let url: NodeUrl = format!("http://{free}").parse().expect("good");
        let nodes = Nodes::new(vec![url.clone(), url.clone()]);
        assert!(matches!(nodes.call("x", &json!([])), Err(NodeError::Unreachable { .. })));
        assert_eq!(Nodes::new(Vec::new()).call("x", &json!([])), Err(NodeError::NoNode));
        let missing = Nodes::new(vec![url.with_cookie("/nowhere/.cookie".into())]);
        assert!(matches!(missing.call("x", &json!([])), Err(NodeError::Cookie { .. })));
    }
}

//! The transport: JSON-RPC 2.0 over HTTP, one request at a time, bounded in time and size.

use super::{RpcError, revert};
use alloy_primitives::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use ureq::Agent;

/// Largest response that is read, in bytes: as much as a node answers at most by default.
const MAX_RESPONSE_BYTES: u64 = 32 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// A client of one node.
#[derive(Clone, Debug)]
pub struct RpcClient {
    agent: Agent,
    url: String,
    next_id: Arc<AtomicU64>,
}

#[derive(Serialize)]
struct Request<'a, P> {
    jsonrpc: &'static str,
    id: u64,
    method: &'a str,
    params: P,
}

#[derive(Deserialize)]
struct Response {
    id: Value,
    #[serde(default)]
    result: Value,
    error: Option<ErrorObject>,
}

#[derive(Deserialize)]
struct ErrorObject {
    code: i64,
    message: String,
    #[serde(default)]
    data: Value,
}

impl RpcClient {
    /// Makes a client of the node at `url` (http); nothing is sent yet.
    pub fn new(url: &str) -> Result<Self, RpcError> {
        let bad = |reason| RpcError::BadUrl { url: url.to_owned(), reason };
        let uri: ureq::http::Uri = url.parse().map_err(|_| bad("it is not a URL"))?;
        if uri.scheme_str() != Some("http") {
            return Err(bad("only http:// is supported"));
        }
        if uri.host().is_none_or(str::is_empty) {
            return Err(bad("it names no host"));
        }
        let config = Agent::config_builder()
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(CALL_TIMEOUT))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .build();
        Ok(Self { agent: config.into(), url: url.to_owned(), next_id: Arc::new(AtomicU64::new(1)) })
    }

    /// Returns the node's address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Calls `method` with positional `params` and reads its result.
    pub fn call<T: DeserializeOwned>(&self, method: &str, params: impl Serialize) -> Result<T, RpcError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let text = self.exchange(&Request { jsonrpc: "2.0", id, method, params })?;
        let response: Response = serde_json::from_str(&text).map_err(|error| self.not_rpc(&error.to_string()))?;
        if let Some(error) = response.error {
            return Err(node_error(method, &error));
        }
        if response.id != id {
            return Err(self.not_rpc("the answer belongs to another request"));
        }
        serde_json::from_value(response.result)
            .map_err(|error| RpcError::BadResult { method: method.to_owned(), reason: error.to_string() })
    }

    fn exchange(&self, request: &impl Serialize) -> Result<String, RpcError> {
        let transport = |error: ureq::Error| match error {
            ureq::Error::Timeout(_) => RpcError::Timeout { url: self.url.clone(), secs: CALL_TIMEOUT.as_secs() },
            ureq::Error::BodyExceedsLimit(bytes) => RpcError::TooLarge { url: self.url.clone(), bytes },
            error => RpcError::Unreachable { url: self.url.clone(), reason: reason(&error) },
        };
        let mut response = self.agent.post(&self.url).send_json(request).map_err(transport)?;
        let status = response.status();
        let text = response.body_mut().with_config().limit(MAX_RESPONSE_BYTES).read_to_string().map_err(transport)?;
        // Some servers answer errors of JSON-RPC with a status of 400 or 500.
        if status.is_success() || text.trim_start().starts_with('{') {
            Ok(text)
        } else {
            Err(self.not_rpc(&format!("it answers with HTTP status {status}")))
        }
    }

    fn not_rpc(&self, reason: &str) -> RpcError {
        RpcError::NotRpc { url: self.url.clone(), reason: reason.to_owned() }
    }
}

fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::HostNotFound => "the host is not known".to_owned(),
        error => error.to_string(),
    }
}

/// Tells a revert, which carries the contract's own error, from an error of the node.
fn node_error(method: &str, error: &ErrorObject) -> RpcError {
    let message: String = error.message.chars().take(500).collect();
    // Nodes put the revert's data into `data` as a string; some wrap it in an object.
    let data = error.data.as_str().or_else(|| error.data.get("data").and_then(Value::as_str));
    let data = data.and_then(|text| text.parse::<Bytes>().ok());
    match data {
        Some(data) if error.code == 3 || message.contains("revert") => {
            RpcError::Reverted { reason: revert::reason(&data), data }
        }
        None if message.contains("execution reverted") => {
            RpcError::Reverted { reason: revert::reason(&[]), data: Bytes::new() }
        }
        _ => RpcError::Node { method: method.to_owned(), code: error.code, message },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::hex;
    use alloy_sol_types::SolError;
    use bmm_types::system::Jobs;

    #[test]
    fn only_http_addresses_are_taken() {
        for url in ["https://x", "127.0.0.1:8545", "http://", "", "ftp://x", "http://a b"] {
            assert!(matches!(RpcClient::new(url), Err(RpcError::BadUrl { .. })), "{url}");
        }
        assert_eq!(RpcClient::new("http://127.0.0.1:8545").expect("good").url(), "http://127.0.0.1:8545");
    }

    #[test]
    fn nobody_there_is_told_with_the_remedy() {
        // A port that was free a moment ago.
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
        let client = RpcClient::new(&format!("http://127.0.0.1:{port}")).expect("good");
        let error = client.call::<Value>("eth_chainId", ()).expect_err("nobody listens");
        assert!(matches!(error, RpcError::Unreachable { .. }), "{error:?}");
        assert!(crate::failure::Failure::from(error).hints.iter().any(|hint| hint.contains("bmm up")));
    }

    #[test]
    fn reverts_are_told_from_errors_of_the_node() {
        let error = |json: &str| node_error("eth_call", &serde_json::from_str(json).expect("an error object"));
        let data = hex::encode_prefixed(Jobs::NoBudget {}.abi_encode());
        let told = error(&format!(r#"{{"code":3,"message":"execution reverted","data":"{data}"}}"#));
        assert!(matches!(&told, RpcError::Reverted { reason, .. } if reason.contains("budget")), "{told:?}");
        let told = error(&format!(r#"{{"code":-32000,"message":"VM: revert","data":{{"data":"{data}"}}}}"#));
        assert!(matches!(told, RpcError::Reverted { .. }), "{told:?}");
        let told = error(r#"{"code":-32000,"message":"execution reverted"}"#);
        assert!(matches!(told, RpcError::Reverted { .. }), "{told:?}");
        let told = error(r#"{"code":-32601,"message":"no method","data":"0x"}"#);
        assert!(matches!(told, RpcError::Node { code: -32601, .. }), "{told:?}");
    }
}

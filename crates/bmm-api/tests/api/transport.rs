//! HTTP and WebSocket: framing, batches, bounds, and who may talk from a browser.

use super::node::Node;
use bmm_api::{ApiConfig, ApiError, serve};
use serde_json::{Value, json};
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}"#;

/// Sends a request with these header lines and returns the whole answer.
fn raw(node: &Node, method: &str, headers: &[&str], body: &str) -> String {
    let mut stream = TcpStream::connect(node.address).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_mins(1))).expect("a time limit");
    let headers = headers.join("\r\n");
    let request = format!(
        "{method} / HTTP/1.1\r\n{headers}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    // A server that refuses may close before it has read everything.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Asks for a WebSocket, and returns the head of the answer and the stream.
fn upgrade(node: &Node, origin: Option<&str>) -> (String, TcpStream) {
    let mut stream = TcpStream::connect(node.address).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_mins(1))).expect("a time limit");
    let origin = origin.map(|origin| format!("origin: {origin}\r\n")).unwrap_or_default();
    let request = format!(
        "GET / HTTP/1.1\r\nhost: localhost\r\n{origin}upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).expect("an answer") == 0 {
            break;
        }
        head.push(byte[0]);
    }
    (String::from_utf8(head).expect("text"), stream)
}

/// Makes a final text frame, masked with zeros.
fn frame(text: &str) -> Vec<u8> {
    let head = [0x81, 0x80 | u8::try_from(text.len()).expect("shorter than 126 bytes"), 0, 0, 0, 0];
    [&head, text.as_bytes()].concat()
}

/// Reads frames up to the next text, past pings.
fn next_text(stream: &mut TcpStream) -> Vec<u8> {
    loop {
        let mut start = [0; 2];
        stream.read_exact(&mut start).expect("a frame");
        let mut content = vec![0; usize::from(start[1])];
        stream.read_exact(&mut content).expect("shorter than 126 bytes");
        if start[0] == 0x81 {
            return content;
        }
    }
}

fn code_of(body: &str) -> i64 {
    let answer: Value = serde_json::from_str(body).expect("JSON");
    answer["error"]["code"].as_i64().unwrap_or_else(|| panic!("no error: {body}"))
}

#[test]
fn malformed_requests_are_answered_and_the_server_goes_on() {
    let node = Node::start();
    for (body, code) in [
        ("{", -32700),
        ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"eth_chainId\"", -32700),
        ("[", -32700),
        ("[]", -32600),
        ("{}", -32600),
        ("[] []", -32700),
        ("{\"jsonrpc\":\"2.0\",\"id\":[],\"method\":\"eth_chainId\"}", -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":7}", -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":1}", -32600),
        ("{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"eth_chainId\"}", -32600),
    ] {
        let (status, answer) = node.post(body);
        assert_eq!((status, code_of(&answer)), (200, code), "{body}: {answer}");
    }
    for body in ["", "nonsense", "\u{0}\u{1}"] {
        let (status, answer) = node.post(body);
        assert_eq!((status, code_of(&answer)), (400, -32700), "{body:?}: {answer}");
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let (_, answer) = node.post(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"eth_call","params":[{deep}]}}"#));
    assert!(code_of(&answer) < 0, "{answer}");
    assert_eq!(node.call("eth_blockNumber", json!([])), "0x0");
}

#[test]
fn batches_are_answered_in_order_and_bounded() {
    let node = Node::with(|config| config.max_batch = 3);
    let call = |id: u32, method: &str| json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": [] });
    let batch = json!([call(1, "eth_chainId"), call(2, "eth_nothing"), call(3, "eth_accounts")]);
    let (status, answer) = node.post(&batch.to_string());
    let answers: Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!(status, 200);
    assert_eq!(answers[0]["result"], format!("{:#x}", node.chain_id()));
    assert_eq!((&answers[1]["id"], &answers[1]["error"]["code"]), (&json!(2), &json!(-32601)));
    assert_eq!((&answers[2]["id"], &answers[2]["result"]), (&json!(3), &json!([])));
    let four: Vec<Value> = (0..4).map(|id| call(id, "eth_chainId")).collect();
    let (_, answer) = node.post(&json!(four).to_string());
    assert_eq!(code_of(&answer), -32010, "{answer}");
}

#[test]
fn large_requests_are_refused() {
    let node = Node::with(|config| config.max_request_bytes = 10_000);
    let filler = "ab".repeat(10_000);
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"eth_sendRawTransaction","params":["0x{filler}"]}}"#);
    let answer = raw(&node, "POST", &["host: localhost", "content-type: application/json"], &body);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert_eq!(node.call("eth_blockNumber", json!([])), "0x0");
}

#[test]
fn only_json_posts_to_known_hosts_are_served() {
    let node = Node::with(|config| config.allowed_hosts = vec!["node.example.org".into()]);
    let json_type = "content-type: application/json";
    for host in ["localhost", "localhost:8545", "127.0.0.1", "[::1]:1", "node.example.org", "Node.Example.Org:443"] {
        let answer = raw(&node, "POST", &[&format!("host: {host}"), json_type], CALL);
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"result\""), "{host}: {answer}");
    }
    for host in ["evil.example", "evil.example:8545", "localhost.evil.example", "127.0.0.1.evil.example"] {
        let answer = raw(&node, "POST", &[&format!("host: {host}"), json_type], CALL);
        assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("allowed_hosts"), "{host}: {answer}");
    }
    // A form of a page elsewhere can send this without asking.
    let answer = raw(&node, "POST", &["host: localhost", "content-type: text/plain"], CALL);
    assert!(answer.starts_with("HTTP/1.1 415"), "{answer}");
    let answer = raw(&node, "GET", &["host: localhost"], "");
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
}

#[test]
fn pages_are_served_by_origin() {
    let node = Node::with(|config| config.allowed_origins = vec!["https://explorer.example.org".into()]);
    let post = |origin: &str| {
        raw(&node, "POST", &["host: localhost", "content-type: application/json", &format!("origin: {origin}")], CALL)
    };
    for origin in ["http://localhost:5173", "https://explorer.example.org"] {
        let answer = post(origin);
        assert!(answer.contains(&format!("access-control-allow-origin: {origin}\r\n")), "{answer}");
        let asked = raw(&node, "OPTIONS", &["host: localhost", &format!("origin: {origin}")], "");
        assert!(
            asked.starts_with("HTTP/1.1 204") && asked.contains("access-control-allow-headers: content-type"),
            "{asked}"
        );
    }
    for origin in ["https://evil.example", "null"] {
        assert!(!post(origin).contains("access-control"), "{origin}");
        let asked = raw(&node, "OPTIONS", &["host: localhost", &format!("origin: {origin}")], "");
        assert!(!asked.contains("access-control"), "{asked}");
    }
}

#[test]
fn a_websocket_answers_and_refuses_strange_pages() {
    let node = Node::start();
    let (head, _) = upgrade(&node, Some("https://evil.example"));
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");
    for origin in [None, Some("http://localhost:3000")] {
        let (head, mut stream) = upgrade(&node, origin);
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        stream.write_all(&frame(CALL)).expect("sent");
        let answer: Value = serde_json::from_slice(&next_text(&mut stream)).expect("JSON");
        assert_eq!(answer["result"], format!("{:#x}", node.chain_id()));
    }
}

#[test]
fn a_caller_that_does_not_read_is_not_read() {
    const FRAMES: usize = 1_000_000;
    let node = Node::start();
    let (_, mut stream) = upgrade(&node, None);
    stream.set_write_timeout(Some(Duration::from_secs(1))).expect("a time limit");
    let call = frame(r#"{"jsonrpc":"2.0","id":1,"method":"eth_getBlockByNumber","params":["latest",false]}"#);
    let thousand = call.repeat(1_000);
    let sent = (0..FRAMES / 1_000).take_while(|_| stream.write_all(&thousand).is_ok()).count() * 1_000;
    // What the sockets' buffers hold, some megabytes, is far less than all.
    assert!(sent < FRAMES / 2, "{sent} calls were taken without one answer being read");
    assert_eq!(node.call("eth_blockNumber", json!([])), "0x0", "others are served");
}

#[test]
fn connections_are_bounded() {
    let node = Node::with(|config| config.max_connections = 2);
    let headers = ["host: localhost", "content-type: application/json"];
    let idle: Vec<_> = (0..2).map(|_| TcpStream::connect(node.address).expect("a connection")).collect();
    assert_eq!(raw(&node, "POST", &headers, CALL), "", "closed without an answer");
    drop(idle);
    let sockets = Node::with(|config| config.max_connections = 2);
    let held: Vec<_> = (0..2).map(|_| upgrade(&sockets, None)).collect();
    assert!(held.iter().all(|(head, _)| head.starts_with("HTTP/1.1 101")));
    assert_eq!(raw(&sockets, "POST", &headers, CALL), "", "WebSockets count as long as they are open");
}

#[test]
fn a_taken_port_is_told_with_the_remedy() {
    let node = Node::start();
    let config = ApiConfig { address: node.address, ..ApiConfig::default() };
    let error = node.block_on(serve(config, Arc::clone(&node.chain))).expect_err("the port is taken");
    assert!(matches!(error, ApiError::AddressInUse { address } if address == node.address));
    let words = error.to_string();
    assert!(words.contains(&node.address.to_string()) && words.contains("another program uses that port"), "{words}");
    let elsewhere = ApiConfig { address: "203.0.113.1:1".parse().expect("an address"), ..ApiConfig::default() };
    let error = node.block_on(serve(elsewhere, Arc::clone(&node.chain))).expect_err("not this machine's");
    assert!(error.to_string().contains("set `address` to one of this machine's own"), "{error}");
}

#[test]
fn stopping_closes_the_port_and_open_sockets() {
    let mut node = Node::start();
    let (_, mut socket) = upgrade(&node, None);
    node.stop_serving();
    assert!(TcpStream::connect(node.address).is_err(), "nobody listens any more");
    let mut rest = Vec::new();
    // Ends with a close frame or a reset; either way it ends.
    let _ = socket.read_to_end(&mut rest);
    assert!(rest.len() < 64);
}

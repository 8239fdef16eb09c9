//! Light calls while long ones run.

use super::node::{Node, nobody};
use serde_json::json;
use std::{
    thread,
    time::{Duration, Instant},
};

/// Time that a trace takes.
const TRACE: Duration = Duration::from_secs(2);

/// Runs so many endless traces at once, and asks for a balance again and again until all have ended.
fn assert_served_during(traces: usize) {
    // The time ends a trace, not the gas of a call or of a block.
    let node = Node::without_blocks(|config| config.call_gas_limit = u64::MAX);
    let endless = json!({ nobody(0x55).to_string(): { "code": "0x5b5f56" } });
    let options = json!({
        "tracer": "callTracer", "timeout": format!("{}s", TRACE.as_secs()), "stateOverrides": endless,
        "blockOverrides": { "gasLimit": "0xffffffffffffff" },
    });
    // A connection that has been served before, and threads that have gone to sleep since: the one that hears of the first trace is the
    // one that listens for everybody.
    node.call("eth_chainId", json!([]));
    thread::sleep(Duration::from_millis(200));
    let params = json!([{ "to": nobody(0x55), "gas": "0xffffffffffffff" }, "latest", options]);
    thread::scope(|scope| {
        let trace = || {
            let begin = Instant::now();
            let (code, words, _) = node.error("debug_traceCall", params.clone());
            assert!(code == -32005 && words.contains("took longer"), "{code} {words}");
            assert!(begin.elapsed() >= TRACE, "it was not long");
        };
        let running: Vec<_> = (0..traces).map(|_| scope.spawn(trace)).collect();
        thread::sleep(Duration::from_millis(200));
        while !running.iter().all(thread::ScopedJoinHandle::is_finished) {
            let begin = Instant::now();
            assert_eq!(node.call("eth_getBalance", json!([nobody(1), "latest"])), "0x0");
            assert!(begin.elapsed() < TRACE, "a balance waited for a trace");
            thread::sleep(Duration::from_millis(10));
        }
    });
}

#[test]
fn one_long_call_holds_up_no_light_ones() {
    assert_served_during(1);
}

#[test]
fn long_calls_on_every_core_hold_up_no_light_ones() {
    assert_served_during(8);
}

//! Light calls while long ones run.

use super::node::{Node, nobody};
use serde_json::{Value, json};
use std::{
    thread,
    time::{Duration, Instant},
};

/// Time that a trace takes.
const TRACE: Duration = Duration::from_secs(2);

/// Parameters of a trace without an end.
fn endless() -> Value {
    let endless = json!({ nobody(0x55).to_string(): { "code": "0x5b5f56" } });
    let options = json!({
        "tracer": "callTracer", "timeout": format!("{}s", TRACE.as_secs()), "stateOverrides": endless,
        "blockOverrides": { "gasLimit": "0xffffffffffffff" },
    });
    json!([{ "to": nobody(0x55), "gas": "0xffffffffffffff" }, "latest", options])
}

/// Runs so many endless traces at once, and asks for a balance again and again until all have ended.
fn assert_served_during(traces: usize) {
    // The time ends a trace, not the gas of a call or of a block.
    let node = Node::without_blocks(|config| config.call_gas_limit = u64::MAX);
    // A connection that has been served before, and threads that have gone to sleep since: the one that hears of the first trace is the
    // one that listens for everybody.
    node.call("eth_chainId", json!([]));
    thread::sleep(Duration::from_millis(200));
    let params = endless();
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

#[test]
fn short_calls_need_no_place_among_the_expensive_ones() {
    let node = Node::without_blocks(|config| {
        (config.call_gas_limit, config.max_running, config.max_waiting) = (u64::MAX, 1, 0);
    });
    let to = json!({ "to": nobody(0x66), "gas": "0x100000" });
    // What overrides the state counts as expensive, whatever it does.
    let overridden = json!({ nobody(0x66).to_string(): { "code": "0x5a5f5260205ff3" } });
    let is_full = || {
        let answer = node.ask("eth_call", &json!([to, "latest", overridden]));
        answer["error"]["message"].as_str().is_some_and(|words| words.contains("busy"))
    };
    thread::scope(|scope| {
        // The only place may be taken by a question whether it is.
        let trace = || loop {
            let refused = node.error("debug_traceCall", endless());
            if !refused.1.contains("busy") {
                return refused;
            }
        };
        let trace = scope.spawn(trace);
        let mut answered = 0;
        while !trace.is_finished() {
            let full = is_full();
            let short = node.call("eth_call", json!([to, "latest"]));
            assert_eq!(short, "0x");
            answered += u32::from(full && is_full());
        }
        assert!(answered > 0, "the trace never filled the queue");
        let (code, words, _) = trace.join().expect("the trace ended");
        assert!(code == -32005 && words.contains("took longer"), "{code} {words}");
    });
    assert!(!is_full());
}

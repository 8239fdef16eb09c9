//! Options of the tracers.

use crate::{
    error::{RpcError, RpcResult},
    params::{Param, by_serde},
    replays::TRACE_TIME,
};
use alloy_rpc_types_trace::geth::{
    GethDebugBuiltInTracerType as BuiltIn, GethDebugTracerType, GethDebugTracingCallOptions, GethDebugTracingOptions,
};
use serde_json::{Map, Value};
use std::time::Duration;

const EXPECTED: &str = "an object with tracer, tracerConfig, timeout, or for struct logs enableMemory, disableStack, disableStorage, \
                        enableReturnData, limit";

impl Param for GethDebugTracingOptions {
    const EXPECTED: &'static str = EXPECTED;

    fn read(json: &str) -> Result<Self, Option<String>> {
        by_serde(json)
    }
}

impl Param for GethDebugTracingCallOptions {
    const EXPECTED: &'static str = EXPECTED;

    fn read(json: &str) -> Result<Self, Option<String>> {
        by_serde(json)
    }
}

/// Returns the options as the tracers want them, and the time that the trace gets. More time than the node gives is cut.
pub(crate) fn read(mut options: GethDebugTracingOptions) -> RpcResult<(GethDebugTracingOptions, Duration)> {
    let time = match options.timeout.as_deref() {
        None | Some("") => TRACE_TIME,
        Some(text) => duration(text).ok_or_else(|| {
            let shown: String = text.chars().take(40).collect();
            RpcError::Params(format!("timeout: expected a time such as \"500ms\" or \"10s\", got \"{shown}\""))
        })?,
    };
    if options.tracer == Some(GethDebugTracerType::BuiltInTracer(BuiltIn::MuxTracer))
        && let Value::Object(tracers) = &mut options.tracer_config.0
    {
        fill_mux(tracers);
    }
    Ok((options, time))
}

/// Gives `{}` to tracers of a muxTracer that come without a configuration, as geth lets them, and takes it from those that have none.
fn fill_mux(tracers: &mut Map<String, Value>) {
    for (name, config) in tracers {
        let has_config = matches!(name.as_str(), "callTracer" | "prestateTracer" | "flatCallTracer");
        if has_config && config.is_null() {
            *config = Value::Object(Map::new());
        } else if !has_config && config.as_object().is_some_and(Map::is_empty) {
            *config = Value::Null;
        }
    }
}

/// Reads a time as Go writes it: numbers with units, `1m30s`, `1.5s`, `500ms`.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let secs = match &rest[..unit] {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            _ => return None,
        };
        total = total.checked_add(Duration::try_from_secs_f64(number * secs).ok()?)?;
        rest = &rest[unit..];
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_rpc_types_trace::geth::GethDebugTracerConfig;
    use serde_json::json;

    #[test]
    fn times_are_read_as_go_writes_them() {
        for (text, millis) in [("10s", 10_000), ("500ms", 500), ("1m30s", 90_000), ("1.5s", 1_500), ("2h", 7_200_000)] {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["10", "s", "ten seconds", "-1s", "1x", "1..2s", "99999999999999999999999h"] {
            assert_eq!(duration(text), None, "{text}");
        }
        let options = GethDebugTracingOptions { timeout: Some("soon".into()), ..GethDebugTracingOptions::default() };
        assert!(read(options).is_err_and(|error| error.to_string().contains("timeout")));
    }

    #[test]
    fn a_mux_may_leave_configurations_out() {
        let options = GethDebugTracingOptions {
            tracer: Some(BuiltIn::MuxTracer.into()),
            tracer_config: GethDebugTracerConfig(json!({ "callTracer": null, "4byteTracer": {} })),
            ..GethDebugTracingOptions::default()
        };
        let (options, time) = read(options).expect("options");
        assert_eq!(options.tracer_config.0, json!({ "callTracer": {}, "4byteTracer": null }));
        assert_eq!(time, TRACE_TIME);
    }
}

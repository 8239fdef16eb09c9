//! Reading a call's parameters: every refusal names the parameter, what was expected and what came.

use crate::error::{RpcError, RpcResult};
use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::{Address, B256, Bytes, U256, hex};
use alloy_rpc_types_eth::{Filter, TransactionRequest};
use alloy_serde::JsonStorageKey;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Parameters that any method takes at most; more are refused before their values are looked at.
const MAX_PARAMS: usize = 8;

/// Characters of a refused value that the answer repeats.
const SHOWN_CHARS: usize = 70;

/// A call's parameters in order, with the names that the method gives them.
pub(crate) struct Args<'a> {
    names: &'static [&'static str],
    values: Vec<&'a RawValue>,
    next: usize,
}

impl<'a> Args<'a> {
    /// Reads the list of parameters; absent and `null` stand for an empty one.
    pub(crate) fn new(names: &'static [&'static str], json: Option<&'a str>) -> RpcResult<Self> {
        let json = json.map_or("", str::trim);
        let values: Vec<&RawValue> = match json {
            "" | "null" => Vec::new(),
            _ if !json.starts_with('[') => {
                return Err(RpcError::Params(format!("expected a list, got {}", shown(json))));
            }
            _ => serde_json::from_str(json).map_err(|e| RpcError::Params(format!("expected a list: {e}")))?,
        };
        if values.len() > names.len().min(MAX_PARAMS) {
            let wanted = if names.is_empty() { "none".into() } else { format!("at most {}", names.join(", ")) };
            return Err(RpcError::Params(format!("got {} parameters, expected {wanted}", values.len())));
        }
        Ok(Self { names, values, next: 0 })
    }

    /// Reads the next parameter, which must be there.
    pub(crate) fn required<T: Param>(&mut self) -> RpcResult<T> {
        let (position, name) = (self.next + 1, self.names[self.next]);
        self.optional()?.ok_or_else(|| RpcError::param(position, name, format!("missing; expected {}", T::EXPECTED)))
    }

    /// Reads the next parameter; absent and `null` are `None`.
    pub(crate) fn optional<T: Param>(&mut self) -> RpcResult<Option<T>> {
        let (index, name) = (self.next, self.names[self.next]);
        self.next += 1;
        let Some(value) = self.values.get(index).map(|v| v.get()).filter(|v| *v != "null") else { return Ok(None) };
        T::read(value).map(Some).map_err(|detail| {
            let got = shown(value);
            let detail = detail.map_or_else(String::new, |d| format!(" ({d})"));
            RpcError::param(index + 1, name, format!("expected {}, got {got}{detail}", T::EXPECTED))
        })
    }

    /// Whether the last parameter, a block, is left out or says `latest` or `pending`.
    pub(crate) fn names_newest_block(&self) -> bool {
        let block = self.names.len().checked_sub(1).and_then(|last| self.values.get(last));
        block.is_none_or(|block| matches!(block.get(), "null" | "\"latest\"" | "\"pending\""))
    }

    /// Whether the second parameter, a block, is left out or says `latest`, and all behind it are left out.
    pub(crate) fn name_only_the_head(&self) -> bool {
        let mut rest = self.values.iter().skip(1).map(|value| value.get());
        rest.next().is_none_or(|block| matches!(block, "null" | "\"latest\"")) && rest.all(|value| value == "null")
    }

    /// Length of all parameters together, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.values.iter().map(|value| value.get().len()).sum()
    }
}

/// Shortens a value for a message.
pub(crate) fn shown(value: &str) -> String {
    match value.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}

/// A value that a parameter can hold.
pub(crate) trait Param: Sized {
    /// What the value looks like, for messages.
    const EXPECTED: &'static str;

    /// Reads the value; the error says more than [`Self::EXPECTED`] where there is more to say.
    fn read(json: &str) -> Result<Self, Option<String>>;
}

/// Reads by serde, keeping its reason.
pub(crate) fn by_serde<T: DeserializeOwned>(json: &str) -> Result<T, Option<String>> {
    serde_json::from_str(json).map_err(|e| Some(without_position(&e)))
}

/// serde's reason without "at line 1 column 7", which counts within the parameter and misleads.
fn without_position(error: &serde_json::Error) -> String {
    let words = error.to_string();
    words.split_once(" at line ").map_or(words.clone(), |(reason, _)| reason.to_owned())
}

/// Reads a JSON string that holds `0x` and hex digits, and returns the digits, in place where nothing is escaped.
fn hex_digits(json: &str) -> Result<Cow<'_, str>, Option<String>> {
    let plain = json.strip_prefix('"').and_then(|json| json.strip_suffix('"'));
    let text = match plain.filter(|text| text.bytes().all(|byte| byte.is_ascii_alphanumeric())) {
        Some(text) => Cow::Borrowed(text),
        None => Cow::Owned(serde_json::from_str(json).map_err(|_| None)?),
    };
    let is_marked = text.starts_with("0x") || text.starts_with("0X");
    match text {
        _ if !is_marked => Err(Some("0x is missing".to_owned())),
        Cow::Borrowed(text) => Ok(Cow::Borrowed(&text[2..])),
        Cow::Owned(mut text) => Ok(Cow::Owned(text.split_off(2))),
    }
}

/// Reads exactly `N` bytes.
fn fixed<const N: usize>(json: &str) -> Result<[u8; N], Option<String>> {
    let digits = hex_digits(json)?;
    let mut bytes = [0; N];
    if digits.len() != 2 * N {
        return Err(Some(format!("{} hex digits", digits.len())));
    }
    hex::decode_to_slice(digits.as_bytes(), &mut bytes).map_err(|e| Some(e.to_string()))?;
    Ok(bytes)
}

impl Param for Address {
    const EXPECTED: &'static str = "an address, 0x and 40 hex digits";

    fn read(json: &str) -> Result<Self, Option<String>> {
        fixed(json).map(Self::new)
    }
}

impl Param for B256 {
    const EXPECTED: &'static str = "a hash, 0x and 64 hex digits";

    fn read(json: &str) -> Result<Self, Option<String>> {
        fixed(json).map(Self::new)
    }
}

impl Param for Bytes {
    const EXPECTED: &'static str = "bytes, 0x and an even number of hex digits";

    fn read(json: &str) -> Result<Self, Option<String>> {
        hex::decode(hex_digits(json)?.as_bytes()).map(Self::from).map_err(|e| Some(e.to_string()))
    }
}

impl Param for bool {
    const EXPECTED: &'static str = "true or false";

    fn read(json: &str) -> Result<Self, Option<String>> {
        serde_json::from_str(json).map_err(|_| None)
    }
}

/// A storage slot; short forms such as `0x0` are what libraries send.
pub(crate) struct Slot(pub(crate) U256);

impl Param for Slot {
    const EXPECTED: &'static str = "a storage slot, 0x and 1 to 64 hex digits";

    fn read(json: &str) -> Result<Self, Option<String>> {
        let digits = hex_digits(json)?;
        if digits.is_empty() || digits.len() > 64 {
            return Err(Some(format!("{} hex digits", digits.len())));
        }
        U256::from_str_radix(&digits, 16).map(Self).map_err(|e| Some(e.to_string()))
    }
}

/// Storage slots, each in the form in which it came.
pub(crate) struct Slots(pub(crate) Vec<JsonStorageKey>);

impl Param for Slots {
    const EXPECTED: &'static str = "a list of storage slots, each 0x and 1 to 64 hex digits";

    fn read(json: &str) -> Result<Self, Option<String>> {
        by_serde(json).map(Self)
    }
}

/// A filter's or subscription's name, as the node gave it.
pub(crate) struct Handle(pub(crate) String);

impl Param for Handle {
    const EXPECTED: &'static str = "an id as the node returned it";

    fn read(json: &str) -> Result<Self, Option<String>> {
        hex_digits(json).map(|digits| Self(format!("0x{digits}")))
    }
}

/// A count, `0x` hex as the specification says, or a plain JSON number as some libraries send.
pub(crate) struct Count(pub(crate) u64);

impl Param for Count {
    const EXPECTED: &'static str = "a count such as \"0x10\"";

    fn read(json: &str) -> Result<Self, Option<String>> {
        if let Ok(number) = serde_json::from_str(json) {
            return Ok(Self(number));
        }
        let digits = hex_digits(json)?;
        u64::from_str_radix(&digits, 16).map(Self).map_err(|e| Some(e.to_string()))
    }
}

impl Param for Vec<f64> {
    const EXPECTED: &'static str = "a list of at most 100 rising percentiles, 0 to 100";

    fn read(json: &str) -> Result<Self, Option<String>> {
        let list: Self = by_serde(json)?;
        let in_range = list.iter().all(|p| (0.0..=100.0).contains(p));
        (list.len() <= 100 && in_range && list.is_sorted()).then_some(list).ok_or(None)
    }
}

const BLOCK: &str = "a block: latest, pending, earliest, safe, finalized, or a number such as \"0x10\"";

impl Param for BlockNumberOrTag {
    const EXPECTED: &'static str = BLOCK;

    fn read(json: &str) -> Result<Self, Option<String>> {
        by_serde(json)
    }
}

impl Param for BlockId {
    const EXPECTED: &'static str = "a block: latest, pending, earliest, safe, finalized, a number such as \"0x10\", or an object \
                                    {\"blockHash\": …} or {\"blockNumber\": …}";

    fn read(json: &str) -> Result<Self, Option<String>> {
        by_serde(json)
    }
}

impl Param for TransactionRequest {
    const EXPECTED: &'static str = "a transaction object";

    fn read(json: &str) -> Result<Self, Option<String>> {
        let request: Self = by_serde(json)?;
        match (&request.input.input, &request.input.data) {
            (Some(input), Some(data)) if input != data => Err(Some("`input` and `data` differ; send one".into())),
            _ => Ok(request),
        }
    }
}

impl Param for Filter {
    const EXPECTED: &'static str = "a filter object: fromBlock, toBlock or blockHash, address, topics";

    fn read(json: &str) -> Result<Self, Option<String>> {
        by_serde(json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[&str] = &["address", "block"];

    fn args(json: &str) -> Args<'_> {
        Args::new(NAMES, Some(json)).expect("a list")
    }

    fn refusal<T: Param>(value: &str) -> String {
        let json = format!("[{value}]");
        match args(&json).required::<T>() {
            Ok(_) => panic!("{value} was read"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn reads_in_order_and_takes_null_for_absent() {
        let mut args = args(r#"["0x00000000000000000000000000000000000000Aa", null]"#);
        assert_eq!(args.required::<Address>(), Ok(Address::with_last_byte(0xaa)));
        assert_eq!(args.optional::<BlockId>(), Ok(None));
    }

    #[test]
    fn names_the_parameter_that_is_missing_or_wrong() {
        let missing = args("[]").required::<Address>().expect_err("missing").to_string();
        assert_eq!(
            missing,
            "invalid params: parameter 1 (address): missing; expected an address, 0x and 40 hex digits"
        );
        assert_eq!(
            refusal::<Address>("\"0x12\""),
            "invalid params: parameter 1 (address): expected an address, 0x and 40 hex digits, got \"0x12\" (2 hex digits)"
        );
        let mut second = args(r#"["0x00000000000000000000000000000000000000aa", "newest"]"#);
        second.required::<Address>().expect("right");
        let words = second.required::<BlockId>().expect_err("wrong").to_string();
        assert!(words.starts_with("invalid params: parameter 2 (block): expected a block: latest,"), "{words}");
        assert!(words.contains("got \"newest\""), "{words}");
    }

    #[test]
    fn refuses_what_is_no_list_or_too_long() {
        for (json, words) in [
            ("{\"a\": 1}", "invalid params: expected a list, got {\"a\": 1}"),
            ("7", "invalid params: expected a list, got 7"),
            ("[1, 2, 3]", "invalid params: got 3 parameters, expected at most address, block"),
        ] {
            assert_eq!(Args::new(NAMES, Some(json)).err().expect("refused").to_string(), words);
        }
        let words = Args::new(&[], Some("[1]")).err().expect("refused").to_string();
        assert_eq!(words, "invalid params: got 1 parameters, expected none");
        for absent in [None, Some(""), Some("null"), Some(" [] ")] {
            assert!(Args::new(&[], absent).is_ok());
        }
    }

    #[test]
    fn refused_values_are_shortened() {
        let words = refusal::<B256>(&format!("\"{}\"", "é".repeat(5_000)));
        assert!(words.chars().count() < 200, "{words}");
    }

    #[test]
    fn wrong_values_of_every_kind_are_refused() {
        for value in ["1", "true", "\"\"", "\"0x\"", "\"12\"", "[]", "{}", "\"0xzz\""] {
            refusal::<Address>(value);
            refusal::<B256>(value);
            refusal::<Slot>(value);
        }
        for value in ["1", "\"0x1\"", "\"0xzz\"", "\"ab\"", "{}"] {
            refusal::<Bytes>(value);
        }
        for value in ["-1", "\"0x10000000000000000\"", "1.5", "\"16\"", "[]"] {
            refusal::<Count>(value);
        }
        for value in ["[50, 20]", "[-1]", "[101]", "[\"a\"]", "5"] {
            refusal::<Vec<f64>>(value);
        }
        for value in ["\"newest\"", "1", "\"0x\"", "\"0x10000000000000000\"", "{\"blockHash\": 1}", "{}"] {
            refusal::<BlockId>(value);
        }
        let words = refusal::<TransactionRequest>(r#"{"gas": "lots"}"#);
        assert!(words.contains("expected a transaction object, got"), "{words}");
        assert!(!words.contains(" at line "), "{words}");
        refusal::<TransactionRequest>(r#"{"input": "0x01", "data": "0x02"}"#);
        refusal::<Filter>(r#"{"address": "0x12"}"#);
    }
}

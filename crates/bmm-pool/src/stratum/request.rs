//! Reads requests. Bytes are a stranger's: depth, lengths and kinds are bounded while reading, not after.

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::{borrow::Cow, fmt};

/// How deep lists and objects may stand in one another within a request's parameters.
const MAX_DEPTH: u8 = 4;
/// Longest id that is a text, in bytes.
const MAX_ID_BYTES: usize = 64;

/// A request's id, which its answer carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Id {
    /// None; no answer is expected.
    #[default]
    Null,
    /// A whole number.
    Number(i64),
    /// A text of at most 64 bytes.
    Text(Box<str>),
}

/// A parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Param<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// Any number.
    Number(f64),
    /// A text.
    Text(Cow<'a, str>),
    /// A list.
    List(Vec<Param<'a>>),
    /// An object, in the order in which it was written.
    Map(Vec<(Cow<'a, str>, Param<'a>)>),
}

impl Param<'_> {
    /// Returns the text, if it is one.
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// Returns the number, also of a text that is one: miners send both.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }
}

/// A call of a miner's.
#[derive(Clone, Debug, PartialEq)]
pub struct Request<'a> {
    /// Its id.
    pub id: Id,
    /// What is called.
    pub method: Cow<'a, str>,
    /// With what; empty where it was left out or `null`.
    pub params: Vec<Param<'a>>,
}

/// What a line is.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming<'a> {
    /// A request.
    Request(Request<'a>),
    /// The answer to a request of the server's own: its id and result.
    Answer(Id, Param<'a>),
}

/// Why a line is neither.
#[derive(Debug, thiserror::Error)]
#[error("not a request: {0}")]
pub struct RequestError(#[from] serde_json::Error);

impl<'a> Incoming<'a> {
    /// Reads a line.
    pub fn parse(line: &'a [u8]) -> Result<Self, RequestError> {
        let mut json = serde_json::Deserializer::from_slice(line);
        let incoming = json.deserialize_map(Envelope)?;
        json.end()?;
        Ok(incoming)
    }
}

/// The object around it all.
struct Envelope;

impl<'de> Visitor<'de> for Envelope {
    type Value = Incoming<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with \"id\", \"method\" and \"params\"")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut id, mut method, mut params, mut result) = (Id::Null, None, None, Param::Null);
        while let Some(key) = map.next_key_seed(Text)? {
            match &*key {
                "id" => id = map.next_value_seed(AnId)?,
                "method" => method = Some(map.next_value_seed(Text)?),
                "params" => params = Some(map.next_value_seed(Value { depth: 0 })?),
                "result" => result = map.next_value_seed(Value { depth: 0 })?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let Some(method) = method else { return Ok(Incoming::Answer(id, result)) };
        let params = match params {
            Some(Param::List(params)) => params,
            None | Some(Param::Null) => Vec::new(),
            Some(_) => return Err(Error::custom("\"params\" must be a list")),
        };
        Ok(Incoming::Request(Request { id, method, params }))
    }
}

struct AnId;

impl<'de> DeserializeSeed<'de> for AnId {
    type Value = Id;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Id, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for AnId {
    type Value = Id;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an \"id\" that is null, a whole number or a text of at most {MAX_ID_BYTES} bytes")
    }

    fn visit_unit<E: Error>(self) -> Result<Id, E> {
        Ok(Id::Null)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Id, E> {
        Ok(Id::Number(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Id, E> {
        i64::try_from(number).map(Id::Number).map_err(|_| E::custom("\"id\" must be below 2^63"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Id, E> {
        if text.len() > MAX_ID_BYTES {
            return Err(E::custom(format_args!("\"id\" must have at most {MAX_ID_BYTES} bytes")));
        }
        Ok(Id::Text(text.into()))
    }
}

struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

#[derive(Clone, Copy)]
struct Value {
    depth: u8,
}

impl Value {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        let depth = self.depth.saturating_add(1);
        if depth > MAX_DEPTH {
            return Err(E::custom(format_args!("lists and objects stand more than {MAX_DEPTH} deep")));
        }
        Ok(Self { depth })
    }
}

impl<'de> DeserializeSeed<'de> for Value {
    type Value = Param<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Param<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value {
    type Value = Param<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Param<'de>, E> {
        Ok(Param::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Param<'de>, E> {
        Ok(Param::Bool(value))
    }

    #[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "numbers are difficulties, which round")]
    fn visit_i64<E: Error>(self, number: i64) -> Result<Param<'de>, E> {
        Ok(Param::Number(number as f64))
    }

    #[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "numbers are difficulties, which round")]
    fn visit_u64<E: Error>(self, number: u64) -> Result<Param<'de>, E> {
        Ok(Param::Number(number as f64))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Param<'de>, E> {
        Ok(Param::Number(number))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Param<'de>, E> {
        Ok(Param::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Param<'de>, E> {
        Ok(Param::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Param<'de>, A::Error> {
        let inner = self.deeper()?;
        let mut all = Vec::new();
        while let Some(item) = list.next_element_seed(inner)? {
            all.push(item);
        }
        Ok(Param::List(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Param<'de>, A::Error> {
        let inner = self.deeper()?;
        let mut all = Vec::new();
        while let Some(key) = map.next_key_seed(Text)? {
            all.push((key, map.next_value_seed(inner)?));
        }
        Ok(Param::Map(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(line: &str) -> Option<(Id, String, usize)> {
        match Incoming::parse(line.as_bytes()) {
            Ok(Incoming::Request(request)) => Some((request.id, request.method.into_owned(), request.params.len())),
            _ => None,
        }
    }

    #[test]
    fn requests_as_miners_write_them() {
        // cpuminer, cgminer, and firmware that writes its own way.
        let cases = [
            (r#"{"id": 1, "method": "mining.subscribe", "params": ["cpuminer/2.5.1", "5f"]}"#, Id::Number(1), 2),
            (r#"{"params": ["u", "1", "0000", "5e", "00"], "id": 4, "method": "mining.submit"}"#, Id::Number(4), 5),
            (
                r#"{"id":"a","jsonrpc":"2.0","method":"mining.ping","extra":{"x":[[[[[[]]]]]]}}"#,
                Id::Text("a".into()),
                0,
            ),
            (r#"{"id":null,"method":"mining.configure","params":[["version-rolling"],{"m":"ff"}]}"#, Id::Null, 2),
            (r#"{"method":"x","params":null,"id":-7}"#, Id::Number(-7), 0),
        ];
        for (line, id, params) in cases {
            let (is, _, len) = request(line).unwrap_or_else(|| panic!("{line} is a request"));
            assert_eq!((is, len), (id, params), "{line}");
        }
    }

    #[test]
    fn answers_are_told_from_requests() {
        let line = br#"{"id":"version","result":"cgminer/4.12","error":null}"#;
        let answer = Incoming::parse(line).expect("an answer");
        assert_eq!(answer, Incoming::Answer(Id::Text("version".into()), Param::Text("cgminer/4.12".into())));
    }

    #[test]
    fn anything_else_is_refused() {
        let deep = format!(r#"{{"id":1,"method":"x","params":{}{}}}"#, "[".repeat(1_500), "]".repeat(1_500));
        let five = r#"{"id":1,"method":"x","params":[[[[[]]]]]}"#;
        let long = format!(r#"{{"id":"{}","method":"x"}}"#, "i".repeat(65));
        let cases = [&deep, five, &long, "", "GET / HTTP/1.1", "[]", "{", r#"{"id":1.5,"method":"x"}"#, "{}{}", "null"];
        for line in cases.into_iter().chain([r#"{"id":{},"method":"x"}"#, r#"{"method":"x","params":{}}"#]) {
            assert!(Incoming::parse(line.as_bytes()).is_err(), "{line}");
        }
        assert!(Incoming::parse(b"{\"method\":\"\xff\"}").is_err());
    }

    #[test]
    fn numbers_may_be_texts() {
        let values = [Param::Number(8.0), Param::Text(" 8 ".into()), Param::Text("x".into()), Param::Null];
        assert_eq!(values.map(|param| param.number()), [Some(8.0), Some(8.0), None, None]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Incoming::parse(&bytes);
        }

        #[test]
        fn broken_requests_are_read_or_refused(at in 0usize..90, byte in any::<u8>(), len in 0usize..90) {
            let mut line = br#"{"id":4,"method":"mining.submit","params":["0xab.w","1f0","0011223344556677","5e","00"]}"#.to_vec();
            if let Some(place) = line.get_mut(at) { *place = byte; }
            line.truncate(len.max(1));
            let _ = Incoming::parse(&line);
        }
    }
}

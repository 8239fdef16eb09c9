//! Encoding of messages: a version byte, then postcard, with every length bounded while it is read.

use super::{MARKET_VERSION, MAX_MESSAGE_BYTES};
use serde::de::{DeserializeOwned, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, marker::PhantomData};

/// Says why bytes from outside are not a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// There is no version byte.
    #[error("the message is empty")]
    Empty,
    /// The message has another version.
    #[error("the message has version {found}, this build speaks {MARKET_VERSION}; update the older side")]
    Version {
        /// The version byte found.
        found: u8,
    },
    /// The message is too long.
    #[error("the message has {bytes} bytes, more than the {max} allowed")]
    TooLong {
        /// Length of the message, bytes.
        bytes: usize,
        /// Longest message, bytes.
        max: usize,
    },
    /// The bytes do not decode, or a length inside passes its bound.
    #[error("the message is malformed: {0}")]
    Malformed(String),
    /// Bytes are left over.
    #[error("the message is followed by {0} more bytes")]
    Trailing(usize),
    /// The message decodes, but a field is out of its range.
    #[error("the message's {field} is out of range: {reason}")]
    Field {
        /// Name of the field.
        field: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// Encodes and decodes one kind of message.
pub trait Wire: Serialize + DeserializeOwned {
    /// Longest encoding, bytes with the version byte.
    const MAX_BYTES: usize = MAX_MESSAGE_BYTES;

    /// Checks the fields that the encoding alone does not bound.
    fn check(&self) -> Result<(), WireError>;

    /// Encodes with the version byte first.
    fn encode(&self) -> Vec<u8> {
        let version = vec![MARKET_VERSION];
        postcard::to_extend(self, version).expect("a Vec grows, and messages hold nothing that postcard cannot encode")
    }

    /// Decodes bytes from outside, all of them, and checks the fields.
    fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(WireError::TooLong { bytes: bytes.len(), max: Self::MAX_BYTES });
        }
        let (&found, body) = bytes.split_first().ok_or(WireError::Empty)?;
        if found != MARKET_VERSION {
            return Err(WireError::Version { found });
        }
        let (message, rest) =
            postcard::take_from_bytes::<Self>(body).map_err(|error| WireError::Malformed(error.to_string()))?;
        if !rest.is_empty() {
            return Err(WireError::Trailing(rest.len()));
        }
        message.check()?;
        Ok(message)
    }
}

/// Bounds a text's length in bytes.
pub(super) fn text(field: &'static str, text: &str, max: usize) -> Result<(), WireError> {
    ensure(text.len() <= max, field, "the text is too long")
}

/// Turns a broken rule of one field into an error.
pub(super) fn ensure(holds: bool, field: &'static str, reason: &'static str) -> Result<(), WireError> {
    if holds { Ok(()) } else { Err(WireError::Field { field, reason }) }
}

/// Serde helper (`with`): a byte string of at most `MAX` bytes, copied at once.
pub(super) struct Bytes<const MAX: usize>;

impl<const MAX: usize> Bytes<MAX> {
    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        deserializer.deserialize_bytes(Self)
    }
}

impl<const MAX: usize> Visitor<'_> for Bytes<MAX> {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {MAX} bytes")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        if bytes.len() > MAX { Err(E::invalid_length(bytes.len(), &self)) } else { Ok(bytes.to_vec()) }
    }
}

/// Serde helper (`with`): a list of at most `MAX` elements.
pub(super) struct List<const MAX: usize>;

impl<const MAX: usize> List<MAX> {
    pub(super) fn serialize<T: Serialize, S: Serializer>(list: &[T], serializer: S) -> Result<S::Ok, S::Error> {
        list.serialize(serializer)
    }

    pub(super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_seq(ListVisitor::<T, MAX>(PhantomData))
    }
}

struct ListVisitor<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for ListVisitor<T, MAX> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {MAX} elements")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
        let announced = seq.size_hint().unwrap_or(0);
        if announced > MAX {
            return Err(A::Error::invalid_length(announced, &self));
        }
        // An announced length costs the sender nothing, so only a little is allocated ahead of the elements.
        let mut list = Vec::with_capacity(announced.min(1_024));
        while let Some(element) = seq.next_element()? {
            if list.len() >= MAX {
                return Err(A::Error::invalid_length(list.len(), &self));
            }
            list.push(element);
        }
        Ok(list)
    }
}

//! What nodes say to each other of the chain, as bytes: RLP, as blocks and transactions are. Every list has a longest length.

use alloy_primitives::{B256, Bytes, U256};
use alloy_rlp::{BufMut, Decodable, Encodable, Error, Header as Prefix, RlpDecodable, RlpEncodable};
use bmm_chain::{SealedHeader, SignedBet};
use bmm_types::{BlockBody, Header, Seal, decode_strict};

pub use super::state::{
    decode as decode_state_question, decode_answer as decode_state_answer, encode as encode_state_question,
    encode_answer as encode_state_answer,
};

/// Numbers that one request may name.
pub const MAX_NUMBERS: usize = 64;
/// Headers of one answer.
pub const MAX_HEADERS: usize = 512;
/// Bodies of one answer.
pub const MAX_BODIES: usize = 128;
/// Transactions of one answer or one gossip message.
pub const MAX_TRANSACTIONS: usize = 512;
/// Transactions of all bodies of one answer. Real ones have 60 bytes and more, and answers end after [`ENOUGH_BYTES`] and a block.
pub const MAX_BODIES_TRANSACTIONS: usize = 131_072;
/// Hashes of waiting transactions of one answer.
pub const MAX_POOL: usize = 4_096;
/// Bets of one gossip message.
pub const MAX_BETS: usize = 128;
/// Bets of one answer.
pub const MAX_BETS_ANSWER: usize = 1_024;
/// Transactions of one announced block.
pub const MAX_BLOCK_TRANSACTIONS: usize = 16_384;
/// Bytes after which an answer ends; a single longer block goes nevertheless.
pub const ENOUGH_BYTES: usize = 4 << 20;
/// Longest answer, in bytes: the longest block and some more.
pub const MAX_ANSWER_BYTES: usize = 12 << 20;
/// Longest request, in bytes.
pub const MAX_REQUEST_BYTES: usize = 64 << 10;
/// Longest [`Status`], in bytes.
pub const MAX_STATUS_BYTES: usize = 256;

/// Where a node stands.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub struct Status {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// Id of the genesis block.
    pub genesis: B256,
    /// Number of the head.
    pub number: u64,
    /// Id of the head.
    pub head: B256,
    /// Work of the head and all its ancestors.
    pub work: U256,
    /// Least number from which on the node has all bodies.
    pub lowest_body: u64,
}

/// A new block: all but its transactions, most of which others have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Header and seal.
    pub sealed: SealedHeader,
    /// Hashes of the transactions, in order.
    pub hashes: Vec<B256>,
}

/// A question about the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The ids of the canonical blocks of these numbers, up to the first that there is none of.
    Ids(Vec<u64>),
    /// Canonical headers with their seals from a number on.
    Headers {
        /// Number of the first.
        first: u64,
        /// How many at most.
        count: u64,
    },
    /// The bodies of these blocks, in order, up to the first that is not there.
    Bodies(Vec<B256>),
    /// Transactions of a block that was announced lately, or of those that wait, in order; unknown ones are left out.
    Transactions {
        /// The block; zero for those that wait.
        block: B256,
        /// Which ones.
        hashes: Vec<B256>,
    },
    /// Hashes of waiting transactions.
    Pool,
    /// Known bets with targets from a checkpoint's number on, lower targets first.
    Bets(u64),
}

impl Request {
    /// Writes it down.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Ids(numbers) => {
                out.put_u8(0);
                numbers.encode(&mut out);
            }
            Self::Headers { first, count } => {
                out.put_u8(1);
                vec![*first, *count].encode(&mut out);
            }
            Self::Bodies(ids) => {
                out.put_u8(2);
                ids.encode(&mut out);
            }
            Self::Transactions { block, hashes } => {
                out.put_u8(3);
                block.encode(&mut out);
                hashes.encode(&mut out);
            }
            Self::Pool => out.put_u8(4),
            Self::Bets(from) => {
                out.put_u8(5);
                from.encode(&mut out);
            }
        }
        out
    }

    /// Reads it.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let (kind, mut rest) = bytes.split_first().ok_or(Error::InputTooShort)?;
        let rest = &mut rest;
        let request = match kind {
            0 => Self::Ids(list(rest, MAX_NUMBERS)?),
            1 => match list::<u64>(rest, 2)?[..] {
                [first, count] => Self::Headers { first, count },
                _ => return Err(Error::Custom("a first number and a count")),
            },
            2 => Self::Bodies(list(rest, MAX_BODIES)?),
            3 => Self::Transactions { block: B256::decode(rest)?, hashes: list(rest, MAX_TRANSACTIONS)? },
            4 => Self::Pool,
            5 => Self::Bets(u64::decode(rest)?),
            _ => return Err(Error::Custom("an unknown request")),
        };
        if rest.is_empty() { Ok(request) } else { Err(Error::UnexpectedLength) }
    }

    /// What answering costs, in headers read.
    pub fn cost(&self) -> usize {
        match self {
            Self::Ids(numbers) => 1 + numbers.len() / 4,
            Self::Headers { count, .. } => 1 + usize::try_from(*count).unwrap_or(MAX_HEADERS).min(MAX_HEADERS),
            Self::Bodies(ids) => 1 + 2 * ids.len(),
            Self::Transactions { hashes, .. } => 1 + hashes.len() / 4,
            // All that waits is looked through.
            Self::Pool => 4_096,
            // Likewise all bets.
            Self::Bets(_) => 1_024,
        }
    }
}

/// Reads one message that must end where the bytes end.
pub fn exact<T: Decodable>(bytes: &[u8]) -> Result<T, Error> {
    alloy_rlp::decode_exact(bytes)
}

/// Reads a list that is all there is.
pub fn exact_list<T: Decodable>(mut bytes: &[u8], most: usize) -> Result<Vec<T>, Error> {
    let found = list(&mut bytes, most)?;
    if bytes.is_empty() { Ok(found) } else { Err(Error::UnexpectedLength) }
}

/// Reads a list of at most so many.
pub(super) fn list<T: Decodable>(bytes: &mut &[u8], most: usize) -> Result<Vec<T>, Error> {
    let mut payload = Prefix::decode_bytes(bytes, true)?;
    let mut found = Vec::new();
    while !payload.is_empty() {
        if found.len() >= most {
            return Err(Error::Custom("a list is too long"));
        }
        found.push(T::decode(&mut payload)?);
    }
    Ok(found)
}

/// Headers of an answer.
pub fn headers(bytes: &[u8]) -> Result<Vec<SealedHeader>, Error> {
    exact_list(bytes, MAX_HEADERS)
}

/// Bodies of an answer.
pub fn bodies(bytes: &[u8]) -> Result<Vec<BlockBody>, Error> {
    count_transactions(bytes)?;
    let strict: Vec<Strict> = exact_list(bytes, MAX_BODIES)?;
    Ok(strict.into_iter().map(|Strict(body)| body).collect())
}

/// A body with one encoding.
struct Strict(BlockBody);

impl Decodable for Strict {
    fn decode(buf: &mut &[u8]) -> Result<Self, Error> {
        decode_strict(buf).map(Self)
    }
}

/// Looks how many transactions bodies have, before any is read: one of ten bytes takes some hundreds in memory.
fn count_transactions(mut bytes: &[u8]) -> Result<(), Error> {
    let mut bodies = Prefix::decode_bytes(&mut bytes, true)?;
    let mut count = 0;
    while !bodies.is_empty() {
        let mut body = Prefix::decode_bytes(&mut bodies, true)?;
        let mut transactions = Prefix::decode_bytes(&mut body, true)?;
        while !transactions.is_empty() {
            let length = Prefix::decode(&mut transactions)?.payload_length;
            transactions = transactions.get(length..).ok_or(Error::InputTooShort)?;
            count += 1;
            if count > MAX_BODIES_TRANSACTIONS {
                return Err(Error::Custom("too many transactions"));
            }
        }
    }
    Ok(())
}

/// Transactions of an answer or a gossip message: their EIP-2718 encodings.
pub fn transactions(bytes: &[u8]) -> Result<Vec<Bytes>, Error> {
    exact_list(bytes, MAX_TRANSACTIONS)
}

/// Bets of an answer or a gossip message.
pub fn bets(bytes: &[u8], most: usize) -> Result<Vec<SignedBet>, Error> {
    exact_list(bytes, most)
}

impl Announcement {
    /// Writes it down.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let length = self.sealed.header.length() + self.sealed.seal.length() + self.hashes.length();
        Prefix { list: true, payload_length: length }.encode(&mut out);
        self.sealed.header.encode(&mut out);
        self.sealed.seal.encode(&mut out);
        self.hashes.encode(&mut out);
        out
    }

    /// Reads it.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, Error> {
        let mut payload = Prefix::decode_bytes(&mut bytes, true)?;
        let rest = &mut payload;
        let sealed = SealedHeader { header: Header::decode(rest)?, seal: Seal::decode(rest)? };
        let hashes = list(rest, MAX_BLOCK_TRANSACTIONS)?;
        if rest.is_empty() && bytes.is_empty() { Ok(Self { sealed, hashes }) } else { Err(Error::UnexpectedLength) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hashes() -> impl Strategy<Value = Vec<B256>> {
        proptest::collection::vec(any::<[u8; 32]>().prop_map(B256::from), 0..20)
    }

    fn requests() -> impl Strategy<Value = Request> {
        prop_oneof![
            proptest::collection::vec(any::<u64>(), 0..MAX_NUMBERS).prop_map(Request::Ids),
            (any::<u64>(), any::<u64>()).prop_map(|(first, count)| Request::Headers { first, count }),
            hashes().prop_map(Request::Bodies),
            (any::<[u8; 32]>(), hashes())
                .prop_map(|(block, hashes)| Request::Transactions { block: block.into(), hashes }),
            Just(Request::Pool),
            any::<u64>().prop_map(Request::Bets),
        ]
    }

    /// Reads bytes in every way there is.
    fn read_all(bytes: &[u8]) {
        let _ = Request::decode(bytes).map(|request| request.cost());
        let _ = exact::<Status>(bytes);
        let _ = Announcement::decode(bytes);
        let _ = headers(bytes);
        let _ = bodies(bytes);
        let _ = transactions(bytes);
        let _ = bets(bytes, MAX_BETS);
        let _ = exact_list::<B256>(bytes, MAX_POOL);
    }

    proptest! {
        #[test]
        fn requests_round_trip(request in requests()) {
            let bytes = request.encode();
            prop_assert!(bytes.len() <= MAX_REQUEST_BYTES);
            prop_assert_eq!(Request::decode(&bytes), Ok(request));
        }

        #[test]
        fn announcements_round_trip_and_end_where_they_end(hashes in hashes(), number: u64, more in 1u8..) {
            let header = Header { number, ..Header::default() };
            let announcement = Announcement { sealed: SealedHeader { header, seal: Seal::None }, hashes };
            let mut bytes = announcement.encode();
            prop_assert_eq!(Announcement::decode(&bytes), Ok(announcement));
            bytes.push(more);
            prop_assert!(Announcement::decode(&bytes).is_err());
        }

        #[test]
        fn rubbish_is_refused_without_a_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), prefix in 0xb8u8..) {
            read_all(&bytes);
            bytes.insert(0, prefix);
            read_all(&bytes);
        }

        #[test]
        fn changed_messages_are_refused_without_a_panic(request in requests(), at: prop::sample::Index, to: u8, cut: prop::sample::Index) {
            let header = Header { number: 7, ..Header::default() };
            let announcement = Announcement { sealed: SealedHeader { header, seal: Seal::None }, hashes: vec![B256::ZERO] };
            let status = Status { chain_id: 1, genesis: B256::ZERO, number: 2, head: B256::ZERO, work: U256::MAX, lowest_body: 1 };
            for mut bytes in [request.encode(), announcement.encode(), alloy_rlp::encode(&status)] {
                let index = at.index(bytes.len());
                bytes[index] = to;
                read_all(&bytes);
                bytes.truncate(cut.index(bytes.len()));
                read_all(&bytes);
            }
        }
    }

    #[test]
    fn bodies_have_no_more_transactions_than_fit_into_memory() {
        let bodies = |transactions: usize| {
            // A list of one body: its transactions (each an empty list, so none is one), no ommers.
            let payload = vec![alloy_rlp::EMPTY_LIST_CODE; transactions];
            let wrap = |payload: Vec<u8>| {
                let mut out = Vec::new();
                Prefix { list: true, payload_length: payload.len() }.encode(&mut out);
                out.extend(payload);
                out
            };
            let mut body = wrap(payload);
            body.push(alloy_rlp::EMPTY_LIST_CODE);
            super::bodies(&wrap(wrap(body))).expect_err("empty lists are no transactions")
        };
        assert_eq!(bodies(MAX_BODIES_TRANSACTIONS + 1), Error::Custom("too many transactions"));
        assert_ne!(bodies(MAX_BODIES_TRANSACTIONS), Error::Custom("too many transactions"));
    }

    #[test]
    fn lists_have_a_longest_length() {
        let bytes = alloy_rlp::encode(vec![B256::ZERO; MAX_BODIES + 1]);
        assert!(exact_list::<B256>(&bytes, MAX_BODIES).is_err());
        assert!(exact_list::<B256>(&bytes, MAX_BODIES + 1).is_ok());
        let status = Status {
            chain_id: u64::MAX,
            genesis: B256::ZERO,
            number: u64::MAX,
            head: B256::ZERO,
            work: U256::MAX,
            lowest_body: u64::MAX,
        };
        assert!(alloy_rlp::encode(&status).len() <= MAX_STATUS_BYTES);
        assert_eq!(exact::<Status>(&alloy_rlp::encode(&status)), Ok(status));
    }
}

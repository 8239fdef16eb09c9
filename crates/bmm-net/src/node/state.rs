//! The state in ranges with proofs, and a peer as a source of a chain for who begins from a snapshot.

use super::{
    ask::exchange,
    serve::Budget,
    wire::{
        self, MAX_ANSWER_BYTES, MAX_REQUEST_BYTES, MAX_STATUS_BYTES, Request as Question, Status, exact_list, list,
    },
};
use crate::{
    frame::{FrameError, read_frame, write_frame},
    network::Network,
    peers::Offence,
    streams::{Incoming, Stream},
};
use alloy_primitives::{B256, Bytes, U256};
use alloy_rlp::{BufMut as _, Decodable, Encodable, Error, Header as Prefix};
use bmm_chain::{
    AccountRange, CODES_AT_ONCE, Chain, NODES_AT_ONCE, OWNERS_AT_ONCE, SealedHeader, SlotRange,
    sync::{Answer, ChainSource, Nibbles, Request, Source},
};
use bmm_types::{Block, SealedBlock};
use libp2p::PeerId;
use std::{sync::Arc, time::Duration};
use tokio::{runtime::Handle, sync::Semaphore};

/// Name of the protocol.
pub(super) const PROTOCOL: &str = "state/1";
/// Longest answer, in bytes: a range of 1 MiB and its proofs, or codes.
const MAX_STATE_BYTES: usize = 4 << 20;
/// How long a question may take to come, and an answer to go.
const WITHIN: Duration = Duration::from_secs(30);
/// Ranges that are read at once.
const AT_ONCE: usize = 2;
/// Questions of one peer a second; four times as many at once.
const QUESTIONS_PER_SEC: u32 = 32;
/// Nibbles of a path.
const MAX_PATH: usize = 64;

/// Writes a question about the state; `None` for one that is about blocks.
pub fn encode(request: &Request) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match request {
        Request::Accounts { block, from, max_bytes } => {
            out.put_u8(0);
            block.encode(&mut out);
            from.encode(&mut out);
            max_bytes.encode(&mut out);
        }
        Request::Slots { block, owners, from, max_bytes } => {
            out.put_u8(1);
            block.encode(&mut out);
            owners.encode(&mut out);
            from.encode(&mut out);
            max_bytes.encode(&mut out);
        }
        Request::Nodes { block, owner, paths } => {
            out.put_u8(2);
            block.encode(&mut out);
            owner.iter().copied().collect::<Vec<B256>>().encode(&mut out);
            paths.iter().map(|path| Bytes::from(path.to_vec())).collect::<Vec<_>>().encode(&mut out);
        }
        Request::Codes { hashes } => {
            out.put_u8(3);
            hashes.encode(&mut out);
        }
        Request::Head | Request::Headers { .. } | Request::Blocks { .. } => return None,
    }
    Some(out)
}

/// Reads a question about the state.
pub fn decode(bytes: &[u8]) -> Result<Request, Error> {
    let (kind, mut rest) = bytes.split_first().ok_or(Error::InputTooShort)?;
    let rest = &mut rest;
    let request = match kind {
        0 => Request::Accounts { block: B256::decode(rest)?, from: B256::decode(rest)?, max_bytes: u64::decode(rest)? },
        1 => Request::Slots {
            block: B256::decode(rest)?,
            owners: list(rest, OWNERS_AT_ONCE)?,
            from: B256::decode(rest)?,
            max_bytes: u64::decode(rest)?,
        },
        2 => Request::Nodes {
            block: B256::decode(rest)?,
            owner: list::<B256>(rest, 1)?.pop(),
            paths: list::<Bytes>(rest, NODES_AT_ONCE)?.iter().map(path).collect::<Result<_, _>>()?,
        },
        3 => Request::Codes { hashes: list(rest, CODES_AT_ONCE)? },
        _ => return Err(Error::Custom("an unknown request")),
    };
    if rest.is_empty() { Ok(request) } else { Err(Error::UnexpectedLength) }
}

fn path(nibbles: &Bytes) -> Result<Nibbles, Error> {
    let sound = nibbles.len() <= MAX_PATH && nibbles.iter().all(|nibble| *nibble < 16);
    if sound { Ok(Nibbles::from_nibbles(nibbles)) } else { Err(Error::Custom("a path of a trie")) }
}

/// Writes an answer: a list that is empty where the state is not at hand. One that is not about the state is no bytes.
pub fn encode_answer(answer: &Answer) -> Vec<u8> {
    fn maybe<T: Encodable + Clone>(found: Option<&T>) -> Vec<u8> {
        alloy_rlp::encode(found.into_iter().cloned().collect::<Vec<T>>())
    }
    match answer {
        Answer::Accounts(range) => maybe(range.as_ref()),
        Answer::Slots(ranges) => maybe(ranges.as_ref()),
        Answer::Nodes(nodes) => maybe(nodes.as_ref()),
        Answer::Codes(codes) => alloy_rlp::encode(codes),
        Answer::Head(_) | Answer::Headers(_) | Answer::Blocks(_) => Vec::new(),
    }
}

/// Reads the answer to a question about the state.
pub fn decode_answer(request: &Request, bytes: &[u8]) -> Result<Answer, Error> {
    Ok(match request {
        Request::Accounts { .. } => Answer::Accounts(exact_list::<AccountRange>(bytes, 1)?.pop()),
        Request::Slots { owners, .. } => Answer::Slots(maybe_list::<SlotRange>(bytes, owners.len())?),
        Request::Nodes { paths, .. } => Answer::Nodes(maybe_list::<Bytes>(bytes, paths.len())?),
        Request::Codes { hashes } => Answer::Codes(exact_list(bytes, hashes.len())?),
        Request::Head | Request::Headers { .. } | Request::Blocks { .. } => {
            return Err(Error::Custom("no question about the state"));
        }
    })
}

/// Reads a list that holds nothing or one list, which is no longer than what was asked for.
fn maybe_list<T: Decodable>(mut bytes: &[u8], most: usize) -> Result<Option<Vec<T>>, Error> {
    let mut payload = Prefix::decode_bytes(&mut bytes, true)?;
    let found = if payload.is_empty() { None } else { Some(list(&mut payload, most)?) };
    if payload.is_empty() && bytes.is_empty() { Ok(found) } else { Err(Error::UnexpectedLength) }
}

/// Answers questions about the state until the network is shut down.
pub(super) async fn serve(network: Network, chain: Arc<Chain>, mut incoming: Incoming) {
    let budget = Budget::per_sec(QUESTIONS_PER_SEC);
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    while let Some((peer, stream)) = incoming.next().await {
        let (network, source, budget, turns) =
            (network.clone(), ChainSource(chain.clone()), budget.clone(), turns.clone());
        tokio::spawn(async move {
            if let Err(error) = answer(&network, source, &budget, &turns, peer, stream).await {
                tracing::debug!(%peer, %error, "a question about the state is not answered");
            }
        });
    }
}

async fn answer(
    network: &Network,
    source: ChainSource,
    budget: &Budget,
    turns: &Semaphore,
    peer: PeerId,
    mut stream: Stream,
) -> Result<(), FrameError> {
    let bytes = read_frame(&mut stream, MAX_REQUEST_BYTES, WITHIN).await?;
    let Ok(request) = decode(&bytes) else {
        network.report(peer, Offence::Rubbish);
        return Ok(());
    };
    budget.wait(peer, 1.0).await;
    let Ok(_turn) = turns.acquire().await else { return Ok(()) };
    match tokio::task::spawn_blocking(move || source.ask(&request)).await {
        Ok(Ok(answer)) => write_frame(&mut stream, &encode_answer(&answer), WITHIN).await,
        Ok(Err(error)) => {
            tracing::debug!(%peer, error, "the state cannot be read for a peer");
            Ok(())
        }
        Err(error) => {
            tracing::error!(%error, "reading the state for a peer failed");
            Ok(())
        }
    }
}

/// A peer that is asked for a chain and its state, by threads that wait.
pub struct PeerSource {
    network: Network,
    peer: PeerId,
    chain_id: u64,
    runtime: Handle,
    within: Duration,
}

impl PeerSource {
    /// Makes a source of a peer of the chain with that id. It waits for answers, up to `within` for each, on threads that are not of `runtime`.
    pub const fn new(network: Network, peer: PeerId, chain_id: u64, runtime: Handle, within: Duration) -> Self {
        Self { network, peer, chain_id, runtime, within }
    }

    fn exchange<T>(
        &self,
        protocol: &str,
        question: &[u8],
        limit: usize,
        decode: impl FnOnce(&[u8]) -> Result<T, Error>,
    ) -> Result<T, String> {
        let protocol = self.network.protocol(protocol);
        let asked = exchange(&self.network, self.peer, &protocol, question, limit, self.within);
        let bytes = self.runtime.block_on(asked).map_err(|error| error.to_string())?;
        decode(&bytes).map_err(|error| {
            self.network.report(self.peer, Offence::Rubbish);
            format!("its answer cannot be understood: {error}")
        })
    }

    fn head(&self) -> Result<u64, String> {
        let (genesis, chain_id) = (self.network.genesis(), self.chain_id);
        let ours = Status { chain_id, genesis, number: 0, head: genesis, work: U256::ZERO, lowest_body: u64::MAX };
        let theirs: Status = self.exchange("status/1", &alloy_rlp::encode(&ours), MAX_STATUS_BYTES, wire::exact)?;
        if theirs.genesis == genesis { Ok(theirs.number) } else { Err("follows another chain".to_owned()) }
    }

    fn headers(&self, first: u64, count: u64) -> Result<Vec<SealedHeader>, String> {
        let question = Question::Headers { first, count }.encode();
        self.exchange("sync/1", &question, MAX_ANSWER_BYTES, wire::headers)
    }

    fn blocks(&self, first: u64, count: u64) -> Result<Vec<SealedBlock>, String> {
        let headers = self.headers(first, count.min(wire::MAX_BODIES as u64))?;
        let ids = headers.iter().map(|sealed| sealed.header.hash_slow()).collect();
        let question = Question::Bodies(ids).encode();
        let bodies = self.exchange("sync/1", &question, MAX_ANSWER_BYTES, wire::bodies)?;
        let joined = headers
            .into_iter()
            .zip(bodies)
            .map(|(sealed, body)| SealedBlock { block: Block { header: sealed.header, body }, seal: sealed.seal });
        Ok(joined.collect())
    }
}

impl Source for PeerSource {
    fn name(&self) -> String {
        format!("the peer {}", self.peer)
    }

    fn ask(&self, request: &Request) -> Result<Answer, String> {
        match request {
            Request::Head => self.head().map(Answer::Head),
            Request::Headers { first, count } => self.headers(*first, *count).map(Answer::Headers),
            Request::Blocks { first, count } => self.blocks(*first, *count).map(Answer::Blocks),
            state => {
                let question = encode(state).expect("a question about the state");
                self.exchange(PROTOCOL, &question, MAX_STATE_BYTES, |bytes| decode_answer(state, bytes))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hash() -> impl Strategy<Value = B256> {
        any::<[u8; 32]>().prop_map(B256::from)
    }

    fn questions() -> impl Strategy<Value = Request> {
        let paths = proptest::collection::vec(proptest::collection::vec(0u8..16, 0..=MAX_PATH), 0..9);
        prop_oneof![
            (hash(), hash(), any::<u64>()).prop_map(|(block, from, max_bytes)| Request::Accounts {
                block,
                from,
                max_bytes
            }),
            (hash(), proptest::collection::vec(hash(), 0..9), hash(), any::<u64>())
                .prop_map(|(block, owners, from, max_bytes)| Request::Slots { block, owners, from, max_bytes }),
            (hash(), proptest::option::of(hash()), paths).prop_map(|(block, owner, paths)| Request::Nodes {
                block,
                owner,
                paths: paths.iter().map(Nibbles::from_nibbles).collect(),
            }),
            proptest::collection::vec(hash(), 0..9).prop_map(|hashes| Request::Codes { hashes }),
        ]
    }

    proptest! {
        #[test]
        fn questions_round_trip(question in questions()) {
            let bytes = encode(&question).expect("about the state");
            prop_assert_eq!(decode(&bytes), Ok(question));
        }

        #[test]
        fn rubbish_is_refused_without_a_panic(question in questions(), mut bytes in proptest::collection::vec(any::<u8>(), 0..300), prefix in 0xb8u8.., kind in 0u8..5) {
            let _ = decode_answer(&question, &bytes);
            bytes.insert(0, prefix);
            let _ = decode_answer(&question, &bytes);
            bytes.insert(0, kind);
            let _ = decode(&bytes);
        }

        #[test]
        fn changed_questions_are_refused_without_a_panic(question in questions(), at: prop::sample::Index, to: u8, cut: prop::sample::Index) {
            let mut bytes = encode(&question).expect("about the state");
            let index = at.index(bytes.len());
            bytes[index] = to;
            let _ = decode(&bytes);
            bytes.truncate(cut.index(bytes.len()));
            let _ = decode(&bytes);
        }
    }
}

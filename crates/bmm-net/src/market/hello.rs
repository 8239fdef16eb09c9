//! Who speaks: each side proves its Ethereum address for this one connection.
//!
//! Both send `version (1) ‖ chain id (8) ‖ genesis (32) ‖ address (20) ‖ nonce (32)`, then a signature (65) over the EIP-712 statement
//! [`Session`], which names both libp2p peer ids and both nonces. The transport has proved the peer ids; so nobody can pass a
//! proof on, nor use it again.

use alloy_primitives::{Address, B256};
use bmm_types::market::{Session, SignatureBytes, recover, session_hash};
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use std::{sync::Arc, time::Duration};

const VERSION: u8 = 1;
const HELLO_BYTES: usize = 1 + 8 + 32 + 20 + 32;
/// How long the other side may take to introduce itself.
const PATIENCE: Duration = Duration::from_secs(30);

/// In which role an operator speaks; a session has one of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It has a job.
    Requester,
    /// It runs tasks.
    Provider,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Requester => "requester",
            Self::Provider => "provider",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Requester => Self::Provider,
            Self::Provider => Self::Requester,
        }
    }
}

/// The own side of introductions.
#[derive(Clone)]
pub struct Speaker {
    /// Chain on which the operator pays or is paid.
    pub chain_id: u64,
    /// Id of that chain's genesis block.
    pub genesis: B256,
    /// The operator.
    pub operator: Address,
    /// Signs a hash with the operator's key.
    pub sign: Arc<dyn Fn(B256) -> SignatureBytes + Send + Sync>,
    /// The own libp2p peer id, as bytes.
    pub peer: Vec<u8>,
}

/// Says why the other side is not believed.
#[derive(Debug, thiserror::Error)]
pub enum HelloError {
    /// The connection broke.
    #[error("the connection broke while the sides introduced themselves: {0}")]
    Io(#[from] std::io::Error),
    /// Nothing came for too long.
    #[error("the other side did not introduce itself within {} s", PATIENCE.as_secs())]
    Silent,
    /// The other side speaks another version of the protocol.
    #[error("the other side speaks version {0} of the market, this build {VERSION}; update the older one")]
    Version(u8),
    /// The other side is on another chain.
    #[error("the other side follows chain {chain_id} with genesis {genesis}, which is another one")]
    OtherChain {
        /// Its chain id.
        chain_id: u64,
        /// Its genesis.
        genesis: B256,
    },
    /// The signature is not of the operator that was named.
    #[error("the other side says that it speaks for {0}, but cannot prove it")]
    Unproved(Address),
}

struct Hello {
    chain_id: u64,
    genesis: B256,
    operator: Address,
    nonce: B256,
}

impl Hello {
    fn encode(&self) -> [u8; HELLO_BYTES] {
        let mut bytes = [0; HELLO_BYTES];
        bytes[0] = VERSION;
        bytes[1..9].copy_from_slice(&self.chain_id.to_be_bytes());
        bytes[9..41].copy_from_slice(self.genesis.as_slice());
        bytes[41..61].copy_from_slice(self.operator.as_slice());
        bytes[61..].copy_from_slice(self.nonce.as_slice());
        bytes
    }

    fn decode(bytes: &[u8; HELLO_BYTES]) -> Result<Self, HelloError> {
        if bytes[0] != VERSION {
            return Err(HelloError::Version(bytes[0]));
        }
        let mut chain_id = [0; 8];
        chain_id.copy_from_slice(&bytes[1..9]);
        Ok(Self {
            chain_id: u64::from_be_bytes(chain_id),
            genesis: B256::from_slice(&bytes[9..41]),
            operator: Address::from_slice(&bytes[41..61]),
            nonce: B256::from_slice(&bytes[61..]),
        })
    }
}

/// Introduces both sides to each other, and returns who the other one is. `other_peer` is the peer id that the transport has proved.
pub async fn introduce<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    speaker: &Speaker,
    role: Role,
    other_peer: &[u8],
) -> Result<Address, HelloError> {
    tokio::time::timeout(PATIENCE, exchange(stream, speaker, role, other_peer)).await.map_err(|_| HelloError::Silent)?
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    speaker: &Speaker,
    role: Role,
    other_peer: &[u8],
) -> Result<Address, HelloError> {
    let own = Hello {
        chain_id: speaker.chain_id,
        genesis: speaker.genesis,
        operator: speaker.operator,
        nonce: B256::random(),
    };
    stream.write_all(&own.encode()).await?;
    stream.flush().await?;
    let mut bytes = [0; HELLO_BYTES];
    stream.read_exact(&mut bytes).await?;
    let other = Hello::decode(&bytes)?;
    if (other.chain_id, other.genesis) != (own.chain_id, own.genesis) {
        return Err(HelloError::OtherChain { chain_id: other.chain_id, genesis: other.genesis });
    }
    let statement = Session {
        operator: own.operator,
        role: role.name().to_owned(),
        genesis: own.genesis,
        peer: speaker.peer.clone().into(),
        otherPeer: other_peer.to_vec().into(),
        nonce: own.nonce,
        otherNonce: other.nonce,
    };
    let signature = (speaker.sign)(session_hash(own.chain_id, &statement));
    stream.write_all(signature.as_slice()).await?;
    stream.flush().await?;
    let mut signature = SignatureBytes::ZERO;
    stream.read_exact(signature.as_mut_slice()).await?;
    let statement = Session {
        operator: other.operator,
        role: role.other().name().to_owned(),
        genesis: own.genesis,
        peer: other_peer.to_vec().into(),
        otherPeer: speaker.peer.clone().into(),
        nonce: other.nonce,
        otherNonce: own.nonce,
    };
    let signer = recover(&signature, session_hash(own.chain_id, &statement));
    if signer == Some(other.operator) { Ok(other.operator) } else { Err(HelloError::Unproved(other.operator)) }
}

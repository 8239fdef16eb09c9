//! The cipher of Stratum V2: its handshake, and frames in and out.

use alloy_primitives::hex;
use std::{fmt, time::Duration};
use stratum_core::{
    bitcoin::{
        base58,
        secp256k1::{Keypair, Secp256k1, SecretKey},
    },
    codec_sv2::{
        Decrypted, Handshake, NoiseDecoder, NoiseEncoder, SerializedFrame, TransportDecryptState, TransportEncryptState,
    },
    framing_sv2::SV2_FRAME_HEADER_SIZE,
    noise_sv2::{ELLSWIFT_ENCODING_SIZE, Responder},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Longest message of a miner's, sealed, in bytes: those of Stratum V2 have a few texts of 255 bytes.
const MAX_FRAME_BYTES: usize = 4_096;
/// For how long what the authority says of a connection's key holds: it is looked at once, at the beginning.
const VALID: Duration = Duration::from_hours(1);

/// The key that a pool is known by in Stratum V2.
#[derive(Clone)]
pub struct AuthorityKey {
    secret: [u8; 32],
    public: [u8; 32],
}

impl AuthorityKey {
    /// Takes a secret key. `None` if it is not one of secp256k1.
    pub fn new(secret: [u8; 32]) -> Option<Self> {
        let key = SecretKey::from_slice(&secret).ok()?;
        let (public, _) = Keypair::from_secret_key(&Secp256k1::new(), &key).x_only_public_key();
        Some(Self { secret, public: public.serialize() })
    }

    /// Returns the public key, as miners are given it in a pool's URL: base58check of version 1 and the key.
    pub fn public(&self) -> String {
        base58::encode_check(&[&1u16.to_le_bytes()[..], &self.public].concat())
    }
}

/// The secret is not shown.
impl fmt::Debug for AuthorityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorityKey").field("public", &hex::encode(self.public)).finish_non_exhaustive()
    }
}

/// Shakes hands with a miner. `None` if it does not know how to.
pub(super) async fn shake_hands(stream: &mut TcpStream, key: &AuthorityKey) -> Option<(Opener, Sealer)> {
    let mut theirs = [0; ELLSWIFT_ENCODING_SIZE];
    stream.read_exact(&mut theirs).await.ok()?;
    let responder = Responder::from_authority_kp(&key.public, &key.secret, VALID).ok()?;
    let (ours, transport) = Handshake::responder(responder).step_1(theirs).ok()?;
    stream.write_all(ours.payload()).await.ok()?;
    let (seals, opens) = transport.split();
    let opener = Opener { decoder: NoiseDecoder::new(), state: Some(opens), begun: Vec::new() };
    Some((opener, Sealer { encoder: NoiseEncoder::new(), state: seals }))
}

/// Opens what comes.
pub(super) struct Opener {
    decoder: NoiseDecoder,
    state: Option<TransportDecryptState>,
    begun: Vec<u8>,
}

impl Opener {
    /// Takes bytes, and gives the kind and payload of each frame that they complete to `each`. False if they are no frames.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(u8, &mut [u8])) -> bool {
        self.begun.extend_from_slice(bytes);
        let mut rest = &self.begun[..];
        loop {
            let wanted = self.decoder.writable_len();
            if wanted == 0 || wanted > MAX_FRAME_BYTES {
                return false;
            }
            let Some((part, after)) = rest.split_at_checked(wanted) else { break };
            self.decoder.writable().copy_from_slice(part);
            rest = after;
            let Some(state) = self.state.take() else { return false };
            match self.decoder.next_transport_frame(state) {
                Ok(Decrypted::Frame(mut frame, state)) => {
                    self.state = Some(state);
                    each(frame.header().msg_type(), frame.payload());
                }
                Ok(Decrypted::Incomplete(_, state)) => self.state = Some(state),
                Err(_) => return false,
            }
        }
        self.begun = rest.to_vec();
        true
    }
}

/// Seals what is sent.
pub(super) struct Sealer {
    encoder: NoiseEncoder,
    state: TransportEncryptState,
}

impl Sealer {
    /// Seals frames that stand one after the other. `None` if they do not.
    pub fn seal(&mut self, mut frames: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = Vec::new();
        while !frames.is_empty() {
            // The last three bytes of a header are the payload's length, the lowest first.
            let [_, _, _, a, b, c] = *frames.first_chunk::<SV2_FRAME_HEADER_SIZE>()?;
            let len = usize::try_from(u32::from_le_bytes([a, b, c, 0])).ok()?;
            let (frame, rest) = frames.split_at_checked(SV2_FRAME_HEADER_SIZE.checked_add(len)?)?;
            let frame = SerializedFrame::from_bytes(frame.to_vec()).ok()?;
            sealed.extend_from_slice(self.encoder.encode_transport(frame, &mut self.state).ok()?.as_ref());
            frames = rest;
        }
        Some(sealed)
    }
}

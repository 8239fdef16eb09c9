//! Stratum V2, by a miner of channels that shares no code with the server but the protocol's own crates.

use super::support::{ADDRESS, EASY, LONG, Pool, config, job};
use alloy_primitives::{B256, U256};
use bmm_pool::{
    difficulty::ShareDifficulty,
    server::{AuthorityKey, ListenV2, ServerConfig, ServerError},
};
use bmm_pow::auxpow::merkle::{fold, sha256d};
use bmm_scrypt::Hasher;
use std::time::Duration;
use stratum_core::{
    binary_sv2::{self, B032, GetSize, Serialize, Str0255, from_bytes},
    bitcoin::base58,
    codec_sv2::{
        Decrypted, Handshake, MessageFrame, NoiseDecoder, NoiseEncoder, TransportDecryptState, TransportEncryptState,
    },
    common_messages_sv2::{Protocol, SetupConnection},
    mining_sv2::{
        NewExtendedMiningJob, NewMiningJob, OpenExtendedMiningChannel, OpenExtendedMiningChannelSuccess,
        OpenMiningChannelError, OpenStandardMiningChannel, OpenStandardMiningChannelSuccess, SetNewPrevHash, SetTarget,
        SubmitSharesError, SubmitSharesExtended, SubmitSharesStandard, SubmitSharesSuccess, UpdateChannel,
    },
    noise_sv2::{INITIATOR_EXPECTED_HANDSHAKE_MESSAGE_SIZE, Initiator},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const SETUP: u8 = 0x00;
const SETUP_SUCCESS: u8 = 0x01;
const SETUP_ERROR: u8 = 0x02;
const RECONNECT: u8 = 0x04;
const OPEN_STANDARD: u8 = 0x10;
const OPEN_STANDARD_SUCCESS: u8 = 0x11;
const OPEN_ERROR: u8 = 0x12;
const OPEN_EXTENDED: u8 = 0x13;
const OPEN_EXTENDED_SUCCESS: u8 = 0x14;
const STANDARD_JOB: u8 = 0x15;
const UPDATE: u8 = 0x16;
const SUBMIT_STANDARD: u8 = 0x1a;
const SUBMIT_EXTENDED: u8 = 0x1b;
const ACCEPTED: u8 = 0x1c;
const REFUSED: u8 = 0x1d;
const EXTENDED_JOB: u8 = 0x1f;
const PREV_HASH: u8 = 0x20;
const TARGET: u8 = 0x21;

/// Channels' messages have the highest bit of the extension set.
fn is_of_channel(kind: u8) -> bool {
    matches!(kind, UPDATE | SUBMIT_STANDARD | SUBMIT_EXTENDED)
}

struct Miner {
    stream: TcpStream,
    encoder: NoiseEncoder,
    decoder: NoiseDecoder,
    seals: TransportEncryptState,
    opens: Option<TransportDecryptState>,
}

/// What a share is made of.
#[derive(Clone, Debug, Default)]
struct Work {
    channel: u32,
    job: u32,
    version: u32,
    time: u32,
    bits: u32,
    previous: [u8; 32],
    root: B256,
    target: U256,
    nonce: u32,
}

fn authority() -> AuthorityKey {
    AuthorityKey::new([7; 32]).expect("a key")
}

fn v2_config() -> ServerConfig {
    let mut config = config();
    let start = ShareDifficulty::parts(EASY);
    config.listen_v2 = vec![ListenV2 { address: "127.0.0.1:0".parse().unwrap(), start }];
    config.authority = Some(authority());
    config
}

fn start() -> Pool {
    Pool::with(v2_config(), job(1, 1 << 50, true))
}

impl Miner {
    async fn connect(pool: &Pool) -> Self {
        let mut stream = TcpStream::connect(pool.server.addresses()[1]).await.unwrap();
        // As miners have it from the pool's URL.
        let public = base58::decode_check(&authority().public()).unwrap();
        assert_eq!(public[..2], [1, 0]);
        let initiator = Initiator::from_raw_k(public[2..].try_into().unwrap()).unwrap();
        let (first, handshake) = Handshake::initiator(initiator).step_0().unwrap();
        stream.write_all(first.payload()).await.unwrap();
        let mut second = [0; INITIATOR_EXPECTED_HANDSHAKE_MESSAGE_SIZE];
        stream.read_exact(&mut second).await.unwrap();
        let (seals, opens) = handshake.step_2(second).unwrap().split();
        let (encoder, decoder) = (NoiseEncoder::new(), NoiseDecoder::new());
        Self { stream, encoder, decoder, seals, opens: Some(opens) }
    }

    async fn send(&mut self, kind: u8, message: impl Serialize + GetSize) {
        let frame = MessageFrame::from_message(message, kind, 0, is_of_channel(kind)).unwrap();
        let sealed = self.encoder.encode_transport(frame, &mut self.seals).unwrap();
        let _ = self.stream.write_all(sealed.as_ref()).await;
    }

    /// The next message; `None` at the end.
    async fn message(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            let read = self.stream.read_exact(self.decoder.writable());
            timeout(LONG, read).await.expect("the server says something").ok()?;
            match self.decoder.next_transport_frame(self.opens.take().unwrap()).unwrap() {
                Decrypted::Frame(mut frame, state) => {
                    self.opens = Some(state);
                    return Some((frame.header().msg_type(), frame.payload().to_vec()));
                }
                Decrypted::Incomplete(_, state) => self.opens = Some(state),
            }
        }
    }

    /// The payload of the next message, which must be of a kind.
    async fn expect(&mut self, kind: u8) -> Vec<u8> {
        let (is, payload) = self.message().await.expect("the server goes on");
        assert_eq!(is, kind, "{payload:02x?}");
        payload
    }

    async fn set_up(&mut self, flags: u32) {
        let text = |text| Str0255::try_from(text).unwrap();
        let message = SetupConnection {
            protocol: Protocol::MiningProtocol,
            min_version: 2,
            max_version: 2,
            flags,
            endpoint_host: text("localhost"),
            endpoint_port: 1,
            vendor: text("maker"),
            hardware_version: text(""),
            firmware: text("1.2"),
            device_id: text(""),
        };
        self.send(SETUP, message).await;
    }

    /// A miner that has set its connection up.
    async fn ready(pool: &Pool) -> Self {
        let mut miner = Self::connect(pool).await;
        miner.set_up(0).await;
        miner.expect(SETUP_SUCCESS).await;
        miner
    }

    async fn open_extended(&mut self, worker: &str) -> (Vec<u8>, u32, U256) {
        let user = format!("{ADDRESS}.{worker}");
        let message = OpenExtendedMiningChannel {
            request_id: 5,
            user_identity: user.as_str().try_into().unwrap(),
            nominal_hash_rate: 0.0,
            max_target: (&[0xff; 32][..]).try_into().unwrap(),
            min_extranonce_size: 4,
        };
        self.send(OPEN_EXTENDED, message).await;
        let mut payload = self.expect(OPEN_EXTENDED_SUCCESS).await;
        let success: OpenExtendedMiningChannelSuccess = from_bytes(&mut payload).unwrap();
        assert_eq!((success.request_id, success.extranonce_size), (5, 8));
        let target = U256::from_le_slice(success.target.as_bytes());
        (success.extranonce_prefix.as_bytes().to_vec(), success.channel_id, target)
    }

    /// Takes a job for an extended channel with its own extra nonce, and the block before it where `fresh`.
    async fn extended_work(&mut self, prefix: &[u8], extranonce: [u8; 8], last: &Work, fresh: bool) -> Work {
        let mut payload = self.expect(EXTENDED_JOB).await;
        let told: NewExtendedMiningJob = from_bytes(&mut payload).unwrap();
        assert!(told.version_rolling_allowed);
        let coinbase =
            [told.coinbase_tx_prefix.as_bytes(), prefix, &extranonce, told.coinbase_tx_suffix.as_bytes()].concat();
        let branch: Vec<B256> =
            told.merkle_path.into_inner().iter().map(|node| B256::from_slice(node.as_bytes())).collect();
        let root = fold(sha256d(&coinbase), &branch, 0);
        let (channel, job, version, time) = (told.channel_id, told.job_id, told.version, told.min_ntime.into_inner());
        let work = Work { channel, job, version, root, nonce: 0, ..last.clone() };
        assert_eq!(time.is_none(), fresh, "a job for the future has no time");
        if fresh { self.block(work).await } else { Work { time: time.unwrap(), ..work } }
    }

    async fn block(&mut self, work: Work) -> Work {
        let mut payload = self.expect(PREV_HASH).await;
        let block: SetNewPrevHash = from_bytes(&mut payload).unwrap();
        assert_eq!((block.channel_id, block.job_id), (work.channel, work.job));
        let previous = block.prev_hash.as_bytes().try_into().unwrap();
        Work { previous, time: block.min_ntime, bits: block.nbits, ..work }
    }

    async fn submit_extended(&mut self, work: &Work, sequence: u32, extranonce: &[u8]) {
        let message = SubmitSharesExtended {
            channel_id: work.channel,
            sequence_number: sequence,
            job_id: work.job,
            nonce: work.nonce,
            ntime: work.time,
            version: work.version,
            extranonce: B032::try_from(extranonce).unwrap(),
        };
        self.send(SUBMIT_EXTENDED, message).await;
    }

    async fn accepted(&mut self) -> SubmitSharesSuccess {
        from_bytes(&mut self.expect(ACCEPTED).await).unwrap()
    }

    async fn refused(&mut self) -> String {
        let mut payload = self.expect(REFUSED).await;
        let error: SubmitSharesError = from_bytes(&mut payload).unwrap();
        String::from_utf8(error.error_code.as_bytes().to_vec()).unwrap()
    }
}

impl Work {
    /// Finds a nonce after the last one.
    fn mine(&mut self) {
        let mut kernel = Hasher::new();
        let lanes = u32::try_from(kernel.lanes()).unwrap();
        loop {
            let first = self.nonce + 1;
            let header = |nonce: u32| -> [u8; 80] {
                let numbers = [self.time, self.bits, nonce].map(u32::to_le_bytes).concat();
                [&self.version.to_le_bytes()[..], &self.previous, self.root.as_slice(), &numbers]
                    .concat()
                    .try_into()
                    .unwrap()
            };
            let headers: Vec<_> = (first..first + lanes).map(header).collect();
            let mut hashes = vec![[0; 32]; headers.len()];
            kernel.hash(&headers, &mut hashes);
            let found = (first..).zip(&hashes).find(|(_, hash)| U256::from_le_bytes(**hash) <= self.target);
            if let Some((nonce, _)) = found {
                self.nonce = nonce;
                return;
            }
            self.nonce += lanes;
        }
    }
}

#[tokio::test]
async fn extended_channels_are_given_work_and_paid() {
    let pool = start();
    let mut miner = Miner::ready(&pool).await;
    let (prefix, channel, target) = miner.open_extended("rig").await;
    let extranonce = [9; 8];
    let none = Work { target, ..Work::default() };
    let mut work = miner.extended_work(&prefix, extranonce, &none, true).await;
    assert_eq!(work.channel, channel);
    work.mine();
    miner.submit_extended(&work, 1, &extranonce).await;
    let success = miner.accepted().await;
    assert_eq!(
        (success.last_sequence_number, success.new_submits_accepted_count, success.new_shares_sum),
        (1, 1, EASY)
    );
    assert_eq!(pool.logged(), 1);
    miner.submit_extended(&work, 2, &extranonce).await;
    assert_eq!(miner.refused().await, "duplicate-share");
    miner.submit_extended(&work, 3, &extranonce[..4]).await;
    assert_eq!(miner.refused().await, "bad-extranonce-size");
    // The version may be rolled within the mask.
    let mut rolled = Work { version: work.version | 0x1000_2000, ..work.clone() };
    rolled.mine();
    miner.submit_extended(&rolled, 4, &extranonce).await;
    miner.accepted().await;
    let outside = Work { version: work.version ^ 1, ..work.clone() };
    miner.submit_extended(&outside, 5, &extranonce).await;
    assert_eq!(miner.refused().await, "invalid-share");
    let elsewhere = Work { channel: 77, ..work.clone() };
    miner.submit_extended(&elsewhere, 6, &extranonce).await;
    assert_eq!(miner.refused().await, "invalid-channel-id");

    pool.jobs.send(job(2, 1 << 50, false)).unwrap();
    let mut next = miner.extended_work(&prefix, extranonce, &work, false).await;
    work.mine();
    miner.submit_extended(&work, 7, &extranonce).await;
    miner.accepted().await;
    next.mine();
    miner.submit_extended(&next, 8, &extranonce).await;
    miner.accepted().await;
    pool.jobs.send(job(3, 1 << 50, true)).unwrap();
    miner.extended_work(&prefix, extranonce, &work, true).await;
    next.mine();
    miner.submit_extended(&next, 9, &extranonce).await;
    assert_eq!(miner.refused().await, "stale-share");
    let snapshot = &pool.server.stats().workers(None, 0)[0];
    assert_eq!((&*snapshot.worker, &*snapshot.agent, snapshot.counts.accepted), ("rig", "maker/1.2", 4));
    let Pool { server, jobs: _jobs, _folder, .. } = pool;
    let drain = tokio::spawn(server.drain());
    miner.expect(RECONNECT).await;
    assert!(miner.message().await.is_none());
    drain.await.unwrap();
}

#[tokio::test]
async fn standard_channels_choose_nothing_but_nonce_time_and_version() {
    let pool = start();
    let mut miner = Miner::ready(&pool).await;
    let message = OpenStandardMiningChannel {
        request_id: 8,
        user_identity: ADDRESS.try_into().unwrap(),
        nominal_hash_rate: 10.0,
        max_target: (&[0xff; 32][..]).try_into().unwrap(),
    };
    miner.send(OPEN_STANDARD, message).await;
    let mut payload = miner.expect(OPEN_STANDARD_SUCCESS).await;
    let success: OpenStandardMiningChannelSuccess = from_bytes(&mut payload).unwrap();
    assert_eq!(success.extranonce_prefix.as_bytes().len(), 12);
    let target = U256::from_le_slice(success.target.as_bytes());
    let channel = success.channel_id;
    let mut payload = miner.expect(STANDARD_JOB).await;
    let told: NewMiningJob = from_bytes(&mut payload).unwrap();
    let root = B256::from_slice(told.merkle_root.as_bytes());
    let work = Work { channel, job: told.job_id, version: told.version, root, target, ..Work::default() };
    let mut work = miner.block(work).await;
    for sequence in 0..3 {
        work.mine();
        let (channel_id, sequence_number, job_id) = (work.channel, sequence, work.job);
        let (nonce, ntime, version) = (work.nonce, work.time, work.version);
        let share = SubmitSharesStandard { channel_id, sequence_number, job_id, nonce, ntime, version };
        miner.send(SUBMIT_STANDARD, share).await;
        assert_eq!(miner.accepted().await.last_sequence_number, sequence);
    }
    // A standard channel's share is none of an extended channel.
    miner.submit_extended(&work, 9, &[0; 8]).await;
    assert_eq!(miner.refused().await, "invalid-channel-id");
    assert_eq!(pool.logged(), 3);
    pool.server.drain().await;
}

#[tokio::test]
async fn the_target_follows_what_a_miner_says() {
    let mut config = v2_config();
    config.difficulty.limits.greatest = ShareDifficulty::whole(1 << 20);
    let pool = Pool::with(config, job(1, 1 << 50, true));
    let mut miner = Miner::ready(&pool).await;
    let (prefix, channel_id, target) = miner.open_extended("rig").await;
    let extranonce = [1; 8];
    let none = Work { target, ..Work::default() };
    let mut work = miner.extended_work(&prefix, extranonce, &none, true).await;
    let lower: U256 = target >> 1u32;
    let maximum_target = lower.to_le_bytes::<32>();
    let maximum_target = (&maximum_target[..]).try_into().unwrap();
    miner.send(UPDATE, UpdateChannel { channel_id, nominal_hash_rate: 0.0, maximum_target }).await;
    let mut payload = miner.expect(TARGET).await;
    let told: SetTarget = from_bytes(&mut payload).unwrap();
    let told = U256::from_le_slice(told.maximum_target.as_bytes());
    assert!(told <= lower && told > lower >> 1u32);
    let mut next = miner.extended_work(&prefix, extranonce, &Work { target: told, ..work.clone() }, false).await;
    // What was given before is judged as it was given, and is another header.
    assert_ne!(next.version, work.version);
    work.mine();
    next.mine();
    miner.submit_extended(&work, 1, &extranonce).await;
    assert_eq!(miner.accepted().await.new_shares_sum, EASY);
    miner.submit_extended(&next, 2, &extranonce).await;
    assert!(miner.accepted().await.new_shares_sum > EASY);
    pool.server.drain().await;
}

#[tokio::test]
async fn what_is_not_taken_is_refused() {
    let pool = start();
    let mut unset = Miner::connect(&pool).await;
    for _ in 0..5 {
        let maximum_target = (&[1; 32][..]).try_into().unwrap();
        unset.send(UPDATE, UpdateChannel { channel_id: 1, nominal_hash_rate: 0.0, maximum_target }).await;
    }
    assert!(unset.message().await.is_none(), "nothing goes before the connection is set up");
    let mut selecting = Miner::connect(&pool).await;
    selecting.set_up(0b10).await;
    selecting.expect(SETUP_ERROR).await;

    let mut miner = Miner::ready(&pool).await;
    let mut open = async |user: &str, max_target: [u8; 32], size: u16| {
        let message = OpenExtendedMiningChannel {
            request_id: 1,
            user_identity: user.try_into().unwrap(),
            nominal_hash_rate: 1.0,
            max_target: (&max_target[..]).try_into().unwrap(),
            min_extranonce_size: size,
        };
        miner.send(OPEN_EXTENDED, message).await;
        let mut payload = miner.expect(OPEN_ERROR).await;
        let error: OpenMiningChannelError = from_bytes(&mut payload).unwrap();
        String::from_utf8(error.error_code.as_bytes().to_vec()).unwrap()
    };
    assert_eq!(open("nobody", [0xff; 32], 8).await, "unknown-user");
    assert_eq!(open(ADDRESS, [0xff; 32], 9).await, "unsupported-min-extranonce-size");
    assert_eq!(open(ADDRESS, [0; 32], 8).await, "max-target-out-of-range");
    pool.server.drain().await;
}

#[tokio::test]
async fn what_is_no_frame_ends_the_connection() {
    let mut config = v2_config();
    config.limits.handshake = Duration::from_millis(300);
    config.limits.connects_at_once = 100;
    let pool = Pool::with(config, job(1, 1 << 50, true));
    // Any 64 bytes are a key of the handshake; what follows is then no frame.
    let mut noise = TcpStream::connect(pool.server.addresses()[1]).await.unwrap();
    noise.write_all(&[5; 64 + 5_000]).await.unwrap();
    let mut bytes = Vec::new();
    let _ = timeout(LONG, noise.read_to_end(&mut bytes)).await.expect("it ends");
    let mut silent = TcpStream::connect(pool.server.addresses()[1]).await.unwrap();
    let _ = timeout(LONG, silent.read_to_end(&mut bytes)).await.expect("it ends");
    // A frame that says to be of 1 MiB: it ends before that came.
    let mut long = Miner::ready(&pool).await;
    let blob = vec![0; 60_000];
    let message = binary_sv2::B064K::try_from(&blob[..]).unwrap();
    long.send(0x7f, message).await;
    assert!(long.message().await.is_none());
    let mut miner = Miner::ready(&pool).await;
    miner.open_extended("rig").await;
    pool.server.drain().await;
}

#[tokio::test]
async fn a_place_without_a_key_is_refused() {
    let mut config = v2_config();
    config.authority = None;
    let (_jobs, watched) = tokio::sync::watch::channel(job(1, 2, true));
    let log = |_: &[bmm_pool::Share]| Err::<std::ops::Range<u64>, _>("no log");
    let error = bmm_pool::Server::start(config, watched, log, tokio::sync::mpsc::channel(1).0).err();
    assert!(matches!(error, Some(ServerError::NoAuthority(_))));
    assert!(AuthorityKey::new([0; 32]).is_none());
    assert!(!format!("{:?}", authority()).contains("0707"), "the secret is not shown");
}

//! Miners that have mined already.

use super::super::Outcome;
use alloy_primitives::{B256, U256, hex};
use bmm_pow::auxpow::merkle::{fold, sha256d};
use bmm_scrypt::Hasher;
use mio::{Events, Interest, Poll, Token};
use serde_json::Value;
use std::{
    collections::VecDeque,
    io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

const USER: &str = "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed";
/// Longest that a server may be silent.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest sleep of a sender that goes by the clock.
const NAP: Duration = Duration::from_micros(200);

/// A connection, and its shares.
struct Miner {
    stream: mio::net::TcpStream,
    /// All of a header but its nonce.
    header: [u8; 80],
    job: String,
    time: String,
    target: U256,
    nonce: u32,
    shares: VecDeque<u32>,
    /// When the shares under way were due.
    due: VecDeque<Instant>,
    begun: Vec<u8>,
}

impl Miner {
    fn connect(address: SocketAddr, number: usize) -> Outcome<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let hello = format!(
            "{{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"bench/1\"]}}\n{{\"id\":2,\"method\":\"mining.authorize\",\"params\":[\"{USER}.{number}\",\"x\"]}}\n"
        );
        stream.write_all(hello.as_bytes())?;
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let (mut extranonce1, mut difficulty) = (String::new(), 1.0);
        let params = loop {
            let line: Value = serde_json::from_str(&lines.next().ok_or("the server closed a connection")??)?;
            match line["method"].as_str() {
                Some("mining.set_difficulty") => difficulty = line["params"][0].as_f64().ok_or("a difficulty")?,
                Some("mining.notify") => break line["params"].clone(),
                _ if line["id"] == 1 => {
                    line["result"][1].as_str().ok_or("an extra nonce")?.clone_into(&mut extranonce1);
                }
                _ => {}
            }
        };
        drop(lines);
        stream.set_nonblocking(true)?;
        let text = |place: usize| params[place].as_str().ok_or("a text");
        let coinbase = hex::decode([text(2)?, &extranonce1, "0000000000000000", text(3)?].concat())?;
        let branch: Vec<B256> = serde_json::from_value(params[4].clone())?;
        let mut header = [0; 80];
        header[..4].copy_from_slice(&u32::from_str_radix(text(5)?, 16)?.to_le_bytes());
        hex::decode_to_slice(text(1)?, &mut header[4..36])?;
        header[4..36].chunks_exact_mut(4).for_each(<[u8]>::reverse);
        header[36..68].copy_from_slice(fold(sha256d(&coinbase), &branch, 0).as_slice());
        header[68..72].copy_from_slice(&u32::from_str_radix(text(7)?, 16)?.to_le_bytes());
        header[72..76].copy_from_slice(&u32::from_str_radix(text(6)?, 16)?.to_le_bytes());
        let target = (U256::from(0xffff) << 240) / U256::from(difficulty * 65_536.0);
        Ok(Self {
            stream: mio::net::TcpStream::from_std(stream),
            header,
            job: text(0)?.to_owned(),
            time: text(7)?.to_owned(),
            target,
            nonce: 0,
            shares: VecDeque::new(),
            due: VecDeque::new(),
            begun: Vec::new(),
        })
    }

    /// Finds shares until there are so many.
    fn mine(&mut self, count: usize, kernel: &mut Hasher) {
        let mut headers = vec![self.header; kernel.lanes()];
        let mut hashes = vec![[0; 32]; headers.len()];
        while self.shares.len() < count {
            let first = self.nonce;
            for header in &mut headers {
                header[76..].copy_from_slice(&self.nonce.to_le_bytes());
                self.nonce += 1;
            }
            kernel.hash(&headers, &mut hashes);
            let met = |hash: &[u8; 32]| U256::from_le_bytes(*hash) <= self.target;
            self.shares.extend((first..).zip(&hashes).filter(|(_, hash)| met(hash)).map(|(nonce, _)| nonce));
        }
    }

    /// Sends the next share, if there is one; it was due at `due`.
    fn send(&mut self, number: usize, due: Instant) -> Outcome<bool> {
        let Some(nonce) = self.shares.pop_front() else { return Ok(false) };
        let (job, time) = (&self.job, &self.time);
        let line = format!(
            "{{\"id\":4,\"method\":\"mining.submit\",\"params\":[\"{USER}.{number}\",\"{job}\",\"0000000000000000\",\"{time}\",\"{nonce:08x}\"]}}\n"
        );
        // Far less than what the system keeps for a connection.
        self.stream.write_all(line.as_bytes())?;
        self.due.push_back(due);
        Ok(true)
    }

    /// Takes answers, and returns how long each share took. All of them must have been accepted.
    fn answers(&mut self, times: &mut Vec<Duration>) -> Outcome<()> {
        let mut bytes = [0; 4_096];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err("the server closed a connection".into()),
                Ok(count) => self.begun.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        let Some(end) = self.begun.iter().rposition(|byte| *byte == b'\n') else { return Ok(()) };
        let now = Instant::now();
        for line in self.begun[..end].split(|byte| *byte == b'\n') {
            if line.starts_with(b"{\"id\":4,\"result\":true,") {
                let due = self.due.pop_front().ok_or("an answer to nothing")?;
                times.push(now.saturating_duration_since(due));
            } else if line.starts_with(b"{\"id\":4,") {
                return Err(format!("a good share was refused: {}", String::from_utf8_lossy(line)).into());
            }
        }
        self.begun.drain(..=end);
        Ok(())
    }
}

/// Many of them.
pub struct Miners {
    poll: Poll,
    miners: Vec<Miner>,
}

impl Miners {
    /// Connects so many, and waits until each has its job.
    pub fn connect(address: SocketAddr, count: usize) -> Outcome<Self> {
        let poll = Poll::new()?;
        let mut miners = Vec::with_capacity(count);
        for number in 0..count {
            let mut miner = Miner::connect(address, number)?;
            poll.registry().register(&mut miner.stream, Token(number), Interest::READABLE)?;
            miners.push(miner);
        }
        Ok(Self { poll, miners })
    }

    /// Mines until each has so many shares to send.
    pub fn mine(&mut self, each: usize) {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let part = self.miners.len().div_ceil(threads);
        thread::scope(|scope| {
            for some in self.miners.chunks_mut(part) {
                scope.spawn(move || {
                    let mut kernel = Hasher::new();
                    for miner in some {
                        miner.mine(each, &mut kernel);
                    }
                });
            }
        });
    }

    fn take_answers(&mut self, events: &mut Events, wait: Duration, times: &mut Vec<Duration>) -> Outcome<Vec<usize>> {
        match self.poll.poll(events, Some(wait)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        let heard: Vec<usize> = events.iter().map(|event| event.token().0).collect();
        for number in &heard {
            self.miners[*number].answers(times)?;
        }
        Ok(heard)
    }

    /// Each sends all that it has, one at a time. Returns how many shares that was.
    pub fn send_all(&mut self) -> Outcome<u64> {
        let (mut events, mut times, mut open) = (Events::with_capacity(1_024), Vec::new(), 0u64);
        for (number, miner) in self.miners.iter_mut().enumerate() {
            open += u64::from(miner.send(number, Instant::now())?);
        }
        let mut accepted = 0;
        while open > 0 {
            let heard = self.take_answers(&mut events, PATIENCE, &mut times)?;
            if heard.is_empty() {
                return Err("the server is silent".into());
            }
            accepted += times.len() as u64;
            open -= times.len() as u64;
            times.clear();
            for number in heard {
                let miner = &mut self.miners[number];
                if miner.due.is_empty() {
                    open += u64::from(miner.send(number, Instant::now())?);
                }
            }
        }
        Ok(accepted)
    }

    /// Sends `count` shares, `rate` a second, one miner after the other, whether answers have come or not. Returns how long each took.
    pub fn send_paced(&mut self, rate: f64, count: usize) -> Outcome<Vec<Duration>> {
        let (mut events, mut times) = (Events::with_capacity(1_024), Vec::with_capacity(count));
        let step = Duration::from_secs_f64(1.0 / rate);
        let (mut due, mut sent) = (Instant::now(), 0);
        let mut heard_at = Instant::now();
        while times.len() < count {
            while sent < count && Instant::now() >= due {
                let number = sent % self.miners.len();
                if !self.miners[number].send(number, due)? {
                    return Err("too few shares were mined".into());
                }
                (sent, due) = (sent + 1, due + step);
            }
            if !self.take_answers(&mut events, Duration::ZERO, &mut times)?.is_empty() {
                heard_at = Instant::now();
            } else if heard_at.elapsed() > PATIENCE {
                return Err("the server is silent".into());
            }
            thread::sleep(NAP.min(due.saturating_duration_since(Instant::now())));
        }
        Ok(times)
    }
}

//! The load: many connections on one thread, every request's bytes made before the clock starts.
//!
//! An answer costs two calls of the system, to read it and to write what follows, and its share of those that ask which connections
//! are ready: what the sender takes is not there for the server on the same cores.

use super::http::{PATIENCE, Request, frame, is_good, refused};
use crate::bench::Outcome;
use cpu_time::ProcessTime;
use mio::{Events, Interest, Poll, Token, net::TcpStream};
use std::{
    collections::VecDeque,
    io::{ErrorKind, Read as _, Write as _},
    net::SocketAddr,
    time::{Duration, Instant},
    vec,
};

/// Pause before what a full pool refused is sent again.
const FULL_PAUSE: Duration = Duration::from_millis(5);
/// Room for an answer at first.
const ROOM: usize = 64 << 10;

/// What the load cost its sender.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    /// From the first request to the last answer.
    pub wall: Duration,
    /// Processor time of this process meanwhile.
    pub cpu: Duration,
    /// Requests that were sent again because the server's pool was full.
    pub again: u64,
}

/// Sends each connection's requests one after another, all connections at once, and checks every answer.
pub fn drive(address: SocketAddr, connections: Vec<Vec<Request>>) -> Outcome<Sent> {
    let mut poll = Poll::new()?;
    let mut lines = Vec::with_capacity(connections.len());
    for requests in connections {
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(lines.len()), Interest::READABLE | Interest::WRITABLE)?;
        lines.push(Line::new(stream, requests));
    }
    let (started, cpu) = (Instant::now(), ProcessTime::now());
    let mut running: usize = 0;
    for line in &mut lines {
        running += usize::from(line.begin_next()?);
    }
    let mut events = Events::with_capacity(lines.len().max(1));
    let mut paused: VecDeque<(Instant, usize)> = VecDeque::new();
    while running > 0 {
        let wait = paused.front().map_or(PATIENCE, |(until, _)| until.saturating_duration_since(Instant::now()));
        match poll.poll(&mut events, Some(wait)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        if events.is_empty() && paused.is_empty() {
            return Err(format!("no answer for {} s", PATIENCE.as_secs()).into());
        }
        for event in &events {
            let Token(line) = event.token();
            match lines[line].go_on()? {
                Step::Waits => {}
                Step::Paused => paused.push_back((Instant::now() + FULL_PAUSE, line)),
                Step::Done => running -= 1,
            }
        }
        while let Some((_, line)) = paused.pop_front_if(|(until, _)| *until <= Instant::now()) {
            lines[line].resume()?;
        }
    }
    Ok(Sent { wall: started.elapsed(), cpu: cpu.elapsed(), again: lines.iter().map(|line| line.again).sum() })
}

/// What a connection does next.
enum Step {
    /// It waits for the server.
    Waits,
    /// It waits until the server may have room.
    Paused,
    /// All its requests are answered.
    Done,
}

/// A connection under load.
struct Line {
    stream: TcpStream,
    requests: vec::IntoIter<Request>,
    /// The request that is under way; none when all are answered.
    open: Option<Request>,
    /// Bytes of it that are written.
    written: usize,
    paused: bool,
    buffer: Vec<u8>,
    /// Bytes of the answer in `buffer`.
    filled: usize,
    again: u64,
}

impl Line {
    fn new(stream: TcpStream, requests: Vec<Request>) -> Self {
        let buffer = vec![0; ROOM];
        let requests = requests.into_iter();
        Self { stream, requests, open: None, written: 0, paused: false, buffer, filled: 0, again: 0 }
    }

    /// Begins with the next request; false if there is none.
    fn begin_next(&mut self) -> Outcome<bool> {
        self.open = self.requests.next();
        self.begin()?;
        Ok(self.open.is_some())
    }

    /// Begins to write the open request.
    fn begin(&mut self) -> Outcome<()> {
        (self.written, self.filled) = (0, 0);
        self.write()
    }

    /// Sends again what the server had no room for.
    fn resume(&mut self) -> Outcome<()> {
        self.paused = false;
        self.begin()
    }

    /// Writes as much as goes.
    fn write(&mut self) -> Outcome<()> {
        let bytes = self.open.as_ref().map_or(&[][..], |request| &request.bytes);
        while self.written < bytes.len() {
            match self.stream.write(&bytes[self.written..]) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Goes on when the connection has become readable or writable.
    fn go_on(&mut self) -> Outcome<Step> {
        let Some(request) = self.open.as_ref().filter(|_| !self.paused) else { return Ok(Step::Waits) };
        if self.written < request.bytes.len() {
            self.write()?;
        }
        let Some((start, end)) = self.read()? else { return Ok(Step::Waits) };
        let (body, open) = (&self.buffer[start..end], self.open.as_ref().ok_or("nothing was asked")?);
        if is_good(body, open.calls) {
            return Ok(if self.begin_next()? { Step::Waits } else { Step::Done });
        }
        self.open = Some(refused(open, body)?);
        self.again += 1;
        self.paused = true;
        Ok(Step::Paused)
    }

    /// Reads what is there, and returns where the answer's body is when it is whole.
    fn read(&mut self) -> Outcome<Option<(usize, usize)>> {
        loop {
            let room = self.buffer.len() - self.filled;
            let read = match self.stream.read(&mut self.buffer[self.filled..]) {
                Ok(0) => return Err("the server closed a connection".into()),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            self.filled += read;
            let framed = frame(&self.buffer[..self.filled])?;
            if let Some((start, end)) = framed.filter(|(_, end)| *end <= self.filled) {
                return Ok(Some((start, end)));
            }
            if read < room {
                // That was all there is; what follows makes itself known.
                return Ok(None);
            }
            let whole = framed.map_or(0, |(_, end)| end);
            self.buffer.resize(whole.max(2 * self.buffer.len()), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::{
        net::{TcpListener, TcpStream as Blocking},
        thread,
    };

    /// Answers one request after another with what `answer` makes of the number of those before.
    fn serve(answer: impl Fn(usize) -> String + Send + 'static) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a caller");
            let mut input = vec![0; 1 << 16];
            for number in 0.. {
                if !matches!(Blocking::read(&mut stream, &mut input), Ok(1..)) {
                    return;
                }
                let body = answer(number);
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                // In parts: what is not whole yet is waited for.
                for part in [&head[..20], &head[20..], &body[..3], &body[3..]] {
                    stream.write_all(part.as_bytes()).expect("the caller reads");
                    thread::yield_now();
                }
            }
        });
        address
    }

    #[test]
    fn every_request_is_answered_and_what_found_no_room_is_sent_again() {
        let address = serve(|number| match number {
            1 | 2 => r#"{"jsonrpc":"2.0","id":0,"error":{"message":"the pool is full"}}"#.to_owned(),
            3 => format!(r#"{{"jsonrpc":"2.0","id":0,"result":"{}"}}"#, "x".repeat(3 * ROOM)),
            _ => r#"{"jsonrpc":"2.0","id":0,"result":"0x1"}"#.to_owned(),
        });
        let requests = vec![Request::call("eth_chainId", &json!([])); 4];
        assert_eq!(drive(address, vec![requests, Vec::new()]).expect("answered").again, 2);
    }

    #[test]
    fn a_refusal_and_a_closed_connection_are_errors() {
        let requests = || vec![vec![Request::call("eth_chainId", &json!([])); 2]];
        let refusing = serve(|_| r#"{"jsonrpc":"2.0","id":0,"error":{"message":"no"}}"#.to_owned());
        assert!(drive(refusing, requests()).is_err());
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        thread::spawn(move || drop(listener.accept()));
        assert!(drive(address, requests()).is_err());
    }
}

//! The way of a TCP connection between the requester of a service and the service's port, over a stream between the two.
//!
//! The requester sends the job (32) and the port (2, big-endian); a byte answers, 1 if the service took the connection. What follows is
//! the connection's, both ways, until both have ended it or nothing has gone either way for [`IDLE`].

use alloy_primitives::B256;
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use parking_lot::Mutex;
use std::{io, net::TcpStream, time::Duration};
use tokio::time::{Instant, timeout};
use tokio_util::compat::TokioAsyncReadCompatExt;

/// Bytes that one direction holds at most.
const BUFFER_BYTES: usize = 64 << 10;
/// How long a connection may be silent.
const IDLE: Duration = Duration::from_mins(10);
/// How long the other side may take to ask or to answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a relayed connection is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayRequest {
    /// The service.
    pub job: B256,
    /// Its port.
    pub port: u16,
}

impl RelayRequest {
    /// Reads a request.
    pub async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Self> {
        let mut bytes = [0; 34];
        timeout(PATIENCE, stream.read_exact(&mut bytes)).await??;
        Ok(Self { job: B256::from_slice(&bytes[..32]), port: u16::from_be_bytes([bytes[32], bytes[33]]) })
    }

    /// Asks for the connection, and waits until the service has taken it.
    pub async fn ask<S: AsyncRead + AsyncWrite + Unpin>(self, stream: &mut S) -> io::Result<()> {
        let mut bytes = [0; 34];
        bytes[..32].copy_from_slice(self.job.as_slice());
        bytes[32..].copy_from_slice(&self.port.to_be_bytes());
        let exchange = async {
            stream.write_all(&bytes).await?;
            stream.flush().await?;
            let mut answer = [0];
            stream.read_exact(&mut answer).await?;
            if answer == [1] { Ok(()) } else { Err(io::ErrorKind::ConnectionRefused.into()) }
        };
        timeout(PATIENCE, exchange).await?
    }
}

/// Answers a request.
pub async fn answer_relay<S: AsyncWrite + Unpin>(stream: &mut S, taken: bool) -> io::Result<()> {
    let answer = async {
        stream.write_all(&[u8::from(taken)]).await?;
        stream.flush().await
    };
    timeout(PATIENCE, answer).await?
}

/// Carries bytes both ways until the end.
pub async fn relay<S: AsyncRead + AsyncWrite + Unpin>(stream: S, socket: TcpStream) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let (mut from, mut to) = stream.split();
    let (mut out, mut back) = tokio::net::TcpStream::from_std(socket)?.compat().split();
    let seen = Mutex::new(Instant::now());
    futures::try_join!(pump(&mut from, &mut back, &seen), pump(&mut out, &mut to, &seen))?;
    Ok(())
}

async fn pump<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    from: &mut R,
    to: &mut W,
    seen: &Mutex<Instant>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = match timeout(IDLE, from.read(&mut buffer)).await {
            Ok(Ok(count)) => count,
            // An end without a goodbye: the other direction is told as well.
            Ok(Err(_)) => 0,
            // The other direction may be busy.
            Err(_) if seen.lock().elapsed() < IDLE => continue,
            Err(elapsed) => return Err(elapsed.into()),
        };
        *seen.lock() = Instant::now();
        if read == 0 {
            return timeout(PATIENCE, to.close()).await?;
        }
        let write = async {
            to.write_all(&buffer[..read]).await?;
            to.flush().await
        };
        timeout(IDLE, write).await??;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[tokio::test]
    async fn bytes_go_both_ways_and_the_end_is_passed_on() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let socket = TcpStream::connect(listener.local_addr().expect("its address")).expect("connected");
        let (server, _) = listener.accept().expect("taken");
        let (one, other) = tokio::io::duplex(1_000);
        let relayed = tokio::spawn(relay(other.compat(), socket));
        let echo = tokio::task::spawn_blocking(move || io::copy(&mut &server, &mut &server));
        let mut one = one.compat();
        one.write_all(b"hello").await.expect("taken");
        one.close().await.expect("closed");
        let mut back = Vec::new();
        one.read_to_end(&mut back).await.expect("read");
        assert_eq!(back, b"hello");
        drop(echo.await);
        relayed.await.expect("no panic").expect("a good end");
    }

    #[tokio::test]
    async fn a_request_is_answered() {
        let (one, other) = tokio::io::duplex(100);
        let (mut one, mut other) = (one.compat(), other.compat());
        let request = RelayRequest { job: B256::repeat_byte(7), port: 19_443 };
        let serve = async {
            assert_eq!(RelayRequest::read(&mut other).await.expect("read"), request);
            answer_relay(&mut other, false).await.expect("answered");
        };
        let (asked, ()) = futures::join!(request.ask(&mut one), serve);
        assert_eq!(asked.expect_err("refused").kind(), io::ErrorKind::ConnectionRefused);
    }
}

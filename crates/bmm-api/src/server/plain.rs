//! The short way for the usual request: a POST of JSON with its length, on a connection that stays open.
//!
//! Only what is beyond doubt is served here. Everything else is left, unread, to [`super::http`]: what is refused, or is not as usual,
//! is refused or understood there.

use super::{Shared, pulse::Pulse};
use crate::envelope;
use hyper::body::Buf;
use std::{io, io::Write as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Longest head that is served here, in bytes. It is read anew from its beginning as long as it is not whole.
const MAX_HEAD_BYTES: usize = 4 << 10;

/// Header lines that are served here.
const MAX_HEADERS: usize = 24;

/// Buffers above this many bytes are given back after the request that needed them.
const KEPT_BYTES: usize = 256 << 10;

/// Answers up to this many bytes are written together with their head.
const COPIED_BYTES: usize = 16 << 10;

/// What is left to do for a connection.
pub(super) enum Left {
    /// The caller has closed it, or the server stops.
    Nothing,
    /// To serve the request that begins with these bytes, and those that follow.
    Request(Vec<u8>),
}

/// The head of a request.
enum Head {
    /// Not whole yet.
    Part,
    /// Not for here.
    Other,
    /// A usual one, of `len` bytes, followed by `body` bytes; from a page of `origin`, which may read the answer.
    Usual { len: usize, body: usize, origin: Option<String> },
}

/// Serves usual requests one after another until another one comes.
pub(super) async fn serve(stream: &mut TcpStream, shared: &Shared, pulse: &Pulse) -> io::Result<Left> {
    let mut input = Vec::with_capacity(MAX_HEAD_BYTES);
    let (mut output, mut head) = (Vec::new(), Vec::new());
    loop {
        let (len, body, origin) = loop {
            match read_head(&input, shared) {
                Head::Usual { len, body, origin } => break (len, body, origin),
                Head::Part if input.len() < MAX_HEAD_BYTES => {}
                Head::Part | Head::Other => return Ok(Left::Request(input)),
            }
            if input.is_empty() {
                pulse.rest();
            }
            if *shared.stopped.borrow() || stream.read_buf(&mut input).await? == 0 {
                return Ok(Left::Nothing);
            }
            pulse.move_on();
        };
        let end = len.saturating_add(body);
        input.reserve(end.saturating_sub(input.len()));
        while input.len() < end {
            if stream.read_buf(&mut input).await? == 0 {
                return Ok(Left::Nothing);
            }
        }
        let request = &input[len..end];
        if !envelope::may_be_json(request) {
            return Ok(Left::Request(input));
        }
        pulse.work();
        output.clear();
        envelope::answer(&shared.context, None, request, &mut output).await;
        pulse.worked();
        write(stream, pulse, &mut head, origin.as_deref(), &output).await?;
        input.drain(..end);
        for buffer in [&mut input, &mut output] {
            if buffer.capacity() > KEPT_BYTES && buffer.len() < KEPT_BYTES {
                buffer.shrink_to(KEPT_BYTES);
            }
        }
    }
}

/// Writes an answer; `head` is room for its head, or for all of it where that is short.
async fn write(
    stream: &mut TcpStream,
    pulse: &Pulse,
    head: &mut Vec<u8>,
    origin: Option<&str>,
    body: &[u8],
) -> io::Result<()> {
    head.clear();
    write!(head, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n", body.len())?;
    if let Some(origin) = origin {
        write!(head, "access-control-allow-origin: {origin}\r\nvary: origin\r\n")?;
    }
    head.extend_from_slice(b"\r\n");
    let body = if body.len() <= COPIED_BYTES {
        head.extend_from_slice(body);
        &[]
    } else {
        body
    };
    let mut answer = Buf::chain(head.as_slice(), body);
    while answer.has_remaining() {
        // Writing from one place is cheaper than from two.
        let written = match body {
            [] => {
                let written = stream.write(answer.chunk()).await?;
                answer.advance(written);
                written
            }
            _ => stream.write_buf(&mut answer).await?,
        };
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        pulse.beat();
    }
    Ok(())
}

/// Reads the head of a usual request: its length and that of the body.
pub(super) fn usual(input: &[u8], shared: &Shared) -> Option<(usize, usize)> {
    match read_head(input, shared) {
        Head::Usual { len, body, .. } => Some((len, body)),
        Head::Part | Head::Other => None,
    }
}

/// Reads the head at the beginning of `input`.
fn read_head(input: &[u8], shared: &Shared) -> Head {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let len = match request.parse(input) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Head::Part,
        Err(_) => return Head::Other,
    };
    if request.method != Some("POST") || request.version != Some(1) || !request.path.is_some_and(|p| p.starts_with('/'))
    {
        return Head::Other;
    }
    let (mut host, mut body, mut json, mut origin) = (None, None, false, None);
    for header in request.headers.iter() {
        let Ok(value) = std::str::from_utf8(header.value) else { return Head::Other };
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("host") && host.is_none() {
            host = Some(value);
        } else if is("content-length") && body.is_none() {
            body = value.bytes().all(|b| b.is_ascii_digit()).then(|| value.parse::<u32>().ok()).flatten();
            if body.is_none() {
                return Head::Other;
            }
        } else if is("content-type") && !json {
            json = super::http::is_json(value);
        } else if is("origin") && origin.is_none() {
            origin = Some(value);
        } else if (is("connection") && !value.eq_ignore_ascii_case("keep-alive"))
            || ["host", "content-length", "content-type", "origin", "transfer-encoding", "expect", "upgrade"]
                .into_iter()
                .any(is)
        {
            return Head::Other;
        }
    }
    let (Some(host), Some(body), true) = (host, body, json) else { return Head::Other };
    if !shared.gate.host_allowed(host) || body > shared.context.config.max_request_bytes {
        return Head::Other;
    }
    let origin = origin.filter(|origin| shared.gate.origin_allowed(origin)).map(str::to_owned);
    usize::try_from(body).map_or(Head::Other, |body| Head::Usual { len, body, origin })
}

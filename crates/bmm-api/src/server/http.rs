//! All of HTTP/1.1: preflights of browsers, upgrades to WebSocket, refusals, and requests that are not as usual.

use super::{Shared, pulse::Pulse, ws};
use crate::{
    envelope,
    error::RpcError,
    gate::{self, HttpResponse, Verdict},
};
use http_body_util::{BodyExt as _, Collected, Full, LengthLimitError, Limited};
use hyper::{
    Method, Request, Response,
    body::{Buf as _, Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
    upgrade::OnUpgrade,
};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use soketto::handshake::http::{Server as Handshake, is_upgrade_request};
use std::{
    convert::Infallible,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// Whether a content type says JSON. A form of a page elsewhere cannot say so without asking.
pub(super) fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    ["application/json", "application/json-rpc", "application/jsonrequest"]
        .iter()
        .any(|json| json.eq_ignore_ascii_case(kind))
}

/// Serves a connection of which `read` has been read already, until it is closed.
pub(super) async fn serve(
    stream: TcpStream,
    read: Vec<u8>,
    shared: Arc<Shared>,
    pulse: Arc<Pulse>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    pulse.move_on();
    let stream = Watched { read: read.into(), stream, pulse: Arc::clone(&pulse) };
    let upgrade = Mutex::new(None);
    let service = service_fn(|request| {
        let (shared, pulse, upgrade) = (&shared, &pulse, &upgrade);
        async move { Ok::<_, Infallible>(respond(shared, pulse, upgrade, request).await) }
    });
    {
        let mut connection =
            pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades());
        tokio::select! {
            ended = connection.as_mut() => ended?,
            () = shared.stopped() => {
                connection.as_mut().graceful_shutdown();
                connection.await?;
            }
        }
    }
    let upgrade = upgrade.into_inner();
    match upgrade {
        Some(upgrade) => ws::serve(upgrade.await?, shared, pulse).await,
        None => Ok(()),
    }
}

async fn respond(
    shared: &Shared,
    pulse: &Pulse,
    upgrade: &Mutex<Option<OnUpgrade>>,
    mut request: Request<Incoming>,
) -> HttpResponse {
    pulse.beat();
    let origin = match shared.gate.check(&request) {
        Verdict::Done(response) => return response,
        Verdict::Serve(origin) => origin,
    };
    if is_upgrade_request(&request) {
        return match Handshake::new().receive_request(&request) {
            Ok(accepted) => {
                *upgrade.lock() = Some(hyper::upgrade::on(&mut request));
                accepted.map(|()| Full::default())
            }
            Err(error) => gate::plain(400, format!("This is no request for a WebSocket: {error}.\n")),
        };
    }
    let mut response = post(shared, pulse, request).await;
    if let Some(origin) = origin {
        gate::allow_origin(&mut response, &origin);
    }
    response
}

/// Answers JSON-RPC.
async fn post(shared: &Shared, pulse: &Pulse, request: Request<Incoming>) -> HttpResponse {
    if request.method() != Method::POST {
        return gate::plain(405, "Use POST for JSON-RPC.\n");
    }
    let kind = request.headers().get("content-type").and_then(|value| value.to_str().ok());
    if !kind.is_some_and(is_json) {
        return gate::plain(415, "Send JSON-RPC with `content-type: application/json`.\n");
    }
    let most = shared.context.config.max_request_bytes;
    let body = Limited::new(request.into_body(), usize::try_from(most).unwrap_or(usize::MAX)).collect().await;
    let mut out = Vec::new();
    let status = match body.map(Collected::to_bytes) {
        Ok(body) => {
            pulse.work();
            envelope::answer(&shared.context, None, &body, &mut out).await;
            pulse.worked();
            if envelope::may_be_json(&body) { 200 } else { 400 }
        }
        Err(error) if error.is::<LengthLimitError>() => {
            envelope::refuse(&mut out, &RpcError::RequestTooLong(most));
            413
        }
        Err(error) => return gate::plain(400, format!("The request could not be read: {error}.\n")),
    };
    let response = Response::builder().status(status).header("content-type", "application/json");
    response.body(Full::new(out.into())).expect("a known status and header")
}

/// A stream of which a part has been read already, and whose progress is noted.
struct Watched {
    read: Bytes,
    stream: TcpStream,
    pulse: Arc<Pulse>,
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let len = self.read.len().min(buf.remaining());
        buf.put_slice(&self.read[..len]);
        self.read.advance(len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if written.is_ready() {
            self.pulse.beat();
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        if written.is_ready() {
            self.pulse.beat();
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

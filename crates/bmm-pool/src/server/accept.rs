//! Lets miners in.

use super::{ServerError, Shared, config::Listen, conn};
use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    time,
};
use tokio_rustls::TlsAcceptor;

/// Connections that the system keeps until they are accepted.
const BACKLOG: u32 = 1_024;
/// Bytes that the system keeps for a miner that does not read.
const SEND_BYTES: u32 = 64 << 10;
/// Bytes that the system takes from a miner before the server does.
const RECEIVE_BYTES: u32 = 32 << 10;
/// Pause after the system refused a connection (too many open files, say), so that the loop does not spin.
const PAUSE: Duration = Duration::from_millis(50);

/// Opens a place to listen at.
pub(super) fn bind(address: SocketAddr) -> Result<TcpListener, ServerError> {
    let open = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.set_send_buffer_size(SEND_BYTES)?;
        socket.set_recv_buffer_size(RECEIVE_BYTES)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    open().map_err(|source| ServerError::Listen { address, source })
}

/// Lets miners in at one place until the server drains.
pub(super) async fn run(shared: Arc<Shared>, listener: TcpListener, listen: Listen, tls: Option<TlsAcceptor>) {
    let mut draining = shared.draining();
    loop {
        let accepted = tokio::select! {
            _ = draining.wait_for(|draining| *draining) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => admit(&shared, &listen, tls.as_ref(), stream, peer.ip()),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                time::sleep(PAUSE).await;
            }
        }
    }
}

fn admit(shared: &Arc<Shared>, listen: &Listen, tls: Option<&TlsAcceptor>, stream: TcpStream, peer: IpAddr) {
    let open = shared.open.fetch_add(1, Ordering::AcqRel);
    let guest = if open >= shared.config.limits.connections {
        tracing::debug!(%peer, "a connection is refused: there are as many as may be");
        None
    } else if let Err(refusal) = shared.guard.admit(peer, shared.now()) {
        tracing::debug!(%peer, ?refusal, "a connection is refused");
        None
    } else {
        Some(Guest { shared: Arc::clone(shared), peer })
    };
    let Some(guest) = guest else {
        shared.open.fetch_sub(1, Ordering::AcqRel);
        return;
    };
    shared.stats.connected();
    let (listen, tls) = (*listen, tls.cloned());
    // Boxed, so that connections without TLS do not keep room for its handshake.
    match tls {
        None => drop(tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            conn::serve_plain(&guest.shared, &listen, guest.peer, stream).await;
        })),
        Some(tls) => drop(tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let limit = guest.shared.config.limits.handshake;
            if let Ok(Ok(stream)) = time::timeout(limit, Box::pin(tls.accept(stream))).await {
                conn::serve_tls(&guest.shared, &listen, guest.peer, stream).await;
            }
        })),
    }
}

/// Counts a connection for as long as it is there.
struct Guest {
    shared: Arc<Shared>,
    peer: IpAddr,
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.shared.guard.leave(self.peer);
        self.shared.stats.disconnected();
        self.shared.open.fetch_sub(1, Ordering::AcqRel);
    }
}

//! Lets miners in.

use super::{
    ServerError, Shared,
    config::{Listen, ListenV2},
    noise::{self, AuthorityKey},
    serve,
    v2::Channels,
};
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

/// How miners are spoken to at a place.
#[derive(Clone)]
pub(super) enum Way {
    Plain(Listen),
    Tls(Listen, TlsAcceptor),
    V2(ListenV2, AuthorityKey),
}

/// Lets miners in at one place until the server drains.
pub(super) async fn run(shared: Arc<Shared>, listener: TcpListener, way: Way) {
    let mut draining = shared.draining();
    loop {
        let accepted = tokio::select! {
            _ = draining.wait_for(|draining| *draining) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => admit(&shared, &way, stream, peer.ip()),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                time::sleep(PAUSE).await;
            }
        }
    }
}

fn admit(shared: &Arc<Shared>, way: &Way, mut stream: TcpStream, peer: IpAddr) {
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
    let _ = stream.set_nodelay(true);
    let limit = shared.config.limits.handshake;
    // A task for each way, and handshakes in boxes, so that a connection keeps room for what it needs alone.
    drop(match way.clone() {
        Way::Plain(listen) => {
            tokio::spawn(async move { serve::plain(&guest.shared, &listen, guest.peer, stream).await })
        }
        Way::Tls(listen, tls) => tokio::spawn(async move {
            if let Ok(Ok(stream)) = time::timeout(limit, Box::pin(tls.accept(stream))).await {
                serve::tls(&guest.shared, &listen, guest.peer, stream).await;
            }
        }),
        Way::V2(listen, key) => tokio::spawn(async move {
            let hands = time::timeout(limit, Box::pin(noise::shake_hands(&mut stream, &key))).await;
            if let Ok(Some(ciphers)) = hands {
                serve::v2(&guest.shared, Channels::new(listen.start), guest.peer, stream, ciphers).await;
            }
        }),
    });
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

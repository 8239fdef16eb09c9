//! The requester's own end of a service's ports: listens on this machine alone, and goes to wherever the service is.

use crate::{
    failure::{Failure, Outcome},
    marketplace::Place,
};
use alloy_primitives::B256;
use bmm_net::{
    PeerId, Stream,
    market::{RELAY_PROTOCOL, RelayRequest, relay},
};
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};
use tokio::{net::TcpListener, sync::Semaphore, sync::watch};

/// Connections of one port at once.
const CONNECTIONS: usize = 32;

/// Where the service is, if it is anywhere.
pub(super) type Whereabouts = watch::Receiver<Option<PeerId>>;

/// Opens a connection with a port of the service.
pub(super) async fn connect(place: &Place, peer: PeerId, request: RelayRequest) -> Result<Stream, String> {
    let network = place.network();
    let stream = network.open_stream(peer, &network.protocol(RELAY_PROTOCOL)).await;
    let mut stream = stream.map_err(|error| error.to_string())?;
    request.ask(&mut stream).await.map_err(|error| error.to_string())?;
    Ok(stream)
}

/// Takes connections at `local` of the loopback (any free port if 0) for the service's `port`, for as long as the runtime lives; returns where.
pub(super) fn forward(place: &Place, at: Whereabouts, job: B256, local: u16, port: u16) -> Outcome<SocketAddr> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, local));
    let listener = place.runtime().block_on(TcpListener::bind(address)).map_err(|error| {
        Failure::user(format!("cannot listen at {address}: {error}"))
            .hint("choose another port of this machine with --listen NAME=PORT")
    })?;
    let address = listener.local_addr().map_err(Failure::internal)?;
    let (place, room) = (place.clone(), Arc::new(Semaphore::new(CONNECTIONS)));
    let runtime = place.runtime().clone();
    runtime.spawn(async move {
        while let Ok(place_taken) = room.clone().acquire_owned().await {
            let Ok((socket, _)) = listener.accept().await else { continue };
            let (place, peer) = (place.clone(), *at.borrow());
            // While it is nowhere, connections are closed, as those to a program that does not run.
            let Some(peer) = peer else { continue };
            tokio::spawn(async move {
                let carried = async {
                    let stream = connect(&place, peer, RelayRequest { job, port }).await?;
                    let socket = socket.into_std().map_err(|error| error.to_string())?;
                    relay(stream, socket).await.map_err(|error| error.to_string())
                };
                if let Err(error) = carried.await {
                    tracing::debug!(error, "a connection to a service ended");
                }
                drop(place_taken);
            });
        }
    });
    Ok(address)
}

//! A proxy for a farm's miners.

use super::{PoolChoice, TICK};
use crate::{
    failure::{Failure, Outcome},
    output,
};
use bmm_pool::{
    proxy::{Proxy, ProxyConfig, ProxyEvent},
    upstream::LinkConfig,
};
use serde_json::json;
use std::{
    net::SocketAddr,
    sync::mpsc::{Receiver, TryRecvError},
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// Events that wait for being told.
const MAX_EVENTS: usize = 256;
/// Time between two lines.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// Serves miners until Ctrl-C.
pub fn serve_proxy(
    choice: &PoolChoice,
    listen: SocketAddr,
    max_connections: usize,
    json: bool,
    stop: &Receiver<()>,
) -> Outcome {
    let link = LinkConfig {
        pools: choice.pools.clone(),
        agent: format!("bmm-proxy/{}", env!("CARGO_PKG_VERSION")),
        trusted: choice.trusted.clone(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::internal(format!("cannot start a runtime: {error}")))?;
    let result = runtime.block_on(async {
        let (sender, events) = mpsc::channel(MAX_EVENTS);
        let proxy = Proxy::start(ProxyConfig { listen, link, max_connections }, sender).await.map_err(|error| {
            Failure::config(format!("cannot listen at {listen}: {error}")).hint("choose another address with --listen")
        })?;
        follow(&proxy, events, json, stop).await;
        Ok(())
    });
    runtime.shutdown_background();
    result
}

async fn follow(proxy: &Proxy, mut events: mpsc::Receiver<ProxyEvent>, json: bool, stop: &Receiver<()>) {
    let tell = |event: &str, text: &str| {
        if json {
            output::line(&json!({ "event": event, "text": text }));
        } else {
            output::note(false, text);
        }
    };
    if let Some(address) = proxy.address() {
        tell("listening", &format!("miners connect to stratum+tcp://{address}"));
    }
    let (mut ticks, mut told) = (tokio::time::interval(TICK), Instant::now());
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(ProxyEvent::Connected(pool)) => tell("connected", &format!("working for {pool}")),
                Some(ProxyEvent::Lost(why)) => tell("lost", &why),
                Some(ProxyEvent::Words(words)) => tell("note", &format!("the pool says: {words}")),
                None => return,
            },
            _ = ticks.tick() => {
                if stop.try_recv() != Err(TryRecvError::Empty) {
                    break;
                }
                if told.elapsed() >= LINE_EVERY {
                    told = Instant::now();
                    say(proxy, json);
                }
            }
        }
    }
    say(proxy, json);
}

fn say(proxy: &Proxy, json: bool) {
    let counts = proxy.snapshot();
    if json {
        output::line(&json!({ "event": "status", "status": counts }));
        return;
    }
    let sum = counts.sum;
    output::note(
        false,
        format!(
            "{} miners; {} shares, of which the pool accepted {} and refused {}; {} that were none",
            counts.miners, sum.valid, sum.accepted, sum.refused, sum.invalid
        ),
    );
}

//! From the configuration to what the pool's parts are started with, and from their errors to what a person is told.

use super::{config::PoolConfig, payer::CHAIN};
use crate::{
    failure::{Failure, Outcome},
    rpc::RpcClient,
};
use bmm_pool::{
    LogError,
    accountant::SOLO_LOG,
    books::{self, BooksError},
    difficulty::ShareDifficulty,
    server::{Listen, ServerError},
    source::{AuxConfig, NodeUrl, ParentConfig, PendingBlock, SourceConfig, SourceError},
};
use std::{net::SocketAddr, time::Duration};

/// How old templates may be until new transactions get in.
const REFRESH: Duration = Duration::from_secs(15);

/// Returns where a side's miners connect.
pub fn listens(config: &PoolConfig, name: &str) -> Vec<Listen> {
    let at = |addresses: &[SocketAddr], difficulty: u32, tls: bool| -> Vec<Listen> {
        let start = ShareDifficulty::whole(difficulty);
        addresses.iter().map(|address| Listen { address: *address, start, tls }).collect()
    };
    if name == SOLO_LOG {
        return at(&config.solo_listen, config.difficulty, false);
    }
    let plain = at(&config.listen, config.difficulty, false);
    let large = at(&config.large_listen, config.large_difficulty, false);
    let tls = at(&config.tls_listen, config.difficulty, true);
    [plain, large, tls].concat()
}

/// Returns what the pool works on.
pub fn source_config(
    config: &PoolConfig,
    rpc: &RpcClient,
    wallet: &str,
    pending: Vec<PendingBlock>,
) -> Outcome<SourceConfig> {
    let node = |url: &str| url.parse::<NodeUrl>().map_err(Failure::config);
    let mut parents = Vec::new();
    for parent in &config.parents {
        let url = node(&parent.url)?;
        let url = match &parent.cookie {
            Some(cookie) => url.with_cookie(cookie.clone()),
            None => url,
        };
        parents.push(ParentConfig {
            name: parent.name.as_str().into(),
            nodes: vec![url],
            address: parent.address.clone(),
            maturity: parent.maturity,
        });
    }
    let bmm = AuxConfig {
        name: CHAIN.into(),
        nodes: vec![node(rpc.url())?],
        address: wallet.to_owned(),
        maturity: config.maturity,
    };
    Ok(SourceConfig { parents, aux: vec![bmm], tag: config.tag.clone(), refresh: REFRESH, pending })
}

/// Tells a person what is wrong with the books.
pub fn books_failure(url: &str, error: &BooksError) -> Failure {
    let what = format!("{}: {error}", books::shown(url));
    match error {
        BooksError::Database(_) => Failure::config(what)
            .hint("does the database run, and may this user use it? it is pool.database of the configuration"),
        BooksError::BadAddress(_) | BooksError::Foreign { .. } | BooksError::TooNew { .. } => Failure::config(what),
        _ => Failure::internal(what),
    }
}

/// Tells a person what is wrong with the share log.
pub fn log_failure(error: &LogError) -> Failure {
    match error {
        LogError::InUse(_) => Failure::user(error),
        LogError::Damaged { .. } => Failure::config(error),
        _ => Failure::internal(error),
    }
}

/// Tells a person why there is no work.
pub fn source_failure(error: &SourceError) -> Failure {
    let failure = Failure::config(format!("{error}"));
    match error {
        SourceError::Nothing(_) => failure
            .hint("the node must hand out blocks for the pool's wallet: `bmm node --mine-for WALLET`, or `bmm up`"),
        _ => failure,
    }
}

/// Tells a person why miners cannot connect.
pub fn server_failure(error: &ServerError) -> Failure {
    let failure = Failure::config(format!("{error}"));
    match error {
        ServerError::Listen { .. } => failure.hint("choose another address in pool.listen, or with --listen"),
        _ => failure,
    }
}

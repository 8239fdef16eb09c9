//! The private chain of a data folder: made once, with a wallet of its own that genesis funds.

use crate::{
    failure::{Failure, IoContext, Outcome},
    paths::{DataDir, write_atomically},
    wallet::load_or_create_key,
};
use alloy_signer_local::PrivateKeySigner;
use bmm_types::ChainParams;
use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the key that the private chain's genesis funds; made when first asked for.
pub fn dev_key(data: &DataDir) -> Outcome<PrivateKeySigner> {
    data.create(&data.chain("dev"))?;
    load_or_create_key(&data.dev_key())
}

/// Returns the parameters of the chain called `name`. Those of "dev" are made when first asked for and kept beside its blocks.
pub fn chain_params(data: &DataDir, name: &str) -> Outcome<ChainParams> {
    if name == "main" {
        return Ok(ChainParams::main());
    }
    let wallet = dev_key(data)?.address();
    let path = data.chain("dev").join("genesis.toml");
    if !path.exists() {
        let now =
            SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| Failure::internal("the clock is before 1970"))?;
        let text = toml::to_string(&ChainParams::dev(wallet, now.as_secs())).expect("parameters are plain values");
        write_atomically(&path, text.as_bytes())?;
    }
    let text = std::fs::read_to_string(&path).doing("read", &path)?;
    toml::from_str(&text).map_err(|error| {
        Failure::config(format!("{}: {error}", path.display()))
            .hint("the file was written by bmm; remove the folder of the chain to begin a new one")
    })
}

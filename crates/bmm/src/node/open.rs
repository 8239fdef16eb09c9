//! Opening a chain's database, and saying who else has it open.

use super::dev::chain_params;
use crate::{
    config::StorageConfig,
    failure::{Failure, Outcome},
    paths::DataDir,
    rpc::NodeFile,
};
use alloy_primitives::B256;
use bmm_chain::{Chain, ChainError, ChainOptions, SystemClock};
use bmm_ledger::store::StoreError;
use std::sync::Arc;

/// Opens the chain called `name` in this process.
///
/// # Errors
/// One that names the process, where another one has the database open.
pub fn open_chain(data: &DataDir, name: &str, storage: &StorageConfig) -> Outcome<Arc<Chain>> {
    open_chain_at(data, name, storage, None)
}

/// As [`open_chain`]; the chain must contain the block of that number and id, as soon as it reaches so far.
pub fn open_chain_at(
    data: &DataDir,
    name: &str,
    storage: &StorageConfig,
    checkpoint: Option<(u64, B256)>,
) -> Outcome<Arc<Chain>> {
    let params = chain_params(data, name)?;
    let dir = data.chain_db(name);
    data.create(&dir)?;
    let options = ChainOptions { store: storage.options(), checkpoint, ..ChainOptions::default() };
    Chain::open(params, &dir, Arc::new(SystemClock), options).map_err(|error| chain_failure(data, name, &error))
}

/// Returns the running node of the data folder, if it follows the chain called `name`.
pub fn running_node(data: &DataDir, name: &str) -> Outcome<Option<NodeFile>> {
    let Some(node) = NodeFile::read(&data.node_file())?.filter(|node| node.chain == name) else { return Ok(None) };
    Ok(node.client()?.map(|_| node))
}

/// Tells why a chain's database cannot be opened.
pub fn chain_failure(data: &DataDir, name: &str, error: &ChainError) -> Failure {
    if !matches!(error, ChainError::Store(StoreError::InUse { .. })) {
        return Failure::config(error);
    }
    let node = NodeFile::read(&data.node_file()).ok().flatten().filter(|node| node.chain == name);
    match node {
        Some(NodeFile { pid, rpc, .. }) => Failure::config(format!(
            "the database of the chain {name} is in use by the node with process id {pid}, at {rpc}"
        ))
        .hint(format!("stop that node (Ctrl-C in its terminal, or kill {pid}), or choose another folder with --data")),
        None => Failure::config(error),
    }
}

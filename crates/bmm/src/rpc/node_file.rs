//! The file that names the running node of a data folder, and the choice of the node to talk to.

use super::RpcClient;
use crate::{
    cli::Context,
    failure::{Failure, IoContext, Outcome},
    paths::write_atomically,
};
use alloy_primitives::B256;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What a running node writes into its data folder (`DataDir::node_file`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFile {
    /// The node's process.
    pub pid: u32,
    /// Its JSON-RPC address, such as "http://127.0.0.1:8545".
    pub rpc: String,
    /// The chain it follows, as the configuration names it.
    pub chain: String,
    /// Id of that chain's genesis block: another node may have taken the address of one that was killed.
    pub genesis: B256,
}

impl NodeFile {
    /// Reads the file, if there is one.
    pub fn read(path: &Path) -> Outcome<Option<Self>> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).doing("read", path),
        };
        serde_json::from_str(&text).map(Some).map_err(|error| {
            Failure::config(format!("{} cannot be understood: {error}", path.display()))
                .hint("stop the node of this data folder if one runs, delete the file, and start the node again")
        })
    }

    /// Makes a client of the node if it answers and follows the chain that the file names; `None` if it is gone.
    pub fn client(&self) -> Outcome<Option<RpcClient>> {
        let rpc = RpcClient::new(&self.rpc)?;
        let genesis = rpc.block_hash(0).ok().flatten();
        Ok(Some(rpc).filter(|_| genesis == Some(self.genesis)))
    }

    /// Writes the file.
    pub fn write(&self, path: &Path) -> Outcome {
        write_atomically(path, &serde_json::to_vec(self).expect("plain values"))
    }
}

/// Makes a client of the node to use: the configured one, else the running one of the data folder.
pub fn connect(context: &Context) -> Outcome<RpcClient> {
    if let Some(url) = &context.config.rpc.url {
        return Ok(RpcClient::new(url)?);
    }
    let node = NodeFile::read(&context.data.node_file())?;
    match node.map(|node| node.client()).transpose()?.flatten() {
        Some(rpc) => Ok(rpc),
        None => Err(Failure::user(format!("no node runs in the data folder {}", context.data.root().display()))
            .hint("start one with `bmm up` or `bmm node`, or name one with --rpc URL")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_round_trips_and_absence_is_no_failure() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().join("node.json");
        assert_eq!(NodeFile::read(&path), Ok(None));
        let node = NodeFile { pid: 7, rpc: "http://127.0.0.1:1".into(), chain: "dev".into(), genesis: B256::ZERO };
        node.write(&path).expect("written");
        assert_eq!(NodeFile::read(&path), Ok(Some(node)));
        std::fs::write(&path, "{").expect("write");
        assert!(NodeFile::read(&path).expect_err("broken").message.contains("node.json"));
    }
}

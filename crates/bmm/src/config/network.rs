//! `[network]`

use crate::{
    failure::{Failure, Outcome},
    node::NetOptions,
};
use bmm_net::Multiaddr;
use serde::{Deserialize, Serialize};

/// The port of nodes, over TCP and QUIC.
const PORT: u16 = 20_190;

/// `[network]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkConfig {
    /// Whether a node joins its network. The dev chain joins only where `listen` or `bootstrap` says with whom.
    pub enable: bool,
    /// Where to listen for other nodes, such as "/ip4/0.0.0.0/tcp/20190"; empty means port 20190 over TCP and QUIC, or any free port for
    /// the dev chain.
    pub listen: Vec<String>,
    /// Addresses at which others reach this node, where its router or operator knows better than this machine.
    pub external: Vec<String>,
    /// Nodes to begin with, each ending in /p2p/ and its id.
    pub bootstrap: Vec<String>,
    /// Whether nodes of the local network are looked for (mDNS).
    pub mdns: bool,
    /// Connections at most, a third of them for nodes that this one looks for.
    pub max_peers: u32,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            enable: true,
            listen: Vec::new(),
            external: Vec::new(),
            bootstrap: Vec::new(),
            mdns: true,
            max_peers: 96,
        }
    }
}

impl NetworkConfig {
    /// Returns how to join the network of a chain; `None` to stay alone.
    ///
    /// # Errors
    /// The first address that is none.
    pub fn options(&self, chain: &str) -> Outcome<Option<NetOptions>> {
        let private = chain == "dev";
        if !self.enable || (private && self.listen.is_empty() && self.bootstrap.is_empty()) {
            return Ok(None);
        }
        let mut listen = addresses("listen", &self.listen)?;
        if listen.is_empty() {
            let port = if private { 0 } else { PORT };
            let of = |ip: &str| [format!("{ip}/tcp/{port}"), format!("{ip}/udp/{port}/quic-v1")];
            listen = addresses("listen", &of("/ip4/0.0.0.0"))?;
        }
        Ok(Some(NetOptions {
            listen,
            external: addresses("external", &self.external)?,
            bootstrap: addresses("bootstrap", &self.bootstrap)?,
            mdns: self.mdns,
            max_peers: self.max_peers.max(2),
            private,
        }))
    }
}

fn addresses(key: &str, texts: &[String]) -> Outcome<Vec<Multiaddr>> {
    let read = |text: &String| {
        text.parse().map_err(|error| {
            Failure::config(format!("network.{key}: {text:?} is no address: {error}")).hint(
                "addresses look like /ip4/192.0.2.7/tcp/20190, those of `bootstrap` end in /p2p/ and the node's id",
            )
        })
    };
    texts.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dev_chain_joins_only_when_told_with_whom() {
        let config = NetworkConfig::default();
        assert_eq!(config.options("dev"), Ok(None));
        let main = config.options("main").expect("good").expect("joins");
        assert_eq!(main.listen.len(), 2);
        assert!(main.listen[0].to_string().ends_with("/tcp/20190") && !main.private);
        let bootstrap = vec!["/ip4/127.0.0.1/tcp/1".to_owned()];
        let dev = NetworkConfig { bootstrap, ..config.clone() }.options("dev").expect("good").expect("joins");
        assert!(dev.private && dev.listen[0].to_string().ends_with("/tcp/0"));
        assert_eq!(NetworkConfig { enable: false, ..config.clone() }.options("main"), Ok(None));
        let wrong = NetworkConfig { listen: vec!["0.0.0.0:7".to_owned()], ..config };
        assert!(wrong.options("dev").expect_err("no address").message.contains("network.listen"));
    }
}

//! `[network]`

use crate::{
    failure::{Failure, Outcome},
    node::NetOptions,
};
use bmm_net::{Multiaddr, Protocol, RelayLimits};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, TcpListener, UdpSocket};

/// The port of nodes, over TCP and QUIC.
const PORT: u16 = 20_190;
/// The public chain's id.
const MAIN_CHAIN_ID: u64 = 20_190;

/// How far a network reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// The dev chain's: one local network; the public chain's: the internet
    #[default]
    Auto,
    /// One local network: everybody reaches everybody, and local addresses are worth telling
    Local,
    /// The internet: find out how others reach this machine, and use relays where they cannot
    Internet,
}

impl Reach {
    const fn is_local(self, dev: bool) -> bool {
        match self {
            Self::Auto => dev,
            Self::Local => true,
            Self::Internet => false,
        }
    }
}

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
    /// How far the network reaches: "auto" (one local network for the dev chain, else the internet), "local" or "internet". In the
    /// internet, who cannot be reached from outside is reached through relays.
    pub reach: Reach,
    /// Most that is relayed between two others by one connection, in MiB; 0 relays nothing.
    pub relay_mib: u64,
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
            reach: Reach::Auto,
            relay_mib: RelayLimits::DEFAULT.bytes >> 20,
        }
    }
}

impl NetworkConfig {
    /// Returns how the node of a chain joins its network; `None` to stay alone.
    ///
    /// # Errors
    /// The first address that is none.
    pub fn options(&self, chain: &str) -> Outcome<Option<NetOptions>> {
        let dev = chain == "dev";
        if !self.enable || (dev && self.listen.is_empty() && self.bootstrap.is_empty()) {
            return Ok(None);
        }
        let mut options = self.common(self.reach.is_local(dev))?;
        options.listen = addresses("listen", &self.listen)?;
        if options.listen.is_empty() {
            options.listen = any_address(if dev { 0 } else { PORT });
        }
        options.external = addresses("external", &self.external)?;
        Ok(Some(options))
    }

    /// Returns how a provider joins the network of the chain with that id, beside a node of the same machine or without one: where
    /// somebody has the port of a configured address already, a free one is taken, and the configured external addresses are left to
    /// whoever has it.
    ///
    /// # Errors
    /// The first address that is none.
    pub fn provider(&self, chain_id: u64) -> Outcome<NetOptions> {
        let mut options = self.common(self.reach.is_local(chain_id != MAIN_CHAIN_ID))?;
        let wanted = addresses("listen", &self.listen)?;
        options.listen = wanted.iter().map(free_port).collect();
        if options.listen.is_empty() {
            options.listen = any_address(0);
        } else if options.listen == wanted {
            options.external = addresses("external", &self.external)?;
        }
        Ok(options)
    }

    /// Returns how somebody who looks for providers joins: nobody needs to reach it, but where providers may be behind routers it listens at
    /// any free port, since a direct connection with them is made from both sides.
    ///
    /// # Errors
    /// The first address that is none.
    pub fn requester(&self, chain_id: u64) -> Outcome<NetOptions> {
        let mut options = self.common(self.reach.is_local(chain_id != MAIN_CHAIN_ID))?;
        if !options.private {
            options.listen = any_address(0);
        }
        Ok(options)
    }

    fn common(&self, private: bool) -> Outcome<NetOptions> {
        Ok(NetOptions {
            listen: Vec::new(),
            external: Vec::new(),
            bootstrap: addresses("bootstrap", &self.bootstrap)?,
            mdns: self.mdns,
            max_peers: self.max_peers.max(2),
            private,
            relay: RelayLimits { bytes: self.relay_mib.saturating_mul(1 << 20), ..RelayLimits::DEFAULT },
        })
    }
}

/// Returns every address of this machine at a port, over TCP and QUIC.
fn any_address(port: u16) -> Vec<Multiaddr> {
    let any = Multiaddr::from(std::net::Ipv4Addr::UNSPECIFIED);
    let udp = any.clone().with(Protocol::Udp(port)).with(Protocol::QuicV1);
    vec![any.with(Protocol::Tcp(port)), udp]
}

/// Returns an address at a port that nobody has: the given one, if it is so.
fn free_port(address: &Multiaddr) -> Multiaddr {
    let mut parts: Vec<Protocol<'_>> = address.iter().collect();
    let (ip, port): (IpAddr, _) = match parts.as_mut_slice() {
        [Protocol::Ip4(ip), port, ..] => ((*ip).into(), port),
        [Protocol::Ip6(ip), port, ..] => ((*ip).into(), port),
        _ => return address.clone(),
    };
    match port {
        Protocol::Tcp(number) if TcpListener::bind((ip, *number)).is_err() => *number = 0,
        Protocol::Udp(number) if UdpSocket::bind((ip, *number)).is_err() => *number = 0,
        _ => {}
    }
    parts.into_iter().collect()
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
    #[test]
    fn a_reach_that_is_chosen_counts_more_than_the_chain() {
        let told = |reach| NetworkConfig { reach, ..NetworkConfig::default() };
        let private = |reach, id| told(reach).provider(id).expect("good").private;
        assert!(private(Reach::Auto, 20_191) && !private(Reach::Auto, 20_190));
        assert!(!private(Reach::Internet, 20_191) && private(Reach::Local, 20_190));
        assert!(told(Reach::Local).requester(20_190).expect("good").listen.is_empty());
        assert_eq!(told(Reach::Internet).requester(20_191).expect("good").listen.len(), 2);
    }

    #[test]
    fn a_provider_leaves_the_port_to_the_node() {
        let node = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("/ip4/127.0.0.1/tcp/{}", node.local_addr().expect("bound").port());
        let external = vec!["/ip4/198.41.0.4/tcp/20190".to_owned()];
        let config = NetworkConfig { listen: vec![address.clone()], external, ..NetworkConfig::default() };
        let beside = config.provider(20_191).expect("good");
        assert_eq!(beside.listen[0].to_string(), "/ip4/127.0.0.1/tcp/0");
        assert!(beside.external.is_empty(), "that address leads to the node");
        drop(node);
        let alone = config.provider(20_191).expect("good");
        assert_eq!((alone.listen[0].to_string(), alone.external.len()), (address, 1));
    }
}

//! Peers, gossip, block and state sync, content exchange.

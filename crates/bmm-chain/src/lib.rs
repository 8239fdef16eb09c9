//! bmm-chain

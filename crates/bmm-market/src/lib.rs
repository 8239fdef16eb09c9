//! bmm-market

//! bmm-ledger

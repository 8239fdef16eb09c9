//! Rules of the header that the chain adds to those of the ledger.

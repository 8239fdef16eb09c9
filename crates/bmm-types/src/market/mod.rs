//! Messages of the market.

//! bmm-pow

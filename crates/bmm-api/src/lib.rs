//! bmm-api

//! Methods that need keys: the node holds none, and says so.

use crate::{
    error::{RpcError, RpcResult},
    methods::{Context, Json},
    params::Args,
};

/// `eth_sendTransaction`, `eth_sign` and their like.
pub(crate) fn refuse(_: &Context, _: &mut Args<'_>) -> RpcResult<Json> {
    let words =
        "this node holds no keys: sign in a wallet, and send the signed transaction with eth_sendRawTransaction";
    Err(RpcError::Refused(words.into()))
}

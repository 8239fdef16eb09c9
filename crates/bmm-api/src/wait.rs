//! `bmm_waitHead`: an answer that is given when the head changes, so that who mines elsewhere learns of it at once.

use crate::{
    error::{RpcError, RpcResult},
    methods::{Context, Json, json},
    params::{Args, Count},
};
use alloy_primitives::{B256, U64};
use serde::Serialize;
use serde_json::value::RawValue;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// The method's name.
pub(crate) const NAME: &str = "bmm_waitHead";

/// Longest wait.
const MAX_SECS: u64 = 60;
/// Calls that wait at once.
const MAX_WAITING: usize = 64;

/// The newest head, and who waits for the next.
pub(crate) struct Heads {
    newest: watch::Sender<B256>,
    places: Semaphore,
}

impl Heads {
    pub(crate) fn new(head: B256) -> Self {
        Self { newest: watch::Sender::new(head), places: Semaphore::new(MAX_WAITING) }
    }

    /// Tells of the head; wakes those who wait if it is new.
    pub(crate) fn tell(&self, head: B256) {
        self.newest.send_if_modified(|newest| std::mem::replace(newest, head) != head);
    }
}

/// The head as it is told.
#[derive(Serialize)]
struct Head {
    hash: B256,
    number: U64,
}

/// `bmm_waitHead`: the head, as soon as it is another than the caller's, or when the time is over.
pub(crate) async fn run(context: &Context, params: Option<&RawValue>) -> RpcResult<Json> {
    let mut args = Args::new(&["block hash", "seconds"], params.map(RawValue::get))?;
    let known: B256 = args.required()?;
    let Count(secs) = args.required()?;
    let busy = |_| RpcError::Limit(format!("{MAX_WAITING} calls of {NAME} wait already; try again later"));
    let place = context.heads.places.try_acquire().map_err(busy)?;
    let mut newest = context.heads.newest.subscribe();
    let wait = Duration::from_secs(secs.min(MAX_SECS));
    if context.chain.head().id == known {
        // When the time is over the head is told all the same.
        let _ = tokio::time::timeout(wait, newest.wait_for(|head| *head != known)).await;
    }
    drop(place);
    let head = context.chain.head();
    json(&Head { hash: head.id, number: U64::from(head.number()) })
}

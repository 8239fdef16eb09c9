//! `eth_subscribe`: news that a WebSocket is told of.
//!
//! All subscriptions of one WebSocket are fed from one place in the journal, so that they tell of a change in one order: first the
//! logs that are taken back and the new ones, then the new heads. A caller too slow for that is cut off; it is never fed a gap.

use super::ws::Message;
use crate::{
    error::{RpcError, RpcResult},
    eth::{answer, parts},
    filters::{self, Kind},
    methods::{Context, Json, json},
    news::{Change, Lagged, Listener},
    params::{Args, Handle, Param},
};
use alloy_rpc_types_eth::Filter;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::value::RawValue;
use std::sync::Arc;
use tokio::sync::{Notify, mpsc};

/// Subscriptions of one WebSocket.
const MAX_SUBSCRIPTIONS: usize = 128;

/// What can be subscribed to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Topic {
    NewHeads,
    Logs,
    NewPendingTransactions,
    Syncing,
}

impl Param for Topic {
    const EXPECTED: &'static str = "newHeads, logs, newPendingTransactions or syncing";

    fn read(json: &str) -> Result<Self, Option<String>> {
        match json {
            "\"newHeads\"" => Ok(Self::NewHeads),
            "\"logs\"" => Ok(Self::Logs),
            "\"newPendingTransactions\"" => Ok(Self::NewPendingTransactions),
            "\"syncing\"" => Ok(Self::Syncing),
            _ => Err(None),
        }
    }
}

struct Subscription {
    name: String,
    /// `None` tells of nothing: this node never syncs.
    kind: Option<Kind>,
    /// Whether the caller knows of it.
    answered: bool,
}

impl Subscription {
    /// What the caller is to be told of, and under which name.
    fn told(&self) -> Option<(&str, &Kind)> {
        Some((&self.name, self.kind.as_ref().filter(|_| self.answered)?))
    }
}

#[derive(Default)]
struct Inner {
    all: Vec<Subscription>,
    /// Keeps the journal; places in it, of changes and of waiting transactions.
    listening: Option<(Listener, u64, u64)>,
}

/// The subscriptions of one WebSocket.
#[derive(Default)]
pub(super) struct Subscriptions {
    inner: Mutex<Inner>,
    woken: Notify,
}

/// One request of a WebSocket.
pub(crate) struct Session {
    subscriptions: Arc<Subscriptions>,
    made: Mutex<Vec<String>>,
}

impl Session {
    pub(super) fn new(subscriptions: Arc<Subscriptions>) -> Self {
        Self { subscriptions, made: Mutex::default() }
    }

    /// Runs `eth_subscribe` or `eth_unsubscribe`.
    pub(crate) fn run(&self, method: &str, params: Option<&RawValue>) -> RpcResult<Json> {
        let json_text = params.map(RawValue::get);
        if method == "eth_unsubscribe" {
            let Handle(name) = Args::new(&["subscription id"], json_text)?.required()?;
            return json(&self.subscriptions.remove(&name));
        }
        let mut args = Args::new(&["topic", "options"], json_text)?;
        let kind = match args.required()? {
            Topic::NewHeads => Some(Kind::Blocks),
            Topic::Logs => Some(filters::live(args.optional::<Filter>()?.unwrap_or_default())?),
            Topic::NewPendingTransactions => Some(Kind::Pending { whole: args.optional()?.unwrap_or(false) }),
            Topic::Syncing => None,
        };
        let name = self.subscriptions.add(kind)?;
        self.made.lock().push(name.clone());
        json(&name)
    }

    /// Notes that the caller knows of what it made; now it can be told of news.
    pub(super) fn answered(&self, context: &Context) {
        let made = std::mem::take(&mut *self.made.lock());
        if made.is_empty() {
            return;
        }
        let mut inner = self.subscriptions.inner.lock();
        if inner.listening.is_none() {
            match context.news.listen(&context.chain, &context.blocks) {
                Ok(listening) => inner.listening = Some(listening),
                Err(error) => tracing::warn!(%error, "news of the chain could not be read"),
            }
        }
        inner.all.iter_mut().filter(|one| made.contains(&one.name)).for_each(|one| one.answered = true);
        drop(inner);
        self.subscriptions.woken.notify_one();
    }
}

/// A notification.
#[derive(Serialize)]
struct Notification<'a, T> {
    jsonrpc: &'static str,
    method: &'static str,
    params: Params<'a, T>,
}

#[derive(Serialize)]
struct Params<'a, T> {
    subscription: &'a str,
    result: T,
}

fn tell<T: Serialize>(out: &mut Vec<String>, subscription: &str, result: T) -> RpcResult<()> {
    let params = Params { subscription, result };
    let notification = Notification { jsonrpc: "2.0", method: "eth_subscription", params };
    let text = serde_json::to_string(&notification).map_err(|e| RpcError::Internal(e.to_string()))?;
    out.push(text);
    Ok(())
}

impl Subscriptions {
    fn add(&self, kind: Option<Kind>) -> RpcResult<String> {
        let mut inner = self.inner.lock();
        if inner.all.len() >= MAX_SUBSCRIPTIONS {
            return Err(RpcError::Limit(format!(
                "{MAX_SUBSCRIPTIONS} subscriptions are open; end some with eth_unsubscribe"
            )));
        }
        let name = filters::name();
        inner.all.push(Subscription { name: name.clone(), kind, answered: false });
        Ok(name)
    }

    fn remove(&self, name: &str) -> bool {
        let mut inner = self.inner.lock();
        let before = inner.all.len();
        inner.all.retain(|one| one.name != name);
        if inner.all.is_empty() {
            inner.listening = None;
        }
        inner.all.len() < before
    }

    /// Tells the caller of news until it is too slow for them.
    pub(super) async fn feed(&self, context: &Context, answers: &mpsc::Sender<Message>) -> Result<(), String> {
        let mut news = context.news.watch();
        loop {
            tokio::select! {
                _ = news.changed() => {}
                () = self.woken.notified() => {}
            }
            loop {
                let texts = match self.news(context) {
                    Ok(texts) => texts,
                    Err(error) => {
                        tracing::warn!(%error, "news of the chain could not be read");
                        break;
                    }
                };
                let Some(texts) = texts.map_err(|Lagged| "a subscriber is too slow".to_owned())? else { break };
                for text in texts {
                    if answers.send(Message { text, place: None }).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Writes what is new since the last call, or the first part of it; `None` where nothing is.
    fn news(&self, context: &Context) -> RpcResult<Result<Option<Vec<String>>, Lagged>> {
        let mut inner = self.inner.lock();
        let Inner { all, listening } = &mut *inner;
        let Some((_, changes_read, pending_read)) = listening else { return Ok(Ok(None)) };
        let Ok(changes) = context.news.changes_since(&context.chain, &context.blocks, *changes_read)? else {
            return Ok(Err(Lagged));
        };
        let Ok(pending) = context.news.pending_since(&context.chain, *pending_read) else { return Ok(Err(Lagged)) };
        if changes.is_empty() && pending.is_empty() {
            return Ok(Ok(None));
        }
        let told: Vec<(&str, &Kind)> = all.iter().filter_map(Subscription::told).collect();
        let mut out = Vec::new();
        let mut read = 0;
        while read < changes.len() && out.len() <= context.config.max_logs {
            for (name, kind) in &told {
                let Kind::Logs(filter) = kind else { continue };
                for log in filters::logs_of(context, filter, &changes[read])? {
                    tell(&mut out, name, log)?;
                }
            }
            read += 1;
        }
        for change in &changes[..read] {
            let Change::Adopted(block) = change else { continue };
            for (name, _) in told.iter().filter(|(_, kind)| matches!(kind, Kind::Blocks)) {
                tell(&mut out, name, parts::header(block))?;
            }
        }
        for &hash in &pending {
            for (name, kind) in &told {
                match kind {
                    Kind::Pending { whole: false } => tell(&mut out, name, hash)?,
                    Kind::Pending { whole: true } => {
                        if let Some(waiting) = filters::waiting(context, hash)? {
                            tell(&mut out, name, waiting)?;
                        }
                    }
                    Kind::Logs(_) | Kind::Blocks => {}
                }
            }
        }
        *changes_read = changes_read.saturating_add(answer::u64_of(read));
        *pending_read = pending_read.saturating_add(answer::u64_of(pending.len()));
        Ok(Ok(Some(out)))
    }
}

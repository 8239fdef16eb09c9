//! Gossip of new blocks.

use super::{
    Node, judge, refuse_rubbish, start_one_of,
    wire::{self, Announcement, ENOUGH_BYTES, MAX_TRANSACTIONS, Request},
};
use crate::{
    network::{Gossip, Verdict},
    peers::Offence,
};
use alloy_eips::eip2718::Decodable2718 as _;
use alloy_primitives::{B256, U256};
use bmm_chain::{ChainError, HeadEvent, ImportError, SealedHeader, Standing};
use bmm_types::{Block, BlockBody, SealedBlock, Transaction};
use libp2p::PeerId;
use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};
use tokio::{sync::mpsc, task::JoinSet};

/// Heads that wait to be told of.
const MAX_HEADS: usize = 64;
/// Announcements that are looked at at once.
const AT_ONCE: usize = 16;
/// Blocks older than this are not news.
const NEWS_SECS: u64 = 120;
/// How often a blocked thread looks whether it should end.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Tells the network of new heads of this node that did not come from there.
pub(super) fn tell(node: &Arc<Node>, tasks: &mut JoinSet<()>) {
    let (sender, mut receiver) = mpsc::channel(MAX_HEADS);
    let (events, also) = (node.chain.subscribe_heads(MAX_HEADS), node.clone());
    tasks.spawn_blocking(move || forward(&also, &events, &sender));
    let node = node.clone();
    tasks.spawn(async move {
        while let Some(id) = receiver.recv().await {
            let chain = node.chain.clone();
            match tokio::task::spawn_blocking(move || chain.block(id)).await {
                Ok(Ok(Some(block))) => publish(&node, &block).await,
                Ok(Ok(None)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "a block cannot be read to tell of it"),
                Err(error) => tracing::error!(%error, "reading a block failed"),
            }
        }
    });
}

/// Passes on the heads that are news. Ends with the node.
fn forward(node: &Node, events: &Receiver<HeadEvent>, to: &mpsc::Sender<B256>) {
    while !node.stopped() && !to.is_closed() {
        let event = match events.recv_timeout(LOOK_EVERY) {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let old = event.head.header.timestamp.saturating_add(NEWS_SECS) < node.chain.now_secs();
        if !old && node.seen.lock().insert(event.head.id) {
            // Who misses one hears of the next.
            let _ = to.try_send(event.head.id);
        }
    }
}

async fn publish(node: &Node, block: &SealedBlock) {
    let hashes = block.block.body.transactions.iter().map(|tx| *tx.tx_hash()).collect();
    let sealed = SealedHeader { header: block.block.header.clone(), seal: block.seal.clone() };
    node.recent.add(block.id(), Arc::new(block.clone()));
    let announcement = Announcement { sealed, hashes }.encode();
    if let Err(error) = node.network.publish(&node.protocols.blocks, announcement).await {
        tracing::debug!(%error, "a block is not told of; others will ask");
    }
}

/// Takes announcements of others.
pub(super) async fn hear(node: Arc<Node>, mut gossip: mpsc::Receiver<Gossip>) {
    let mut running: JoinSet<()> = JoinSet::new();
    while let Some(gossip) = gossip.recv().await {
        start_one_of(&mut running, AT_ONCE, look_at(node.clone(), gossip)).await;
    }
}

/// Looks at one announcement: what it is worth, and whether its block can be taken.
async fn look_at(node: Arc<Node>, gossip: Gossip) {
    let from = gossip.from;
    let announcement = match Announcement::decode(&gossip.data) {
        Ok(announcement) => announcement,
        Err(error) => return refuse_rubbish(&node, &gossip, "an announcement", &error).await,
    };
    let id = announcement.sealed.header.hash_slow();
    let also = node.clone();
    let sealed = announcement.sealed.clone();
    let looked = tokio::task::spawn_blocking(move || weigh(&also, id, &sealed)).await;
    match looked {
        Ok(Ok(Worth::Take)) => take(&node, &gossip, id, announcement).await,
        Ok(Ok(Worth::Seal)) => judge(&node, &gossip, Verdict::Accept).await,
        Ok(Ok(Worth::Nothing)) => judge(&node, &gossip, Verdict::Ignore).await,
        // A seal of the parent that is not known here comes with the headers.
        Ok(Err(ImportError::UnknownParent(_) | ImportError::MixHash { .. })) => {
            judge(&node, &gossip, Verdict::Ignore).await;
            // Who tells of it has it: its word says how far this node is behind.
            node.ask_status(from).await;
        }
        Ok(Err(error)) if excused(&error) => {
            tracing::debug!(%from, %id, %error, "an announced block is not taken");
            judge(&node, &gossip, Verdict::Ignore).await;
        }
        Ok(Err(error)) => {
            tracing::debug!(%from, %id, %error, "an announced block breaks a rule");
            node.network.report(from, Offence::Invalid);
            judge(&node, &gossip, Verdict::Reject).await;
        }
        Err(error) => tracing::error!(%error, "looking at an announcement failed"),
    }
}

/// What an announcement is worth.
enum Worth {
    /// Its block is new and stands where it may.
    Take,
    /// The block is known; its seal is new and good.
    Seal,
    Nothing,
}

fn weigh(node: &Node, id: B256, sealed: &SealedHeader) -> Result<Worth, ImportError> {
    let chain = &node.chain;
    let known = chain.header(id).map_err(|error| match error {
        ChainError::Store(error) => ImportError::Store(error),
        other => ImportError::State(other.to_string()),
    })?;
    if known.is_some() {
        return Ok(if chain.add_seal(id, sealed.seal.clone())? { Worth::Seal } else { Worth::Nothing });
    }
    match chain.standing(sealed)? {
        Standing::Head | Standing::Side if node.seen.lock().insert(id) => Ok(Worth::Take),
        // Another announcement of it is being looked at.
        Standing::Head | Standing::Side | Standing::Far => Ok(Worth::Nothing),
    }
}

/// Whether an honest peer may send such a block: the clocks may differ, or the fault is here.
const fn excused(error: &ImportError) -> bool {
    error.is_internal()
        || matches!(
            error,
            ImportError::TooFarAhead { .. }
                | ImportError::SealTooLate { .. }
                | ImportError::Known(_)
                | ImportError::BelowFinal { .. }
                | ImportError::OtherCheckpoint { .. }
                | ImportError::KnownInvalid(_)
                | ImportError::InvalidParent(_)
        )
}

/// Puts a block together, hands its announcement on, and imports it.
async fn take(node: &Arc<Node>, gossip: &Gossip, id: B256, announcement: Announcement) {
    let from = gossip.from;
    let Some(block) = put_together(node, from, id, announcement).await else {
        // Another one's announcement may bring it.
        node.seen.lock().remove(&id);
        return judge(node, gossip, Verdict::Ignore).await;
    };
    // The body is the one that the worked header commits to. What its execution says, others find out for themselves.
    let block = Arc::new(block);
    node.recent.add(id, block.clone());
    judge(node, gossip, Verdict::Accept).await;
    let also = node.clone();
    let imported = tokio::task::spawn_blocking(move || {
        let result = also.chain.import(&block);
        let header = &block.block.header;
        if result.is_ok() {
            let work = also.chain.line_after(id).ok().flatten().map_or(U256::ZERO, |line| line.work());
            also.heads.has(from, header.number, id, work);
        }
        result
    })
    .await;
    match imported {
        Ok(Ok(imported)) => {
            tracing::debug!(%id, head = imported.became_head, "a block of the network is taken");
            node.network.praise(from);
        }
        Ok(Err(ImportError::Known(_))) => {}
        Ok(Err(ImportError::UnknownParent(_))) => node.behind.notify_one(),
        // Its work was done, and who hands blocks on does not execute them first.
        Ok(Err(error)) => tracing::info!(%id, %from, %error, "a worked block is not valid"),
        Err(error) => tracing::error!(%error, "importing a block failed"),
    }
}

/// Puts a block together from waiting transactions and, for those that are not here, from the peer that told of it.
async fn put_together(node: &Node, from: PeerId, id: B256, announcement: Announcement) -> Option<SealedBlock> {
    let Announcement { sealed: SealedHeader { header, seal }, hashes } = announcement;
    let waiting = |hash: &B256| node.chain.pending_transaction(*hash).map(|tx| tx.transaction.clone());
    let mut found: HashMap<B256, Transaction> =
        hashes.iter().filter_map(|hash| waiting(hash).map(|tx| (*hash, tx))).collect();
    let missing: Vec<B256> = hashes.iter().filter(|hash| !found.contains_key(*hash)).copied().collect();
    let mut left: &[B256] = &missing;
    while !left.is_empty() {
        let asked = &left[..left.len().min(MAX_TRANSACTIONS)];
        let request = Request::Transactions { block: id, hashes: asked.to_vec() };
        let answer = node.ask(from, &request, wire::transactions).await.ok()?;
        let mut wanted: HashSet<B256> = asked.iter().copied().collect();
        let mut came = 0usize;
        for bytes in &answer {
            let transaction = Transaction::decode_2718_exact(bytes).ok();
            let Some(transaction) = transaction.filter(|tx| wanted.remove(tx.tx_hash())) else {
                node.network.report(from, Offence::Rubbish);
                return None;
            };
            came += 1;
            found.insert(*transaction.tx_hash(), transaction);
        }
        if came == 0 {
            tracing::debug!(%from, %id, "a peer has not the transactions of the block that it told of");
            node.network.report(from, Offence::Stall);
            return None;
        }
        left = &left[came..];
        debug_assert!(answer.iter().map(|bytes| bytes.len()).sum::<usize>() <= ENOUGH_BYTES + (8 << 20));
    }
    let transactions = hashes.iter().map(|hash| found.get(hash).cloned()).collect::<Option<Vec<_>>>()?;
    let withdrawals = header.withdrawals_root.map(|_| alloy_eips::eip4895::Withdrawals::default());
    let block = Block { header, body: BlockBody { transactions, ommers: Vec::new(), withdrawals } };
    if let Err(error) = node.chain.check_body(&block) {
        // The header is good, the list of hashes is not: nobody hands on a list that does not fit.
        tracing::debug!(%from, %id, %error, "the transactions of an announced block are not its own");
        node.network.report(from, Offence::Invalid);
        return None;
    }
    Some(SealedBlock { block, seal })
}

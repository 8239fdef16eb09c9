//! Where a block's receipts are hashed: on the thread that executes, or on another meanwhile.

use super::{
    ExecError, Receipt,
    receipts::{Hashed, Receipts},
};
use alloy_consensus::EthereumReceipt;
use std::{
    mem,
    sync::mpsc::{Receiver, Sender},
};

/// Receipts that are given to another thread at once: waking it costs as much as hashing a few.
const AT_ONCE: usize = 32;

/// Where receipts go.
pub(super) enum Desk {
    /// To be hashed on this thread.
    Here(Box<Receipts>),
    /// To another, which gets batches, and answers when no more will come.
    Away { batch: Vec<EthereumReceipt>, to: Option<Sender<Vec<EthereumReceipt>>>, back: Receiver<Hashed> },
    /// All are hashed.
    Done(Box<Hashed>),
}

impl Desk {
    /// Hashes the receipts of a block of some `transactions` on this thread.
    pub(super) fn here(transactions: usize) -> Self {
        Self::Here(Box::new(Receipts::new(transactions)))
    }

    /// Sends receipts to a thread that hashes them.
    pub(super) fn away(to: Sender<Vec<EthereumReceipt>>, back: Receiver<Hashed>) -> Self {
        Self::Away { batch: Vec::with_capacity(AT_ONCE), to: Some(to), back }
    }

    /// Takes the next receipt.
    pub(super) fn push(&mut self, receipt: EthereumReceipt) {
        match self {
            Self::Here(receipts) => receipts.push(receipt),
            Self::Away { batch, to, .. } => {
                batch.push(receipt);
                if batch.len() >= AT_ONCE {
                    send(batch, to.as_ref());
                }
            }
            Self::Done(_) => {}
        }
    }

    /// Says that no receipt will follow, so that the other thread can end while this one has other things to do.
    pub(super) fn close(&mut self) {
        if let Self::Away { batch, to, .. } = self {
            send(batch, to.take().as_ref());
        }
    }

    /// Returns the receipts so far, waiting for the other thread; none may follow.
    pub(super) fn receipts(&mut self) -> Result<&[Receipt], ExecError> {
        self.close();
        let all = mem::replace(self, Self::here(0)).finish()?;
        *self = Self::Done(Box::new(all));
        Ok(if let Self::Done(all) = self { &all.receipts } else { &[] })
    }

    /// Ends the block, waiting for the other thread.
    pub(super) fn finish(mut self) -> Result<Hashed, ExecError> {
        self.close();
        match self {
            Self::Here(receipts) => Ok(receipts.finish()),
            Self::Away { back, .. } => {
                back.recv().map_err(|_| ExecError::State("the thread that hashes receipts is gone".into()))
            }
            Self::Done(all) => Ok(*all),
        }
    }
}

/// That the other thread is gone is noticed when its answer is wanted.
fn send(batch: &mut Vec<EthereumReceipt>, to: Option<&Sender<Vec<EthereumReceipt>>>) {
    let full = mem::replace(batch, Vec::with_capacity(AT_ONCE));
    if let Some(to) = to.filter(|_| !full.is_empty()) {
        let _ = to.send(full);
    }
}

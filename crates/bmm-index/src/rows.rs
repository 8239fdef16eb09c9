//! What a block leaves in the index.

use alloy_consensus::Transaction as _;
use alloy_primitives::{Address, B256, U256, b256};
use bmm_ledger::store::Receipt;
use bmm_types::{Header, Transaction, system};
use std::collections::BTreeMap;

/// keccak("Transfer(address,address,uint256)"), of ERC-20 and ERC-721.
const TRANSFER: B256 = b256!("ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef");
/// Most accounts that one transaction is listed under: more are named only by an attack on the index.
const MAX_TOUCHED: usize = 64;

/// How a transaction touched an account: a set of bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Role(pub i64);

impl Role {
    /// The account signed it.
    pub const SENDER: i64 = 1;
    /// It was sent to the account.
    pub const RECIPIENT: i64 = 2;
    /// It made the account's code.
    pub const CREATED: i64 = 4;
    /// An event of it names the account.
    pub const NAMED: i64 = 8;

    /// Whether the account signed it.
    pub const fn is_sender(self) -> bool {
        self.0 & Self::SENDER != 0
    }
}

/// An account and a transaction that touched it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch {
    /// The account.
    pub address: Address,
    /// The transaction's index in the block.
    pub position: u64,
    /// How.
    pub role: Role,
}

/// A transfer of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferRow {
    /// Index of the event in the block.
    pub log: u64,
    /// The transaction's index in the block.
    pub position: u64,
    /// The token's contract.
    pub token: Address,
    /// Who had it.
    pub from: Address,
    /// Who has it.
    pub to: Address,
    /// The amount in the token's units, or the id of a token that is one of its kind.
    pub value: U256,
    /// Whether the token is one of its kind (ERC-721).
    pub unique: bool,
}

/// An event of a system contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// Index of the event in the block.
    pub log: u64,
    /// The transaction's index in the block.
    pub position: u64,
    /// The contract.
    pub contract: Address,
    /// Which event.
    pub topic: B256,
    /// What it is about: its first indexed field, such as an account or a job; zero where it has none.
    pub subject: B256,
}

/// Everything that the index keeps of one block.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockRows {
    /// Its number.
    pub number: u64,
    /// Its id.
    pub id: B256,
    /// Its parent's id.
    pub parent: B256,
    /// Its time, Unix seconds.
    pub time: u64,
    /// Whom it pays.
    pub producer: Address,
    /// Hashes that it took on average.
    pub work: f64,
    /// Number of its transactions.
    pub transactions: u64,
    /// Gas that they used.
    pub gas: u64,
    /// Accounts that it touched.
    pub touches: Vec<Touch>,
    /// Transfers of tokens.
    pub transfers: Vec<TransferRow>,
    /// Events of system contracts.
    pub events: Vec<EventRow>,
}

/// Returns a number of 256 bits as a float, for charts.
fn float(number: U256) -> f64 {
    f64::from(number)
}

/// Returns the account that a topic holds, if it can be one.
fn account(topic: &B256) -> Option<Address> {
    let holds = topic[..12].iter().all(|byte| *byte == 0) && topic[12..24].iter().any(|byte| *byte != 0);
    holds.then(|| Address::from_word(*topic))
}

impl BlockRows {
    /// Takes the rows out of a block. `senders` and `receipts` belong to the transactions, in order.
    pub fn new(id: B256, header: &Header, body: &[Transaction], senders: &[Address], receipts: &[Receipt]) -> Self {
        let mut rows = Self {
            number: header.number,
            id,
            parent: header.parent_hash,
            time: header.timestamp,
            producer: header.beneficiary,
            work: float(header.difficulty),
            transactions: u64::try_from(body.len()).unwrap_or(u64::MAX),
            gas: header.gas_used,
            touches: Vec::with_capacity(body.len().saturating_mul(2)),
            transfers: Vec::new(),
            events: Vec::new(),
        };
        let mut log = 0;
        for (position, ((transaction, sender), receipt)) in (0u64..).zip(body.iter().zip(senders).zip(receipts)) {
            let mut touched = BTreeMap::new();
            touched.insert(*sender, Role::SENDER);
            match transaction.to() {
                Some(to) => *touched.entry(to).or_default() |= Role::RECIPIENT,
                None => *touched.entry(sender.create(transaction.nonce())).or_default() |= Role::CREATED,
            }
            for event in receipt.logs() {
                rows.event(log, position, event, &mut touched);
                log = log.saturating_add(1);
            }
            rows.touches.extend(touched.into_iter().map(|(address, role)| Touch {
                address,
                position,
                role: Role(role),
            }));
        }
        rows
    }

    fn event(&mut self, log: u64, position: u64, event: &alloy_primitives::Log, touched: &mut BTreeMap<Address, i64>) {
        let topics = event.topics();
        let is_system = (system::TOKEN..=system::TREASURY).contains(&event.address);
        let transfer = match topics {
            [TRANSFER, from, to] if event.data.data.len() == 32 => {
                Some((from, to, U256::from_be_slice(&event.data.data), false))
            }
            [TRANSFER, from, to, id] if event.data.data.is_empty() => Some((from, to, U256::from_be_bytes(id.0), true)),
            _ => None,
        };
        if let Some((from, to, value, unique)) = transfer {
            let (from, to) = (Address::from_word(*from), Address::from_word(*to));
            self.transfers.push(TransferRow { log, position, token: event.address, from, to, value, unique });
        }
        if let (true, Some(topic)) = (is_system, topics.first()) {
            let subject = topics.get(1).copied().unwrap_or_default();
            self.events.push(EventRow { log, position, contract: event.address, topic: *topic, subject });
        }
        if transfer.is_some() || is_system {
            for address in topics.iter().skip(1).filter_map(account) {
                if touched.len() < MAX_TOUCHED || touched.contains_key(&address) {
                    *touched.entry(address).or_default() |= Role::NAMED;
                }
            }
        }
    }
}

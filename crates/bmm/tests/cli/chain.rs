//! Looks at a data folder's chain through its JSON-RPC, as any wallet would.

use crate::run::{Bmm, Running};
use alloy_primitives::{Address, B256, Bytes, LogData, U256};
use alloy_sol_types::{SolCall, SolEvent};
use bmm::{node::chain_params, paths::DataDir, rpc::RpcClient};
use bmm_types::{
    Amount, ChainParams,
    system::{self, Jobs, Token},
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, time::Duration};

/// A running `bmm up`.
pub struct Chain {
    pub rpc: RpcClient,
    params: ChainParams,
    _up: Running,
}

/// What the escrow's events say of a job.
#[derive(Debug, PartialEq, Eq)]
pub struct Money {
    pub budget: U256,
    pub paid: U256,
    pub refunded: U256,
}

impl Chain {
    /// Starts `bmm up` on the data folder, whose chain has other parameters than those of a development chain.
    pub fn up_with(bmm: &Bmm, change: impl FnOnce(&mut ChainParams)) -> Self {
        let data = DataDir::open(Some(&bmm.data())).expect("a data folder");
        let mut params = chain_params(&data, "dev").expect("new parameters");
        change(&mut params);
        let text = toml::to_string(&params).expect("plain values");
        std::fs::write(bmm.data().join("chains/dev/genesis.toml"), text).expect("written");
        Self::up(bmm)
    }

    /// Returns the resource ledger's events.
    pub fn resource_events<E: SolEvent>(&self) -> Vec<E> {
        self.events_of(system::RESOURCES, None)
    }

    /// Starts `bmm up` on the data folder.
    pub fn up(bmm: &Bmm) -> Self {
        let mut up = bmm.spawn(&["up", "--json", "--listen", "127.0.0.1:0"]);
        let listening: Value = loop {
            if let Ok(listening) = serde_json::from_str(&up.stdout()) {
                break listening;
            }
            assert!(up.lives(), "bmm up ends: {}", up.stderr());
            std::thread::sleep(Duration::from_millis(10));
        };
        let url = listening["rpc"].as_str().expect("an address");
        let genesis =
            std::fs::read_to_string(bmm.data().join("chains/dev/genesis.toml")).expect("the chain's parameters");
        let params = toml::from_str(&genesis).expect("parameters");
        Self { rpc: RpcClient::new(url).expect("a URL"), params, _up: up }
    }

    pub fn call(&self, method: &str, params: Value) -> Value {
        self.rpc.call(method, params).expect("an answer")
    }

    pub fn balance(&self, address: Address, block: u64) -> U256 {
        let balance = self.call("eth_getBalance", json!([address, format!("{block:#x}")]));
        serde_json::from_value(balance).expect("a number")
    }

    /// Events of the escrow for one job, or for all.
    pub fn events<E: SolEvent>(&self, job: Option<B256>) -> Vec<E> {
        self.events_of(system::JOBS, job)
    }

    fn events_of<E: SolEvent>(&self, contract: Address, topic: Option<B256>) -> Vec<E> {
        let filter = json!([{ "address": contract, "fromBlock": "0x0", "topics": [E::SIGNATURE_HASH, topic] }]);
        let logs = self.call("eth_getLogs", filter);
        let logs = logs.as_array().expect("a list").iter();
        logs.map(|log| {
            let data: LogData = serde_json::from_value(log.clone()).expect("a log");
            E::decode_log_data(&data).expect("the event")
        })
        .collect()
    }

    /// Holds that a job was opened once, settled once, paid each provider once, and went back to zero; returns its money.
    pub fn settled_once(&self, job: B256) -> Money {
        let opened: Vec<Jobs::Opened> = self.events(Some(job));
        let settled: Vec<Jobs::Settled> = self.events(Some(job));
        let refunded: Vec<Jobs::Refunded> = self.events(Some(job));
        let paid: Vec<Jobs::Paid> = self.events(Some(job));
        assert_eq!((opened.len(), settled.len(), refunded.len()), (1, 1, 1), "opened, settled, refunded: {job}");
        let providers: BTreeSet<Address> = paid.iter().map(|event| event.provider).collect();
        assert_eq!(providers.len(), paid.len(), "a provider is paid twice: {paid:?}");
        let money = Money {
            budget: opened[0].budget,
            paid: paid.iter().map(|event| event.amount).sum(),
            refunded: refunded[0].amount,
        };
        assert_eq!(money.paid, settled[0].spent);
        assert_eq!(money.budget, money.paid + money.refunded, "nothing stays in the escrow");
        money
    }

    /// Holds that all units of the chain are where they can be: with `others`, the accounts of genesis, and the system contracts.
    pub fn all_units_are_known(&self, others: &[Address]) {
        let block = self.rpc.block_number().expect("a block");
        let mut accounts: BTreeSet<Address> = others.iter().copied().collect();
        accounts.extend(self.params.alloc.iter().map(|alloc| alloc.address));
        accounts.extend([system::RESOURCES, system::FOOTSTONES, system::JOBS]);
        let sum: U256 = accounts.iter().map(|account| self.balance(*account, block)).sum();
        let data = Bytes::from(Token::totalSupplyCall {}.abi_encode());
        let supply = json!([{ "to": system::TOKEN, "data": data }, format!("{block:#x}")]);
        let supply: U256 = serde_json::from_value(self.call("eth_call", supply)).expect("a number");
        assert_eq!(sum, supply, "at block {block}");
        assert!(supply > self.params.genesis_supply().units(), "blocks were rewarded");
    }
}

/// Reads a field of a receipt.
pub fn read<T: serde::de::DeserializeOwned>(object: &Value, field: &str) -> T {
    serde_json::from_value(object[field].clone()).unwrap_or_else(|error| panic!("{field}: {error} in {object}"))
}

/// Reads an amount of a receipt in units.
pub fn units(object: &Value, field: &str) -> U256 {
    read::<Amount>(object, field).units()
}

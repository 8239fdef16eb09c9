//! Reads over JSON-RPC: our node against anvil, with the same blocks on both.

use super::{
    contracts,
    drive::drive,
    http::{Client, Request},
    people::{Deed, Person},
    server::{Kind, Server},
    submit::{CHAIN_ID, CONNECTIONS, TokenSetup, mine, quantity},
};
use crate::bench::{
    Outcome, Report, build, number,
    report::{BarIs, Figure},
};
use alloy_primitives::{Address, B256, Bytes, keccak256};
use serde_json::{Value, json};
use std::{collections::HashMap, time::Duration};

/// Accounts that have sent something.
const PEOPLE: usize = 300;
/// Transactions of each of them: coins and token in turns.
const TURNS: usize = 10;
/// Length of one measurement.
const MEASURE: Duration = Duration::from_millis(700);
/// Requests of the first one, which say how many it takes.
const FEWEST: usize = 64;
/// Requests of one measurement at most.
const MOST: usize = 200_000;
/// Times that our answers must be as many as anvil's in the same time.
const BAR: f64 = 2.0;
/// Blocks that one `eth_getLogs` spans.
const LOG_BLOCKS: u64 = 3;

/// What happened on both sides.
struct History {
    people: Vec<Address>,
    token: Address,
    /// Numbers of the blocks with transactions.
    blocks: Vec<u64>,
    transactions: Vec<B256>,
}

/// A method with parameters to go through.
struct Question {
    name: &'static str,
    method: &'static str,
    params: Vec<Value>,
    held: bool,
}

/// What one measurement showed: answers per second, and the server's µs of processor time for each.
type Pace = (f64, f64);

/// `bench rpc`
pub fn rpc(rounds: u32) -> Outcome {
    let binary = build()?;
    let mut people = Person::many(PEOPLE);
    let setup = TokenSetup::new(&people);
    let funded: Vec<Address> = people.iter().map(Person::address).chain([setup.creator]).collect();
    let ours = Kind::Ours.start(&binary, CHAIN_ID, &funded)?;
    let anvil = Kind::AnvilOnDemand.start(&binary, CHAIN_ID, &funded)?;

    let groups = sign(&mut people, setup.token);
    let mut client = ours.client()?;
    for group in setup.groups.iter().chain(&groups) {
        mine(&mut client, group)?;
    }
    let sent: Vec<&Bytes> = setup.groups.iter().chain(&groups).flatten().collect();
    let blocks = replay(&mut client, &mut anvil.client()?, &sent)?;
    let transactions = groups.iter().flatten().map(keccak256).collect();
    let history =
        History { people: people.iter().map(Person::address).collect(), token: setup.token, blocks, transactions };
    let questions = history.questions();
    let mut paces = vec![(Vec::new(), Vec::new()); questions.len()];
    compare(&questions, &ours, &anvil)?;
    for _ in 0..rounds {
        for (question, (our, their)) in questions.iter().zip(&mut paces) {
            our.push(question.measure(&ours)?);
            their.push(question.measure(&anvil)?);
        }
    }
    Ok(report(&history, &questions, &paces, [&ours, &anvil].map(Server::memory_peak_bytes)))
}

/// Signs a group of transactions for each turn.
fn sign(people: &mut [Person], token: Address) -> Vec<Vec<Bytes>> {
    let addresses: Vec<Address> = people.iter().map(Person::address).collect();
    let group = |turn: usize| {
        let sign = |(at, person): (usize, &mut Person)| {
            let to = addresses[(at + turn + 1) % addresses.len()];
            let deed = if turn.is_multiple_of(2) { Deed::transfer(to) } else { contracts::transfer(token, to, 1) };
            person.sign_raw(CHAIN_ID, deed)
        };
        people.iter_mut().enumerate().map(sign).collect()
    };
    (0..TURNS).map(group).collect()
}

/// Makes our blocks on anvil as well, empty ones included. Returns the numbers of those with transactions.
fn replay(ours: &mut Client, anvil: &mut Client, sent: &[&Bytes]) -> Outcome<Vec<u64>> {
    let raw: HashMap<B256, &Bytes> = sent.iter().map(|raw| (keccak256(raw), *raw)).collect();
    let head = quantity(&ours.call("eth_blockNumber", &json!([]))?)?;
    let mut filled = Vec::new();
    for block in 1..=head {
        let answer = ours.call("eth_getBlockByNumber", &json!([format!("{block:#x}"), false]))?;
        let hashes: Vec<B256> = serde_json::from_value(answer["transactions"].clone())?;
        let calls: Vec<_> = hashes.iter().map(|hash| ("eth_sendRawTransaction", json!([raw[hash]]))).collect();
        anvil.calls(&calls)?;
        anvil.call("evm_mine", &json!([]))?;
        if !hashes.is_empty() {
            filled.push(block);
        }
    }
    anvil.call("evm_setIntervalMining", &json!([1]))?;
    Ok(filled)
}

impl History {
    fn questions(&self) -> Vec<Question> {
        let ask = |name, method, params, held| Question { name, method, params, held };
        let blocks = |full: bool| self.blocks.iter().map(|n| json!([format!("{n:#x}"), full])).collect();
        let balance_of = |who: &Address| json!([{ "to": self.token, "input": contracts::balance_of(*who) }, "latest"]);
        let logs = |from: &u64| {
            let (from, to) = (format!("{from:#x}"), format!("{:#x}", from + LOG_BLOCKS - 1));
            json!([{ "fromBlock": from, "toBlock": to, "address": self.token }])
        };
        let by_hash = || self.transactions.iter().map(|hash| json!([hash])).collect();
        let of_people = || self.people.iter().map(|who| json!([who, "latest"])).collect();
        let safe = self.blocks.len().saturating_sub(LOG_BLOCKS.try_into().unwrap_or(usize::MAX)).max(1);
        vec![
            ask("chain id", "eth_chainId", vec![json!([])], false),
            ask("balance", "eth_getBalance", of_people(), true),
            ask("transaction count", "eth_getTransactionCount", of_people(), false),
            ask("call of balanceOf", "eth_call", self.people.iter().map(balance_of).collect(), true),
            ask("block with hashes", "eth_getBlockByNumber", blocks(false), true),
            ask("block with transactions", "eth_getBlockByNumber", blocks(true), true),
            ask("transaction by hash", "eth_getTransactionByHash", by_hash(), false),
            ask("receipt", "eth_getTransactionReceipt", by_hash(), false),
            ask("logs of the token in 3 blocks", "eth_getLogs", self.blocks[..safe].iter().map(logs).collect(), false),
        ]
    }
}

impl Question {
    /// Asks for a while over all connections: with as many requests as it takes, which a first few tell.
    fn measure(&self, server: &Server) -> Outcome<Pace> {
        let mut count = FEWEST;
        loop {
            let (wall, pace) = self.ask(server, count)?;
            if count == MOST || wall >= MEASURE / 2 {
                return Ok(pace);
            }
            let share = MEASURE.as_secs_f64() / wall.as_secs_f64();
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a positive number of requests"
            )]
            let enough = (number(u64::try_from(count)?) * share) as usize;
            count = enough.clamp(count + 1, MOST);
        }
    }

    /// Asks so many times.
    fn ask(&self, server: &Server, count: usize) -> Outcome<(Duration, Pace)> {
        let lanes = self.lanes(count);
        let before = server.cpu()?;
        let wall = drive(server.address, lanes)?.wall;
        let cpu = server.cpu()?.saturating_sub(before);
        let count = number(u64::try_from(count)?);
        Ok((wall, (count / wall.as_secs_f64(), cpu.as_secs_f64() * 1e6 / count)))
    }

    /// Spreads `count` requests over the connections.
    fn lanes(&self, count: usize) -> Vec<Vec<Request>> {
        let requests: Vec<Request> = self.params.iter().map(|params| Request::call(self.method, params)).collect();
        let lane = |lane| {
            let turns = (lane..count).step_by(CONNECTIONS);
            turns.map(|turn| requests[turn % requests.len()].clone()).collect()
        };
        (0..CONNECTIONS).map(lane).collect()
    }
}

/// Checks that both sides mean the same: what depends on fees and on the clock is left out.
fn compare(questions: &[Question], ours: &Server, anvil: &Server) -> Outcome<()> {
    let (mut ours, mut anvil) = (ours.client()?, anvil.client()?);
    for question in questions {
        for params in [question.params.first(), question.params.last()].into_iter().flatten() {
            let (our, their) = (ours.call(question.method, params)?, anvil.call(question.method, params)?);
            if essence(&our) != essence(&their) {
                return Err(format!("{} {params}: {our} on our side, {their} on anvil's", question.method).into());
            }
        }
    }
    Ok(())
}

/// Returns what must be the same of an answer.
fn essence(answer: &Value) -> Value {
    match answer {
        Value::Array(list) => json!(list.len()),
        Value::Object(fields) if fields.contains_key("gasUsed") && fields.contains_key("transactions") => {
            json!([fields["gasUsed"], fields["number"], fields["transactions"].as_array().map(Vec::len)])
        }
        Value::Object(fields) => json!([fields.get("from"), fields.get("to"), fields.get("blockNumber")]),
        Value::String(text) if text.len() > 40 || text.len() < 10 => answer.clone(),
        // Balances: less the fees.
        _ => Value::Null,
    }
}

fn report(
    history: &History,
    questions: &[Question],
    paces: &[(Vec<Pace>, Vec<Pace>)],
    memory: [Outcome<u64>; 2],
) -> Report {
    let per_block = number(history.transactions.len() as u64) / number(history.blocks.len() as u64);
    let mut figures = vec![
        Figure::new("connections with one request each", number(CONNECTIONS as u64), ""),
        Figure::new("transactions in a block, on average", per_block, ""),
    ];
    let mut reference = Vec::new();
    for (question, (our, their)) in questions.iter().zip(paces) {
        let split = |paces: &[Pace]| paces.iter().copied().unzip::<f64, f64, Vec<f64>, Vec<f64>>();
        let ((our_rates, our_costs), (their_rates, their_costs)) = (split(our), split(their));
        let ours = Figure::most(question.name, our_rates, "1/s");
        let theirs = Figure::most(question.name, their_rates, "1/s");
        let times = Figure::new("  times anvil's, the sender on the same cores", ours.value / theirs.value, "x");
        let (our_cost, their_cost) =
            [our_costs, their_costs].map(|costs| Figure::least("  processor time an answer", costs, "µs")).into();
        let name = format!("  {}: answers of a core, times anvil's", question.name);
        let of_a_core = Figure::new(name, their_cost.value / our_cost.value, "x");
        figures.extend([ours, times, our_cost]);
        figures.push(if question.held { of_a_core.held_against(BarIs::AtLeast, BAR) } else { of_a_core });
        reference.extend([theirs, their_cost]);
    }
    let [our_memory, their_memory] = memory;
    for (list, memory) in [(&mut figures, our_memory), (&mut reference, their_memory)] {
        if let Ok(bytes) = memory {
            list.push(Figure::new("most memory", number(bytes) / 1e6, "MB"));
        }
    }
    let notes = [
        "The same blocks on both sides; meanwhile both make a block every second. Ours reads from its database, anvil from memory.",
        "Answers over 0.7 s a measurement, requests in turns over all accounts, blocks or hashes; the fastest of each side's runs.",
        "The sender shares the cores with the server, and takes as much of them for an answer of either: what a core of the server's own answers is the comparison.",
    ];
    Report::new("rpc", figures, Some(reference), &notes)
}

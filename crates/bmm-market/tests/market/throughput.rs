//! What the market itself costs: no sandbox, but every message encoded, decoded, signed and checked.

use std::time::Instant;

use alloy_primitives::B256;
use alloy_signer_local::PrivateKeySigner;
use bmm_market::provider::{self, Chunk, Provider, ProviderConfig};
use bmm_market::requester::{self, Requester, RequesterConfig, Verdict};
use bmm_types::Amount;
use bmm_types::market::{
    Audit, Content, SignedResults, SignedVoucher, TaskEnd, TaskOutput, TaskResult, ToProvider, ToRequester, Verify,
    Wire, receipt_hash, voucher_hash,
};

use bmm_types::system::Voucher;

use super::fixtures::{CHAIN, JOB, SECRET, key, offer, sign, spec};

/// Resident memory of this process, bytes; 0 where the system does not tell.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default().to_owned();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
}

fn promise(by: &PrivateKeySigner, voucher: &Voucher) -> SignedVoucher {
    let signature = sign(by, voucher_hash(CHAIN, voucher));
    let total = Amount(voucher.total);
    SignedVoucher { job: voucher.job, provider: voucher.provider, total, signature }
}

/// Returns the results of a chunk of tasks that do nothing.
fn no_ops(chunk: Chunk) -> Vec<TaskResult> {
    let end = || TaskEnd::Done(TaskOutput::Inline(Vec::new()));
    let result = |index| TaskResult { index, fuel: 1_234, peak_memory_bytes: 65_536, end: end() };
    (chunk.tasks.first..chunk.tasks.end()).map(result).collect()
}

/// Drives `tasks` no-op tasks between a requester and a provider of two slots; what is drawn is checked on the own machine. Returns
/// seconds and bytes of log.
fn drive(tasks: u64, verify: Verify) -> (f64, usize, Requester) {
    let (requester_key, provider_key) = (key(1), key(2));
    let (requester_at, provider_at) = (requester_key.address(), provider_key.address());
    let config = RequesterConfig { own_checks: 4, secret: SECRET, ..RequesterConfig::new(CHAIN, requester_at) };
    let mut requester = Requester::new(config, spec(tasks, verify, Amount::from_bmm(1_000_000))).unwrap();
    let signed = offer(&provider_key, 2, Amount::from_units(10_000_000_000_000_000));
    let mut provider = Provider::new(ProviderConfig::new(CHAIN, signed));
    let start = Instant::now();
    let mut now = 1_000_000_000u64;
    let mut log = requester.start_log().len();
    let opened = requester::Event::Opened { job: JOB, escrow: Amount::from_bmm(1_000_000), deadline: u64::MAX };
    let mut to_requester = vec![opened];
    let mut to_provider = vec![provider::Event::Connected { requester: requester_at }];
    while requester.ending().is_none() {
        now += 100;
        to_provider.push(provider::Event::Tick);
        to_requester.push(requester::Event::Tick);
        for event in std::mem::take(&mut to_provider) {
            for effect in provider.handle(now, event) {
                let message = match effect {
                    provider::Effect::Send { message, .. } => message,
                    provider::Effect::SignResults { batch, .. } => {
                        let signature = sign(&provider_key, receipt_hash(CHAIN, &batch.receipt(provider_at)));
                        ToRequester::Results(SignedResults { batch, signature })
                    }
                    provider::Effect::Prepare { announcement, .. } => {
                        to_provider.push(provider::Event::Ready { job: announcement.job });
                        continue;
                    }
                    provider::Effect::Run(chunk) => {
                        let results = no_ops(chunk);
                        // 20 µs a task, as the sandbox takes.
                        let busy_micros = 20 * u64::from(chunk.tasks.count);
                        now += busy_micros / 2;
                        to_provider.push(provider::Event::Done { slot: chunk.slot, results, busy_micros });
                        continue;
                    }
                    _ => continue,
                };
                let message = ToRequester::decode(&message.encode()).unwrap();
                to_requester.push(requester::Event::Message { from: provider_at, message });
            }
        }
        for event in std::mem::take(&mut to_requester) {
            for effect in requester.handle(now, event) {
                let message = match effect {
                    requester::Effect::Send { message, .. } => message,
                    requester::Effect::SignVoucher { voucher, standing } => {
                        let voucher = promise(&requester_key, &voucher);
                        ToProvider::Voucher { voucher, standing }
                    }
                    requester::Effect::Record(bytes) => {
                        log += bytes.len();
                        continue;
                    }
                    requester::Effect::Check { task, .. } => {
                        let verdict = Verdict::Found { content: Content::of(&[]), fuel: 1_234 };
                        to_requester.push(requester::Event::Checked { task, verdict });
                        continue;
                    }
                    requester::Effect::Merge => {
                        to_requester.push(requester::Event::Merged(Ok(())));
                        continue;
                    }
                    _ => continue,
                };
                let message = ToProvider::decode(&message.encode()).unwrap();
                to_provider.push(provider::Event::Message { from: requester_at, message });
            }
        }
    }
    (start.elapsed().as_secs_f64(), log, requester)
}

#[test]
fn a_long_job_comes_to_its_end() {
    let (_, _, requester) = drive(50_000, Verify::None);
    let accepted: u64 = requester.accepted().iter().map(|accepted| accepted.tasks).sum();
    assert_eq!(accepted, 50_000);
    let settlement = requester.settlement().unwrap();
    assert_ne!(settlement.root, B256::ZERO);
    assert_eq!(settlement.providers[0].fuel, 50_000 * 1_234);
}

/// With audits the queue of checks must not grow with the job, and nearly all is taken unchecked once the provider is known.
#[test]
fn audits_of_a_long_job_are_few() {
    let (_, _, requester) = drive(50_000, Verify::Audit(Audit { floor_ppm: 20_000 }));
    let found = requester.verification();
    assert_eq!(found.checked + found.unchecked, 50_000);
    assert!((1_000..5_000).contains(&found.checked) && found.own_machine == found.checked, "{found:?}");
}

#[test]
#[ignore = "prints figures: cargo test --release -p bmm-market -- --ignored --nocapture million"]
#[expect(clippy::print_stdout, reason = "the figures are what it is for")]
fn a_million_tasks() {
    let audit = Verify::Audit(Audit { floor_ppm: 20_000 });
    for (tasks, verify) in [(100_000u64, Verify::None), (1_000_000, Verify::None), (1_000_000, audit)] {
        let before = resident();
        let (seconds, log, requester) = drive(tasks, verify);
        let memory = resident().saturating_sub(before);
        #[expect(clippy::cast_precision_loss, reason = "figures for people")]
        let rate = tasks as f64 / seconds;
        println!(
            "{tasks} tasks, {verify:?}: {rate:.0}/s, {:.2} µs a task; {} B of memory and {} B of log a task; {} receipts, {} checked",
            1e6 / rate,
            memory / tasks,
            log as u64 / tasks,
            requester.accepted().len(),
            requester.verification().checked
        );
    }
}

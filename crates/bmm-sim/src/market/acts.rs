//! What the parties want, carried out.

use std::collections::VecDeque;

use alloy_primitives::{Address, B256};
use bmm_market::provider::{self, Chunk};
use bmm_market::requester::{self, Check, Phase, Settlement, Verdict};
use bmm_market::{MILLISECOND, Micros, SECOND};
use bmm_types::Amount;
use bmm_types::market::{
    Content, SignedResults, SignedVoucher, TaskEnd, TaskOutput, TaskResult, ToProvider, ToRequester, Wire,
    receipt_hash, voucher_hash,
};

use super::boss::PAID_BY_SETTLEMENT;
use super::clock::Happening;
use super::manners::{Deed, Kind, truth};
use super::plan::{CHAIN, MIDDLING, stake};
use super::world::World;

/// How many times as fast as its machine one is that does not do its work.
const WITHOUT_WORK: u64 = 100;
/// How often an owner of many names comes back.
const MAX_REBIRTHS: u32 = 20;
/// After how long a provider with results looks at its clock, since it sends them in batches.
const HOST_TICK: Micros = 100 * MILLISECOND;

impl World<'_> {
    /// Feeds a provider, and carries out what it wants.
    pub fn tell_host(&mut self, host: usize, event: provider::Event) {
        for effect in self.hosts[host].provider.handle(self.clock.now, event) {
            self.do_for_host(host, effect);
        }
    }

    fn do_for_host(&mut self, host: usize, effect: provider::Effect) {
        match effect {
            provider::Effect::Send { to, message } => self.send_up(host, to, &message),
            provider::Effect::SignResults { to, batch } => {
                let state = &mut self.hosts[host];
                state.batches += 1;
                let hash = || receipt_hash(CHAIN, &batch.receipt(state.signer.address()));
                let signature = state.signer.sign(hash, state.batches);
                let worth: u128 =
                    batch.results.iter().map(|result| u128::from(result.fuel) * state.machine.price).sum();
                let delivered = state.delivered.entry(batch.job).or_default();
                *delivered = Amount::from_units(delivered.units().to::<u128>() + worth / 1_000_000_000);
                self.send_up(host, to, &ToRequester::Results(SignedResults { batch, signature }));
            }
            provider::Effect::Prepare { announcement, .. } => {
                let delay = 2 * self.hosts[host].machine.latency + self.random.below(SECOND);
                let (life, job) = (self.hosts[host].life, announcement.job);
                self.clock.after(delay, Happening::Prepared { host, life, job });
            }
            provider::Effect::Run(chunk) => self.run_chunk(host, chunk),
            provider::Effect::Stop { slot } => {
                let state = &mut self.hosts[host];
                state.runs[usize::from(slot)] += 1;
                let (life, run) = (state.life, state.runs[usize::from(slot)]);
                let tasks = bmm_types::market::TaskRange { first: 0, count: 0 };
                let chunk = Chunk { slot, job: B256::ZERO, tasks };
                let done = Happening::ChunkDone { host, life, run, chunk, results: Vec::new(), busy: 0 };
                self.clock.after(MILLISECOND, done);
            }
            provider::Effect::KeepVoucher(voucher) => {
                self.hosts[host].kept.insert(voucher.job, voucher);
            }
            provider::Effect::Claim(voucher) => {
                let boss = self.boss_of_job(voucher.job);
                self.bosses[boss].escrow.claim(voucher.provider, voucher.total);
                self.hosts[host].kept.remove(&voucher.job);
            }
            provider::Effect::Forget { .. } => {}
        }
    }

    fn boss_of_job(&self, job: B256) -> usize {
        self.bosses.iter().position(|boss| boss.job == job).expect("jobs are of requesters that are here")
    }

    fn run_chunk(&mut self, host: usize, chunk: Chunk) {
        let boss = self.boss_of_job(chunk.job);
        let (kind, machine) = (self.hosts[host].kind, self.hosts[host].machine);
        let (mut results, mut busy) = (Vec::with_capacity(chunk.tasks.count as usize), 0);
        for task in chunk.tasks.first..chunk.tasks.end() {
            let (fuel, draw) = (self.fuel(boss, task), self.random.bits());
            let done = self.hosts[host].results + results.len() as u64;
            let copy = if kind == Kind::Copy { self.shared.get(&(boss, task)) } else { None };
            let time = machine.micros(fuel);
            let bytes = match kind.deed(task, done, draw, copy) {
                Deed::Work => {
                    busy += time;
                    truth(self.seed ^ boss as u64, task)
                }
                Deed::Instead(bytes) => {
                    busy += time / WITHOUT_WORK;
                    bytes
                }
                Deed::Nothing => return,
            };
            if kind != Kind::Honest {
                self.shared.entry((boss, task)).or_insert_with(|| bytes.clone());
            }
            let end = TaskEnd::Done(TaskOutput::Inline(bytes));
            results.push(TaskResult { index: task, fuel, peak_memory_bytes: 1 << 20, end });
        }
        let state = &mut self.hosts[host];
        state.runs[usize::from(chunk.slot)] += 1;
        let (life, run) = (state.life, state.runs[usize::from(chunk.slot)]);
        self.clock.after(busy, Happening::ChunkDone { host, life, run, chunk, results, busy });
    }

    pub fn chunk_done(
        &mut self,
        host: usize,
        (life, run): (u32, u32),
        chunk: Chunk,
        results: Vec<TaskResult>,
        busy: Micros,
    ) {
        let state = &mut self.hosts[host];
        if state.life != life || state.runs[usize::from(chunk.slot)] != run {
            return;
        }
        if !results.is_empty() {
            let boss = self.boss_of_job(chunk.job);
            let seed = self.seed ^ boss as u64;
            let state = &mut self.hosts[host];
            for result in &results {
                let TaskEnd::Done(TaskOutput::Inline(bytes)) = &result.end else { continue };
                let wrong = state.kind != Kind::Honest && *bytes != truth(seed, result.index);
                state.wrong += u64::from(wrong);
                state.results += 1;
                self.outcome.runs += 1;
            }
            if !std::mem::replace(&mut state.ticks, true) {
                self.clock.after(HOST_TICK, Happening::HostTick { host, life });
            }
        }
        self.tell_host(host, provider::Event::Done { slot: chunk.slot, results, busy_micros: busy });
    }

    /// Feeds a requester, and carries out what it wants; it may die between any two effects.
    pub fn tell_boss(&mut self, boss: usize, event: requester::Event) {
        if !self.bosses[boss].is_busy() {
            return;
        }
        let mut todo = VecDeque::from([event]);
        while let Some(event) = todo.pop_front() {
            let effects = self.bosses[boss].machine.handle(self.clock.now, event);
            let crash = std::mem::take(&mut self.bosses[boss].crash_next);
            let all = effects.len();
            let kept = if crash { usize::try_from(self.random.below(all as u64 + 1)).unwrap_or(all) } else { all };
            for effect in effects.into_iter().take(kept) {
                todo.extend(self.do_for_boss(boss, effect));
            }
            if crash && self.bosses[boss].over.is_none() {
                self.restart_boss(boss);
                todo = VecDeque::from([self.bosses[boss].opened()]);
            }
        }
    }

    fn restart_boss(&mut self, boss: usize) {
        self.bosses[boss].restart();
        for host in 0..self.hosts.len() {
            if self.hang_up(host, boss) {
                let delay = self.random.below(SECOND) + 200 * MILLISECOND;
                self.clock.after(delay, Happening::Connect { host, boss });
            }
        }
    }

    fn do_for_boss(&mut self, number: usize, effect: requester::Effect) -> Option<requester::Event> {
        match effect {
            requester::Effect::Send { to, message } => {
                let host = self.numbers[&to];
                if matches!(message, ToProvider::Over { .. }) && self.bosses[number].machine.phase() == Phase::Running {
                    self.thrown_out(host);
                }
                self.send_down(number, host, &message);
            }
            requester::Effect::Record(bytes) => {
                if let Some(log) = &mut self.bosses[number].log {
                    log.extend(bytes);
                }
            }
            requester::Effect::Store(_) => {}
            requester::Effect::Fetch { .. } => unreachable!("every result travels inside its message"),
            requester::Effect::SignVoucher { voucher, standing } => {
                let boss = &mut self.bosses[number];
                let total = Amount(voucher.total);
                boss.promise(voucher.provider, total);
                let signature = boss.signer.sign(|| voucher_hash(CHAIN, &voucher), 1);
                let voucher = SignedVoucher { job: voucher.job, provider: voucher.provider, total, signature };
                let host = self.numbers[&voucher.provider];
                self.send_down(number, host, &ToProvider::Voucher { voucher, standing });
            }
            requester::Effect::Check { task, how } => self.check(number, task, &how),
            requester::Effect::Trust(finding) => self.bosses[number].config.trust.note(finding),
            requester::Effect::LookUpStake { provider } => {
                let boss = &self.bosses[number];
                let amount = if boss.accused.contains(&provider) { Amount::ZERO } else { stake(self.options) };
                return Some(requester::Event::Stake { provider, amount });
            }
            requester::Effect::Accuse(call) => {
                self.bosses[number].accused.insert(call.accused.provider);
            }
            requester::Effect::Contradict(call) => {
                self.bosses[number].accused.insert(call.first.provider);
            }
            requester::Effect::Merge => return Some(requester::Event::Merged(Ok(()))),
            requester::Effect::Settle(settlement) => {
                self.settle(number, &settlement);
                return Some(requester::Event::Settled { transaction: B256::repeat_byte(7) });
            }
            requester::Effect::Over(ending) => self.bosses[number].over = Some((ending, self.clock.now)),
        }
        None
    }

    /// The requester's own machine looks at a task, at middling speed.
    fn check(&mut self, boss: usize, task: u64, how: &Check) {
        let (fuel, right) = (self.fuel(boss, task), Content::of(&truth(self.seed ^ boss as u64, task)));
        let (verdict, time) = match how {
            Check::Run => (Verdict::Found { content: right, fuel }, fuel / (MIDDLING / SECOND)),
            // Verifiers take less time than what they verify.
            Check::Judge(content) => (Verdict::Judged(*content == right), fuel / (MIDDLING / SECOND) / 100),
        };
        let life = self.bosses[boss].life;
        self.clock.after(time.max(1), Happening::Checked { boss, life, task, verdict });
    }

    /// Pays the dearest of the providers by the settlement and the others by claims before it.
    fn settle(&mut self, number: usize, settlement: &Settlement) {
        let escrow = &mut self.bosses[number].escrow;
        if escrow.is_settled() {
            return;
        }
        let mut totals: Vec<(Address, Amount)> =
            settlement.providers.iter().map(|provider| (provider.provider, provider.total)).collect();
        totals.sort_by_key(|(provider, total)| (std::cmp::Reverse(*total), *provider));
        let rest = totals.split_off(totals.len().min(PAID_BY_SETTLEMENT));
        for (provider, total) in rest {
            escrow.claim(provider, total);
        }
        totals.sort_unstable();
        escrow.settle(&totals);
    }

    /// A requester wants nothing more of a provider; the owner of many names takes another one.
    fn thrown_out(&mut self, host: usize) {
        let state = &mut self.hosts[host];
        state.caught_after = state.caught_after.or(Some(state.results));
        if state.kind == Kind::Sybil && state.rebirths < MAX_REBIRTHS && state.alive {
            self.clock.after(SECOND, Happening::Rebirth { host });
        }
    }

    /// Returns the time that a message takes now.
    fn latency(&mut self, host: usize) -> Micros {
        let least = self.hosts[host].machine.latency;
        // One in twenty is held up.
        let held_up = if self.random.chance(50_000) { self.random.below(4 * least) } else { 0 };
        least + self.random.below(least / 4) + held_up
    }

    /// Tells whether a message gets through; if not, its connection is gone for a moment.
    fn gets_through(&mut self, host: usize, boss: usize) -> bool {
        if !self.random.chance(self.options.loss.0) {
            return true;
        }
        self.outcome.breaks += 1;
        self.hang_up(host, boss);
        let delay = 300 * MILLISECOND + self.random.below(2 * SECOND);
        self.clock.after(delay, Happening::Connect { host, boss });
        false
    }

    fn send_up(&mut self, host: usize, to: Address, message: &ToRequester) {
        let boss = self.bosses.iter().position(|boss| boss.signer.address() == to).expect("requesters stay known");
        if self.hosts[host].links[boss].connected && self.gets_through(host, boss) {
            let latency = self.latency(host);
            let bytes = message.encode();
            self.outcome.messages += 1;
            self.outcome.bytes_to_requesters += bytes.len() as u64;
            let link = &mut self.hosts[host].links[boss];
            link.up = link.up.max(self.clock.now + latency);
            self.clock.at(link.up, Happening::ToBoss { host, boss, connection: link.connection, bytes });
        }
    }

    fn send_down(&mut self, boss: usize, host: usize, message: &ToProvider) {
        if self.hosts[host].links[boss].connected && self.gets_through(host, boss) {
            let latency = self.latency(host);
            let bytes = message.encode();
            self.outcome.messages += 1;
            self.outcome.bytes_to_providers += bytes.len() as u64;
            let link = &mut self.hosts[host].links[boss];
            link.down = link.down.max(self.clock.now + latency);
            self.clock.at(link.down, Happening::ToHost { host, boss, connection: link.connection, bytes });
        }
    }
}

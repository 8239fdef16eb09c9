//! A new job: checked, quoted, and given a folder, before any money moves.

use super::{
    escrow::{check_funds, now_secs},
    executor::{Contents, PreparedJob},
    folder::{JobFolder, JobRecord, JobStatus},
    hosts::{allow_containers_for, open_vm},
    network::Network,
    quote::{self, Sellers},
    reach::{self, NetChoice},
    run::{Work, unlock},
};
use crate::{
    cli::{Context, interrupts},
    failure::{Failure, Outcome},
    marketplace::Membership,
    output,
    rpc::RpcClient,
};
use alloy_primitives::{B256, keccak256};
use alloy_signer_local::PrivateKeySigner;
use bmm_market::{job::Job, requester::explain_offers};
use bmm_types::{
    market::{JobSpec, Runtime, Verify},
    system,
};
use bmm_vm::Vm;
use std::{path::PathBuf, sync::Arc};

/// Gas that must be left beside the budget: opening, settling and refunding use less than this together for two hundred providers.
const GAS_ROOM: u128 = 10_000_000;

/// What the user chose for a job.
#[derive(Debug)]
pub struct RunOptions {
    /// Where the outputs go.
    pub out: PathBuf,
    /// Providers of this process.
    pub providers: u16,
    /// How to find the network, if the job is for providers there.
    pub network: Option<NetChoice>,
    /// Who pays; by default the development chain's wallet, or the default one.
    pub wallet: Option<String>,
    /// Where its password is.
    pub password_file: Option<PathBuf>,
}

/// A job to be run.
pub struct NewJob {
    /// The job.
    pub job: Job,
    /// The choices.
    pub options: RunOptions,
}

impl NewJob {
    /// Checks, quotes, opens the escrow, runs, merges, settles, and prints the receipt; stops after the quote if `dry_run`.
    pub fn run(self, context: &Context, dry_run: bool) -> Outcome {
        let interrupts = interrupts()?;
        let vm = open_vm(&context.data, self.options.providers)?;
        let contents = self.job.contents.clone();
        let contents: Contents = Arc::new(move |hash| contents.get(&hash).cloned());
        let spec = &self.job.spec;
        let tasks = self.job.tasks().map_err(Failure::user)?.count();
        allow_containers_for(spec, context, &vm, self.options.network.is_none())?;
        // A machine that cannot run containers buys all the same; it cannot tell the price beforehand.
        let can_run = spec.runtime != Runtime::Container || vm.containers().is_some();
        let prepared = can_run.then(|| PreparedJob::new(&vm, spec, contents.clone()));
        let prepared = prepared.transpose().map_err(Failure::user)?;
        self.check_merger(&vm)?;
        self.check_verifier(&vm)?;
        let reached = self.options.network.as_ref().map(|choice| self.reach(context, choice)).transpose()?;
        let sellers = match &reached {
            Some((_, _, sellers)) => *sellers,
            None => Sellers {
                providers: self.options.providers,
                slots: self.options.providers.into(),
                price_per_gfuel: context.config.provide.price_per_gfuel,
                here: true,
            },
        };
        let quote = quote::probe(spec, tasks, prepared.as_ref(), sellers)?;
        quote.check(spec, sellers.here)?;
        if dry_run {
            output::print(context.global.json, &quote, &quote);
            return Ok(());
        }
        output::note(context.global.json, &quote);
        let (network, membership) = if let Some((network, membership, _)) = reached {
            (network, Some(membership))
        } else {
            self.check_match(context, &vm)?;
            (Network::join(context)?, None)
        };
        let key = unlock(context, self.options.wallet.as_deref(), self.options.password_file.as_deref())?;
        let (folder, record) = self.create(context, &network.rpc, &key, tasks)?;
        let work = Work { context, network: &network, key, folder, vm, contents, interrupts, membership };
        work.run(record, None)
    }

    /// Joins the network and finds enough providers that match.
    fn reach(&self, context: &Context, choice: &NetChoice) -> Outcome<(Network, Membership, Sellers)> {
        let network = Network::join(context)?;
        let membership = reach::join(&context.config.network, choice, &network.rpc)?;
        output::note(context.global.json, "looking for providers");
        let offers = reach::wait_for_offers(membership.place(), &self.job.spec);
        if offers.is_empty() {
            return Err(reach::nobody(membership.place()));
        }
        let explanation = reach::explain(&self.job.spec, &offers);
        if explanation.matching < explanation.needed.max(1) {
            let shown = super::explain::Shown::of(&self.job.spec, &explanation);
            return Err(Failure::user(format!("too few providers match\n{shown}"))
                .hint("lower what the job asks for, or wait for others: `bmm market offers` shows who offers what"));
        }
        Ok((network, membership, reach::sellers(&self.job.spec, &offers)))
    }

    /// Compiles the merging program now, while a fault in it costs nothing.
    fn check_merger(&self, vm: &Vm) -> Outcome {
        if let bmm_types::market::Merge::App { app, .. } = &self.job.spec.output.merge {
            let module = self
                .job
                .contents
                .get(&app.hash)
                .ok_or_else(|| Failure::internal("the merging program was not read"))?;
            vm.prepare(module, self.job.spec.canonical_nans)
                .map_err(|error| Failure::user(format!("output.merge: {error}")))?;
        }
        Ok(())
    }

    /// Compiles the verifier, for the same reason.
    fn check_verifier(&self, vm: &Vm) -> Outcome {
        if let Verify::Checker(checker) = self.job.spec.verify {
            let module = self.job.contents.get(&checker.app.hash);
            let module = module.ok_or_else(|| Failure::internal("the verifier was not read"))?;
            vm.prepare(module, self.job.spec.canonical_nans)
                .map_err(|error| Failure::user(format!("verify.app: {error}")))?;
        }
        Ok(())
    }

    /// As many providers as the verification needs must match the job's conditions.
    fn check_match(&self, context: &Context, vm: &Vm) -> Outcome {
        let offers = super::hosts::offers(&context.data, &context.config.provide, vm, self.options.providers)?;
        let explanation = explain_offers(&self.job.spec, &offers, super::link::now_micros());
        if explanation.matching >= explanation.needed {
            return Ok(());
        }
        Err(Failure::user(format!(
            "too few providers match\n{}",
            super::explain::Shown::of(&self.job.spec, &explanation)
        ))
        .hint("lower what the job asks for, or start fewer providers with more memory each (--providers)"))
    }

    /// The wallet must hold the budget, and gas for the job's transactions.
    fn check_funds(&self, rpc: &RpcClient, key: &PrivateKeySigner) -> Outcome {
        let budget = self.job.spec.budget.max;
        let hint = "lower budget.max in the job file (or --budget), or choose another wallet with --wallet";
        check_funds(rpc, key.address(), budget, GAS_ROOM, &format!("budget.max is {budget}"), hint)
    }

    fn create(
        &self,
        context: &Context,
        rpc: &RpcClient,
        key: &PrivateKeySigner,
        tasks: u64,
    ) -> Outcome<(JobFolder, JobRecord)> {
        let chain_id = rpc.chain_id()?;
        let secret = B256::random();
        let spec = &JobSpec { draw: keccak256(secret), ..self.job.spec.clone() };
        self.check_funds(rpc, key)?;
        let salt = B256::random();
        let now = now_secs();
        let record = JobRecord {
            id: system::job_id(chain_id, key.address(), salt),
            name: spec.name.clone(),
            status: JobStatus::Opening,
            tasks,
            requester: key.address(),
            chain_id,
            salt,
            secret,
            budget: spec.budget.max,
            deadline: now.saturating_add(spec.budget.deadline_seconds),
            created: now,
            out: self.options.out.clone(),
            providers: self.options.providers,
            network: self.options.network.clone(),
            open_transaction: None,
            settle_transaction: None,
            refund_transaction: None,
            outputs: Vec::new(),
            worked_ms: 0,
            running_ms: 0,
            busy_ms: 0,
            own_checked: 0,
            ending: String::new(),
        };
        let folder = JobFolder::create(&context.data, &record, spec)?;
        for (hash, bytes) in &self.job.contents {
            folder.put_content(*hash, bytes)?;
        }
        Ok((folder, record))
    }
}

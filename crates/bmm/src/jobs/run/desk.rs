//! What a running job leaves to its caller: merging, stakes, disputes, the settlement, the terminal.

use super::{MERGE_POLL, Work};
use crate::{
    failure::{Failure, Kind, Outcome},
    jobs::{
        JobFolder, JobRecord, Outputs, drive::Desk, escrow::Escrow, executor::Contents, merge::Merger,
        progress::ProgressView,
    },
};
use alloy_primitives::{Address, B256};
use bmm_market::job::Tasks;
use bmm_market::requester::{Requester, Settlement};
use bmm_types::{Amount, market::JobSpec, system::Jobs};
use bmm_vm::{StopFlag, Vm};
use std::path::{Path, PathBuf};

/// The driver's caller: files, chain and terminal of one job.
pub(super) struct JobDesk<'a> {
    pub work: &'a Work<'a>,
    pub spec: &'a JobSpec,
    pub escrow: &'a Escrow,
    pub record: &'a mut JobRecord,
    pub view: ProgressView,
    pub cancelling: bool,
    /// Whether the state machine was told to end the job.
    pub asked: bool,
    /// Sent before the settlement.
    pub accusations: Vec<Jobs::accuseCall>,
    /// Sent after it.
    pub contradictions: &'a mut Vec<Jobs::contradictCall>,
}

/// What the merging thread needs.
struct MergePlan<'a> {
    vm: &'a Vm,
    folder: &'a JobFolder,
    spec: &'a JobSpec,
    contents: Contents,
    out: &'a Path,
}

impl MergePlan<'_> {
    fn merge(&self, requester: &Requester, outputs: &mut Outputs, stop: &StopFlag) -> Outcome<Vec<PathBuf>> {
        let tasks = Tasks::new(self.spec, |hash| (self.contents)(hash)).map_err(Failure::internal)?;
        let merger = Merger { spec: self.spec, tasks: &tasks, folder: self.folder, out: self.out, vm: self.vm };
        let result = |index| requester.result(index).map(|result| result.content);
        merger.merge(&result, outputs, stop)
    }
}

impl Desk for JobDesk<'_> {
    fn merge(&mut self, requester: &Requester, outputs: &mut Outputs) -> Outcome<Option<Result<(), String>>> {
        if self.cancelling {
            return Ok(Some(Err("the job is cancelled".into())));
        }
        self.view.merging();
        let stop = StopFlag::new();
        let plan = MergePlan {
            vm: &self.work.vm,
            folder: &self.work.folder,
            spec: self.spec,
            contents: self.work.contents.clone(),
            out: &self.record.out,
        };
        let merge = || plan.merge(requester, outputs, &stop);
        let (merged, interrupted) = std::thread::scope(|scope| {
            let merging = scope.spawn(merge);
            let mut interrupted = false;
            while !merging.is_finished() {
                if self.work.interrupts.recv_timeout(MERGE_POLL).is_ok() {
                    interrupted = true;
                    stop.stop();
                }
            }
            (merging.join(), interrupted)
        });
        if interrupted {
            return Ok(None);
        }
        match merged.unwrap_or_else(|_| Err(Failure::internal("the merging thread died"))) {
            Ok(written) => self.record.outputs = written,
            Err(failure) if failure.kind == Kind::Job => return Ok(Some(Err(failure.message))),
            Err(failure) => return Err(failure),
        }
        self.work.folder.save(self.record)?;
        Ok(Some(Ok(())))
    }

    fn stake_of(&mut self, provider: Address) -> Amount {
        self.escrow.stake_of(provider).unwrap_or_else(|failure| {
            tracing::warn!(%provider, message = failure.message, "a stake could not be looked up");
            Amount::ZERO
        })
    }

    fn accuse(&mut self, call: Jobs::accuseCall) {
        self.accusations.push(call);
    }

    fn contradict(&mut self, call: Jobs::contradictCall) {
        self.contradictions.push(call);
    }

    fn settle(&mut self, settlement: &Settlement) -> Outcome<B256> {
        self.view.settling();
        // Before the settlement, which lets the time for them run out.
        for call in std::mem::take(&mut self.accusations) {
            if let Err(failure) = self.escrow.accuse(&call) {
                let provider = call.accused.provider;
                tracing::warn!(%provider, message = failure.message, "a provider that was wrong could not be accused");
            }
        }
        let mined = self.escrow.settle(settlement)?;
        self.record.settle_transaction = Some(mined.transaction);
        self.work.folder.save(self.record)?;
        Ok(mined.transaction)
    }

    fn progress(&mut self, requester: &Requester, last: bool) {
        self.view.show(requester, &self.work.folder, last);
    }

    fn cancelled(&mut self) -> Option<String> {
        if self.asked {
            return None;
        }
        self.work.folder.asked_to_cancel().inspect(|_| self.asked = true)
    }

    fn interrupted(&mut self) -> bool {
        self.work.interrupts.try_recv().is_ok()
    }
}

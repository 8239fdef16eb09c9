//! The bounds of a job's description, and what must agree in it.

use super::{Audit, AxisKind, Checker, Collect, JobSpec, MAX_STAKE_UNITS, MAX_TEXT_BYTES, Verify, is_fixed, is_normal};
use crate::market::MAX_SPEC_BYTES;
use crate::market::offer::Runtime;
use crate::market::wire::{Wire, WireError, ensure, text};
use alloy_primitives::U256;

impl JobSpec {
    /// Containers begin where their image says, see only `/in`, and have no NaNs of ours; nothing runs hash jobs yet.
    fn check_runtime(&self) -> Result<(), WireError> {
        ensure(self.runtime != Runtime::Miner, "runtime", "hash jobs are not described by this")?;
        if self.runtime == Runtime::Wasm {
            return ensure(self.needs.workers == 0, "needs", "only containers have workers");
        }
        ensure(self.entry.is_empty(), "entry", "a container begins where its image says")?;
        ensure(!self.canonical_nans, "canonical_nans", "only wasm has them")?;
        ensure(!self.inputs.iter().any(|file| is_fixed(&file.path)), "inputs", "a container has files under /in alone")
    }

    /// A stake can be lost by differing from others, so every honest run must give the same: the program is
    /// deterministic, its NaNs are canonical, and its results are compared.
    fn check_verify(&self) -> Result<(), WireError> {
        match self.verify {
            Verify::None => {}
            Verify::Replicate(n) => ensure((2..=15).contains(&n), "verify", "n is not between 2 and 15")?,
            Verify::Audit(Audit { floor_ppm }) | Verify::Checker(Checker { floor_ppm, .. }) => {
                ensure(floor_ppm <= 1_000_000, "verify", "the floor is above one")?;
            }
        }
        ensure(self.deterministic || !self.verify.compares(), "verify", "only deterministic programs can be compared")?;
        ensure(self.stake.units() <= U256::from(MAX_STAKE_UNITS), "stake", "it is above 1000000000 BMM")?;
        let comparable = self.verify.compares() && self.canonical_nans;
        ensure(self.stake.is_zero() || comparable, "stake", "it needs replicate or audit, and canonical_nans")
    }
}

impl Wire for JobSpec {
    const MAX_BYTES: usize = MAX_SPEC_BYTES;

    fn check(&self) -> Result<(), WireError> {
        text("name", &self.name, 256)?;
        self.args.iter().try_for_each(|arg| text("args", arg, MAX_TEXT_BYTES))?;
        for file in &self.inputs {
            let normal = is_normal(&file.path) || is_fixed(&file.path);
            ensure(normal, "inputs", "a path is neither relative and normal nor absolute outside of /in and /out")?;
        }
        text("entry", &self.entry, 256)?;
        for (name, value) in &self.env {
            text("env", name, 256)?;
            text("env", value, MAX_TEXT_BYTES)?;
            let sound = !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0');
            ensure(sound, "env", "a name is empty or has `=`, or something has a zero byte")?;
        }
        for axis in &self.axes {
            text("axes", &axis.name, 64)?;
            match &axis.kind {
                AxisKind::Range { start, end, chunk } => {
                    ensure(
                        *chunk > 0 && end.checked_sub(*start).is_some(),
                        "axes",
                        "a range is too wide or has no chunk",
                    )?;
                }
                AxisKind::Values(values) => {
                    values.iter().try_for_each(|value| text("axes", value, MAX_TEXT_BYTES))?;
                }
                AxisKind::Lines { chunk, .. } => ensure(*chunk > 0, "axes", "chunk is zero")?,
                AxisKind::Rows { chunk, stdin, columns, .. } => {
                    ensure(*chunk > 0 && (*stdin || *chunk == 1), "axes", "chunk is not usable")?;
                    columns.iter().try_for_each(|column| text("axes", column, MAX_TEXT_BYTES))?;
                }
                AxisKind::Files(files) => {
                    let normal = files.iter().all(|file| is_normal(&file.path));
                    ensure(normal, "axes", "a path is not relative and normal")?;
                }
            }
        }
        if let Collect::File(path) = &self.output.collect {
            ensure(path.starts_with("/out/") && path.len() <= 4_096, "collect", "it is not a path under /out")?;
        }
        let file = &self.output.file;
        ensure(is_normal(file) && !file.contains('/'), "file", "it is not a plain file name")?;
        self.needs.check()?;
        self.check_runtime()?;
        self.check_verify()?;
        ensure(self.tasks().is_ok(), "axes", "there is no task or there are too many")
    }
}

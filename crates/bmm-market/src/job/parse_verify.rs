//! `[verify]`: how results are verified, and what providers have at stake.

use bmm_types::Amount;
use bmm_types::market::{Audit, Checker, Content, Verify};

use super::error::{JobError, nearest};
use super::file::{JobFile, read_amount};
use super::toml_reader::{Table, Value};
use super::units;

/// Keys of `[verify]`.
pub(super) const KEYS: [&str; 5] = ["mode", "n", "floor", "app", "stake"];
/// Share that is checked of everybody's results in a job with audits, parts per million.
pub(super) const FLOOR_PPM: u32 = 20_000;
const ALL_PPM: u32 = 1_000_000;
const MODES: [&str; 4] = ["none", "replicate", "audit", "checker"];

/// Reads the table into the job.
pub(super) fn read(table: &Table<'_>, job: &mut JobFile) -> Result<(), JobError> {
    let example = "mode = \"replicate\"";
    let mode = table.need("mode", example)?;
    let text = mode.text(example)?;
    let (n, floor, app, stake) = (table.get("n"), table.get("floor"), table.get("app"), table.get("stake"));
    only_in(n.as_ref(), text, &["replicate"], "only `replicate` has a number of operators")?;
    only_in(floor.as_ref(), text, &["audit", "checker"], "only `audit` and `checker` check a share of the results")?;
    only_in(app.as_ref(), text, &["checker"], "only `checker` asks a program")?;
    only_in(stake.as_ref(), text, &["replicate", "audit"], "only results that are compared can cost a stake")?;
    job.verify = Some(match text {
        "none" => Verify::None,
        "replicate" => Verify::Replicate(operators(n.as_ref(), &mode)?),
        "audit" => Verify::Audit(Audit { floor_ppm: share(floor.as_ref(), FLOOR_PPM)? }),
        "checker" => {
            job.checker =
                Some(table.need("app", "app = \"./verify.wasm\"")?.text("app = \"./verify.wasm\"")?.to_owned());
            // The program's content is put in when the file is read.
            let floor_ppm = share(floor.as_ref(), ALL_PPM)?;
            Verify::Checker(Checker { app: Content::default(), floor_ppm, listing: None })
        }
        other => {
            let guess = nearest(other, MODES).map(|name| format!("did you mean \"{name}\"? ")).unwrap_or_default();
            let hint = format!("{guess}valid: \"none\", \"replicate\", \"audit\", \"checker\"");
            return Err(mode.bad("there is no such mode", hint));
        }
    });
    if let Some(value) = stake {
        job.stake = read_amount(&value, "stake = \"5 BMM\"")?;
    }
    Ok(())
}

fn only_in(value: Option<&Value<'_>>, mode: &str, modes: &[&str], reason: &str) -> Result<(), JobError> {
    match value {
        Some(value) if MODES.contains(&mode) && !modes.contains(&mode) => {
            Err(value.bad(reason, format!("remove it, or write mode = \"{}\"", modes[0])))
        }
        _ => Ok(()),
    }
}

fn operators(n: Option<&Value<'_>>, mode: &Value<'_>) -> Result<u8, JobError> {
    let count = n.map_or(Ok(2), |n| n.count("n = 2"))?;
    let in_range = u8::try_from(count).ok().filter(|n| (2..=15).contains(n));
    in_range.ok_or_else(|| n.unwrap_or(mode).bad("it is not between 2 and 15", "write for example: n = 2"))
}

fn share(floor: Option<&Value<'_>>, default: u32) -> Result<u32, JobError> {
    let Some(value) = floor else { return Ok(default) };
    let text = value.text("floor = \"2 %\"")?;
    units::ppm(text)
        .ok_or_else(|| value.bad("it is not a share from 0 % to 100 %", "write for example: floor = \"2 %\""))
}

/// Returns whether the job may ask for a stake, in words for a person if not: an honest provider must not be able to lose it.
pub(super) fn stake_objection(job: &JobFile) -> Option<(&'static str, &'static str)> {
    if job.stake == Amount::ZERO || job.canonical_nans {
        return None;
    }
    Some((
        "NaNs may differ between processors, and no honest provider would risk that",
        "write canonical_nans = true above [verify], or remove the stake",
    ))
}

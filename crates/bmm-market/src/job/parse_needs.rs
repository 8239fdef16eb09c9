//! Reads what a job needs of a provider's machine.

use bmm_types::market::{FEATURES, MAX_WORKERS, Needs};

use super::error::{JobError, nearest};
use super::file::quantity;
use super::toml_reader::{Table, Value};
use super::units;

/// Keys of the table.
const KEYS: [&str; 5] = ["cores", "memory", "disk", "feature", "gpu"];
/// What a machine may be asked for, bytes.
const SIZES: (u64, u64, &str) = (1, 1 << 50, "between 1 B and 1048576 GiB");
const FEATURE_EXAMPLE: &str = "feature = [\"avx2\"]";

/// Reads the table `needs`.
pub(super) fn read(table: &Table<'_>) -> Result<Needs, JobError> {
    table.check(&KEYS)?;
    let mut needs = Needs::default();
    if let Some(value) = table.get("cores") {
        let cores = u16::try_from(value.count("cores = 4")?).ok().filter(|n| (1..=4_096).contains(n));
        needs.cores = cores.ok_or_else(|| value.bad("it is not between 1 and 4096", "write for example: cores = 4"))?;
    }
    if let Some(value) = table.get("memory") {
        needs.memory_bytes = at_least(&value, "memory = \"8 GiB\"")?;
    }
    if let Some(value) = table.get("disk") {
        needs.disk_bytes = at_least(&value, "disk = \"20 GiB\"")?;
    }
    if let Some(value) = table.get("feature") {
        needs.features = features(&value)?;
    }
    if let Some(value) = table.get("gpu") {
        let any = value.text("gpu = \"any\" or gpu = \"8 GiB\"")?.trim() == "any";
        needs.gpu_bytes = Some(if any { 0 } else { at_least(&value, "gpu = \"8 GiB\"")? });
    }
    Ok(needs)
}

/// Reads the table `cluster`: how many containers each task gets beside its own.
pub(super) fn workers(table: &Table<'_>) -> Result<u16, JobError> {
    table.check(&["workers"])?;
    let value = table.need("workers", "workers = 2")?;
    let workers = u16::try_from(value.count("workers = 2")?).ok().filter(|n| (1..=MAX_WORKERS).contains(n));
    let reason = || format!("it is not between 1 and {MAX_WORKERS}");
    workers.ok_or_else(|| value.bad(reason(), "write for example: workers = 2"))
}

/// Reads a size; `≥` before it is allowed, as it is what is meant anyway.
fn at_least(value: &Value<'_>, example: &'static str) -> Result<u64, JobError> {
    quantity(value, |text| units::size(text.trim().trim_start_matches(['≥', '>', '='])), SIZES, example)
}

/// Reads one feature of the processor, or a list.
fn features(value: &Value<'_>) -> Result<Vec<String>, JobError> {
    let mut found =
        if value.is_text() { vec![value.text(FEATURE_EXAMPLE)?.to_owned()] } else { value.texts(FEATURE_EXAMPLE)? };
    if let Some(unknown) = found.iter().find(|feature| !FEATURES.contains(&feature.as_str())) {
        let meant = nearest(unknown, FEATURES).map_or_else(String::new, |name| format!("did you mean {name:?}? "));
        let reason = format!("{unknown:?} is no feature of a processor that providers tell of");
        return Err(value.bad(reason, format!("{meant}valid: {}", FEATURES.join(", "))));
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

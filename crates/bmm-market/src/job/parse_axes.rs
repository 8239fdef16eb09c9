//! The axes of `[split]` as written.

use super::error::JobError;
use super::file::AxisSource;
use super::toml_reader::Value;

/// Keys that say what an axis runs over; exactly one is given.
const SOURCES: [&str; 5] = ["range", "values", "lines", "csv", "files"];
const EXAMPLE: &str = "rows = { range = \"0..1080\", chunk = 16 }";

/// Reads one axis.
pub(super) fn axis(value: &Value<'_>) -> Result<AxisSource, JobError> {
    let table = value.table(EXAMPLE)?.only(&["range", "values", "lines", "csv", "files", "chunk"])?;
    let mut sources = SOURCES.iter().filter_map(|&key| table.get(key).map(|source| (key, source)));
    let (Some((kind, source)), None) = (sources.next(), sources.next()) else {
        let reason = "an axis has exactly one of range, values, lines, csv and files";
        return Err(value.bad(reason, format!("write for example: {EXAMPLE}")));
    };
    let chunk = match table.get("chunk") {
        None => 1,
        Some(chunk) if matches!(kind, "values" | "files") => {
            let reason = format!("{kind} are given to tasks one by one");
            return Err(chunk.bad(reason, "remove `chunk`, or use `range`, `lines` or `csv`"));
        }
        Some(chunk) => match chunk.count("chunk = 16")? {
            0 => return Err(chunk.bad("a task needs something to do", "write for example: chunk = 16")),
            count => count,
        },
    };
    Ok(match kind {
        "range" => range(&source, chunk)?,
        "values" => AxisSource::Values(values(&source)?),
        "lines" => AxisSource::Lines { path: source.text("lines = \"data.txt\"")?.to_owned(), chunk },
        "csv" => AxisSource::Csv { path: source.text("csv = \"data.csv\"")?.to_owned(), chunk },
        _ => AxisSource::Files { pattern: source.text("files = \"frames/*.png\"")?.to_owned() },
    })
}

/// Reads `0..1080`: the end is not part of it.
fn range(value: &Value<'_>, chunk: u64) -> Result<AxisSource, JobError> {
    let example = "range = \"0..1080\"";
    let text = value.text(example)?;
    let parsed = parse_range(text);
    let (start, end) =
        parsed.ok_or_else(|| value.bad("it is not a range of integers", format!("write for example: {example}")))?;
    if start >= end {
        return Err(value.bad("it is empty (the end is not part of a range)", format!("write for example: {example}")));
    }
    if end.checked_sub(start).is_none() {
        return Err(value.bad("it is too wide", format!("write for example: {example}")));
    }
    Ok(AxisSource::Range { start, end, chunk })
}

/// Splits `0..1080` into its ends.
pub(super) fn parse_range(text: &str) -> Option<(i64, i64)> {
    let (start, end) = text.split_once("..")?;
    Some((start.trim().parse().ok()?, end.trim().parse().ok()?))
}

fn values(value: &Value<'_>) -> Result<Vec<String>, JobError> {
    let values = value.texts("values = [\"a\", \"b\"]")?;
    if values.is_empty() {
        return Err(value.bad("it is empty, so there is no task", "write for example: values = [\"a\", \"b\"]"));
    }
    Ok(values)
}

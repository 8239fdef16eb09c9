//! Counts the words of a text.
//!
//! `words count --lines A..B --out F` counts the lines on standard input, which are lines A to B of the text;
//! `words report --parts DIR --out F.svg` joins all counts into a chart and, beside it, a table `F.csv`.

mod chart;
mod count;
mod report;

use std::io::Read;
use std::process::ExitCode;

const USAGE: &str =
    "usage: words count --lines A..B --out FILE < LINES\n       words report --parts DIRECTORY --out FILE.svg";
/// The longest share of a text that a task takes.
const MAX_INPUT: u64 = 64 << 20;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("words: {message}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let option = |key: &str| {
        let at = args.iter().position(|a| a == key).ok_or_else(|| format!("{key} is missing\n{USAGE}"))?;
        args.get(at + 1).cloned().ok_or_else(|| format!("{key} needs a value\n{USAGE}"))
    };
    match args.first().map(String::as_str) {
        Some("count") => count(&option("--lines")?, &option("--out")?),
        Some("report") => report(&option("--parts")?, &option("--out")?),
        _ => Err(USAGE.to_owned()),
    }
}

fn count(lines: &str, out: &str) -> Result<(), String> {
    let mut text = String::new();
    let read = std::io::stdin().take(MAX_INPUT).read_to_string(&mut text);
    read.map_err(|e| format!("cannot read the lines on standard input: {e}"))?;
    std::fs::write(out, count::Counts::of(&text).encode(lines)).map_err(|e| format!("cannot write {out}: {e}"))
}

fn report(parts: &str, out: &str) -> Result<(), String> {
    let listing = std::fs::read_dir(parts).map_err(|e| format!("cannot read {parts}: {e}"))?;
    let mut paths: Vec<_> =
        listing.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>().map_err(|e| e.to_string())?;
    paths.sort();
    let mut counts = Vec::new();
    for path in paths {
        let name = path.display();
        let text = std::fs::read_to_string(&path).map_err(|e| format!("cannot read {name}: {e}"))?;
        counts.push(count::Counts::decode(&text).map_err(|e| format!("{name}: {e}"))?);
    }
    let report = report::Report::new(&counts)?;
    let table = out.strip_suffix(".svg").unwrap_or(out).to_owned() + ".csv";
    std::fs::write(&table, report.table()).map_err(|e| format!("cannot write {table}: {e}"))?;
    std::fs::write(out, chart::draw(&report)).map_err(|e| format!("cannot write {out}: {e}"))?;
    print!("{}", report.headline());
    Ok(())
}

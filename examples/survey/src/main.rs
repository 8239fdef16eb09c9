//! Bootstraps a regression on the RAND Health Insurance Experiment.
//!
//! `survey fit --data F --resamples A..B --out F` fits some resamples; `survey report --parts DIR --out F.svg` joins
//! all fits into a chart and, beside it, a table `F.csv`.

mod chart;
mod data;
mod poisson;
mod resample;
mod summary;

use std::process::ExitCode;

const USAGE: &str =
    "usage: survey fit --data FILE --resamples A..B --out FILE\n       survey report --parts DIRECTORY --out FILE.svg";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("survey: {message}");
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
        Some("fit") => fit(&option("--data")?, &option("--resamples")?, &option("--out")?),
        Some("report") => report(&option("--parts")?, &option("--out")?),
        _ => Err(USAGE.to_owned()),
    }
}

fn fit(data: &str, resamples: &str, out: &str) -> Result<(), String> {
    let text = std::fs::read_to_string(data).map_err(|e| format!("cannot read {data}: {e}"))?;
    let clusters = data::clusters(&text).map_err(|e| format!("{data}: {e}"))?;
    let range = resamples.split_once("..").and_then(|(a, b)| Some(a.parse::<u32>().ok()?..b.parse::<u32>().ok()?));
    let range = range.ok_or_else(|| format!("--resamples {resamples} should be A..B"))?;
    let mut csv = String::new();
    for number in range {
        csv.push_str(&resample::line(&clusters, number)?);
    }
    std::fs::write(out, csv).map_err(|e| format!("cannot write {out}: {e}"))
}

fn report(parts: &str, out: &str) -> Result<(), String> {
    let listing = std::fs::read_dir(parts).map_err(|e| format!("cannot read {parts}: {e}"))?;
    let mut paths: Vec<_> =
        listing.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>().map_err(|e| e.to_string())?;
    paths.sort();
    let mut csv = String::new();
    for path in paths {
        csv += &std::fs::read_to_string(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    }
    let summary = summary::summarise(&csv)?;
    let table = out.strip_suffix(".svg").unwrap_or(out).to_owned() + ".csv";
    std::fs::write(&table, summary.table()).map_err(|e| format!("cannot write {table}: {e}"))?;
    std::fs::write(out, chart::draw(&summary)).map_err(|e| format!("cannot write {out}: {e}"))?;
    print!("{}", summary.table());
    Ok(())
}

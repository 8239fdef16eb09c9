//! Renders some rows of a picture: `pathtrace --scene F --rows A..B [--size WxH] [--samples N] --out F`.

use std::process::ExitCode;

const USAGE: &str = "usage: pathtrace --scene FILE --rows A..B --out FILE [--size WIDTHxHEIGHT] [--samples N]";

struct Options {
    scene: String,
    out: String,
    job: tracer::Job,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("pathtrace: {message}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    let options = parse(std::env::args().skip(1))?;
    let text = std::fs::read_to_string(&options.scene).map_err(|e| format!("cannot read {}: {e}", options.scene))?;
    let scene = tracer::Scene::parse(&text).map_err(|e| e.to_string())?;
    let tile = tracer::render(&scene, &options.job);
    std::fs::write(&options.out, tile).map_err(|e| format!("cannot write {}: {e}", options.out))
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let (mut scene, mut out, mut rows) = (None, None, None);
    let (mut size, mut samples) = ((1920, 1080), 64);
    while let Some(key) = args.next() {
        let value = args.next().ok_or_else(|| format!("{key} needs a value\n{USAGE}"))?;
        match key.as_str() {
            "--scene" => scene = Some(value),
            "--out" => out = Some(value),
            "--rows" => rows = Some(pair(&value, "..").ok_or_else(|| wrong(&key, &value, "A..B"))?),
            "--size" => size = pair(&value, "x").ok_or_else(|| wrong(&key, &value, "WIDTHxHEIGHT"))?,
            "--samples" => samples = value.parse().map_err(|_| wrong(&key, &value, "a number"))?,
            _ => return Err(format!("unknown option {key}\n{USAGE}")),
        }
    }
    let missing = |key: &str| format!("{key} is missing\n{USAGE}");
    let (start, end) = rows.ok_or_else(|| missing("--rows"))?;
    let (width, height) = size;
    if start >= end || end > height {
        return Err(format!("--rows {start}..{end} should be rows of a picture {height} high"));
    }
    if !(1..=16_384).contains(&width) || height > 16_384 || !(1..=65_536).contains(&samples) {
        return Err("--size may be up to 16384x16384, --samples from 1 to 65536".to_owned());
    }
    let job = tracer::Job { width, height, rows: start..end, samples };
    Ok(Options { scene: scene.ok_or_else(|| missing("--scene"))?, out: out.ok_or_else(|| missing("--out"))?, job })
}

fn wrong(key: &str, value: &str, want: &str) -> String {
    format!("{key} {value} should be {want}\n{USAGE}")
}

fn pair(text: &str, separator: &str) -> Option<(u32, u32)> {
    let (a, b) = text.split_once(separator)?;
    Some((a.parse().ok()?, b.parse().ok()?))
}

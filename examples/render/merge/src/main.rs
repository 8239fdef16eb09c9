//! Joins the tiles of a render into a PNG: `merge --parts DIR --out FILE [--filter on|off]`.

mod filter;
mod tiles;
mod tone;

use std::fs::File;
use std::io::BufWriter;
use std::process::ExitCode;

const USAGE: &str = "usage: merge --parts DIRECTORY --out FILE [--filter on|off]";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("merge: {message}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    let (mut parts, mut out, mut filter) = (None, None, true);
    let mut args = std::env::args().skip(1);
    while let Some(key) = args.next() {
        let value = args.next().ok_or_else(|| format!("{key} needs a value\n{USAGE}"))?;
        match (key.as_str(), value.as_str()) {
            ("--parts", _) => parts = Some(value),
            ("--out", _) => out = Some(value),
            ("--filter", "on" | "off") => filter = value == "on",
            _ => return Err(format!("unknown option {key} {value}\n{USAGE}")),
        }
    }
    let (Some(parts), Some(out)) = (parts, out) else { return Err(USAGE.to_owned()) };
    let picture = tiles::read(&parts)?;
    let light = if filter { filter::denoise(&picture) } else { picture.pixels.iter().map(|p| p.color).collect() };
    let light = tone::glare(&light, picture.width, picture.height);
    let bytes: Vec<u8> = light.iter().flat_map(|&c| tone::to_srgb(c)).collect();
    write_png(&out, picture.width, picture.height, &bytes).map_err(|e| format!("cannot write {out}: {e}"))
}

fn write_png(path: &str, width: usize, height: usize, bytes: &[u8]) -> Result<(), png::EncodingError> {
    let size = |n: usize| u32::try_from(n).expect("tiles::read bounds the size");
    let mut encoder = png::Encoder::new(BufWriter::new(File::create(path)?), size(width), size(height));
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Balanced);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(bytes)?;
    writer.finish()
}

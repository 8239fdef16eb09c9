//! Reading and checking the tiles.

use std::fs;

use tracer::tile::{PIXEL_BYTES, Pixel};

/// The whole picture.
pub struct Picture {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// Row by row from the top.
    pub pixels: Vec<Pixel>,
}

/// Side of the largest picture.
const MAX_SIDE: usize = 16_384;

/// Reads all files of directory `dir` in the order of their names; they must be all rows of one picture in order.
pub fn read(dir: &str) -> Result<Picture, String> {
    let listing = fs::read_dir(dir).map_err(|e| format!("cannot read {dir}: {e}"))?;
    let mut paths: Vec<_> =
        listing.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>().map_err(|e| e.to_string())?;
    paths.sort();
    let mut picture = Picture { width: 0, height: 0, pixels: Vec::new() };
    let mut next_row = 0;
    for path in &paths {
        let name = path.display();
        let bytes = fs::read(path).map_err(|e| format!("cannot read {name}: {e}"))?;
        next_row = append(&mut picture, next_row, &bytes).map_err(|e| format!("{name}: {e}"))?;
    }
    if next_row == 0 || next_row != picture.height {
        return Err(format!("{} tiles in {dir} hold {next_row} of {} rows", paths.len(), picture.height));
    }
    Ok(picture)
}

/// Adds one tile and returns the row after its last.
fn append(picture: &mut Picture, next_row: usize, bytes: &[u8]) -> Result<usize, String> {
    let end = bytes.iter().position(|&b| b == b'\n').ok_or("no header line")?;
    let header = std::str::from_utf8(&bytes[..end]).map_err(|_| "the header is not text")?;
    let numbers = header.strip_prefix("bmm-tile 1 ").ok_or("not a tile of version 1")?;
    let numbers: Vec<usize> = numbers.split(' ').map_while(|n| n.parse().ok()).collect();
    let &[width, height, first, last, _samples] = numbers.as_slice() else {
        return Err("the header should hold five numbers".to_owned());
    };
    if width == 0 || width > MAX_SIDE || height == 0 || height > MAX_SIDE {
        return Err(format!("a picture of {width}x{height} is out of range"));
    }
    if picture.pixels.is_empty() {
        (picture.width, picture.height) = (width, height);
    }
    if (width, height) != (picture.width, picture.height) {
        return Err(format!("it is of a picture of {width}x{height}, not {}x{}", picture.width, picture.height));
    }
    if first != next_row || last <= first || last > height {
        return Err(format!("it holds rows {first}..{last} where row {next_row} should begin"));
    }
    let (pixels, rest) = bytes[end + 1..].as_chunks::<PIXEL_BYTES>();
    if pixels.len() != width * (last - first) || !rest.is_empty() {
        return Err(format!("{} bytes of pixels are not {} rows", bytes.len() - end - 1, last - first));
    }
    picture.pixels.extend(pixels.iter().map(Pixel::decode));
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracer::tile::header;

    fn tile(rows: std::ops::Range<u32>) -> Vec<u8> {
        let mut bytes = header(&tracer::Job { width: 3, height: 4, rows: rows.clone(), samples: 1 });
        bytes.resize(bytes.len() + 3 * rows.len() * PIXEL_BYTES, 0);
        bytes
    }

    #[test]
    fn only_rows_in_order_are_taken() {
        let mut p = Picture { width: 0, height: 0, pixels: Vec::new() };
        assert_eq!(append(&mut p, 0, &tile(0..2)), Ok(2));
        assert!(append(&mut p, 2, &tile(3..4)).unwrap_err().contains("row 2 should begin"));
        assert!(append(&mut p, 2, &tile(2..4)[..60]).unwrap_err().contains("are not 2 rows"));
        assert_eq!(append(&mut p, 2, &tile(2..4)), Ok(4));
        assert_eq!(p.pixels.len(), 12);
    }
}

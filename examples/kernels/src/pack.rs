//! A block-sorting compressor: the Burrows–Wheeler transform, move-to-front, runs of zeros, Huffman.
//!
//! The stream, for each block of at most 1 MiB: one bit `1`, 24 bits of length, 24 bits of the mark's row, groups of
//! symbols. A group is one bit `1`, a code table, up to 64 Ki symbols and the end symbol; after the last group, and
//! after the last block, comes one bit `0`.

use crate::bits::{Reader, Writer};
use crate::huffman::{Decoder, Encoder};
use crate::sort;

const BLOCK: usize = 1 << 20;
const GROUP: usize = 1 << 16;
/// Symbols 0 and 1 are the digits of a run of zeros (its length plus one, in binary, lowest digit first, without its
/// leading one); symbol n + 1 is the number n from 1 to 255; then comes the end.
const END: usize = 257;
const SYMBOLS: usize = 258;

/// Compresses `input`.
pub fn pack(input: &[u8]) -> Vec<u8> {
    let mut out = Writer::default();
    for block in input.chunks(BLOCK) {
        let (column, mark) = sort::transform(block);
        out.put(1, 1);
        out.put(block.len() as u32, 24);
        out.put(mark as u32, 24);
        for group in zero_runs(&move_to_front(column)).chunks(GROUP) {
            write_group(group, &mut out);
        }
        out.put(0, 1);
    }
    out.put(0, 1);
    out.finish()
}

/// Undoes [`pack`]; nothing if the bytes are no stream of it.
pub fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    let mut input = Reader::new(packed);
    let mut out = Vec::new();
    while input.take(1) == 1 {
        let length = input.take(24) as usize;
        let mark = input.take(24) as usize;
        let mut symbols = Vec::new();
        while input.take(1) == 1 {
            read_group(&mut input, &mut symbols)?;
        }
        let column = front_to_bytes(expand(&symbols, length.min(BLOCK))?);
        if input.overrun() || column.len() != length {
            return None;
        }
        out.extend_from_slice(&sort::restore(&column, mark)?);
    }
    (!input.overrun()).then_some(out)
}

fn write_group(symbols: &[u16], out: &mut Writer) {
    let mut counts = [0; SYMBOLS];
    counts[END] = 1;
    for &s in symbols {
        counts[s as usize] += 1;
    }
    let code = Encoder::new(&counts);
    out.put(1, 1);
    code.write_table(out);
    for &s in symbols {
        code.put(s as usize, out);
    }
    code.put(END, out);
}

fn read_group(input: &mut Reader, symbols: &mut Vec<u16>) -> Option<()> {
    let code = Decoder::read(SYMBOLS, input)?;
    for _ in 0..=GROUP {
        let symbol = code.take(input)?;
        if symbol == END {
            return (!input.overrun()).then_some(());
        }
        symbols.push(symbol as u16);
    }
    None
}

/// Replaces each byte by how many different ones came since it last did.
fn move_to_front(mut column: Vec<u8>) -> Vec<u8> {
    let mut recent: [u8; 256] = std::array::from_fn(|i| i as u8);
    for byte in &mut column {
        let mut held = recent[0];
        let mut at = 0_u8;
        while held != *byte {
            at += 1;
            held = std::mem::replace(&mut recent[at as usize], held);
        }
        recent[0] = held;
        *byte = at;
    }
    column
}

/// Undoes [`move_to_front`].
fn front_to_bytes(mut ranks: Vec<u8>) -> Vec<u8> {
    let mut recent: [u8; 256] = std::array::from_fn(|i| i as u8);
    for rank in &mut ranks {
        let at = *rank as usize;
        let byte = recent[at];
        // A loop of its own: most ranks are small, and a call would cost more than the move.
        for i in (0..at).rev() {
            recent[i + 1] = recent[i];
        }
        recent[0] = byte;
        *rank = byte;
    }
    ranks
}

/// Shortens the runs of zeros, which sorted columns are full of.
fn zero_runs(ranks: &[u8]) -> Vec<u16> {
    let mut out = Vec::with_capacity(ranks.len());
    let mut run = 0_u32;
    let close = |run: &mut u32, out: &mut Vec<u16>| {
        let mut digits = *run + 1;
        while digits > 1 {
            out.push((digits & 1) as u16);
            digits >>= 1;
        }
        *run = 0;
    };
    for &rank in ranks {
        if rank == 0 {
            run += 1;
        } else {
            close(&mut run, &mut out);
            out.push(u16::from(rank) + 1);
        }
    }
    close(&mut run, &mut out);
    out
}

/// Undoes [`zero_runs`]; nothing if that makes more than `most` bytes.
fn expand(symbols: &[u16], most: usize) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(most);
    let mut at = 0;
    while at < symbols.len() {
        let digits = symbols[at..].iter().take_while(|&&s| s < 2).count();
        if digits > 20 {
            return None;
        }
        let digit = |n, (i, &s): (usize, &u16)| n | u32::from(s) << i;
        let run = symbols[at..at + digits].iter().enumerate().fold(1 << digits, digit) - 1;
        out.resize(out.len() + run as usize, 0);
        at += digits;
        if let Some(&symbol) = symbols.get(at) {
            out.push((symbol - 1) as u8);
            at += 1;
        }
        if out.len() > most {
            return None;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpacking_undoes_packing() {
        let text = crate::Text::new().take(1_300_000);
        let mut noise: Vec<u8> = (0..100_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        noise.extend(std::iter::repeat_n(7, 70_000));
        for input in [&[][..], b"a", b"aaaaaaaaaaaaaaaaaaaaaaa", b"abcabcabcd", &text, &noise] {
            assert!(unpack(&pack(input)).as_deref() == Some(input), "{} bytes", input.len());
        }
        assert!(pack(&text).len() < text.len() / 2);
    }

    #[test]
    fn broken_streams_are_refused() {
        let packed = pack(&crate::Text::new().take(10_000));
        assert_eq!(unpack(&packed[..packed.len() / 2]), None);
        assert_eq!(unpack(&[0xFF; 400]), None);
    }
}

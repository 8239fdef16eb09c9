//! LZ77 with hash chains and lazy matching, its symbols coded by Huffman.
//!
//! The stream: for each block of up to 64 Ki symbols one bit `1`, two code tables and the symbols; then one bit `0`.
//! A symbol below 256 is a byte; above, it is the class of a match's length. The classes of lengths and distances are
//! powers of two, followed by that many extra bits.

use crate::bits::{Reader, Writer};
use crate::huffman::{Decoder, Encoder};

const WINDOW: usize = 1 << 16;
const HASH_BITS: u32 = 15;
const MIN_MATCH: usize = 4;
const MAX_MATCH: usize = 1 << 12;
/// Candidates that are tried for each position.
const TRIES: usize = 32;
/// A match this long is taken without looking for a better one.
const GOOD_MATCH: usize = 48;
const BLOCK: usize = 1 << 16;

/// Symbols of the first table: bytes, the end of the block, classes of lengths.
const END: usize = 256;
const LENGTH_BASE: usize = 257;
const SYMBOLS: usize = LENGTH_BASE + 13;
const DISTANCES: usize = 17;

/// A byte (`distance` 0) or a copy.
#[derive(Clone, Copy)]
struct Token {
    /// The byte, or the number of bytes to copy.
    value: u32,
    distance: u32,
}

/// Compresses `input`.
pub fn pack(input: &[u8]) -> Vec<u8> {
    let mut out = Writer::default();
    let mut finder = Finder::new(input);
    let mut tokens = Vec::with_capacity(BLOCK);
    let mut at = 0;
    while at < input.len() {
        tokens.clear();
        while at < input.len() && tokens.len() < BLOCK {
            at = finder.token(at, &mut tokens);
        }
        write_block(&tokens, &mut out);
    }
    out.put(0, 1);
    out.finish()
}

/// Undoes [`pack`]; nothing if the bytes are no stream of it.
pub fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    let mut input = Reader::new(packed);
    let mut out: Vec<u8> = Vec::new();
    while input.take(1) == 1 {
        let symbols = Decoder::read(SYMBOLS, &mut input)?;
        let distances = Decoder::read(DISTANCES, &mut input)?;
        loop {
            match symbols.take(&mut input)? {
                END => break,
                byte if byte < END => out.push(byte as u8),
                class => {
                    let length = unclass(class - LENGTH_BASE, &mut input);
                    let distance = unclass(distances.take(&mut input)?, &mut input);
                    let from = out.len().checked_sub(distance)?;
                    copy(&mut out, from, length);
                }
            }
            if input.overrun() {
                return None;
            }
        }
    }
    Some(out)
}

/// Appends `length` bytes from `from`; they may overlap what is being written.
fn copy(out: &mut Vec<u8>, from: usize, length: usize) {
    if from + length <= out.len() {
        out.extend_from_within(from..from + length);
        return;
    }
    for i in 0..length {
        out.push(out[from + i]);
    }
}

/// The class of `n` ≥ 1 is its highest bit's number; the bits below follow.
fn class(n: u32) -> u32 {
    31 - n.leading_zeros()
}

fn unclass(class: usize, input: &mut Reader) -> usize {
    (1 << class) | input.take(class as u32) as usize
}

fn write_block(tokens: &[Token], out: &mut Writer) {
    let (mut symbols, mut distances) = ([0; SYMBOLS], [0; DISTANCES]);
    symbols[END] = 1;
    for t in tokens {
        if t.distance == 0 {
            symbols[t.value as usize] += 1;
        } else {
            symbols[LENGTH_BASE + class(t.value) as usize] += 1;
            distances[class(t.distance) as usize] += 1;
        }
    }
    let (symbols, distances) = (Encoder::new(&symbols), Encoder::new(&distances));
    out.put(1, 1);
    symbols.write_table(out);
    distances.write_table(out);
    for t in tokens {
        if t.distance == 0 {
            symbols.put(t.value as usize, out);
        } else {
            let (l, d) = (class(t.value), class(t.distance));
            symbols.put(LENGTH_BASE + l as usize, out);
            out.put(t.value - (1 << l), l);
            distances.put(d as usize, out);
            out.put(t.distance - (1 << d), d);
        }
    }
    symbols.put(END, out);
}

/// Finds earlier occurrences: for each hash of four bytes a chain of the positions that had it.
struct Finder<'a> {
    input: &'a [u8],
    head: Vec<u32>,
    previous: Vec<u32>,
}

/// No position.
const NONE: u32 = u32::MAX;

impl<'a> Finder<'a> {
    fn new(input: &'a [u8]) -> Self {
        Self { input, head: vec![NONE; 1 << HASH_BITS], previous: vec![NONE; WINDOW] }
    }

    /// Adds the token at `at`, one byte later if that gives a longer match; returns the position after it.
    fn token(&mut self, at: usize, tokens: &mut Vec<Token>) -> usize {
        let byte = |i: usize| Token { value: u32::from(self.input[i]), distance: 0 };
        let first = byte(at);
        let (mut length, mut distance) = self.longest(at);
        self.insert(at);
        if length < MIN_MATCH {
            tokens.push(first);
            return at + 1;
        }
        let mut start = at;
        if length < GOOD_MATCH && at + 1 < self.input.len() {
            let next = self.longest(at + 1);
            if next.0 > length {
                tokens.push(first);
                (length, distance) = next;
                start += 1;
            }
        }
        for i in at + 1..start + length {
            self.insert(i);
        }
        tokens.push(Token { value: length as u32, distance: distance as u32 });
        start + length
    }

    fn hash(&self, at: usize) -> Option<usize> {
        let four = self.input.get(at..)?.first_chunk::<4>()?;
        Some((u32::from_le_bytes(*four).wrapping_mul(0x9E37_79B1) >> (32 - HASH_BITS)) as usize)
    }

    fn insert(&mut self, at: usize) {
        if let Some(hash) = self.hash(at) {
            self.previous[at % WINDOW] = self.head[hash];
            self.head[hash] = at as u32;
        }
    }

    /// The longest match at `at`: (length, distance), zeros if there is none.
    fn longest(&self, at: usize) -> (usize, usize) {
        let (mut best, mut distance) = (0, 0);
        let Some(hash) = self.hash(at) else { return (0, 0) };
        let limit = MAX_MATCH.min(self.input.len() - at) - 1;
        let mut candidate = self.head[hash];
        for _ in 0..TRIES {
            let from = candidate as usize;
            if candidate == NONE || at - from >= WINDOW {
                break;
            }
            // Only a match that is longer than the best can agree in the byte after it.
            if self.input[from + best] == self.input[at + best] {
                let length = common(&self.input[from..], &self.input[at..], limit);
                if length > best {
                    (best, distance) = (length, at - from);
                    if best >= GOOD_MATCH || best >= limit {
                        break;
                    }
                }
            }
            candidate = self.previous[from % WINDOW];
        }
        (best, distance)
    }
}

/// How many bytes two slices have in common at their beginning, at most `limit`.
fn common(a: &[u8], b: &[u8], limit: usize) -> usize {
    let mut n = 0;
    for (x, y) in a[..limit].as_chunks::<8>().0.iter().zip(b[..limit].as_chunks::<8>().0) {
        let difference = u64::from_le_bytes(*x) ^ u64::from_le_bytes(*y);
        if difference != 0 {
            return n + difference.trailing_zeros() as usize / 8;
        }
        n += 8;
    }
    while n < limit && a[n] == b[n] {
        n += 1;
    }
    n
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpacking_undoes_packing() {
        let text = crate::text(300_000);
        let mut noise: Vec<u8> = (0..100_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        noise.extend(std::iter::repeat_n(7, 70_000));
        for input in [&[][..], b"a", b"aaaaaaaaaaaaaaaaaaaaaaa", b"abcabcabcd", &text, &noise] {
            assert!(unpack(&pack(input)).as_deref() == Some(input), "{} bytes", input.len());
        }
        assert!(pack(&text).len() < text.len() / 2);
    }

    #[test]
    fn broken_streams_are_refused() {
        let packed = pack(&crate::text(10_000));
        assert_eq!(unpack(&packed[..packed.len() / 2]), None);
        assert_eq!(unpack(&[0xFF; 400]), None);
    }
}

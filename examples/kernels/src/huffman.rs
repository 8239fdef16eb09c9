//! Canonical Huffman codes of at most [`MAX_BITS`] bits.

use crate::bits::{Reader, Writer};

/// The longest code.
pub const MAX_BITS: u32 = 13;

/// Codes to write with.
pub struct Encoder {
    lengths: Vec<u8>,
    codes: Vec<u16>,
}

impl Encoder {
    /// Finds the best code for symbols that occur `counts` times.
    pub fn new(counts: &[u32]) -> Self {
        let lengths = lengths(counts);
        let codes = codes(&lengths);
        Self { lengths, codes }
    }

    /// Writes the code's lengths, four bits each.
    pub fn write_table(&self, out: &mut Writer) {
        for &l in &self.lengths {
            out.put(u32::from(l), 4);
        }
    }

    /// Writes one symbol.
    pub fn put(&self, symbol: usize, out: &mut Writer) {
        out.put(u32::from(self.codes[symbol]), u32::from(self.lengths[symbol]));
    }
}

/// A table that maps the next [`MAX_BITS`] bits to a symbol and its length.
pub struct Decoder(Vec<(u16, u8)>);

impl Decoder {
    /// Reads the lengths of `symbols` symbols; nothing if they make no code.
    pub fn read(symbols: usize, input: &mut Reader) -> Option<Self> {
        let lengths: Vec<u8> = (0..symbols).map(|_| input.take(4) as u8).collect();
        let space: u32 = lengths.iter().filter(|&&l| l > 0).map(|&l| (1 << MAX_BITS) >> l.min(15)).sum();
        if space > 1 << MAX_BITS || lengths.iter().any(|&l| u32::from(l) > MAX_BITS) {
            return None;
        }
        let mut table = vec![(0, 0); 1 << MAX_BITS];
        for (symbol, (&code, &length)) in codes(&lengths).iter().zip(&lengths).enumerate() {
            if length > 0 {
                for slot in table.iter_mut().skip(code as usize).step_by(1 << length) {
                    *slot = (symbol as u16, length);
                }
            }
        }
        Some(Self(table))
    }

    /// Reads one symbol; nothing if the bits are no code.
    pub fn take(&self, input: &mut Reader) -> Option<usize> {
        let (symbol, length) = self.0[input.peek(MAX_BITS) as usize];
        if length == 0 {
            return None;
        }
        input.skip(u32::from(length));
        Some(symbol as usize)
    }
}

/// Code lengths by Huffman's algorithm; counts are flattened until the longest fits.
fn lengths(counts: &[u32]) -> Vec<u8> {
    let mut weights: Vec<u32> = counts.to_vec();
    loop {
        let depths = tree_depths(&weights);
        if depths.iter().all(|&d| u32::from(d) <= MAX_BITS) {
            return depths;
        }
        for w in weights.iter_mut().filter(|w| **w > 0) {
            *w = (*w >> 1) + 1;
        }
    }
}

fn tree_depths(weights: &[u32]) -> Vec<u8> {
    let mut leaves: Vec<(u64, usize)> =
        weights.iter().enumerate().filter(|w| *w.1 > 0).map(|(i, &w)| (u64::from(w), i)).collect();
    leaves.sort_unstable();
    let mut depths = vec![0; weights.len()];
    if leaves.len() < 2 {
        for l in &leaves {
            depths[l.1] = 1;
        }
        return depths;
    }
    // Two queues: sorted leaves, and inner nodes, which are made in order of weight.
    let mut inner: Vec<(u64, usize, usize)> = Vec::with_capacity(leaves.len());
    let (mut leaf, mut node) = (0, 0);
    for _ in 1..leaves.len() {
        let mut lightest = |inner: &[(u64, usize, usize)]| {
            let take_leaf = node == inner.len() || (leaf < leaves.len() && leaves[leaf].0 <= inner[node].0);
            if take_leaf {
                leaf += 1;
                (leaves[leaf - 1].0, leaf - 1)
            } else {
                node += 1;
                (inner[node - 1].0, leaves.len() + node - 1)
            }
        };
        let (a, b) = (lightest(&inner), lightest(&inner));
        inner.push((a.0 + b.0, a.1, b.1));
    }
    let mut level = vec![0_u8; leaves.len() + inner.len()];
    for (i, &(_, a, b)) in inner.iter().enumerate().rev() {
        let below = level[leaves.len() + i].saturating_add(1);
        (level[a], level[b]) = (below, below);
    }
    leaves.iter().zip(&level).for_each(|(l, &d)| depths[l.1] = d);
    depths
}

/// The canonical codes of these lengths, bits reversed so that the first bit is lowest.
fn codes(lengths: &[u8]) -> Vec<u16> {
    let (mut next, mut of_length) = ([0_u32; 17], [0_u32; 16]);
    for &l in lengths {
        of_length[l as usize] += 1;
    }
    let mut code = 0;
    for bits in 1..16 {
        code <<= 1;
        next[bits] = code;
        code += of_length[bits];
    }
    let code_of = |&l: &u8| {
        if l == 0 {
            return 0;
        }
        let code = next[l as usize];
        next[l as usize] += 1;
        (code.reverse_bits() >> (32 - u32::from(l))) as u16
    };
    lengths.iter().map(code_of).collect()
}

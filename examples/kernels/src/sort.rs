//! The Burrows–Wheeler transform and its inverse; the suffixes are sorted in linear time by induced sorting (Nong,
//! Zhang and Chan, "Two Efficient Algorithms for Linear Time Suffix Array Construction", 2011).

/// No suffix.
const NONE: u32 = u32::MAX;
/// The longest text: positions share a word with a byte in [`restore`].
pub const MAX_LENGTH: usize = (1 << 24) - 2;

/// The last column of the sorted rotations of `text` and an end mark, and the row of the mark, which is left out.
pub fn transform(text: &[u8]) -> (Vec<u8>, usize) {
    assert!(text.len() <= MAX_LENGTH, "a block is at most {MAX_LENGTH} bytes");
    let Some(&last) = text.last() else { return (Vec::new(), 0) };
    let symbols: Vec<u32> = text.iter().map(|&b| u32::from(b)).collect();
    let suffixes = suffix_array(&symbols, 255);
    let mut column = Vec::with_capacity(text.len());
    column.push(last);
    let mut mark = 0;
    for (i, &s) in suffixes.iter().enumerate() {
        if s == 0 {
            mark = i + 1;
        } else {
            column.push(text[s as usize - 1]);
        }
    }
    (column, mark)
}

/// Undoes [`transform`]; nothing if `mark` is no row.
pub fn restore(column: &[u8], mark: usize) -> Option<Vec<u8>> {
    if column.is_empty() {
        return (mark == 0).then(Vec::new);
    }
    if mark == 0 || mark > column.len() || column.len() > MAX_LENGTH {
        return None;
    }
    let mut first = [0_u32; 256];
    for &b in column {
        first[b as usize] += 1;
    }
    let mut row = 1;
    for f in &mut first {
        (*f, row) = (row, row + *f);
    }
    // For each row its byte, and above it the row that begins with that very byte.
    let mut links = vec![0_u32; column.len() + 1];
    for (i, &b) in column.iter().enumerate() {
        let next = &mut first[b as usize];
        links[i + usize::from(i >= mark)] = *next << 8 | u32::from(b);
        *next += 1;
    }
    let mut text = vec![0; column.len()];
    let mut row = 0;
    for byte in text.iter_mut().rev() {
        let link = links[row];
        *byte = link as u8;
        row = (link >> 8) as usize;
    }
    Some(text)
}

/// What induced sorting needs to know about a text.
struct Types {
    /// Twice the symbol at each place, and one more if the suffix there is smaller than the next.
    keys: Vec<u32>,
    /// Where the larger suffixes of each symbol begin, and where the smaller ones do.
    larger_start: Vec<u32>,
    smaller_start: Vec<u32>,
}

/// The beginnings of all suffixes of `text`, whose symbols are at most `top`, in sorted order.
fn suffix_array(text: &[u32], top: u32) -> Vec<u32> {
    let n = text.len();
    if n < 2 {
        return (0..n as u32).collect();
    }
    let types = Types::new(text, top);
    // Suffixes that are smaller than both neighbours decide the order of all.
    let starts: Vec<u32> = (0..n).filter(|&i| types.is_start(i)).map(|i| i as u32).collect();
    let mut order = vec![NONE; n];
    types.induce(&starts, &mut order);
    if starts.is_empty() {
        return order;
    }
    let mut rank = vec![NONE; n];
    for (i, &s) in starts.iter().enumerate() {
        rank[s as usize] = i as u32;
    }
    let sorted: Vec<u32> = order.iter().copied().filter(|&s| rank[s as usize] != NONE).collect();
    let (names, largest) = name(text, &starts, &sorted, &rank);
    let sorted: Vec<u32> = suffix_array(&names, largest).iter().map(|&i| starts[i as usize]).collect();
    types.induce(&sorted, &mut order);
    order
}

/// Numbers the pieces between starts so that equal pieces have equal numbers and smaller ones smaller.
fn name(text: &[u32], starts: &[u32], sorted: &[u32], rank: &[u32]) -> (Vec<u32>, u32) {
    let piece = |start: u32| {
        let end = starts.get(rank[start as usize] as usize + 1).map_or(text.len(), |&e| e as usize + 1);
        &text[start as usize..end]
    };
    let mut names = vec![0; starts.len()];
    let mut current = 0;
    for pair in sorted.windows(2) {
        // The last piece ends with the text and equals no other.
        let ends = [pair[0], pair[1]].contains(&starts[starts.len() - 1]);
        // Pieces are so short that a loop is faster than a call that compares memory.
        let (a, b) = (piece(pair[0]), piece(pair[1]));
        let same = !ends && a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b);
        current += u32::from(!same);
        names[rank[pair[1] as usize] as usize] = current;
    }
    (names, current)
}

impl Types {
    fn new(text: &[u32], top: u32) -> Self {
        let n = text.len();
        let mut keys = vec![2 * text[n - 1]; n];
        for i in (0..n - 1).rev() {
            let (this, next) = (2 * text[i], keys[i + 1]);
            // A smaller symbol, or the same before a suffix that is itself smaller than its next.
            keys[i] = this | u32::from(this | 1 <= next);
        }
        let symbols = top as usize + 1;
        let (mut larger_start, mut smaller_start) = (vec![0; symbols + 1], vec![0; symbols]);
        for &key in &keys {
            let symbol = (key >> 1) as usize;
            if key & 1 == 1 {
                larger_start[symbol + 1] += 1;
            } else {
                smaller_start[symbol] += 1;
            }
        }
        for c in 0..symbols {
            smaller_start[c] += larger_start[c];
            larger_start[c + 1] += smaller_start[c];
        }
        Self { keys, larger_start, smaller_start }
    }

    /// Whether a suffix is smaller than both its neighbours.
    fn is_start(&self, i: usize) -> bool {
        i > 0 && self.keys[i] & 1 == 1 && self.keys[i - 1] & 1 == 0
    }

    /// Sorts all suffixes, given the order of the `starts`.
    fn induce(&self, starts: &[u32], order: &mut [u32]) {
        let keys = self.keys.as_slice();
        order.fill(NONE);
        let mut next = self.smaller_start.clone();
        for &s in starts {
            append(&mut next, order, keys[s as usize] >> 1, s);
        }
        let mut next = self.larger_start.clone();
        append(&mut next, order, keys[keys.len() - 1] >> 1, keys.len() as u32 - 1);
        for i in 0..order.len() {
            let before = order[i].wrapping_sub(1);
            if let Some(&key) = keys.get(before as usize)
                && key & 1 == 0
            {
                append(&mut next, order, key >> 1, before);
            }
        }
        let mut next = self.larger_start.clone();
        for i in (0..order.len()).rev() {
            let before = order[i].wrapping_sub(1);
            if let Some(&key) = keys.get(before as usize)
                && key & 1 == 1
            {
                let slot = &mut next[(key >> 1) as usize + 1];
                *slot -= 1;
                order[*slot as usize] = before;
            }
        }
    }
}

/// Puts `suffix` at the next free place of its symbol.
fn append(next: &mut [u32], order: &mut [u32], symbol: u32, suffix: u32) {
    let slot = &mut next[symbol as usize];
    order[*slot as usize] = suffix;
    *slot += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_are_sorted() {
        for seed in 0..200_u32 {
            let n = seed as usize;
            let text: Vec<u32> =
                (0..n as u32).map(|i| (i * i * 31 + seed * i * 7 + (i >> 2)) % (1 + seed % 5)).collect();
            let mut want: Vec<u32> = (0..n as u32).collect();
            want.sort_by_key(|&i| &text[i as usize..]);
            assert_eq!(suffix_array(&text, 5), want, "{text:?}");
        }
    }

    #[test]
    fn restoring_undoes_the_transform() {
        for text in ["", "a", "banana", "mississippi", "aaaaaaa", "abcabcabcabc"] {
            let (column, mark) = transform(text.as_bytes());
            assert_eq!(restore(&column, mark).as_deref(), Some(text.as_bytes()));
        }
        assert_eq!(transform(b"banana").0, b"annbaa");
        assert_eq!(restore(b"annbaa", 9), None);
    }
}

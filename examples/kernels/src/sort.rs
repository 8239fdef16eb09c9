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
struct Types<'a> {
    text: &'a [u32],
    /// Whether each suffix is smaller than the next.
    smaller: Vec<bool>,
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
    let starts: Vec<u32> = (1..n).filter(|&i| types.smaller[i] && !types.smaller[i - 1]).map(|i| i as u32).collect();
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
        current += u32::from(ends || piece(pair[0]) != piece(pair[1]));
        names[rank[pair[1] as usize] as usize] = current;
    }
    (names, current)
}

impl<'a> Types<'a> {
    fn new(text: &'a [u32], top: u32) -> Self {
        let n = text.len();
        let mut smaller = vec![false; n];
        for i in (0..n - 1).rev() {
            smaller[i] = text[i] < text[i + 1] || (text[i] == text[i + 1] && smaller[i + 1]);
        }
        let symbols = top as usize + 1;
        let (mut larger_start, mut smaller_start) = (vec![0; symbols + 1], vec![0; symbols]);
        for (&c, &s) in text.iter().zip(&smaller) {
            if s {
                larger_start[c as usize + 1] += 1;
            } else {
                smaller_start[c as usize] += 1;
            }
        }
        for c in 0..symbols {
            smaller_start[c] += larger_start[c];
            larger_start[c + 1] += smaller_start[c];
        }
        Self { text, smaller, larger_start, smaller_start }
    }

    /// Sorts all suffixes, given the order of the `starts`.
    fn induce(&self, starts: &[u32], order: &mut [u32]) {
        let n = order.len();
        order.fill(NONE);
        let mut next = self.smaller_start.clone();
        for &s in starts {
            let slot = &mut next[self.text[s as usize] as usize];
            order[*slot as usize] = s;
            *slot += 1;
        }
        let mut next = self.larger_start.clone();
        let slot = &mut next[self.text[n - 1] as usize];
        order[*slot as usize] = n as u32 - 1;
        *slot += 1;
        for i in 0..n {
            let before = order[i].wrapping_sub(1) as usize;
            if before < n && !self.smaller[before] {
                let slot = &mut next[self.text[before] as usize];
                order[*slot as usize] = before as u32;
                *slot += 1;
            }
        }
        let mut next = self.larger_start.clone();
        for i in (0..n).rev() {
            let before = order[i].wrapping_sub(1) as usize;
            if before < n && self.smaller[before] {
                let slot = &mut next[self.text[before] as usize + 1];
                *slot -= 1;
                order[*slot as usize] = before as u32;
            }
        }
    }
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

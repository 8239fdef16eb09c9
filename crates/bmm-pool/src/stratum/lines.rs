//! Cuts what comes from a socket into lines.

/// Longest line that is taken, in bytes, without its end.
pub const MAX_LINE_BYTES: usize = 4_096;

/// Why no more lines can be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// Nobody needs such lines.
    #[error("a line has more than {MAX_LINE_BYTES} bytes")]
    TooLong,
}

/// Keeps the beginning of a line whose end has not come; between lines it holds no memory.
#[derive(Debug, Default)]
pub struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    /// Takes bytes, and gives each line that they complete to `each`, without `\n` or `\r\n`. Empty lines are passed over.
    pub fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), LineError> {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (head, rest) = bytes.split_at(end);
            bytes = rest.get(1..).unwrap_or_default();
            self.fits(head)?;
            if self.begun.is_empty() {
                give(head, &mut each);
            } else {
                let mut line = std::mem::take(&mut self.begun);
                line.extend_from_slice(head);
                give(&line, &mut each);
            }
        }
        self.fits(bytes)?;
        self.begun.extend_from_slice(bytes);
        Ok(())
    }

    fn fits(&self, more: &[u8]) -> Result<(), LineError> {
        let len = self.begun.len().saturating_add(more.len());
        if len > MAX_LINE_BYTES { Err(LineError::TooLong) } else { Ok(()) }
    }
}

fn give(line: &[u8], each: &mut impl FnMut(&[u8])) {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if !line.is_empty() {
        each(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(chunks: &[&[u8]]) -> (Vec<Vec<u8>>, Result<(), LineError>, usize) {
        let (mut decoder, mut all) = (Lines::default(), Vec::new());
        let result = chunks.iter().try_for_each(|chunk| decoder.push(chunk, |line| all.push(line.to_vec())));
        (all, result, decoder.begun.capacity())
    }

    #[test]
    fn cuts_at_line_ends_only() {
        let (all, result, _) = lines(&[b"one\ntw", b"", b"o\r\n\n\r\n\nthree"]);
        assert_eq!((all, result), (vec![b"one".to_vec(), b"two".to_vec()], Ok(())));
    }

    #[test]
    fn long_lines_are_refused_wherever_they_are_cut() {
        let long = vec![b'x'; MAX_LINE_BYTES + 1];
        assert_eq!(lines(&[&long]).1, Err(LineError::TooLong));
        assert_eq!(lines(&[&long[1..], b"\n"]).1, Ok(()));
        assert_eq!(lines(&[&long[..9], &long[9..], b"\n"]).1, Err(LineError::TooLong));
        let whole = [&long[..], b"\n"].concat();
        assert_eq!(lines(&[&whole]).1, Err(LineError::TooLong));
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_give_the_same_lines(
            bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..9_000),
            cuts in prop::collection::vec(0usize..9_000, 0..12),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let (whole, in_pieces) = (lines(&[&bytes]), lines(&pieces));
            prop_assert_eq!(&whole.0, &in_pieces.0);
            prop_assert_eq!(whole.1, in_pieces.1);
            prop_assert!(in_pieces.2 <= 2 * MAX_LINE_BYTES);
            for line in whole.0 {
                prop_assert!(!line.is_empty() && line.len() <= MAX_LINE_BYTES && !line.contains(&b'\n'));
            }
        }
    }
}

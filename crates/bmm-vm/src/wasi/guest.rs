//! Access to a program's memory, every byte of it checked.

use super::errno::{Call, Errno, Fault};

/// Most buffers in one vectored call.
const MAX_BUFFERS: u32 = 1_024;
/// Most bytes that one call moves; a longer read or write is short, which programs must expect.
pub(super) const MAX_CALL_BYTES: u32 = 64 << 20;

/// Wraps a program's linear memory; every address comes from the program and is checked.
pub(super) struct Guest<'a>(pub &'a mut [u8]);

/// Names a range of the program's memory that was checked to be within it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    start: usize,
    len: usize,
}

impl Range {
    /// Returns the number of bytes.
    pub fn len(self) -> usize {
        self.len
    }
}

impl Guest<'_> {
    /// Checks that a range lies within the memory.
    pub fn range(&self, at: u32, len: u32) -> Call<Range> {
        let (start, len) = (at as usize, len as usize);
        match start.checked_add(len) {
            Some(end) if end <= self.0.len() => Ok(Range { start, len }),
            _ => Err(Errno::Fault.into()),
        }
    }

    /// Returns the bytes of a range.
    pub fn get(&self, range: Range) -> &[u8] {
        // A range was checked against this memory, which cannot shrink.
        &self.0[range.start..range.start + range.len]
    }

    /// Returns the bytes of a range for writing.
    pub fn get_mut(&mut self, range: Range) -> &mut [u8] {
        &mut self.0[range.start..range.start + range.len]
    }

    /// Returns the bytes at an address.
    pub fn read(&self, at: u32, len: u32) -> Call<&[u8]> {
        Ok(self.get(self.range(at, len)?))
    }

    /// Copies bytes to an address.
    pub fn write(&mut self, at: u32, bytes: &[u8]) -> Call {
        let len = u32::try_from(bytes.len()).map_err(|_| Errno::Fault)?;
        let range = self.range(at, len)?;
        self.get_mut(range).copy_from_slice(bytes);
        Ok(())
    }

    /// Reads a little-endian 32-bit number.
    pub fn u32(&self, at: u32) -> Call<u32> {
        Ok(u32::from_le_bytes(self.array(at)?))
    }

    /// Reads a little-endian 64-bit number.
    pub fn u64(&self, at: u32) -> Call<u64> {
        Ok(u64::from_le_bytes(self.array(at)?))
    }

    /// Reads a little-endian 16-bit number.
    pub fn u16(&self, at: u32) -> Call<u16> {
        Ok(u16::from_le_bytes(self.array(at)?))
    }

    /// Writes a little-endian 32-bit number.
    pub fn put_u32(&mut self, at: u32, value: u32) -> Call {
        self.write(at, &value.to_le_bytes())
    }

    /// Writes a little-endian 64-bit number.
    pub fn put_u64(&mut self, at: u32, value: u64) -> Call {
        self.write(at, &value.to_le_bytes())
    }

    /// Reads a list of buffers (iovec), cut after [`MAX_CALL_BYTES`].
    pub fn buffers(&self, at: u32, count: u32) -> Call<Vec<Range>> {
        if count > MAX_BUFFERS {
            return Err(Errno::Inval.into());
        }
        let list = self.read(at, count * 8)?;
        let mut left = MAX_CALL_BYTES;
        let mut buffers = Vec::with_capacity(count as usize);
        for pair in list.chunks_exact(8) {
            let word = |i: usize| u32::from_le_bytes([pair[i], pair[i + 1], pair[i + 2], pair[i + 3]]);
            // The whole buffer must exist even where only its beginning is used.
            let buffer = self.range(word(0), word(4))?;
            let len = word(4).min(left);
            left -= len;
            buffers.push(Range { start: buffer.start, len: len as usize });
        }
        Ok(buffers)
    }

    fn array<const N: usize>(&self, at: u32) -> Call<[u8; N]> {
        let len = u32::try_from(N).map_err(|_| Errno::Fault)?;
        self.read(at, len)?.try_into().map_err(|_| Fault::Errno(Errno::Fault))
    }
}

/// Returns an address some bytes further, or the fault of an address past the end of all memory.
pub(super) fn offset(at: u32, by: u32) -> Call<u32> {
    at.checked_add(by).ok_or(Fault::Errno(Errno::Fault))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_address_reaches_outside(at in any::<u32>(), len in any::<u32>(), size in 0usize..70_000) {
            let mut memory = vec![0; size];
            let guest = Guest(&mut memory);
            let inside = u64::from(at) + u64::from(len) <= size as u64;
            prop_assert_eq!(guest.range(at, len).is_ok(), inside);
            prop_assert_eq!(guest.read(at, len).is_ok(), inside);
        }

        #[test]
        fn buffers_never_exceed_the_memory_or_the_call(list in prop::collection::vec(any::<u8>(), 0..256), count in 0u32..2_000) {
            let mut memory = list.clone();
            let guest = Guest(&mut memory);
            if let Ok(buffers) = guest.buffers(0, count) {
                prop_assert_eq!(buffers.len(), count as usize);
                prop_assert!(buffers.iter().all(|buffer| guest.get(*buffer).len() == buffer.len()));
            }
        }
    }

    #[test]
    fn a_call_is_cut_after_its_most_bytes() {
        let mut memory = vec![0; (40 << 20) + 16];
        memory[4..8].copy_from_slice(&(40u32 << 20).to_le_bytes());
        memory[12..16].copy_from_slice(&(40u32 << 20).to_le_bytes());
        let lengths: Vec<usize> = Guest(&mut memory).buffers(0, 2).unwrap().iter().map(|buffer| buffer.len()).collect();
        assert_eq!(lengths, [40 << 20, 24 << 20]);
    }
}

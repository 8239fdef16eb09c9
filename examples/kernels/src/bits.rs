//! Bit streams, lowest bit first.

/// Collects bits.
#[derive(Default)]
pub struct Writer {
    bytes: Vec<u8>,
    held: u64,
    count: u32,
}

impl Writer {
    /// Appends the `length` (at most 32) low bits of `bits`.
    pub fn put(&mut self, bits: u32, length: u32) {
        self.held |= u64::from(bits) << self.count;
        self.count += length;
        if self.count >= 32 {
            self.bytes.extend_from_slice(&(self.held as u32).to_le_bytes());
            self.held >>= 32;
            self.count -= 32;
        }
    }

    /// Fills up the last byte and returns all.
    pub fn finish(mut self) -> Vec<u8> {
        let rest = self.count.div_ceil(8) as usize;
        self.bytes.extend_from_slice(&self.held.to_le_bytes()[..rest]);
        self.bytes
    }
}

/// Reads bits; after the end come zeros, and [`Reader::overrun`] tells.
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    held: u64,
    count: u32,
}

impl<'a> Reader<'a> {
    /// Starts at the first bit of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, held: 0, count: 0 }
    }

    fn fill(&mut self) {
        if let Some(word) = self.bytes.get(self.at..).and_then(|b| b.first_chunk::<4>()) {
            self.held |= u64::from(u32::from_le_bytes(*word)) << self.count;
            self.at += 4;
            self.count += 32;
            return;
        }
        while self.count <= 32 {
            self.held |= u64::from(self.bytes.get(self.at).copied().unwrap_or(0)) << self.count;
            self.at += 1;
            self.count += 8;
        }
    }

    /// The next `length` (at most 32) bits, which stay.
    pub fn peek(&mut self, length: u32) -> u32 {
        if self.count < length {
            self.fill();
        }
        (self.held & ((1 << length) - 1)) as u32
    }

    /// Drops `length` bits that were peeked at.
    pub fn skip(&mut self, length: u32) {
        self.held >>= length;
        self.count -= length;
    }

    /// Takes `length` bits.
    pub fn take(&mut self, length: u32) -> u32 {
        let bits = self.peek(length);
        self.skip(length);
        bits
    }

    /// Whether more was taken than there was.
    pub fn overrun(&self) -> bool {
        self.at > self.bytes.len() + (self.count / 8) as usize
    }
}

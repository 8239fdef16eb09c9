//! Scrypt(1024, 1, 1), the hash of Litecoin's family, of many block headers at once.
//!
//! Layer: below everything; it knows 80-byte headers and nothing else. All of the project's code for particular processors is here, each
//! `unsafe` with its reason; every kernel is held against the crate `scrypt`.
//!
//! A kernel computes as many hashes side by side as a vector register has words: word 5 of all hashes lies in one register, so that
//! Salsa20/8 needs no shuffles and has four independent steps at any time. Each hash keeps its own table of 128 KiB, row after row; rows are
//! turned into words side by side, and back, when they are read and written.
#![expect(unsafe_code, reason = "vector instructions, and rows of memory that they read at places known to be inside")]

mod lanes;
mod memory;
mod pbkdf2;
mod portable;
mod romix;
#[cfg(target_arch = "x86_64")]
mod x86;

use lanes::MAX_LANES;
use memory::Memory;
use romix::{LANE_WORDS, State};
use std::fmt;

/// Bytes of a header.
pub const HEADER_LEN: usize = 80;

/// How the hashes are computed. All kernels give the same hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kernel {
    /// 4 hashes at once, in plain Rust that compilers turn into 128-bit vectors.
    Portable,
    /// 8 hashes at once.
    Avx2,
    /// 16 hashes at once.
    Avx512,
}

impl Kernel {
    /// All of them, the slowest first.
    pub const ALL: [Self; 3] = [Self::Portable, Self::Avx2, Self::Avx512];

    /// Returns the fastest one that this processor has.
    pub fn best() -> Self {
        Self::ALL.into_iter().rev().find(|kernel| kernel.is_available()).unwrap_or(Self::Portable)
    }

    /// Whether this processor has what the kernel needs.
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => is_x86_feature_detected!("avx512f"),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512 => false,
        }
    }

    /// Hashes computed at once.
    pub fn lanes(self) -> usize {
        match self {
            Self::Portable => 4,
            Self::Avx2 => 8,
            Self::Avx512 => 16,
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Portable => "portable",
            Self::Avx2 => "AVX2",
            Self::Avx512 => "AVX-512",
        })
    }
}

/// A kernel with its memory: 128 KiB for each hash computed at once. A thread that hashes has one.
pub struct Hasher {
    kernel: Kernel,
    memory: Memory,
    state: Box<State>,
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

impl Hasher {
    /// Makes one of the best kernel.
    pub fn new() -> Self {
        Self::of(Kernel::best())
    }

    /// Makes one of a kernel, if this processor has it.
    pub fn with(kernel: Kernel) -> Option<Self> {
        kernel.is_available().then(|| Self::of(kernel))
    }

    fn of(kernel: Kernel) -> Self {
        Self { kernel, memory: Memory::new(kernel.lanes() * LANE_WORDS), state: Box::default() }
    }

    /// Returns the kernel.
    pub fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// Returns how many hashes are computed at once. Fewer take as long.
    pub fn lanes(&self) -> usize {
        self.kernel.lanes()
    }

    /// Computes the hash of each header, in the order of its bytes; as a number a hash is little-endian.
    ///
    /// # Panics
    /// If `headers` and `hashes` differ in length.
    pub fn hash(&mut self, headers: &[[u8; HEADER_LEN]], hashes: &mut [[u8; 32]]) {
        assert_eq!(headers.len(), hashes.len(), "a hash for each header");
        let lanes = self.lanes();
        for (headers, hashes) in headers.chunks(lanes).zip(hashes.chunks_mut(lanes)) {
            self.hash_some(headers, hashes);
        }
    }

    /// At most as many as there are lanes; the others hold what was there before.
    fn hash_some(&mut self, headers: &[[u8; HEADER_LEN]], hashes: &mut [[u8; 32]]) {
        let lanes = self.lanes();
        let mut keys = [const { None }; MAX_LANES];
        for (lane, (header, key)) in headers.iter().zip(&mut keys).enumerate() {
            let expanded = pbkdf2::expand(header);
            self.state.put(lane, lanes, &expanded.block);
            *key = Some(expanded.key);
        }
        self.mix();
        for (lane, (hash, key)) in hashes.iter_mut().zip(keys).enumerate() {
            if let Some(key) = key {
                *hash = key.finish(&self.state.take(lane, lanes));
            }
        }
    }

    fn mix(&mut self) {
        let (state, memory) = (&mut *self.state, self.memory.words());
        match self.kernel {
            Kernel::Portable => portable::mix(state, memory),
            // SAFETY: a hasher is made only of a kernel whose instructions this processor has.
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => unsafe { x86::mix_avx2(state, memory) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512 => unsafe { x86::mix_avx512(state, memory) },
            #[cfg(not(target_arch = "x86_64"))]
            Kernel::Avx2 | Kernel::Avx512 => unreachable!("a hasher is made only of a kernel that is available"),
        }
    }
}

//! Low-discrepancy points: a Sobol' (0,2)-sequence, Owen-scrambled by hashing (Burley, "Practical Hash-based Owen
//! Scrambling", JCGT 9(4), 2020).
//!
//! A point depends on the pixel, the sample number and the dimension alone: neither the tile nor the order of work
//! can change a picture.

/// The stream of sample points of one path.
pub struct Sampler {
    pixel: u32,
    index: u32,
    dimension: u32,
}

impl Sampler {
    /// Starts the points of sample `index` at pixel (`x`, `y`) of a picture with the given seed.
    pub fn new(seed: u32, x: u32, y: u32, index: u32) -> Self {
        Self { pixel: hash(x ^ hash(y ^ hash(seed))), index, dimension: 0 }
    }

    /// The next two numbers in [0, 1).
    pub fn next_2d(&mut self) -> [f32; 2] {
        let seed = hash(self.pixel ^ self.dimension.wrapping_mul(0x9E37_79B9));
        self.dimension += 1;
        let index = owen(self.index.reverse_bits(), seed).reverse_bits();
        let x = owen(index, hash(seed ^ 0xA511_E9B3)).reverse_bits();
        let y = owen(pascal(index), hash(seed ^ 0x63D8_3595)).reverse_bits();
        [to_unit(x), to_unit(y)]
    }

    /// The next number in [0, 1).
    pub fn next_1d(&mut self) -> f32 {
        let seed = hash(self.pixel ^ self.dimension.wrapping_mul(0x9E37_79B9));
        self.dimension += 1;
        let index = owen(self.index.reverse_bits(), seed).reverse_bits();
        to_unit(owen(index, hash(seed ^ 0xA511_E9B3)).reverse_bits())
    }
}

/// The 24 high bits as a number in [0, 1).
fn to_unit(bits: u32) -> f32 {
    (bits >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// A good 32-bit mixer (Wellons' `lowbias32`).
pub fn hash(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x7FEB_352D);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846C_A68B);
    x ^ (x >> 16)
}

/// Owen scrambling of a number whose first digit is its lowest bit (constants by Vegdahl, 2021).
fn owen(mut x: u32, seed: u32) -> u32 {
    x ^= x.wrapping_mul(0x3D20_ADEA);
    x = x.wrapping_add(seed);
    x = x.wrapping_mul((seed >> 16) | 1);
    x ^= x.wrapping_mul(0x0552_6C56);
    x ^ x.wrapping_mul(0x53A2_2864)
}

/// Multiplies by Pascal's triangle modulo 2, the generator matrix of the second Sobol' dimension. By Lucas' theorem
/// entry (i, j) is odd exactly if the bits of i are among those of j, so the product is a superset sum.
fn pascal(mut v: u32) -> u32 {
    v ^= v >> 16;
    v ^= (v >> 8) & 0x00FF_00FF;
    v ^= (v >> 4) & 0x0F0F_0F0F;
    v ^= (v >> 2) & 0x3333_3333;
    v ^ ((v >> 1) & 0x5555_5555)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In any 2^k first samples every elementary interval of area 2^-k holds exactly one point.
    #[test]
    fn samples_are_a_net_in_base_two() {
        for (seed, k) in [(1, 4), (7, 6), (99, 8)] {
            let points: Vec<[f32; 2]> = (0..1 << k).map(|i| Sampler::new(seed, 3, 5, i).next_2d()).collect();
            for a in 0..=k {
                let (w, h) = (1 << a, 1 << (k - a));
                let mut seen = vec![false; w * h];
                for p in &points {
                    let cell = (p[0] * w as f32) as usize * h + (p[1] * h as f32) as usize;
                    assert!(!std::mem::replace(&mut seen[cell], true), "two points in one cell ({w}×{h})");
                }
            }
        }
    }
}

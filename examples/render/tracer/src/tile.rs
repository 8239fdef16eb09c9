//! The file that a task hands back: a line of text, then 14 bytes for each pixel.
//!
//! `bmm-tile 1 WIDTH HEIGHT FIRST_ROW END_ROW SAMPLES\n`, then for each pixel, row by row: linear red, green, blue as
//! half floats (little-endian); the luminance's variance as a half float, times 1024; albedo, 3 bytes of 0–255; normal, 3 signed
//! bytes of -127–127. The last three guide the merger's noise filter.

use crate::Job;
use crate::math::V3;

/// Bytes of one encoded pixel.
pub const PIXEL_BYTES: usize = 14;
/// Variances are small: this factor keeps them out of the half floats' subnormals.
pub const VARIANCE_SCALE: f32 = 1024.0;

/// One pixel's results.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pixel {
    /// Linear radiance times the exposure.
    pub color: V3,
    /// Variance of the mean luminance.
    pub variance: f32,
    /// Mean colour of the first surfaces.
    pub albedo: V3,
    /// Mean normal of the first surfaces.
    pub normal: V3,
}

/// The first line of a tile.
pub fn header(job: &Job) -> Vec<u8> {
    let Job { width, height, rows, samples } = job;
    format!("bmm-tile 1 {width} {height} {} {} {samples}\n", rows.start, rows.end).into_bytes()
}

impl Pixel {
    /// The pixel's bytes.
    pub fn encode(&self) -> [u8; PIXEL_BYTES] {
        let mut out = [0; PIXEL_BYTES];
        let halves = [self.color.x, self.color.y, self.color.z, self.variance * VARIANCE_SCALE];
        for (i, h) in halves.into_iter().enumerate() {
            out[2 * i..2 * i + 2].copy_from_slice(&to_half(h).to_le_bytes());
        }
        for axis in 0..3 {
            out[8 + axis] = (self.albedo.axis(axis) * 255.0 + 0.5) as u8;
            out[11 + axis] = ((self.normal.axis(axis) * 127.0 + 128.5) as i32 - 128) as i8 as u8;
        }
        out
    }

    /// Reads the bytes of [`Pixel::encode`].
    pub fn decode(bytes: &[u8; PIXEL_BYTES]) -> Self {
        let half = |i: usize| from_half(u16::from_le_bytes([bytes[2 * i], bytes[2 * i + 1]]));
        let albedo = |i: usize| f32::from(bytes[8 + i]) / 255.0;
        let normal = |i: usize| f32::from(bytes[11 + i] as i8) / 127.0;
        Self {
            color: V3 { x: half(0), y: half(1), z: half(2) },
            variance: half(3) / VARIANCE_SCALE,
            albedo: V3 { x: albedo(0), y: albedo(1), z: albedo(2) },
            normal: V3 { x: normal(0), y: normal(1), z: normal(2) },
        }
    }
}

/// A number ≥ 0 as an IEEE 754 half float, rounded to nearest; too large becomes the largest finite one.
fn to_half(x: f32) -> u16 {
    const MAX: f32 = 65_504.0;
    if x.is_nan() || x <= 0.0 {
        return 0;
    }
    let x = crate::math::min(x, MAX);
    if x < 6.103_515_6e-5 {
        return (x * 16_777_216.0 + 0.5) as u16; // subnormal: steps of 2^-24
    }
    let bits = x.to_bits() + 0x0FFF + ((x.to_bits() >> 13) & 1);
    (((bits >> 13) - (112 << 10)) as u16).min(0x7BFF)
}

fn from_half(h: u16) -> f32 {
    let (exponent, mantissa) = (u32::from(h >> 10) & 31, u32::from(h & 0x3FF));
    if exponent == 0 {
        return mantissa as f32 / 16_777_216.0;
    }
    f32::from_bits(((exponent + 112) << 23) | (mantissa << 13))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_round_trip() {
        for h in 0..0x7C00_u16 {
            assert_eq!(to_half(from_half(h)), h);
        }
        assert_eq!((to_half(f32::NAN), to_half(-1.0), to_half(1e30)), (0, 0, 0x7BFF));
    }
}

//! From light to the screen: a little glare, a film-like curve, the sRGB transfer function.

use tracer::math::{V3, max, min, v3};

/// Share of the light that a lens spreads around bright spots.
const GLARE: f32 = 0.045;

/// Adds the halo of a real lens: a wide blur of the picture, by three box filters in each direction.
pub fn glare(light: &[V3], width: usize, height: usize) -> Vec<V3> {
    let radius = height / 70;
    let mut halo: Vec<V3> = light.iter().map(|c| c.min(V3::splat(30.0))).collect();
    for _ in 0..3 {
        halo = transposed_box(&halo, width, height, radius);
        halo = transposed_box(&halo, height, width, radius);
    }
    light.iter().zip(&halo).map(|(&c, &h)| c.lerp(h, GLARE)).collect()
}

/// Means over 2 × radius + 1 pixels of each row, written as columns.
fn transposed_box(from: &[V3], width: usize, height: usize, radius: usize) -> Vec<V3> {
    let mut out = vec![V3::ZERO; from.len()];
    for (y, row) in from.chunks_exact(width).enumerate() {
        for x in 0..width {
            let window = &row[x.saturating_sub(radius)..(x + radius + 1).min(width)];
            let sum = window.iter().fold(V3::ZERO, |a, &b| a + b);
            out[x * height + y] = sum / window.len() as f32;
        }
    }
    out
}

/// Stephen Hill's fit of the ACES reference and output transforms, then sRGB's transfer function.
pub fn to_srgb(c: V3) -> [u8; 3] {
    let input = v3(
        0.597_19 * c.x + 0.354_58 * c.y + 0.048_23 * c.z,
        0.076_00 * c.x + 0.908_34 * c.y + 0.015_66 * c.z,
        0.028_40 * c.x + 0.133_83 * c.y + 0.837_77 * c.z,
    );
    let curve = |x: f32| (x * (x + 0.024_578_6) - 0.000_090_537) / (x * (0.983_729 * x + 0.432_951) + 0.238_081);
    let f = v3(curve(input.x), curve(input.y), curve(input.z));
    let output = [
        1.604_75 * f.x - 0.531_08 * f.y - 0.073_67 * f.z,
        -0.102_08 * f.x + 1.108_13 * f.y - 0.006_05 * f.z,
        -0.003_27 * f.x - 0.072_76 * f.y + 1.076_02 * f.z,
    ];
    output.map(|linear| {
        let l = min(max(linear, 0.0), 1.0);
        let encoded = if l <= 0.003_130_8 { 12.92 * l } else { 1.055 * l.powf(1.0 / 2.4) - 0.055 };
        (encoded * 255.0 + 0.5) as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn black_stays_black_and_the_sun_is_white() {
        assert_eq!(to_srgb(V3::ZERO), [0, 0, 0]);
        assert!(to_srgb(V3::splat(1000.0)).iter().all(|&b| b > 250));
        let greys: Vec<u8> = (0..100).map(|i| to_srgb(V3::splat(i as f32 * 0.02))[1]).collect();
        assert!(greys.is_sorted());
    }

    #[test]
    fn glare_keeps_an_even_picture() {
        let even = vec![V3::splat(0.5); 140 * 70];
        assert!(glare(&even, 140, 70).iter().all(|c| (c.x - 0.5).abs() < 1e-4));
    }
}

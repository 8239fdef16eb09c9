//! The noise filter: an à-trous wavelet that stops at edges of shape, colour and light (Dammertz et al., HPG 2010),
//! told by each pixel's variance how much difference is noise (Schied et al., "Spatiotemporal Variance-Guided
//! Filtering", HPG 2017). It sees the whole picture, so tiles leave no seams.

use tracer::math::{V3, max, min, v3};
use tracer::tile::Pixel;

use crate::tiles::Picture;

/// Passes; the n-th looks 2^(n+1) pixels far.
const LEVELS: u32 = 4;
/// Differences of this many standard deviations still count as noise.
const SIGMA_LIGHT: f32 = 2.2;
/// The one-dimensional B3 spline.
const KERNEL: [f32; 3] = [0.375, 0.25, 0.0625];

/// Light apart from the surface's own colour, so that a texture is not blurred with it.
#[derive(Clone, Copy)]
struct Light {
    color: V3,
    luminance: f32,
    variance: f32,
}

/// Removes noise and returns the picture's linear colours.
pub fn denoise(picture: &Picture) -> Vec<V3> {
    let mut light: Vec<Light> = picture.pixels.iter().map(split).collect();
    for level in 0..LEVELS {
        light = pass(picture, &light, 1 << level);
    }
    light.iter().zip(&picture.pixels).map(|(l, p)| l.color * base(p)).collect()
}

fn base(p: &Pixel) -> V3 {
    p.albedo.max(V3::splat(0.04))
}

fn split(p: &Pixel) -> Light {
    let base = base(p);
    let color = v3(p.color.x / base.x, p.color.y / base.y, p.color.z / base.z);
    let scale = base.luminance();
    Light { color, luminance: color.luminance(), variance: p.variance / (scale * scale) }
}

fn pass(picture: &Picture, light: &[Light], step: usize) -> Vec<Light> {
    let (w, h) = (picture.width, picture.height);
    let mut out = Vec::with_capacity(light.len());
    for y in 0..h {
        for x in 0..w {
            out.push(pixel(picture, light, x, y, step));
        }
    }
    out
}

fn pixel(picture: &Picture, light: &[Light], x: usize, y: usize, step: usize) -> Light {
    let (w, h) = (picture.width, picture.height);
    let center = y * w + x;
    let (here, surface) = (light[center], &picture.pixels[center]);
    let deviation = SIGMA_LIGHT * smoothed_variance(light, w, h, x, y).sqrt() + 1e-4;
    let (mut color, mut variance, mut total) = (V3::ZERO, 0.0, 0.0);
    for dy in -2_isize..=2 {
        for dx in -2_isize..=2 {
            let (Some(qx), Some(qy)) = (offset(x, dx, step, w), offset(y, dy, step, h)) else { continue };
            let q = qy * w + qx;
            let there = light[q];
            let mut weight = KERNEL[dx.unsigned_abs()] * KERNEL[dy.unsigned_abs()];
            if q != center {
                weight *= alike(surface, &picture.pixels[q]);
                weight *= fall((there.luminance - here.luminance).abs() / deviation);
            }
            color += there.color * weight;
            variance += there.variance * weight * weight;
            total += weight;
        }
    }
    let color = color / total;
    Light { color, luminance: color.luminance(), variance: variance / (total * total) }
}

fn offset(at: usize, by: isize, step: usize, size: usize) -> Option<usize> {
    at.checked_add_signed(by * step as isize).filter(|&i| i < size)
}

/// Variances are noisy themselves: a 3 × 3 mean of them.
fn smoothed_variance(light: &[Light], w: usize, h: usize, x: usize, y: usize) -> f32 {
    let (mut sum, mut n) = (0.0, 0.0);
    for qy in y.saturating_sub(1)..(y + 2).min(h) {
        for qx in x.saturating_sub(1)..(x + 2).min(w) {
            sum += light[qy * w + qx].variance;
            n += 1.0;
        }
    }
    sum / n
}

/// How alike two surfaces are in shape and colour, from 0 to 1.
fn alike(a: &Pixel, b: &Pixel) -> f32 {
    let (n, c) = (a.normal - b.normal, a.albedo - b.albedo);
    fall(n.dot(n) * 40.0 + c.dot(c) * 30.0)
}

/// A cheap, smooth stand-in for e^-x that reaches zero at 4.
fn fall(x: f32) -> f32 {
    let t = max(1.0 - min(x, 4.0) * 0.25, 0.0);
    let t2 = t * t;
    t2 * t2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(color: impl Fn(usize, usize) -> f32, albedo: impl Fn(usize) -> f32, variance: f32) -> Picture {
        let pixel = |i: usize| Pixel {
            color: V3::splat(color(i % 32, i / 32)),
            variance,
            albedo: V3::splat(albedo(i % 32)),
            normal: v3(0.0, 1.0, 0.0),
        };
        Picture { width: 32, height: 32, pixels: (0..1024).map(pixel).collect() }
    }

    #[test]
    fn noise_goes_and_edges_stay() {
        let noise = |x: usize, y: usize| (tracer::sampler::hash((y * 32 + x) as u32) % 1000) as f32 / 1000.0 - 0.5;
        let edge = |x: usize| if x < 16 { 0.2 } else { 0.8 };
        let noisy = picture(|x, y| edge(x) * (1.0 + 0.4 * noise(x, y)), edge, 0.005);
        let clean = denoise(&noisy);
        let spread = |f: &dyn Fn(usize) -> f32| (0..1024).map(|i| (f(i) / edge(i % 32) - 1.0).powi(2)).sum::<f32>();
        let (before, after) = (spread(&|i| noisy.pixels[i].color.x), spread(&|i| clean[i].x));
        assert!(after < before * 0.15, "{before} to {after}");
    }

    #[test]
    fn a_sure_picture_is_left_alone() {
        let sharp = picture(|x, y| ((x ^ y) & 1) as f32 + 0.5, |_| 0.5, 0.0);
        for (a, b) in denoise(&sharp).iter().zip(&sharp.pixels) {
            assert!((a.x - b.color.x).abs() < 1e-5);
        }
    }
}

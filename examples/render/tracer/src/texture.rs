//! Procedural colours: a pattern gives a colour for every point of a surface.

use crate::math::{V3, max, min, v3};
use crate::sampler::hash;

/// How a material's colour varies in space.
#[derive(Clone, Copy, Debug)]
pub enum Texture {
    /// One colour everywhere.
    Plain,
    /// Squares on the ground plane, of this size, in the material's two colours.
    Checker(f32),
    /// Wooden planks on the ground plane, of this width; the two colours are the light and the dark wood.
    Planks(f32),
    /// Veined stone of this scale; the second colour is the veins'.
    Marble(f32),
}

impl Texture {
    /// The colour at `p` of a material with the two given colours, and a factor for its roughness.
    pub fn at(self, p: V3, first: V3, second: V3) -> (V3, f32) {
        match self {
            Self::Plain => (first, 1.0),
            Self::Checker(size) => {
                let (i, k) = ((p.x / size).floor(), (p.z / size).floor());
                let (fx, fz) = (p.x / size - i, p.z / size - k);
                let joint = min(min(fx, 1.0 - fx), min(fz, 1.0 - fz)) < 0.006;
                if joint {
                    return (second * 0.35, 2.0);
                }
                let odd = (i as i32 + k as i32) & 1 == 1;
                let vein = marble(v3(p.x, 0.37 * i, p.z) + v3(i * 3.1, 0.0, k * 5.7), 1.3 / size);
                let (base, other) = if odd { (second, first) } else { (first, second) };
                (base.lerp(other, 0.22 * vein), 1.0)
            }
            Self::Planks(width) => planks(p, width, first, second),
            Self::Marble(scale) => (first.lerp(second, marble(p, 1.0 / scale)), 1.0),
        }
    }
}

/// Boards along x, each with its own tone, grain and ends.
fn planks(p: V3, width: f32, light: V3, dark: V3) -> (V3, f32) {
    let row = (p.z / width).floor();
    let row_seed = hash(row as i32 as u32 ^ 0x51ED);
    let length = width * 9.0;
    let shifted = p.x + unit(row_seed) * length;
    let board = (shifted / length).floor();
    let seed = hash(row_seed ^ hash(board as i32 as u32));
    let (across, along) = (p.z / width - row, shifted / length - board);
    let edge = min(min(across, 1.0 - across) * width, min(along, 1.0 - along) * length);
    if edge < 0.006 {
        return (dark * 0.25, 2.5);
    }
    let offset = unit(hash(seed ^ 1)) * 90.0;
    // Fibres: noise stretched along the board; rings: a warped distance from a tree's axis under the board.
    let fibre = fbm(v3(shifted * 1.5, offset, p.z * 38.0), 3);
    let warp = fbm(v3(shifted * 0.45, offset + 7.0, p.z * 2.2), 2) * 1.8;
    let center = (unit(hash(seed ^ 2)) - 0.5) * 2.4;
    let ring = ((across - 0.5 - center) * 5.0 + warp * 2.2).abs() * 2.0;
    let ring = ring - ring.floor();
    let ring = ring * ring * (1.0 - smooth((ring - 0.85) / 0.15));
    let tone = 0.15 + 0.45 * unit(hash(seed ^ 3));
    let mix = tone + 0.45 * ring + 0.38 * (fibre - 0.5);
    (light.lerp(dark, min(max(mix, 0.0), 1.0)), 0.9 + 0.5 * fibre)
}

/// Thin veins: where turbulence crosses its middle.
fn marble(p: V3, frequency: f32) -> f32 {
    let q = p * frequency;
    let bend = v3(fbm(q, 2), fbm(q + v3(5.2, 1.3, 9.1), 2), fbm(q + v3(2.8, 7.7, 4.4), 2));
    let ridge = 1.0 - (2.0 * fbm(q * 1.2 + bend * 2.6, 4) - 1.0).abs();
    let ridge = ridge * ridge;
    ridge * ridge * ridge * ridge
}

fn fbm(mut p: V3, octaves: u32) -> f32 {
    let (mut sum, mut weight, mut total) = (0.0, 0.5, 0.0);
    for _ in 0..octaves {
        sum += weight * noise(p);
        total += weight;
        weight *= 0.5;
        p = v3(p.y * 2.03 + 17.0, p.z * 2.01 + 5.0, p.x * 2.02 + 31.0);
    }
    sum / total
}

/// Value noise in [0, 1] with a smooth first derivative.
fn noise(p: V3) -> f32 {
    let cell = v3(p.x.floor(), p.y.floor(), p.z.floor());
    let (fx, fy, fz) = (smooth(p.x - cell.x), smooth(p.y - cell.y), smooth(p.z - cell.z));
    let corner = |dx: i32, dy: i32, dz: i32| {
        let part = |c: f32, d: i32| (c as i32).wrapping_add(d) as u32;
        unit(hash(part(cell.x, dx) ^ hash(part(cell.y, dy) ^ hash(part(cell.z, dz)))))
    };
    let mix = |a: f32, b: f32, t: f32| a + (b - a) * t;
    let plane =
        |dz: i32| mix(mix(corner(0, 0, dz), corner(1, 0, dz), fx), mix(corner(0, 1, dz), corner(1, 1, dz), fx), fy);
    mix(plane(0), plane(1), fz)
}

fn smooth(t: f32) -> f32 {
    let t = min(max(t, 0.0), 1.0);
    t * t * (3.0 - 2.0 * t)
}

fn unit(bits: u32) -> f32 {
    (bits >> 8) as f32 * (1.0 / 16_777_216.0)
}

//! Lamps: drawing a direction towards one, and the density with which that happens.

use crate::math::{PI, V3, basis, max, sincos_turns};

/// A lamp.
#[derive(Clone, Copy, Debug)]
pub enum Light {
    /// A parallelogram that shines to the side of its normal.
    Quad {
        /// One corner.
        corner: V3,
        /// First edge.
        u: V3,
        /// Second edge.
        v: V3,
        /// Unit normal, u × v.
        normal: V3,
        /// Area.
        area: f32,
        /// Radiance.
        radiance: V3,
    },
    /// A shining ball.
    Sphere {
        /// Centre.
        center: V3,
        /// Radius.
        radius: f32,
        /// Radiance.
        radiance: V3,
    },
    /// A disk infinitely far away.
    Sun {
        /// Unit direction towards its middle.
        dir: V3,
        /// Cosine of its angular radius.
        cos_max: f32,
        /// Radiance.
        radiance: V3,
    },
}

/// Light that may arrive at a point, if nothing is in the way.
pub struct Arrival {
    /// Unit direction towards the lamp.
    pub dir: V3,
    /// Distance of the lamp's surface.
    pub distance: f32,
    /// Radiance.
    pub radiance: V3,
    /// Density over solid angle.
    pub pdf: f32,
}

impl Light {
    /// Draws a direction from `p` to the lamp.
    pub fn sample(&self, p: V3, [a, b]: [f32; 2]) -> Option<Arrival> {
        match *self {
            Self::Quad { corner, u, v, radiance, .. } => {
                let to = corner + u * a + v * b - p;
                let distance = to.length();
                let dir = to / distance;
                let pdf = self.pdf(p, dir, distance);
                (pdf > 0.0).then_some(Arrival { dir, distance, radiance, pdf })
            }
            Self::Sphere { center, radius, radiance } => {
                let to = center - p;
                let d2 = to.dot(to);
                let cos_max = cone(d2, radius)?;
                let dir = in_cone(to.unit(), cos_max, a, b);
                let along = to.dot(dir);
                let distance = along - max(radius * radius - (d2 - along * along), 0.0).sqrt();
                Some(Arrival { dir, distance, radiance, pdf: cone_pdf(cos_max) })
            }
            Self::Sun { dir, cos_max, radiance } => {
                let pdf = cone_pdf(cos_max);
                Some(Arrival { dir: in_cone(dir, cos_max, a, b), distance: f32::MAX, radiance, pdf })
            }
        }
    }

    /// The density of [`Light::sample`] for direction `dir`, which meets the lamp at `distance`.
    pub fn pdf(&self, p: V3, dir: V3, distance: f32) -> f32 {
        match *self {
            Self::Quad { normal, area, .. } => {
                let cos = -dir.dot(normal);
                if cos <= 1e-6 { 0.0 } else { distance * distance / (cos * area) }
            }
            Self::Sphere { center, radius, .. } => {
                let to = center - p;
                cone(to.dot(to), radius).map_or(0.0, cone_pdf)
            }
            Self::Sun { dir: sun, cos_max, .. } => {
                if sun.dot(dir) >= cos_max {
                    cone_pdf(cos_max)
                } else {
                    0.0
                }
            }
        }
    }

    /// Radiance that leaves the lamp against direction `dir`.
    pub fn radiance(&self, dir: V3) -> V3 {
        match *self {
            Self::Quad { normal, radiance, .. } if dir.dot(normal) < 0.0 => radiance,
            Self::Sphere { radiance, .. } => radiance,
            Self::Sun { dir: sun, cos_max, radiance } if sun.dot(dir) >= cos_max => radiance,
            Self::Quad { .. } | Self::Sun { .. } => V3::ZERO,
        }
    }
}

/// The cosine of the half angle under which a ball is seen; nothing from inside.
fn cone(d2: f32, radius: f32) -> Option<f32> {
    let sin2 = radius * radius / d2;
    (sin2 < 0.9999).then(|| (1.0 - sin2).sqrt())
}

fn cone_pdf(cos_max: f32) -> f32 {
    1.0 / (2.0 * PI * max(1.0 - cos_max, 1e-7))
}

fn in_cone(axis: V3, cos_max: f32, a: f32, b: f32) -> V3 {
    let cos = 1.0 - a * (1.0 - cos_max);
    let sin = max(1.0 - cos * cos, 0.0).sqrt();
    let (s, c) = sincos_turns(b);
    let (t, u) = basis(axis);
    (t * (c * sin) + u * (s * sin) + axis * cos).unit()
}

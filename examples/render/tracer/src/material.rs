//! How surfaces scatter light.

use crate::math::{PI, V3, basis, max, min, sincos_turns, v3};
use crate::texture::Texture;

/// A material as the scene names it.
#[derive(Clone, Copy, Debug)]
pub struct Material {
    /// What it is made of.
    pub kind: Kind,
    /// Main colour: albedo, reflectance of a metal, tint of a glass after a unit of length.
    pub color: V3,
    /// The texture's second colour.
    pub second: V3,
    /// How the two colours are laid out.
    pub texture: Texture,
    /// From 0, a mirror, to 1, chalk.
    pub roughness: f32,
}

/// The kinds of surface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Lambert's perfect diffuser.
    Diffuse,
    /// A diffuser under a clear coat: lacquer, glaze, plastic.
    Coat,
    /// A conductor with GGX microfacets.
    Metal,
    /// A clear solid with a refractive index of 1.5.
    Glass,
    /// A surface that only shines, with `color` as its radiance.
    Light,
}

/// The refractive index of glass and of clear coats.
const IOR: f32 = 1.5;
/// Below this the microfacet lobe is so narrow that it is treated as a mirror.
const MIRROR_ALPHA: f32 = 2e-3;

/// A material at one point, in the frame whose z axis is the shading normal.
pub struct Bsdf {
    kind: Kind,
    /// Albedo, reflectance or tint at the point.
    pub color: V3,
    alpha: f32,
    tangent: V3,
    bitangent: V3,
    normal: V3,
}

/// A direction drawn from a [`Bsdf`].
pub struct Scatter {
    /// Where the light comes from, in world space.
    pub dir: V3,
    /// Value × cosine ÷ density.
    pub weight: V3,
    /// Density over solid angle; infinite for a mirror or a lens.
    pub pdf: f32,
}

impl Material {
    /// The surface at `p` with shading normal `normal`, which points to the viewer's side.
    pub fn at(&self, p: V3, normal: V3) -> Bsdf {
        let (color, roughness) = self.texture.at(p, self.color, self.second);
        let roughness = min(self.roughness * roughness, 1.0);
        let (tangent, bitangent) = basis(normal);
        Bsdf { kind: self.kind, color, alpha: roughness * roughness, tangent, bitangent, normal }
    }
}

impl Bsdf {
    /// Whether light arrives from a single direction only, so that sampling lamps is useless.
    pub fn is_delta(&self) -> bool {
        match self.kind {
            Kind::Glass => true,
            Kind::Metal => self.alpha < MIRROR_ALPHA,
            Kind::Diffuse | Kind::Coat | Kind::Light => false,
        }
    }

    fn local(&self, v: V3) -> V3 {
        v3(v.dot(self.tangent), v.dot(self.bitangent), v.dot(self.normal))
    }

    fn world(&self, v: V3) -> V3 {
        self.tangent * v.x + self.bitangent * v.y + self.normal * v.z
    }

    /// Value × cosine and density for light from `wi` to `wo`, both pointing away from the surface.
    pub fn eval(&self, wo: V3, wi: V3) -> (V3, f32) {
        let (wo, wi) = (self.local(wo), self.local(wi));
        if wo.z <= 0.0 || wi.z <= 0.0 || self.is_delta() {
            return (V3::ZERO, 0.0);
        }
        match self.kind {
            Kind::Diffuse => (self.color * (wi.z / PI), wi.z / PI),
            Kind::Metal => {
                let (value, pdf, cos_h) = ggx(self.alpha, wo, wi);
                (schlick(self.color, cos_h) * (value * wi.z), pdf)
            }
            Kind::Coat => {
                let gloss = self.gloss_chance(wo);
                let alpha = max(self.alpha, MIRROR_ALPHA);
                let (value, pdf, cos_h) = ggx(alpha, wo, wi);
                let through = (1.0 - fresnel(wo.z)) * (1.0 - fresnel(wi.z));
                let specular = V3::splat(value * fresnel(cos_h) * wi.z);
                (specular + self.color * (through * wi.z / PI), gloss * pdf + (1.0 - gloss) * wi.z / PI)
            }
            Kind::Glass | Kind::Light => (V3::ZERO, 0.0),
        }
    }

    /// Draws a direction of arriving light. `entering` says that the ray meets glass from outside.
    pub fn sample(&self, wo: V3, entering: bool, choice: f32, u: [f32; 2]) -> Option<Scatter> {
        let world_wo = wo;
        let wo = self.local(wo);
        if wo.z <= 0.0 {
            return None;
        }
        let mirror = v3(-wo.x, -wo.y, wo.z);
        let wi = match self.kind {
            Kind::Glass => {
                let (wi, tint) = refract_or_reflect(wo, entering, choice);
                return Some(Scatter { dir: self.world(wi), weight: tint, pdf: f32::INFINITY });
            }
            Kind::Metal if self.is_delta() => {
                let weight = schlick(self.color, wo.z);
                return Some(Scatter { dir: self.world(mirror), weight, pdf: f32::INFINITY });
            }
            Kind::Metal => reflect_facet(self.alpha, wo, u),
            Kind::Coat if choice < self.gloss_chance(wo) => reflect_facet(max(self.alpha, MIRROR_ALPHA), wo, u),
            Kind::Diffuse | Kind::Coat => cosine_hemisphere(u),
            Kind::Light => return None,
        };
        let dir = self.world(wi);
        let (value, pdf) = self.eval(world_wo, dir);
        (pdf > 0.0).then(|| Scatter { dir, weight: value / pdf, pdf })
    }

    /// How often a coat is sampled as a gloss: by its share of the reflected light, kept off the ends.
    fn gloss_chance(&self, wo: V3) -> f32 {
        let f = fresnel(wo.z);
        let diffuse = (1.0 - f) * self.color.luminance();
        min(max(f / (f + diffuse), 0.2), 0.9)
    }
}

/// Schlick's approximation of a metal's Fresnel reflectance.
fn schlick(f0: V3, cos: f32) -> V3 {
    let m = max(1.0 - cos, 0.0);
    let m2 = m * m;
    f0 + (V3::ONE - f0) * (m2 * m2 * m)
}

/// Exact unpolarised Fresnel reflectance when light in air meets the coat at cosine `cos`.
fn fresnel(cos: f32) -> f32 {
    fresnel_between(cos, 1.0 / IOR).0
}

/// Reflectance, and the cosine on the other side, for the ratio `eta` of the indices before and behind.
fn fresnel_between(cos: f32, eta: f32) -> (f32, f32) {
    let sin2 = eta * eta * (1.0 - cos * cos);
    if sin2 >= 1.0 {
        return (1.0, 0.0);
    }
    let cos_t = (1.0 - sin2).sqrt();
    let parallel = (cos - eta * cos_t) / (cos + eta * cos_t);
    let perpendicular = (eta * cos - cos_t) / (eta * cos + cos_t);
    (0.5 * (parallel * parallel + perpendicular * perpendicular), cos_t)
}

fn refract_or_reflect(wo: V3, entering: bool, choice: f32) -> (V3, V3) {
    let eta = if entering { 1.0 / IOR } else { IOR };
    let (reflectance, cos_t) = fresnel_between(wo.z, eta);
    if choice < reflectance {
        return (v3(-wo.x, -wo.y, wo.z), V3::ONE);
    }
    (v3(-wo.x * eta, -wo.y * eta, -cos_t), V3::ONE)
}

/// The GGX value (without Fresnel), the density of [`reflect_facet`], and the cosine at the half vector.
fn ggx(alpha: f32, wo: V3, wi: V3) -> (f32, f32, f32) {
    let h = (wo + wi).unit();
    let a2 = alpha * alpha;
    let d = h.z * h.z * (a2 - 1.0) + 1.0;
    let distribution = a2 / (PI * d * d);
    let lambda = |z: f32| 0.5 * ((1.0 + a2 * (1.0 - z * z) / (z * z)).sqrt() - 1.0);
    let (lo, li) = (lambda(wo.z), lambda(wi.z));
    let value = distribution / ((1.0 + lo + li) * 4.0 * wo.z * wi.z);
    let pdf = distribution / ((1.0 + lo) * 4.0 * wo.z);
    (value, pdf, wo.dot(h))
}

/// Reflects at a facet drawn from those visible (Dupuy and Benyoub, "Sampling Visible GGX Normals with Spherical
/// Caps", HPG 2023).
fn reflect_facet(alpha: f32, wo: V3, u: [f32; 2]) -> V3 {
    let stretched = v3(wo.x * alpha, wo.y * alpha, wo.z).unit();
    let (s, c) = sincos_turns(u[0]);
    let z = (1.0 - u[1]) * (1.0 + stretched.z) - stretched.z;
    let r = max(1.0 - z * z, 0.0).sqrt();
    let facet = v3(r * c, r * s, z) + stretched;
    let h = v3(facet.x * alpha, facet.y * alpha, max(facet.z, 0.0)).unit();
    wo.reflect(h)
}

/// A direction with density cosine ÷ π.
fn cosine_hemisphere(u: [f32; 2]) -> V3 {
    let d = disk(u);
    v3(d[0], d[1], max(1.0 - d[0] * d[0] - d[1] * d[1], 1e-6).sqrt())
}

/// A point of the unit disk that keeps the strata of the square (Shirley and Chiu's concentric map).
pub fn disk(u: [f32; 2]) -> [f32; 2] {
    let (a, b) = (2.0 * u[0] - 1.0, 2.0 * u[1] - 1.0);
    if a == 0.0 && b == 0.0 {
        return [0.0; 2];
    }
    let (r, turns) = if a.abs() > b.abs() { (a, b / a * 0.125) } else { (b, 0.25 - a / b * 0.125) };
    let (s, c) = sincos_turns(turns);
    [r * c, r * s]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampler::Sampler;

    fn material(kind: Kind, roughness: f32) -> Material {
        Material { kind, color: V3::ONE, second: V3::ONE, texture: Texture::Plain, roughness }
    }

    /// Under a white sky no surface may send back more than it gets, and a lossless one nearly as much.
    #[test]
    fn white_furnace() {
        for (kind, roughness, least) in [
            (Kind::Diffuse, 1.0, 0.999),
            (Kind::Metal, 0.0, 0.999),
            (Kind::Metal, 0.3, 0.98),
            (Kind::Coat, 0.2, 0.8),
            (Kind::Glass, 0.0, 0.999),
        ] {
            let bsdf = material(kind, roughness).at(V3::ZERO, v3(0.0, 1.0, 0.0));
            let wo = v3(0.5, 0.8, 0.1).unit();
            let mut sum = 0.0;
            for i in 0..4096 {
                let mut s = Sampler::new(3, 0, 0, i);
                sum += bsdf.sample(wo, true, s.next_1d(), s.next_2d()).map_or(0.0, |x| x.weight.x) / 4096.0;
            }
            assert!(sum <= 1.001 && sum >= least, "{kind:?} {roughness}: {sum}");
        }
    }

    /// The density integrates to the share of drawn directions that leave the surface.
    #[test]
    fn densities_match_the_drawing() {
        for (kind, roughness) in [(Kind::Diffuse, 1.0), (Kind::Metal, 0.5), (Kind::Coat, 0.6)] {
            let bsdf = material(kind, roughness).at(V3::ZERO, v3(0.0, 0.0, 1.0));
            let wo = v3(0.3, -0.2, 0.9).unit();
            let (mut sum, mut drawn) = (0.0, 0.0);
            for i in 0..65_536 {
                let mut sampler = Sampler::new(5, 0, 0, i);
                let [u, v] = sampler.next_2d();
                let (s, c) = sincos_turns(u);
                let r = (1.0 - v * v).sqrt();
                sum += bsdf.eval(wo, v3(r * c, r * s, v)).1 * 2.0 * PI / 65_536.0;
                let leaves = bsdf.sample(wo, true, sampler.next_1d(), sampler.next_2d()).is_some();
                drawn += f32::from(u8::from(leaves)) / 65_536.0;
            }
            assert!((sum - drawn).abs() < 0.01, "{kind:?}: {sum} and {drawn}");
        }
    }
}

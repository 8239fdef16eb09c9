//! Path tracing: next-event estimation and scattering, combined by the power heuristic (Veach 1997, chapter 9).

use crate::bvh::{Hit, Ray, Stack};
use crate::material::Kind;
use crate::math::{V3, exp_neg, max, min, v3};
use crate::sampler::Sampler;
use crate::scene::{NO_LIGHT, Scene};

/// What one path found.
pub struct Sample {
    /// Radiance.
    pub color: V3,
    /// Colour of the first surface that is neither mirror nor glass.
    pub albedo: V3,
    /// Its normal.
    pub normal: V3,
}

/// Longest path, in surfaces.
const MAX_DEPTH: u32 = 12;
/// From here on paths end at random.
const ROULETTE_DEPTH: u32 = 3;
/// Brightest contribution of light that was scattered at least once: a bias that removes stray bright dots.
const CLAMP: f32 = 12.0;

/// A point on a surface.
struct Point {
    p: V3,
    /// Shading normal, towards the viewer.
    normal: V3,
    /// Normal of the real surface, towards the viewer.
    plane: V3,
    /// Whether the viewer is outside.
    outside: bool,
    material: u16,
    light: u16,
    distance: f32,
}

/// Follows one path backwards from the eye.
pub fn trace(scene: &Scene, mut ray: Ray, sampler: &mut Sampler, stack: &mut Stack) -> Sample {
    let mut out = Sample { color: V3::ZERO, albedo: V3::ONE, normal: V3::ZERO };
    let mut throughput = V3::ONE;
    // The density with which the last surface chose this direction; infinite when no lamp sample competes with it.
    let mut last_pdf = f32::INFINITY;
    let mut features_open = true;
    let mut scattered = false;
    for depth in 0..MAX_DEPTH {
        let Some(point) = scene.hit(&ray, stack) else {
            let light = sky(scene, &ray, last_pdf);
            add(&mut out.color, throughput * light, scattered);
            break;
        };
        let material = &scene.materials[point.material as usize];
        let wo = -ray.dir;
        if material.kind == Kind::Light {
            let light = emitted(scene, &ray, &point, last_pdf);
            add(&mut out.color, throughput * light, scattered);
            break;
        }
        let bsdf = material.at(point.p, point.normal);
        if material.kind == Kind::Glass && !point.outside {
            throughput *= absorbed(bsdf.color, point.distance);
        }
        if features_open {
            out.normal = point.normal;
            if !bsdf.is_delta() {
                out.albedo = bsdf.color.min(V3::ONE);
                features_open = false;
            }
        }
        let [u_light, u_choice] = sampler.next_2d();
        let u_area = sampler.next_2d();
        let u_dir = sampler.next_2d();
        if !bsdf.is_delta() && !scene.lights.is_empty() {
            let light = direct(scene, &point, &bsdf, wo, (u_light, u_area), stack);
            add(&mut out.color, throughput * light, scattered);
            scattered = true;
        }
        let Some(scatter) = bsdf.sample(wo, point.outside, u_choice, u_dir) else { break };
        // A shading normal may send light into a surface that lets none through.
        if material.kind != Kind::Glass && scatter.dir.dot(point.plane) <= 0.0 {
            break;
        }
        throughput *= scatter.weight;
        last_pdf = scatter.pdf;
        if depth >= ROULETTE_DEPTH {
            let survive = min(throughput.max_component(), 0.95);
            if survive <= 0.0 || sampler.next_1d() >= survive {
                break;
            }
            throughput *= 1.0 / survive;
        }
        ray = Ray { origin: point.leave(scatter.dir), dir: scatter.dir, t_max: f32::MAX };
    }
    out
}

fn add(color: &mut V3, light: V3, scattered: bool) {
    let peak = light.max_component();
    *color += if scattered && peak > CLAMP { light * (CLAMP / peak) } else { light };
}

/// Beer's law: `tint` is what one unit of length lets through.
fn absorbed(tint: V3, distance: f32) -> V3 {
    let part = |c: f32| if c >= 1.0 { 1.0 } else { exp_neg(distance * ln(c)) };
    v3(part(tint.x), part(tint.y), part(tint.z))
}

/// ln for 0 < c < 1, by the series of artanh after taking out powers of two.
fn ln(c: f32) -> f32 {
    let bits = max(c, 1e-6).to_bits();
    let exponent = (bits >> 23) as i32 - 127;
    let m = f32::from_bits((bits & 0x007F_FFFF) | 0x3F80_0000);
    let s = (m - 1.0) / (m + 1.0);
    let s2 = s * s;
    let series = 2.0 * s * (1.0 + s2 * (1.0 / 3.0 + s2 * (0.2 + s2 * (1.0 / 7.0 + s2 / 9.0))));
    exponent as f32 * std::f32::consts::LN_2 + series
}

/// The power heuristic's weight for a strategy of density `a` against one of density `b`.
fn mis(a: f32, b: f32) -> f32 {
    if a.is_infinite() {
        return 1.0;
    }
    let (a2, b2) = (a * a, b * b);
    a2 / (a2 + b2)
}

/// Light from a lamp chosen evenly.
fn direct(
    scene: &Scene,
    at: &Point,
    bsdf: &crate::material::Bsdf,
    wo: V3,
    (choice, u): (f32, [f32; 2]),
    stack: &mut Stack,
) -> V3 {
    let count = scene.lights.len();
    let light = &scene.lights[((choice * count as f32) as usize).min(count - 1)];
    let Some(arrival) = light.sample(at.p, u) else { return V3::ZERO };
    if arrival.dir.dot(at.plane) <= 0.0 {
        return V3::ZERO;
    }
    let (value, pdf) = bsdf.eval(wo, arrival.dir);
    if pdf <= 0.0 {
        return V3::ZERO;
    }
    let shadow = Ray { origin: at.leave(arrival.dir), dir: arrival.dir, t_max: arrival.distance * 0.999 };
    if scene.blocked(&shadow, stack) {
        return V3::ZERO;
    }
    let light_pdf = arrival.pdf / count as f32;
    value * arrival.radiance * (mis(light_pdf, pdf) / light_pdf)
}

/// Light from the sky and from suns, for a ray that left the scene.
fn sky(scene: &Scene, ray: &Ray, last_pdf: f32) -> V3 {
    let mut light = scene.sky.radiance(ray.dir);
    let count = scene.lights.len() as f32;
    for sun in scene.lights.iter().filter(|l| matches!(l, crate::light::Light::Sun { .. })) {
        let pdf = sun.pdf(ray.origin, ray.dir, f32::MAX) / count;
        if pdf > 0.0 {
            light += sun.radiance(ray.dir) * mis(last_pdf, pdf);
        }
    }
    light
}

/// Light of a lamp that the ray met.
fn emitted(scene: &Scene, ray: &Ray, point: &Point, last_pdf: f32) -> V3 {
    if point.light == NO_LIGHT {
        let material = &scene.materials[point.material as usize];
        return if point.outside { material.color } else { V3::ZERO };
    }
    let light = &scene.lights[point.light as usize];
    let pdf = light.pdf(ray.origin, ray.dir, point.distance) / scene.lights.len() as f32;
    light.radiance(ray.dir) * mis(last_pdf, pdf)
}

impl Point {
    /// Where a ray in direction `dir` starts: a little off the surface, on the side it goes to.
    fn leave(&self, dir: V3) -> V3 {
        let reach = max(1.0, max(self.p.x.abs(), max(self.p.y.abs(), self.p.z.abs()))) * 2e-4;
        self.p + self.plane * if dir.dot(self.plane) < 0.0 { -reach } else { reach }
    }
}

impl Scene {
    fn hit(&self, ray: &Ray, stack: &mut Stack) -> Option<Point> {
        let hit = self.bvh.nearest(ray, stack);
        let limit = hit.map_or(ray.t_max, |h| h.t);
        if let Some((y, material)) = self.ground {
            let t = (y - ray.origin.y) / ray.dir.y;
            if t > 0.0 && t < limit {
                let p = ray.origin + ray.dir * t;
                let up = v3(0.0, if ray.dir.y < 0.0 { 1.0 } else { -1.0 }, 0.0);
                let outside = ray.dir.y < 0.0;
                let p = v3(p.x, y, p.z);
                return Some(Point { p, normal: up, plane: up, outside, material, light: NO_LIGHT, distance: t });
            }
        }
        hit.map(|h| self.point(ray, &h))
    }

    fn blocked(&self, ray: &Ray, stack: &mut Stack) -> bool {
        if let Some((y, _)) = self.ground {
            let t = (y - ray.origin.y) / ray.dir.y;
            if t > 0.0 && t < ray.t_max {
                return true;
            }
        }
        self.bvh.blocked(ray, stack)
    }

    fn point(&self, ray: &Ray, hit: &Hit) -> Point {
        let s = &self.surfaces[hit.primitive as usize];
        let p = ray.origin + ray.dir * hit.t;
        let (mut normal, mut plane) = if s.plane == V3::ZERO {
            let n = (p - s.normals[0]).unit();
            (n, n)
        } else {
            let [u, v] = hit.uv;
            let n = s.normals[0] * (1.0 - u - v) + s.normals[1] * u + s.normals[2] * v;
            (n.unit(), s.plane)
        };
        let outside = plane.dot(ray.dir) < 0.0;
        if !outside {
            plane = -plane;
            normal = -normal;
        }
        // At a silhouette the interpolated normal may look away from the viewer.
        if normal.dot(ray.dir) >= 0.0 {
            normal = plane;
        }
        let (material, light) = (s.material, s.light);
        Point { p, normal, plane, outside, material, light, distance: hit.t }
    }
}

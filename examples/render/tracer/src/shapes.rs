//! Geometry that is made by rule: boxes, knots, flakes, scattered balls.

use crate::build::Primitive;
use crate::math::{PI, V3, max, sincos_turns, v3};
use crate::sampler::hash;

/// Triangles with a normal at every corner.
pub struct Mesh {
    /// Corners.
    pub points: Vec<V3>,
    /// The unit normal at each corner.
    pub normals: Vec<V3>,
    /// Three corner numbers for each triangle.
    pub faces: Vec<[u32; 3]>,
}

/// A tube around the (`p`, `q`) torus knot about the y axis through `at`.
pub struct Knot {
    /// The centre.
    pub at: V3,
    /// Times around the axis.
    pub p: u32,
    /// Times around the core of the torus.
    pub q: u32,
    /// Radius of the core.
    pub radius: f32,
    /// How far the curve leaves the core.
    pub swing: f32,
    /// Radius of the tube.
    pub tube: f32,
    /// Rings along the curve.
    pub segments: u32,
    /// Corners of each ring.
    pub sides: u32,
    /// Lean towards the viewer, in turns.
    pub tilt: f32,
}

impl Knot {
    /// The curve at `turns` of its length.
    fn curve(&self, turns: f32) -> V3 {
        let (sq, cq) = sincos_turns(turns * self.q as f32);
        let (sp, cp) = sincos_turns(turns * self.p as f32);
        let r = self.radius + self.swing * cq;
        v3(r * cp, self.swing * sq, r * sp)
    }

    /// The tube as a mesh. The frame that carries the rings is (away from the axis), made square to the curve: it
    /// closes by itself because the curve does.
    pub fn mesh(&self) -> Mesh {
        let (n, m) = (self.segments, self.sides);
        let (st, ct) = sincos_turns(self.tilt);
        let lean = |v: V3| v3(v.x, v.y * ct - v.z * st, v.y * st + v.z * ct);
        let (mut points, mut normals, mut faces) = (Vec::new(), Vec::new(), Vec::new());
        for i in 0..n {
            let t = i as f32 / n as f32;
            let center = self.curve(t);
            let tangent = (self.curve(t + 1e-3) - self.curve(t - 1e-3)).unit();
            let (sp, cp) = sincos_turns(t * self.p as f32);
            let side = v3(0.0, 1.0, 0.0).cross(tangent) + v3(cp, 0.0, sp) * 0.35;
            let side = (side - tangent * side.dot(tangent)).unit();
            let up = tangent.cross(side);
            for j in 0..m {
                let (s, c) = sincos_turns(j as f32 / m as f32);
                let normal = side * c + up * s;
                points.push(self.at + lean(center + normal * self.tube));
                normals.push(lean(normal));
                let (i2, j2) = ((i + 1) % n, (j + 1) % m);
                let (a, b, c, d) = (i * m + j, i2 * m + j, i2 * m + j2, i * m + j2);
                faces.extend([[a, b, c], [a, c, d]]);
            }
        }
        Mesh { points, normals, faces }
    }
}

/// The six faces of a box that stands on the ground plane, turned about the vertical by `turns`.
pub fn cuboid(at: V3, size: V3, turns: f32) -> Vec<[V3; 4]> {
    let (s, c) = sincos_turns(turns);
    let corner = |x: f32, y: f32, z: f32| {
        let (x, y, z) = (x * size.x * 0.5, y * size.y, z * size.z * 0.5);
        at + v3(x * c + z * s, y, z * c - x * s)
    };
    let (l, r) = (-1.0, 1.0);
    vec![
        [corner(l, 0.0, r), corner(r, 0.0, r), corner(r, 1.0, r), corner(l, 1.0, r)],
        [corner(r, 0.0, l), corner(l, 0.0, l), corner(l, 1.0, l), corner(r, 1.0, l)],
        [corner(r, 0.0, r), corner(r, 0.0, l), corner(r, 1.0, l), corner(r, 1.0, r)],
        [corner(l, 0.0, l), corner(l, 0.0, r), corner(l, 1.0, r), corner(l, 1.0, l)],
        [corner(l, 1.0, r), corner(r, 1.0, r), corner(r, 1.0, l), corner(l, 1.0, l)],
        [corner(l, 0.0, l), corner(r, 0.0, l), corner(r, 0.0, r), corner(l, 0.0, r)],
    ]
}

/// Haines' sphereflake: every ball carries nine of a third its size, six around its equator and three above.
pub fn flake(center: V3, radius: f32, axis: V3, levels: u32, out: &mut Vec<Primitive>) {
    out.push(Primitive::Sphere { center, radius });
    if levels == 0 {
        return;
    }
    let (t, b) = crate::math::basis(axis);
    let small = radius / 3.0;
    for k in 0..9_u32 {
        let (turns, height) = if k < 6 { (k as f32 / 6.0, 0.0) } else { ((k as f32 - 5.75) / 3.0, 0.816) };
        let (s, c) = sincos_turns(turns);
        let flat = max(1.0 - height * height, 0.0).sqrt();
        let dir = ((t * c + b * s) * flat + axis * height).unit();
        flake(center + dir * (radius + small), small, dir, levels - 1, out);
    }
}

/// Balls that lie on the ground without touching each other or `taken` (circles: x, z, radius).
pub fn scatter(seed: u32, count: u32, area: [f32; 4], radii: [f32; 2], taken: &mut Vec<[f32; 3]>) -> Vec<(V3, f32)> {
    let random = |n: u32| (hash(n ^ hash(seed)) >> 8) as f32 / 16_777_216.0;
    let mut balls = Vec::new();
    // A crowded floor may not hold as many as asked for: give up after a fixed number of tries.
    for attempt in 0..count.saturating_mul(40) {
        if balls.len() == count as usize {
            break;
        }
        let u = [0, 1, 2].map(|k| random(attempt * 3 + k));
        let x = area[0] + u[0] * (area[2] - area[0]);
        let z = area[1] + u[1] * (area[3] - area[1]);
        let r = radii[0] + u[2] * u[2] * (radii[1] - radii[0]);
        let free = taken.iter().all(|c| {
            let (dx, dz, d) = (c[0] - x, c[1] - z, c[2] + r + 0.01);
            dx * dx + dz * dz > d * d
        });
        if free {
            taken.push([x, z, r]);
            balls.push((v3(x, r, z), r));
        }
    }
    balls
}

/// The area of the torus knot's shadow on the ground, as a circle for [`scatter`].
pub fn knot_reach(k: &Knot) -> f32 {
    let (s, _) = sincos_turns(k.tilt.abs().min(0.25));
    let flat = k.radius + k.swing + k.tube;
    if s > 0.9 { flat * 0.9 } else { flat * (1.0 - s * PI / 12.0) }
}

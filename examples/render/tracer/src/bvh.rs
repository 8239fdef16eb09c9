//! A four-wide bounding-volume hierarchy over triangles and spheres.
//!
//! Four boxes, four triangles or four spheres are tested together; the loops over lanes become SIMD instructions on
//! x86-64 and on wasm with `simd128`.

use crate::build::{self, Primitive};
use crate::math::{V3, max, min, v3};

type Lanes = [f32; 4];

/// A half-line that starts at `origin`; only hits nearer than `t_max` count.
#[derive(Clone, Copy)]
pub struct Ray {
    /// Where the ray starts.
    pub origin: V3,
    /// Unit direction.
    pub dir: V3,
    /// Largest distance of interest.
    pub t_max: f32,
}

/// The nearest surface that a ray meets.
#[derive(Clone, Copy)]
pub struct Hit {
    /// Distance along the ray.
    pub t: f32,
    /// Which primitive, in the order given to [`Bvh::new`].
    pub primitive: u32,
    /// Barycentric coordinates on a triangle, unused on a sphere.
    pub uv: [f32; 2],
}

#[derive(Clone, Copy, Default)]
#[repr(C, align(16))]
struct Lanes3 {
    x: Lanes,
    y: Lanes,
    z: Lanes,
}

impl Lanes3 {
    fn set(&mut self, lane: usize, v: V3) {
        (self.x[lane], self.y[lane], self.z[lane]) = (v.x, v.y, v.z);
    }
}

/// Four children: their boxes and what they are (see [`Child`]).
#[derive(Clone, Copy)]
#[repr(C, align(16))]
struct Node {
    lo: Lanes3,
    hi: Lanes3,
    child: [Child; 4],
}

/// An inner node's index, or a leaf: bit 31, bit 30 for spheres, the index of its block of four below.
type Child = u32;
const LEAF: u32 = 1 << 31;
const SPHERES: u32 = 1 << 30;

#[derive(Clone, Copy, Default)]
#[repr(C, align(16))]
struct TriangleBlock {
    corner: Lanes3,
    edge1: Lanes3,
    edge2: Lanes3,
    primitive: [u32; 4],
}

#[derive(Clone, Copy, Default)]
#[repr(C, align(16))]
struct SphereBlock {
    center: Lanes3,
    radius: Lanes,
    primitive: [u32; 4],
}

/// The hierarchy.
pub struct Bvh {
    nodes: Vec<Node>,
    triangles: Vec<TriangleBlock>,
    spheres: Vec<SphereBlock>,
}

/// Deep enough for 40 levels of three waiting children, more than any tree of two million primitives has.
const STACK: usize = 128;

/// The nodes that a ray has yet to visit, with the distance of each. Made once and used for all rays.
pub struct Stack([(Child, f32); STACK]);

impl Default for Stack {
    fn default() -> Self {
        Self([(0, 0.0); STACK])
    }
}

impl Bvh {
    /// Builds the hierarchy over `primitives`.
    pub fn new(primitives: &[Primitive]) -> Self {
        let mut bvh = Self { nodes: Vec::new(), triangles: Vec::new(), spheres: Vec::new() };
        if !primitives.is_empty() {
            let tree = build::build(primitives);
            bvh.flatten(primitives, &tree, 0);
        }
        bvh
    }

    /// Copies binary node `at` and up to four of its grandchildren into one wide node; returns its index.
    fn flatten(&mut self, primitives: &[Primitive], tree: &build::Tree, at: u32) -> u32 {
        let mut kids = vec![at];
        while kids.len() < 4 {
            // Open the inner child with the largest surface: it is the one most rays would enter.
            let candidates = kids.iter().enumerate().filter(|(_, k)| tree.nodes[**k as usize].leaf.is_none());
            let area = |k: u32| tree.nodes[k as usize].bounds.half_area();
            let Some((i, &k)) = candidates.max_by(|a, b| area(*a.1).total_cmp(&area(*b.1))) else { break };
            kids[i] = tree.nodes[k as usize].first;
            kids.push(tree.nodes[k as usize].first + 1);
        }
        let index = self.nodes.len();
        let far = Lanes3 { x: [f32::MAX; 4], y: [f32::MAX; 4], z: [f32::MAX; 4] };
        self.nodes.push(Node { lo: far, hi: far, child: [LEAF; 4] });
        for (lane, &k) in kids.iter().enumerate() {
            let node = &tree.nodes[k as usize];
            let child = match &node.leaf {
                Some(range) => self.pack(primitives, &tree.order[range.clone()]),
                None => self.flatten(primitives, tree, k),
            };
            let wide = &mut self.nodes[index];
            wide.lo.set(lane, node.bounds.lo);
            wide.hi.set(lane, node.bounds.hi);
            wide.child[lane] = child;
        }
        index as u32
    }

    /// Packs one to four primitives of one kind into a block.
    fn pack(&mut self, primitives: &[Primitive], members: &[u32]) -> Child {
        if let Primitive::Sphere { .. } = primitives[members[0] as usize] {
            let mut block = SphereBlock { radius: [-1.0; 4], ..SphereBlock::default() };
            for (lane, &id) in members.iter().enumerate() {
                if let Primitive::Sphere { center, radius } = primitives[id as usize] {
                    block.center.set(lane, center);
                    block.radius[lane] = radius;
                    block.primitive[lane] = id;
                }
            }
            self.spheres.push(block);
            return LEAF | SPHERES | (self.spheres.len() - 1) as u32;
        }
        let mut block = TriangleBlock::default();
        for (lane, &id) in members.iter().enumerate() {
            if let Primitive::Triangle { a, b, c } = primitives[id as usize] {
                block.corner.set(lane, a);
                block.edge1.set(lane, b - a);
                block.edge2.set(lane, c - a);
                block.primitive[lane] = id;
            }
        }
        self.triangles.push(block);
        LEAF | (self.triangles.len() - 1) as u32
    }

    /// The nearest hit of `ray`.
    pub fn nearest(&self, ray: &Ray, stack: &mut Stack) -> Option<Hit> {
        self.walk::<false>(ray, &mut stack.0)
    }

    /// Whether anything lies on `ray`.
    pub fn blocked(&self, ray: &Ray, stack: &mut Stack) -> bool {
        self.walk::<true>(ray, &mut stack.0).is_some()
    }

    fn walk<const ANY: bool>(&self, ray: &Ray, stack: &mut [(Child, f32); STACK]) -> Option<Hit> {
        if self.nodes.is_empty() {
            return None;
        }
        let mut best = Hit { t: ray.t_max, primitive: u32::MAX, uv: [0.0; 2] };
        let inverse = v3(reciprocal(ray.dir.x), reciprocal(ray.dir.y), reciprocal(ray.dir.z));
        let shifted = ray.origin * inverse;
        stack[0] = (0, 0.0);
        let mut depth = 1;
        while depth > 0 {
            depth -= 1;
            let (child, entry) = stack[depth];
            if entry > best.t {
                continue;
            }
            if child & LEAF == 0 {
                let node = &self.nodes[child as usize];
                let (near, mut hits) = node.intersect(inverse, shifted, best.t);
                let base = depth;
                while hits != 0 && depth < STACK {
                    let lane = hits.trailing_zeros() as usize & 3;
                    hits &= hits - 1;
                    // Insertion keeps the nearest child on top.
                    let mut at = depth;
                    while at > base && stack[at - 1].1 < near[lane] {
                        stack[at] = stack[at - 1];
                        at -= 1;
                    }
                    stack[at] = (node.child[lane], near[lane]);
                    depth += 1;
                }
            } else {
                let block = (child & !(LEAF | SPHERES)) as usize;
                if child & SPHERES == 0 {
                    self.triangles[block].intersect(ray, &mut best);
                } else {
                    self.spheres[block].intersect(ray, &mut best);
                }
                if ANY && best.primitive != u32::MAX {
                    return Some(best);
                }
            }
        }
        (best.primitive != u32::MAX).then_some(best)
    }
}

/// 1 / d, but large and finite for d = 0, so that no box test multiplies zero by infinity.
fn reciprocal(d: f32) -> f32 {
    1.0 / if d.abs() < 1e-9 { 1e-9_f32.copysign(d) } else { d }
}

impl Node {
    /// Where the ray enters each child's box, and a bit for each that it enters.
    #[inline]
    fn intersect(&self, inverse: V3, shifted: V3, t_max: f32) -> (Lanes, u32) {
        let (mut near, mut far) = ([0.0; 4], [t_max; 4]);
        for (lo, hi, inverse, shifted) in [
            (&self.lo.x, &self.hi.x, inverse.x, shifted.x),
            (&self.lo.y, &self.hi.y, inverse.y, shifted.y),
            (&self.lo.z, &self.hi.z, inverse.z, shifted.z),
        ] {
            for k in 0..4 {
                let (a, b) = (lo[k] * inverse - shifted, hi[k] * inverse - shifted);
                near[k] = max(near[k], min(a, b));
                far[k] = min(far[k], max(a, b));
            }
        }
        let mut hits = 0;
        for k in 0..4 {
            // The factor covers the rounding of flat boxes (Ize, "Robust BVH Ray Traversal", JCGT 2(2), 2013).
            hits |= u32::from(near[k] <= far[k] * 1.000_001) << k;
        }
        (near, hits)
    }
}

impl TriangleBlock {
    /// Möller and Trumbore's test on four triangles. An empty lane has zero area and never counts.
    #[inline]
    fn intersect(&self, ray: &Ray, best: &mut Hit) {
        let (o, d) = (ray.origin, ray.dir);
        let (e1, e2) = (&self.edge1, &self.edge2);
        let (mut t, mut u, mut v) = ([0.0; 4], [0.0; 4], [0.0; 4]);
        for k in 0..4 {
            let px = d.y * e2.z[k] - d.z * e2.y[k];
            let py = d.z * e2.x[k] - d.x * e2.z[k];
            let pz = d.x * e2.y[k] - d.y * e2.x[k];
            let inverse = 1.0 / (e1.x[k] * px + e1.y[k] * py + e1.z[k] * pz);
            let (sx, sy, sz) = (o.x - self.corner.x[k], o.y - self.corner.y[k], o.z - self.corner.z[k]);
            u[k] = (sx * px + sy * py + sz * pz) * inverse;
            let qx = sy * e1.z[k] - sz * e1.y[k];
            let qy = sz * e1.x[k] - sx * e1.z[k];
            let qz = sx * e1.y[k] - sy * e1.x[k];
            v[k] = (d.x * qx + d.y * qy + d.z * qz) * inverse;
            t[k] = (e2.x[k] * qx + e2.y[k] * qy + e2.z[k] * qz) * inverse;
        }
        for k in 0..4 {
            // Comparisons with NaN (an empty lane) are false.
            if u[k] >= 0.0 && v[k] >= 0.0 && u[k] + v[k] <= 1.0 && t[k] > 0.0 && t[k] < best.t {
                *best = Hit { t: t[k], primitive: self.primitive[k], uv: [u[k], v[k]] };
            }
        }
    }
}

impl SphereBlock {
    /// The quadratic in the form that stays exact for small distant spheres: the discriminant from the distance of
    /// the centre to the ray (Haines et al., Ray Tracing Gems, chapter 7).
    #[inline]
    fn intersect(&self, ray: &Ray, best: &mut Hit) {
        let (o, d) = (ray.origin, ray.dir);
        let (mut near, mut far, mut valid) = ([0.0; 4], [0.0; 4], [false; 4]);
        for k in 0..4 {
            let (cx, cy, cz) = (self.center.x[k] - o.x, self.center.y[k] - o.y, self.center.z[k] - o.z);
            let along = cx * d.x + cy * d.y + cz * d.z;
            let (rx, ry, rz) = (cx - d.x * along, cy - d.y * along, cz - d.z * along);
            let r = self.radius[k];
            let disc = r * r - (rx * rx + ry * ry + rz * rz);
            valid[k] = disc >= 0.0 && r > 0.0;
            let root = max(disc, 0.0).sqrt();
            near[k] = along - root;
            far[k] = along + root;
        }
        for k in 0..4 {
            // Rays that start on the surface start a little off it, so any positive distance counts.
            let t = if near[k] > 0.0 { near[k] } else { far[k] };
            if valid[k] && t > 0.0 && t < best.t {
                *best = Hit { t, primitive: self.primitive[k], uv: [0.0; 2] };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampler::Sampler;

    fn random(s: &mut Sampler, scale: f32) -> V3 {
        let ([x, y], z) = (s.next_2d(), s.next_1d());
        (v3(x, y, z) * 2.0 - V3::ONE) * scale
    }

    /// The tree finds what a search through single-primitive trees finds.
    #[test]
    fn agrees_with_exhaustive_search() {
        let mut primitives = Vec::new();
        for i in 0..400 {
            let mut s = Sampler::new(1, i, 0, 0);
            let a = random(&mut s, 5.0);
            primitives.push(if i % 3 == 0 {
                Primitive::Sphere { center: a, radius: 0.1 + s.next_1d() * 0.3 }
            } else {
                Primitive::Triangle { a, b: a + random(&mut s, 1.0), c: a + random(&mut s, 1.0) }
            });
        }
        let bvh = Bvh::new(&primitives);
        let singles: Vec<Bvh> = primitives.iter().map(|p| Bvh::new(std::slice::from_ref(p))).collect();
        let mut stack = Stack::default();
        let mut hits = 0;
        for i in 0..2000 {
            let mut s = Sampler::new(2, i, 0, 0);
            let (origin, target) = (random(&mut s, 8.0), random(&mut s, 5.0));
            let ray = Ray { origin, dir: (target - origin).unit(), t_max: 1e30 };
            let want =
                singles.iter().enumerate().filter_map(|(i, b)| b.nearest(&ray, &mut stack).map(|h| (h.t, i as u32)));
            let want = want.min_by(|a, b| a.0.total_cmp(&b.0));
            let got = bvh.nearest(&ray, &mut stack).map(|h| (h.t, h.primitive));
            assert_eq!(got, want);
            assert_eq!(bvh.blocked(&ray, &mut stack), want.is_some());
            hits += usize::from(want.is_some());
        }
        assert!(hits > 500, "the scene must be dense enough to test anything: {hits} hits");
    }
}

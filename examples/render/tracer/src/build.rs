//! Building the binary tree under the wide one: binned surface-area heuristic, leaves of one kind only.

use std::ops::Range;

use crate::math::{V3, v3};

/// What the hierarchy holds.
#[derive(Clone, Copy, Debug)]
pub enum Primitive {
    /// Three corners, counter-clockwise seen from outside.
    Triangle {
        /// First corner.
        a: V3,
        /// Second corner.
        b: V3,
        /// Third corner.
        c: V3,
    },
    /// A ball.
    Sphere {
        /// Its centre.
        center: V3,
        /// Its radius, positive.
        radius: f32,
    },
}

impl Primitive {
    /// The smallest box around it.
    pub fn bounds(&self) -> Bounds {
        match *self {
            Self::Triangle { a, b, c } => Bounds { lo: a.min(b).min(c), hi: a.max(b).max(c) },
            Self::Sphere { center, radius } => {
                Bounds { lo: center - V3::splat(radius), hi: center + V3::splat(radius) }
            }
        }
    }

    fn is_sphere(&self) -> bool {
        matches!(self, Self::Sphere { .. })
    }
}

/// A box along the axes.
#[derive(Clone, Copy)]
pub struct Bounds {
    /// Smallest corner.
    pub lo: V3,
    /// Largest corner.
    pub hi: V3,
}

impl Bounds {
    const EMPTY: Self = Self { lo: v3(f32::MAX, f32::MAX, f32::MAX), hi: v3(f32::MIN, f32::MIN, f32::MIN) };

    fn union(self, o: Self) -> Self {
        Self { lo: self.lo.min(o.lo), hi: self.hi.max(o.hi) }
    }

    /// Half the surface, zero for the empty box.
    pub fn half_area(&self) -> f32 {
        let d = (self.hi - self.lo).max(V3::ZERO);
        d.x * d.y + d.y * d.z + d.z * d.x
    }
}

/// A node of the binary tree: a leaf, or children at `first` and `first + 1`.
pub struct BinaryNode {
    /// The box around everything below.
    pub bounds: Bounds,
    /// Index of the first child of an inner node.
    pub first: u32,
    /// The range of [`Tree::order`] in a leaf.
    pub leaf: Option<Range<usize>>,
}

/// The binary tree; node 0 is the root.
pub struct Tree {
    /// Nodes, children side by side.
    pub nodes: Vec<BinaryNode>,
    /// Primitive numbers in the order of the leaves.
    pub order: Vec<u32>,
}

const BINS: usize = 16;
const LEAF_MAX: usize = 4;

struct Builder<'a> {
    primitives: &'a [Primitive],
    bounds: Vec<Bounds>,
    centers: Vec<V3>,
}

/// Builds the tree over at least one primitive.
pub fn build(primitives: &[Primitive]) -> Tree {
    let bounds: Vec<Bounds> = primitives.iter().map(Primitive::bounds).collect();
    let centers = bounds.iter().map(|b| (b.lo + b.hi) * 0.5).collect();
    let builder = Builder { primitives, bounds, centers };
    let mut order: Vec<u32> = (0..primitives.len() as u32).collect();
    let mut nodes = vec![builder.node(&order, 0..primitives.len())];
    // Every split is into two non-empty parts, so the list ends after at most 2n - 1 nodes.
    let mut next = 0;
    while next < nodes.len() {
        if let Some(range) = nodes[next].leaf.clone()
            && let Some(middle) = builder.split(&mut order[range.clone()])
        {
            let middle = range.start + middle;
            nodes[next].leaf = None;
            nodes[next].first = nodes.len() as u32;
            nodes.push(builder.node(&order, range.start..middle));
            nodes.push(builder.node(&order, middle..range.end));
        }
        next += 1;
    }
    Tree { nodes, order }
}

impl Builder<'_> {
    fn node(&self, order: &[u32], range: Range<usize>) -> BinaryNode {
        let bounds = order[range.clone()].iter().fold(Bounds::EMPTY, |b, &i| b.union(self.bounds[i as usize]));
        BinaryNode { bounds, first: 0, leaf: Some(range) }
    }

    /// Reorders `items` into two parts and returns where the second begins, or nothing if they make a leaf.
    fn split(&self, items: &mut [u32]) -> Option<usize> {
        let is_sphere = |i: &u32| self.primitives[*i as usize].is_sphere();
        let spheres = items.iter().filter(|i| is_sphere(i)).count();
        if items.len() <= LEAF_MAX {
            if spheres == 0 || spheres == items.len() {
                return None;
            }
            items.sort_by_key(is_sphere);
            return Some(items.len() - spheres);
        }
        let best = (0..3).filter_map(|axis| self.best_plane(items, axis)).min_by(|a, b| a.0.total_cmp(&b.0));
        if let Some((_, axis, bin)) = best {
            let (lo, scale) = self.binning(items, axis)?;
            let left = |i: &u32| self.bin(*i, axis, lo, scale) <= bin;
            let middle = items.iter().filter(|i| left(i)).count();
            items.sort_by_key(|i| !left(i));
            return Some(middle);
        }
        // All centres coincide: halve, triangles first.
        items.sort_by_key(is_sphere);
        Some(items.len() / 2)
    }

    fn binning(&self, items: &[u32], axis: usize) -> Option<(f32, f32)> {
        let (lo, hi) = items.iter().fold((f32::MAX, f32::MIN), |(lo, hi), &i| {
            let c = self.centers[i as usize].axis(axis);
            (lo.min(c), hi.max(c))
        });
        (hi > lo).then(|| (lo, BINS as f32 / (hi - lo)))
    }

    fn bin(&self, item: u32, axis: usize, lo: f32, scale: f32) -> usize {
        (((self.centers[item as usize].axis(axis) - lo) * scale) as usize).min(BINS - 1)
    }

    /// The cheapest split along one axis: (cost, axis, last bin of the left part).
    fn best_plane(&self, items: &[u32], axis: usize) -> Option<(f32, usize, usize)> {
        let (lo, scale) = self.binning(items, axis)?;
        let mut bins = [(Bounds::EMPTY, 0_u32); BINS];
        for &i in items {
            let bin = &mut bins[self.bin(i, axis, lo, scale)];
            *bin = (bin.0.union(self.bounds[i as usize]), bin.1 + 1);
        }
        let mut right_cost = [0.0; BINS];
        let mut right = (Bounds::EMPTY, 0);
        for i in (1..BINS).rev() {
            right = (right.0.union(bins[i].0), right.1 + bins[i].1);
            right_cost[i] = right.0.half_area() * right.1 as f32;
        }
        let mut left = (Bounds::EMPTY, 0);
        let mut best: Option<(f32, usize, usize)> = None;
        for i in 0..BINS - 1 {
            left = (left.0.union(bins[i].0), left.1 + bins[i].1);
            let cost = left.0.half_area() * left.1 as f32 + right_cost[i + 1];
            let splits = left.1 > 0 && (left.1 as usize) < items.len();
            if splits && best.is_none_or(|b| cost < b.0) {
                best = Some((cost, axis, i));
            }
        }
        best
    }
}

//! Vectors and the few elementary functions the tracer needs.
//!
//! Nothing here calls the platform's libm, and Rust never fuses a multiply with an add by itself, so that a native
//! build and a sandboxed one give the same bits.

use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub};

/// π.
pub const PI: f32 = std::f32::consts::PI;

/// A point, a direction or a colour.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct V3 {
    /// First component (right, red).
    pub x: f32,
    /// Second component (up, green).
    pub y: f32,
    /// Third component (towards the viewer, blue).
    pub z: f32,
}

/// Builds a vector.
pub const fn v3(x: f32, y: f32, z: f32) -> V3 {
    V3 { x, y, z }
}

impl V3 {
    /// All components zero.
    pub const ZERO: Self = v3(0.0, 0.0, 0.0);
    /// All components one.
    pub const ONE: Self = v3(1.0, 1.0, 1.0);

    /// The vector with three equal components.
    pub const fn splat(s: f32) -> Self {
        v3(s, s, s)
    }
    /// The dot product.
    pub fn dot(self, o: Self) -> f32 {
        self.x * o.x + self.y * o.y + self.z * o.z
    }
    /// The cross product.
    pub fn cross(self, o: Self) -> Self {
        v3(self.y * o.z - self.z * o.y, self.z * o.x - self.x * o.z, self.x * o.y - self.y * o.x)
    }
    /// The Euclidean length.
    pub fn length(self) -> f32 {
        self.dot(self).sqrt()
    }
    /// The vector of length one in the same direction; zero stays zero.
    pub fn unit(self) -> Self {
        let l = self.length();
        if l > 0.0 { self / l } else { self }
    }
    /// The component-wise smaller.
    pub fn min(self, o: Self) -> Self {
        v3(min(self.x, o.x), min(self.y, o.y), min(self.z, o.z))
    }
    /// The component-wise larger.
    pub fn max(self, o: Self) -> Self {
        v3(max(self.x, o.x), max(self.y, o.y), max(self.z, o.z))
    }
    /// The largest component.
    pub fn max_component(self) -> f32 {
        max(self.x, max(self.y, self.z))
    }
    /// Relative luminance (Rec. 709 weights).
    pub fn luminance(self) -> f32 {
        0.2126 * self.x + 0.7152 * self.y + 0.0722 * self.z
    }
    /// Goes from `self` (t = 0) to `o` (t = 1).
    pub fn lerp(self, o: Self, t: f32) -> Self {
        self * (1.0 - t) + o * t
    }
    /// The component of axis 0, 1 or 2.
    pub fn axis(self, axis: usize) -> f32 {
        match axis {
            0 => self.x,
            1 => self.y,
            _ => self.z,
        }
    }
    /// Whether every component is a finite number.
    pub fn is_finite(self) -> bool {
        self.x.is_finite() && self.y.is_finite() && self.z.is_finite()
    }
    /// Mirrors `self`, which points away from the surface, about the normal `n`.
    pub fn reflect(self, n: Self) -> Self {
        n * (2.0 * self.dot(n)) - self
    }
}

impl Add for V3 {
    type Output = Self;
    fn add(self, o: Self) -> Self {
        v3(self.x + o.x, self.y + o.y, self.z + o.z)
    }
}
impl AddAssign for V3 {
    fn add_assign(&mut self, o: Self) {
        *self = *self + o;
    }
}
impl Sub for V3 {
    type Output = Self;
    fn sub(self, o: Self) -> Self {
        v3(self.x - o.x, self.y - o.y, self.z - o.z)
    }
}
impl Mul for V3 {
    type Output = Self;
    fn mul(self, o: Self) -> Self {
        v3(self.x * o.x, self.y * o.y, self.z * o.z)
    }
}
impl Mul<f32> for V3 {
    type Output = Self;
    fn mul(self, s: f32) -> Self {
        v3(self.x * s, self.y * s, self.z * s)
    }
}
impl MulAssign for V3 {
    fn mul_assign(&mut self, o: Self) {
        *self = *self * o;
    }
}
impl MulAssign<f32> for V3 {
    fn mul_assign(&mut self, s: f32) {
        *self = *self * s;
    }
}
impl Div<f32> for V3 {
    type Output = Self;
    fn div(self, s: f32) -> Self {
        self * (1.0 / s)
    }
}
impl Neg for V3 {
    type Output = Self;
    fn neg(self) -> Self {
        v3(-self.x, -self.y, -self.z)
    }
}

/// The smaller of two numbers that are not NaN; one instruction on every target, unlike `f32::min`.
#[inline]
pub fn min(a: f32, b: f32) -> f32 {
    if b < a { b } else { a }
}

/// The larger of two numbers that are not NaN.
#[inline]
pub fn max(a: f32, b: f32) -> f32 {
    if a < b { b } else { a }
}

/// Sine and cosine of `turns` whole turns (error below 1e-6).
pub fn sincos_turns(turns: f32) -> (f32, f32) {
    let quarter = (turns * 4.0 + 0.5).floor();
    let x = (turns - quarter * 0.25) * (2.0 * PI);
    let x2 = x * x;
    let s = x * (1.0 + x2 * (-1.0 / 6.0 + x2 * (1.0 / 120.0 - x2 * (1.0 / 5040.0))));
    let c = 1.0 + x2 * (-0.5 + x2 * (1.0 / 24.0 + x2 * (-1.0 / 720.0 + x2 * (1.0 / 40320.0))));
    match (quarter as i32) & 3 {
        0 => (s, c),
        1 => (c, -s),
        2 => (-s, -c),
        _ => (-c, s),
    }
}

/// e^x for x ≤ 0 (relative error below 1e-5), which absorption needs.
pub fn exp_neg(x: f32) -> f32 {
    if x < -80.0 {
        return 0.0;
    }
    let scaled = x * std::f32::consts::LOG2_E;
    let whole = (scaled + 0.5).floor();
    let f = scaled - whole;
    let poly = 1.0
        + f * (std::f32::consts::LN_2 + f * (0.240_226_5 + f * (0.055_504_1 + f * (0.009_618_1 + f * 0.001_333_4))));
    poly * f32::from_bits(((whole as i32 + 127) as u32) << 23)
}

/// Two directions that complete the unit vector `n` to a right-handed frame (Duff et al., JCGT 6(1), 2017).
pub fn basis(n: V3) -> (V3, V3) {
    let sign = if n.z < 0.0 { -1.0 } else { 1.0 };
    let a = -1.0 / (sign + n.z);
    let b = n.x * n.y * a;
    (v3(1.0 + sign * n.x * n.x * a, sign * b, -sign * n.x), v3(b, sign + n.y * n.y * a, -n.y))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elementary_functions_follow_std() {
        for i in -2000..2000 {
            let t = i as f32 / 500.0;
            let (s, c) = sincos_turns(t);
            let (es, ec) = (f64::from(t) * std::f64::consts::TAU).sin_cos();
            assert!((f64::from(s) - es).abs() < 4e-6 && (f64::from(c) - ec).abs() < 4e-6, "sincos_turns({t})");
            let x = -t.abs() * 5.0;
            let e = f64::from(x).exp();
            assert!((f64::from(exp_neg(x)) - e).abs() <= 2e-5 * e, "exp_neg({x})");
        }
    }

    #[test]
    fn a_basis_is_orthonormal() {
        for n in [v3(0.0, 0.0, -1.0), v3(0.0, 1.0, 0.0), v3(1.0, 2.0, -3.0).unit(), v3(-0.3, 0.1, 0.9).unit()] {
            let (t, b) = basis(n);
            assert!(t.dot(n).abs() < 1e-6 && b.dot(n).abs() < 1e-6 && t.dot(b).abs() < 1e-6);
            assert!((t.cross(b) - n).length() < 1e-5);
        }
    }
}

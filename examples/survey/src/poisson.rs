//! Poisson regression with a logarithmic link, by iteratively reweighted least squares (McCullagh and Nelder,
//! "Generalized Linear Models", 2nd edition, section 2.5).

use crate::data::{Cluster, TERMS};

/// A fitted model.
#[derive(Debug)]
pub struct Fit {
    /// Coefficients in the order of [`crate::data::NAMES`].
    pub beta: [f64; TERMS],
    /// Standard errors that hold if the visits really followed Poisson's law.
    pub errors: [f64; TERMS],
}

type Matrix = [[f64; TERMS]; TERMS];

/// Steps before giving up; Newton's method needs about six.
const MAX_STEPS: usize = 50;

/// Fits visits per year to the variables, each cluster counted `weights` times.
pub fn fit(clusters: &[Cluster], weights: &[u32]) -> Option<Fit> {
    let mut beta = [0.0; TERMS];
    let (mut visits, mut years) = (0.0, 0.0);
    for (c, &w) in clusters.iter().zip(weights) {
        visits += f64::from(w) * c.visits;
        years += f64::from(w) * c.years;
    }
    beta[0] = (visits / years).ln();
    for _ in 0..MAX_STEPS {
        let (information, score) = derivatives(clusters, weights, &beta);
        let factor = cholesky(&information)?;
        let step = solve(&factor, &score);
        let largest = step.iter().fold(0.0_f64, |m, s| m.max(s.abs()));
        beta.iter_mut().zip(step).for_each(|(b, s)| *b += s);
        if !largest.is_finite() {
            return None;
        }
        if largest < 1e-10 {
            return Some(Fit { beta, errors: errors(&factor) });
        }
    }
    None
}

/// The information matrix (lower half) and the score at `beta`.
fn derivatives(clusters: &[Cluster], weights: &[u32], beta: &[f64; TERMS]) -> (Matrix, [f64; TERMS]) {
    let (mut information, mut score) = ([[0.0; TERMS]; TERMS], [0.0; TERMS]);
    for (c, &w) in clusters.iter().zip(weights).filter(|p| *p.1 > 0) {
        let eta: f64 = c.x.iter().zip(beta).map(|(x, b)| x * b).sum();
        let mean = c.years * eta.exp();
        let w = f64::from(w);
        for i in 0..TERMS {
            score[i] += w * (c.visits - mean) * c.x[i];
            let row = w * mean * c.x[i];
            for (entry, x) in information[i].iter_mut().zip(c.x).take(i + 1) {
                *entry += row * x;
            }
        }
    }
    (information, score)
}

/// The lower factor L with L Lᵀ = `a`; nothing unless `a` is positive definite.
fn cholesky(a: &Matrix) -> Option<Matrix> {
    let mut l = [[0.0; TERMS]; TERMS];
    for i in 0..TERMS {
        for j in 0..=i {
            let sum: f64 = (0..j).map(|k| l[i][k] * l[j][k]).sum();
            let rest = a[i][j] - sum;
            if i == j {
                if rest.is_nan() || rest <= 1e-9 * a[i][i] {
                    return None;
                }
                l[i][i] = rest.sqrt();
            } else {
                l[i][j] = rest / l[j][j];
            }
        }
    }
    Some(l)
}

/// Solves L Lᵀ x = `b`.
fn solve(l: &Matrix, b: &[f64; TERMS]) -> [f64; TERMS] {
    let mut x = *b;
    for i in 0..TERMS {
        let sum: f64 = (0..i).map(|k| l[i][k] * x[k]).sum();
        x[i] = (x[i] - sum) / l[i][i];
    }
    for i in (0..TERMS).rev() {
        let sum: f64 = (i + 1..TERMS).map(|k| l[k][i] * x[k]).sum();
        x[i] = (x[i] - sum) / l[i][i];
    }
    x
}

/// Roots of the diagonal of the inverse information.
fn errors(l: &Matrix) -> [f64; TERMS] {
    std::array::from_fn(|i| {
        let mut unit = [0.0; TERMS];
        unit[i] = 1.0;
        solve(l, &unit)[i].sqrt()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table whose means follow a known model exactly gives back the model.
    #[test]
    fn finds_the_model_that_made_the_data() {
        let truth: [f64; TERMS] = [0.9, -0.05, -0.25, 0.04, -0.03, 0.27, 0.03, 0.05, 0.25, 0.5];
        let clusters: Vec<Cluster> = (0..400_u32)
            .map(|i| {
                let x: [f64; TERMS] = std::array::from_fn(|k| {
                    if k == 0 { 1.0 } else { f64::from((i * 7919 + i * i * (k as u32 * 31 + 5)) % 97) / 40.0 }
                });
                let eta: f64 = x.iter().zip(truth).map(|(x, b)| x * b).sum();
                Cluster { visits: 3.0 * eta.exp(), years: 3.0, x }
            })
            .collect();
        let fit = fit(&clusters, &vec![1; 400]).unwrap();
        for (b, t) in fit.beta.iter().zip(truth) {
            assert!((b - t).abs() < 1e-8, "{:?}", fit.beta);
        }
        assert!(fit.errors.iter().all(|e| *e > 0.0 && *e < 1.0));
    }

    #[test]
    fn a_singular_table_is_refused() {
        let c = Cluster { visits: 1.0, years: 1.0, x: [1.0; TERMS] };
        assert!(fit(&vec![c; 50], &[1; 50]).is_none());
    }
}

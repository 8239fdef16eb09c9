//! From the fits of all resamples to intervals.

use std::fmt::Write as _;

use crate::data::{NAMES, TERMS};

/// One line of the result.
#[derive(Debug)]
pub struct Effect {
    /// What changes.
    pub label: &'static str,
    /// By what factor the visits per year change.
    pub ratio: f64,
    /// 95 % of the resamples lie between these.
    pub interval: [f64; 2],
    /// The same by the model's own standard error.
    pub model_interval: [f64; 2],
}

/// The result.
#[derive(Debug)]
pub struct Summary {
    /// One for each variable.
    pub effects: Vec<Effect>,
    /// How many resamples.
    pub resamples: usize,
}

/// What is shown: the coefficient, how far it is moved, and in words.
const SHOWN: [(usize, f64, &str); 9] = [
    // ln(95 + 1): from free care to paying 95 % oneself.
    (1, 4.564_348, "pays 95 % of each bill instead of nothing"),
    (2, 1.0, "individual deductible plan"),
    (3, 1.0, "participation payment × 2.7"),
    (4, 1.0, "maximum expenditure × 2.7"),
    (5, 1.0, "physical limitation"),
    (6, 10.0, "ten more points of chronic disease"),
    (7, 1.0, "own health good (against excellent)"),
    (8, 1.0, "own health fair (against excellent)"),
    (9, 1.0, "own health poor (against excellent)"),
];

/// Reads all lines (see [`crate::resample::line`]) and forms percentile intervals.
pub fn summarise(csv: &str) -> Result<Summary, String> {
    let mut draws: Vec<Vec<f64>> = vec![Vec::new(); TERMS];
    let mut sample: Option<Vec<f64>> = None;
    for (i, line) in csv.lines().enumerate() {
        let fields: Vec<f64> = line.split(',').map_while(|f| f.parse().ok()).collect();
        match fields.split_first() {
            Some((0.0, rest)) if rest.len() == 2 * TERMS => sample = Some(rest.to_vec()),
            Some((_, rest)) if rest.len() == TERMS => draws.iter_mut().zip(rest).for_each(|(d, v)| d.push(*v)),
            _ => return Err(format!("line {} of the parts is no fit", i + 1)),
        }
    }
    let sample = sample.ok_or("the parts lack resample 0, the sample itself")?;
    let resamples = draws[0].len();
    if resamples < 40 {
        return Err(format!("{resamples} resamples are too few for a 95 % interval; 1000 are usual"));
    }
    for d in &mut draws {
        d.sort_by(f64::total_cmp);
    }
    let effect = |&(term, by, label): &(usize, f64, &'static str)| {
        let (beta, error) = (sample[term], sample[TERMS + term]);
        let factor = |b: f64| (b * by).exp();
        Effect {
            label,
            ratio: factor(beta),
            interval: [0.025, 0.975].map(|q| factor(quantile(&draws[term], q))),
            model_interval: [-1.96, 1.96].map(|z| factor(beta + z * error)),
        }
    };
    Ok(Summary { effects: SHOWN.iter().map(effect).collect(), resamples })
}

/// The quantile `q` of sorted values, between neighbours by proportion.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = q * (sorted.len() - 1) as f64;
    let below = at.floor();
    let upper = sorted[(below as usize + 1).min(sorted.len() - 1)];
    sorted[below as usize] + (at - below) * (upper - sorted[below as usize])
}

impl Summary {
    /// The result as CSV.
    pub fn table(&self) -> String {
        let mut out = "variable,change,ratio,low,high,model_low,model_high\n".to_owned();
        for (e, (term, ..)) in self.effects.iter().zip(SHOWN) {
            let ([a, b], [c, d]) = (e.interval, e.model_interval);
            let _ = writeln!(out, "{},{},{:.4},{a:.4},{b:.4},{c:.4},{d:.4}", NAMES[term], e.label, e.ratio);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_the_middle_of_the_draws() {
        let row = |n: u32, b: f64| format!("{n}{}\n", format!(",{b}").repeat(TERMS));
        let mut csv = format!("0{}{}\n", ",0.5".repeat(TERMS), ",0.01".repeat(TERMS));
        for i in 0..=200 {
            csv += &row(i + 1, f64::from(i) / 200.0);
        }
        let s = summarise(&csv).unwrap();
        let e = &s.effects[1];
        assert_eq!(s.resamples, 201);
        assert!((e.interval[0].ln() - 0.025).abs() < 1e-9 && (e.interval[1].ln() - 0.975).abs() < 1e-9);
        assert!((e.ratio.ln() - 0.5).abs() < 1e-9 && (e.model_interval[1].ln() - 0.5196).abs() < 1e-9);
        assert!(summarise("1,2\n").unwrap_err().contains("line 1"));
        assert!(summarise(&row(1, 0.1)).unwrap_err().contains("resample 0"));
    }
}

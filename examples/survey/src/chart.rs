//! The chart: each effect with its two intervals, on a logarithmic axis.

use std::fmt::Write as _;

use crate::summary::Summary;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 330.0;
const RIGHT: f64 = 770.0;
const TOP: f64 = 112.0;
const ROW: f64 = 40.0;
/// Where the axis is marked; it ends at the outer two.
const TICKS: [f64; 8] = [0.7, 0.8, 0.9, 1.0, 1.15, 1.3, 1.5, 1.7];

fn x(ratio: f64) -> f64 {
    let t = (ratio.ln() - TICKS[0].ln()) / (TICKS[7].ln() - TICKS[0].ln());
    LEFT + t.clamp(0.0, 1.0) * (RIGHT - LEFT)
}

/// Draws the chart as SVG.
pub fn draw(summary: &Summary) -> String {
    let bottom = TOP + ROW * summary.effects.len() as f64;
    let height = bottom + 92.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"14\" fill=\"#222\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"24\" y=\"36\" font-size=\"21\" font-weight=\"bold\">What changes how often people see a doctor</text>\n\
         <text x=\"24\" y=\"60\" fill=\"#555\">RAND Health Insurance Experiment: factor on visits per year, Poisson \
         regression, {} resamples of persons</text>\n",
        summary.resamples
    );
    for tick in TICKS {
        let (x, strong) = (x(tick), (tick - 1.0).abs() < 1e-9);
        let color = if strong { "#777" } else { "#ddd" };
        let _ = writeln!(
            svg,
            "<path d=\"M{x:.1} {:.1}V{bottom:.1}\" stroke=\"{color}\"/><text x=\"{x:.1}\" y=\"{:.1}\" \
             text-anchor=\"middle\" fill=\"#555\">{tick}</text>",
            TOP - 12.0,
            TOP - 20.0
        );
    }
    for (i, e) in summary.effects.iter().enumerate() {
        let y = TOP + ROW * (i as f64 + 0.5);
        let [a, b] = e.interval.map(x);
        let [c, d] = e.model_interval.map(x);
        let sure = e.interval[0] > 1.0 || e.interval[1] < 1.0;
        let color = if sure { "#0b6e8a" } else { "#8a8a8a" };
        let _ = writeln!(
            svg,
            "<text x=\"24\" y=\"{:.1}\">{}</text>\
             <path d=\"M{a:.1} {y:.1}H{b:.1}\" stroke=\"{color}\" stroke-width=\"9\" stroke-opacity=\".35\"/>\
             <path d=\"M{c:.1} {y:.1}H{d:.1}\" stroke=\"#c2410c\" stroke-width=\"2.5\"/>\
             <circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{color}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{:.2}  ({:.2}–{:.2})</text>",
            y + 5.0,
            e.label,
            x(e.ratio),
            RIGHT + 24.0,
            y + 5.0,
            e.ratio,
            e.interval[0],
            e.interval[1]
        );
    }
    let _ = write!(
        svg,
        "<path d=\"M24 {y1:.1}h40\" stroke=\"#0b6e8a\" stroke-width=\"9\" stroke-opacity=\".35\"/>\
         <text x=\"74\" y=\"{t1:.1}\">95 % interval by resampling persons (grey where it holds 1: no sure effect)</text>\n\
         <path d=\"M24 {y2:.1}h40\" stroke=\"#c2410c\" stroke-width=\"2\"/><text x=\"74\" y=\"{t2:.1}\">what the model alone \
         would claim: too narrow, because visits vary more than Poisson's law allows</text>\n</svg>\n",
        y1 = bottom + 32.0,
        t1 = bottom + 37.0,
        y2 = bottom + 58.0,
        t2 = bottom + 63.0
    );
    svg
}

//! The chart: the most frequent words as bars, and the course of some of them through the text.

use std::fmt::Write as _;

use crate::report::Report;

const WIDTH: f64 = 960.0;
const TOP: f64 = 104.0;
const ROW: f64 = 22.0;
const BARS: (f64, f64) = (120.0, 380.0);
const COURSES: (f64, f64) = (470.0, 936.0);

/// Draws the chart as SVG.
pub fn draw(report: &Report) -> String {
    let height = TOP + ROW * report.top.len() as f64 + 28.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"13\" fill=\"#222\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"24\" y=\"36\" font-size=\"21\" font-weight=\"bold\">The words of a book</text>\n\
         <text x=\"24\" y=\"60\" fill=\"#555\">{}</text>\n\
         <text x=\"24\" y=\"90\" font-weight=\"bold\">Most frequent</text>\n\
         <text x=\"{}\" y=\"90\" font-weight=\"bold\">From the first page to the last (per thousand words)</text>\n",
        report.headline().trim_end(),
        COURSES.0
    );
    bars(report, &mut svg);
    courses(report, height - 28.0 - TOP, &mut svg);
    svg.push_str("</svg>\n");
    svg
}

fn bars(report: &Report, svg: &mut String) {
    let most = report.top[0].1 as f64;
    for (i, (word, n)) in report.top.iter().enumerate() {
        let y = TOP + ROW * i as f64;
        let length = (BARS.1 - BARS.0) * *n as f64 / most;
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{word}</text><rect x=\"{:.1}\" y=\"{:.1}\" \
             width=\"{length:.1}\" height=\"14\" fill=\"#0b6e8a\"/><text x=\"{:.1}\" y=\"{:.1}\" fill=\"#555\">{n}</text>",
            BARS.0 - 8.0,
            y + 14.0,
            BARS.0,
            y + 3.0,
            BARS.0 + length + 6.0,
            y + 14.0
        );
    }
}

fn courses(report: &Report, height: f64, svg: &mut String) {
    let row = height / report.courses.len() as f64;
    for (i, (word, values)) in report.courses.iter().enumerate() {
        let base = TOP + row * (i + 1) as f64 - 8.0;
        let most = values.iter().fold(0.0_f64, |m, v| m.max(*v));
        let step = (COURSES.1 - COURSES.0) / values.len() as f64;
        let mut path = format!("M{:.1} {base:.1}", COURSES.0);
        for (k, v) in values.iter().enumerate() {
            let y = base - (row - 26.0) * v / most.max(1e-9);
            let _ = write!(path, "V{y:.1}H{:.1}", COURSES.0 + step * (k + 1) as f64);
        }
        let _ = writeln!(
            svg,
            "<path d=\"{path}V{base:.1}Z\" fill=\"#c2410c\" fill-opacity=\".75\"/><path d=\"M{:.1} {base:.1}H{:.1}\" \
             stroke=\"#999\"/><text x=\"{:.1}\" y=\"{:.1}\">{word} <tspan fill=\"#777\">· at most {most:.1}</tspan></text>",
            COURSES.0,
            COURSES.1,
            COURSES.0,
            base - row + 22.0
        );
    }
}

//! Charts, drawn as SVG. Labels stand around them as text, so that they can be read on a narrow screen and by a screen reader.

use std::fmt::Write as _;

/// Colours of the style sheet, and with them series of one chart; the last one is for all others together.
pub const COLOURS: usize = 6;

/// A part of a chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// What it is, as text.
    pub label: String,
    /// Where more is told of it; empty for nowhere.
    pub link: String,
    /// Its colour, 0 to 5.
    pub colour: usize,
    /// A value for each column.
    pub values: Vec<f64>,
    /// All values together, as text.
    pub total: String,
    /// Part of the whole, as text.
    pub part: String,
    /// Part of the largest, in percent.
    pub width: String,
}

/// Columns on one another.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Columns {
    /// The drawing.
    pub svg: String,
    /// The largest column's value.
    pub top: f64,
}

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 200.0;

/// Escapes text for HTML.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Draws columns of values on one another; `describe` is what a screen reader says, `name` labels a column with its sum.
pub fn columns(series: &[Series], describe: &str, name: impl Fn(usize, f64) -> String) -> Columns {
    let count = series.iter().map(|series| series.values.len()).max().unwrap_or(0);
    let sum = |column: usize| -> f64 { series.iter().filter_map(|series| series.values.get(column)).sum() };
    let top = (0..count).map(sum).fold(0.0, f64::max);
    let mut svg = format!(
        r#"<svg class="columns" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{}">"#,
        escape(describe)
    );
    for line in 1..4 {
        let y = HEIGHT * f64::from(line) / 4.0;
        let _ = write!(svg, r#"<line class="grid" x1="0" x2="{WIDTH}" y1="{y:.1}" y2="{y:.1}"/>"#);
    }
    #[expect(clippy::cast_precision_loss, reason = "some dozens of columns")]
    let step = WIDTH / count.max(1) as f64;
    for column in 0..count {
        #[expect(clippy::cast_precision_loss, reason = "some dozens of columns")]
        let x = step * column as f64 + step * 0.08;
        let width = step * 0.84;
        let mut y = HEIGHT;
        let _ = write!(svg, "<g><title>{}</title>", escape(&name(column, sum(column))));
        for series in series {
            let value = series.values.get(column).copied().unwrap_or(0.0);
            if value <= 0.0 || top <= 0.0 {
                continue;
            }
            let height = HEIGHT * 0.97 * value / top;
            y -= height;
            let colour = series.colour.min(COLOURS - 1);
            let _ = write!(
                svg,
                r#"<rect class="s{colour}" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}"/>"#
            );
        }
        // The whole column answers to the pointer.
        let _ = write!(
            svg,
            r#"<rect class="hit" x="{:.1}" y="0" width="{step:.1}" height="{HEIGHT}"/></g>"#,
            x - step * 0.08
        );
    }
    svg.push_str("</svg>");
    Columns { svg, top }
}

/// Draws a map of tasks, a square each; `state` names the class of each.
pub fn map(states: &[u8], describe: &str) -> String {
    const CLASSES: [&str; 5] = ["wait", "run", "done", "fail", "check"];
    let count = states.len().max(1);
    let across = (1..=64usize).find(|across| across * across * 3 / 8 >= count).unwrap_or(64).max(30);
    let down = count.div_ceil(across);
    let mut svg = format!(
        r#"<svg class="map" viewBox="0 0 {} {}" role="img" aria-label="{}">"#,
        across * 10,
        down * 10,
        escape(describe)
    );
    for (task, state) in states.iter().enumerate() {
        let class = CLASSES[usize::from(*state).min(CLASSES.len() - 1)];
        let (x, y) = (task % across * 10, task / across * 10);
        let _ = write!(svg, r#"<rect class="{class}" x="{x}" y="{y}" width="8.6" height="8.6" rx="1.6"/>"#);
    }
    svg.push_str("</svg>");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_strangers_stay_text() {
        let series = Series {
            label: String::new(),
            link: String::new(),
            colour: 99,
            values: vec![1.0, 2.0],
            total: String::new(),
            part: String::new(),
            width: String::new(),
        };
        let drawn = columns(&[series], "\"><script>", |_, _| "</title><script>".to_owned());
        assert!(!drawn.svg.contains("<script>"), "{}", drawn.svg);
        assert!(drawn.svg.contains(r#"class="s5""#));
        assert!((drawn.top - 2.0).abs() < f64::EPSILON);
        assert!(columns(&[], "", |_, _| String::new()).svg.ends_with("</svg>"));
    }

    #[test]
    fn every_task_has_a_square() {
        assert_eq!(map(&[0, 1, 2, 3, 200], "five").matches("<rect").count(), 5);
    }
}

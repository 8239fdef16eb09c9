//! Joining the counts of all shares.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::count::Counts;

/// The whole text.
pub struct Report {
    /// Words that carry meaning, the most frequent first.
    pub top: Vec<(String, u64)>,
    /// For some of them, how often they occur in each share of the text, per thousand words.
    pub courses: Vec<(String, Vec<f64>)>,
    all: BTreeMap<String, u64>,
    words: u64,
    sentences: u64,
    syllables: u64,
}

/// How many words the chart shows.
const TOP: usize = 24;
/// How many courses the chart shows.
const COURSES: usize = 6;

/// The words that hold English sentences together and say little about a text.
const COMMON: &str = "a about after again against ah all almost along also although am among an and another any are as at away \
    aye back be because been before being below between both but by came can cannot chapter come could d did do does done down \
    each either else even ever every far few first for found from full gave get give go good great had has hast hath have \
    having he head her here him himself his how however i if in indeed into is it its itself just know last length less let \
    like ll little ll long look made make man many may me men might mine more most much must my myself never no nor not \
    nothing now o of off oh old on once one only or other others our out over own part place put rather round said same saw \
    say see seem seemed seems shall she should side sight since sir so some something soon sort still such take tell than \
    that the thee their them themselves then there these they thing things think this those thou though thought three \
    through thus thy till time to too took towards two under unto up upon us used very was way we well went were what when \
    where whether which while who whole whom whose why will with within without world would ye yet you your";

impl Report {
    /// Joins the counts of all shares, in the text's order.
    pub fn new(shares: &[Counts]) -> Result<Self, String> {
        let mut all: BTreeMap<String, u64> = BTreeMap::new();
        for (word, n) in shares.iter().flat_map(|s| &s.words) {
            *all.entry(word.clone()).or_default() += n;
        }
        let common: Vec<&str> = COMMON.split_whitespace().collect();
        let mut top: Vec<(String, u64)> =
            all.iter().filter(|(w, _)| !common.contains(&w.as_str())).map(|(w, n)| (w.clone(), *n)).collect();
        top.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        top.truncate(TOP);
        if top.is_empty() {
            return Err("the parts hold no words".to_owned());
        }
        let course = |word: &str| {
            let share = |s: &Counts| {
                let n = s.words.get(word).copied().unwrap_or(0);
                1000.0 * n as f64 / s.total().max(1) as f64
            };
            shares.iter().map(share).collect::<Vec<f64>>()
        };
        let courses = most_uneven(&top, course);
        let sum = |f: fn(&Counts) -> u64| shares.iter().map(f).sum();
        Ok(Self {
            top,
            courses,
            words: all.values().sum(),
            all,
            sentences: sum(|s| s.sentences),
            syllables: sum(|s| s.syllables),
        })
    }

    /// All words with their counts as CSV, the most frequent first.
    pub fn table(&self) -> String {
        let mut rows: Vec<_> = self.all.iter().collect();
        rows.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
        rows.iter().fold("word,count\n".to_owned(), |mut out, (word, n)| {
            let _ = writeln!(out, "{word},{n}");
            out
        })
    }

    /// The text's figures in one line.
    pub fn headline(&self) -> String {
        let once = self.all.values().filter(|n| **n == 1).count();
        let per_sentence = self.words as f64 / self.sentences.max(1) as f64;
        let per_word = self.syllables as f64 / self.words.max(1) as f64;
        // Flesch, "A new readability yardstick", 1948.
        let ease = 206.835 - 1.015 * per_sentence - 84.6 * per_word;
        format!(
            "{} words, {} different, {once} of them used once; {} sentences of {per_sentence:.1} words; reading ease {ease:.0}\n",
            self.words,
            self.all.len(),
            self.sentences
        )
    }
}

/// Of the frequent words those whose use changes most along the text, by the spread of their course over its mean.
fn most_uneven(top: &[(String, u64)], course: impl Fn(&str) -> Vec<f64>) -> Vec<(String, Vec<f64>)> {
    let mut courses: Vec<(f64, String, Vec<f64>)> = top
        .iter()
        .map(|(word, _)| {
            let c = course(word);
            let mean = c.iter().sum::<f64>() / c.len() as f64;
            let spread = c.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / c.len() as f64;
            (spread / mean, word.clone(), c)
        })
        .collect();
    courses.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    courses.truncate(COURSES);
    courses.into_iter().map(|(_, word, c)| (word, c)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        let shares = ["The whale! The sea.", "The sea, the sea and a ship."].map(Counts::of);
        let r = Report::new(&shares).unwrap();
        assert_eq!(r.top[0], ("sea".to_owned(), 3));
        assert_eq!(r.top.len(), 3);
        assert!(r.table().starts_with("word,count\nthe,4\nsea,3\n"));
        assert!(r.headline().starts_with("11 words, 6 different, 4 of them used once; 3 sentences"));
        assert!(Report::new(&[]).is_err());
    }
}

//! Counting one share of a text, and the file in which the counts travel.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What a share of a text holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// How often each word occurs, in lower case.
    pub words: BTreeMap<String, u64>,
    /// How many sentences end.
    pub sentences: u64,
    /// How many syllables, by groups of vowels.
    pub syllables: u64,
}

impl Counts {
    /// Counts `text`.
    pub fn of(text: &str) -> Self {
        let mut counts = Self::default();
        for word in words(text) {
            counts.syllables += syllables(&word);
            *counts.words.entry(word).or_default() += 1;
        }
        counts.sentences = sentences(text);
        counts
    }

    /// All words together.
    pub fn total(&self) -> u64 {
        self.words.values().sum()
    }

    /// The counts as text: a line `lines A..B sentences N syllables N`, then lines `word TAB count`.
    pub fn encode(&self, lines: &str) -> String {
        let mut out = format!("lines {lines} sentences {} syllables {}\n", self.sentences, self.syllables);
        for (word, n) in &self.words {
            let _ = writeln!(out, "{word}\t{n}");
        }
        out
    }

    /// Reads what [`Counts::encode`] wrote.
    pub fn decode(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        let head: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
        let ["lines", _, "sentences", sentences, "syllables", syllables] = head.as_slice() else {
            return Err("the first line is not `lines A..B sentences N syllables N`".to_owned());
        };
        let number = |text: &str| text.parse::<u64>().map_err(|_| format!("`{text}` is not a number"));
        let mut counts = Self { words: BTreeMap::new(), sentences: number(sentences)?, syllables: number(syllables)? };
        for line in lines {
            let (word, n) = line.split_once('\t').ok_or_else(|| format!("`{line}` is not `word TAB count`"))?;
            counts.words.insert(word.to_owned(), number(n)?);
        }
        Ok(counts)
    }
}

/// The words: letters, with apostrophes inside but without a final `'s`.
fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphabetic() && c != '\'' && c != '’').filter_map(|token| {
        let token = token.replace('’', "'");
        let token = token.trim_matches('\'');
        let token = token.strip_suffix("'s").unwrap_or(token);
        (!token.is_empty()).then(|| token.to_lowercase())
    })
}

/// Ends of sentences: full stops, question and exclamation marks that a space, a quote or the line's end follows, and
/// that do not close a title such as `Mr.`.
fn sentences(text: &str) -> u64 {
    let mut n = 0;
    for line in text.lines() {
        for (i, c) in line.char_indices().filter(|(_, c)| matches!(c, '.' | '!' | '?')) {
            let before = line[..i].rsplit(|c: char| !c.is_alphabetic()).next().unwrap_or_default();
            let title = c == '.' && matches!(before, "Mr" | "Mrs" | "Dr" | "St" | "Capt");
            let closed = line[i + 1..].chars().next().is_none_or(|c| c.is_whitespace() || "\"”'’)—".contains(c));
            n += u64::from(closed && !title && !before.is_empty());
        }
    }
    n
}

/// Groups of vowels, less a silent final e; at least one.
fn syllables(word: &str) -> u64 {
    let vowel = |c: char| "aeiouyæœ".contains(c);
    let mut groups = 0;
    let mut last = false;
    for c in word.chars() {
        groups += u64::from(vowel(c) && !last);
        last = vowel(c);
    }
    // The final e of `little` is heard, that of `whale` is not.
    let heard = word.strip_suffix("le").is_some_and(|stem| !stem.ends_with(vowel));
    let silent = word.ends_with('e') && !heard && groups > 1;
    (groups - u64::from(silent)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_sentences_and_syllables() {
        let c = Counts::of("Call me Ishmael. The Whale's jaw—‘whale!’ Mr. Starbuck didn't see.\n");
        assert_eq!(c.words["whale"], 2);
        assert_eq!(c.words["didn't"], 1);
        assert_eq!(c.total(), 11);
        assert_eq!(c.sentences, 3);
        assert_eq!(["whale", "little", "sea", "harpooneer", "ishmael"].map(syllables), [1, 2, 1, 3, 2]);
    }

    #[test]
    fn decoding_undoes_encoding() {
        let c = Counts::of("It was the whale. It was the sea.\n");
        assert_eq!(Counts::decode(&c.encode("0..1")), Ok(c));
        assert!(Counts::decode("nonsense").is_err());
        assert!(Counts::decode("lines 0..1 sentences 1 syllables 1\nwhale 3\n").is_err());
    }
}

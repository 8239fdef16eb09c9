//! The scene's text: one thing a line, `keyword name… key=value…`, comments after `#`.

use std::fmt;

use crate::math::{V3, v3};

/// What is wrong with a scene, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SceneError {
    /// Line number from 1, or 0 for the whole file.
    pub line: usize,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for SceneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "scene: {}", self.message),
            n => write!(f, "scene, line {n}: {}", self.message),
        }
    }
}

impl std::error::Error for SceneError {}

/// One line, taken apart; every field must be used once.
pub struct Line<'a> {
    number: usize,
    /// The first word.
    pub keyword: &'a str,
    words: Vec<&'a str>,
    fields: Vec<(&'a str, &'a str)>,
}

impl<'a> Line<'a> {
    /// Takes the lines of `text` apart, leaving out empty ones.
    pub fn all(text: &'a str) -> Result<Vec<Self>, SceneError> {
        let mut lines = Vec::new();
        for (i, line) in text.lines().enumerate() {
            let mut words = line.split('#').next().unwrap_or("").split_whitespace();
            let Some(keyword) = words.next() else { continue };
            let mut parsed = Line { number: i + 1, keyword, words: Vec::new(), fields: Vec::new() };
            for word in words {
                match word.split_once('=') {
                    Some((key, _)) if parsed.fields.iter().any(|f| f.0 == key) => {
                        return Err(parsed.error(format!("`{key}` is given twice")));
                    }
                    Some(field) => parsed.fields.push(field),
                    None if parsed.fields.is_empty() => parsed.words.push(word),
                    None => return Err(parsed.error(format!("expected `key=value` in place of `{word}`"))),
                }
            }
            lines.push(parsed);
        }
        Ok(lines)
    }

    /// An error that names this line.
    pub fn error(&self, message: impl Into<String>) -> SceneError {
        SceneError { line: self.number, message: message.into() }
    }

    /// The next word after the keyword.
    pub fn word(&mut self, what: &str) -> Result<&'a str, SceneError> {
        if self.words.is_empty() {
            return Err(self.error(format!("`{}` needs {what}", self.keyword)));
        }
        Ok(self.words.remove(0))
    }

    /// The text of a field, if it is there.
    pub fn optional(&mut self, key: &str) -> Option<&'a str> {
        let at = self.fields.iter().position(|f| f.0 == key)?;
        Some(self.fields.remove(at).1)
    }

    /// The text of a field.
    pub fn text(&mut self, key: &str) -> Result<&'a str, SceneError> {
        self.optional(key).ok_or_else(|| self.error(format!("`{}` needs `{key}=`", self.keyword)))
    }

    /// Exactly `N` finite numbers separated by commas.
    pub fn numbers<const N: usize>(&mut self, key: &str) -> Result<[f32; N], SceneError> {
        let text = self.text(key)?;
        let parsed: Vec<f32> = text.split(',').map_while(|t| t.parse().ok()).filter(|n: &f32| n.is_finite()).collect();
        let many = if N == 1 { "one number".to_owned() } else { format!("{N} numbers separated by commas") };
        (parsed.as_slice().try_into().ok().filter(|_| text.split(',').count() == N))
            .ok_or_else(|| self.error(format!("`{key}={text}` should be {many}")))
    }

    /// Numbers, or `default` if the field is missing.
    pub fn numbers_or<const N: usize>(&mut self, key: &str, default: [f32; N]) -> Result<[f32; N], SceneError> {
        if self.fields.iter().any(|f| f.0 == key) { self.numbers(key) } else { Ok(default) }
    }

    /// One number.
    pub fn number(&mut self, key: &str) -> Result<f32, SceneError> {
        Ok(self.numbers::<1>(key)?[0])
    }

    /// One number, or `default` if the field is missing.
    pub fn number_or(&mut self, key: &str, default: f32) -> Result<f32, SceneError> {
        Ok(self.numbers_or::<1>(key, [default])?[0])
    }

    /// One number greater than zero.
    pub fn positive(&mut self, key: &str) -> Result<f32, SceneError> {
        let n = self.number(key)?;
        if n > 0.0 { Ok(n) } else { Err(self.error(format!("`{key}={n}` should be greater than 0"))) }
    }

    /// A whole number from 1 to `most`.
    pub fn count(&mut self, key: &str, most: u32) -> Result<u32, SceneError> {
        let text = self.text(key)?;
        let n = text.parse().ok().filter(|n| (1..=most).contains(n));
        n.ok_or_else(|| self.error(format!("`{key}={text}` should be a whole number from 1 to {most}")))
    }

    /// Three numbers.
    pub fn vector(&mut self, key: &str) -> Result<V3, SceneError> {
        let [x, y, z] = self.numbers(key)?;
        Ok(v3(x, y, z))
    }

    /// Three numbers, or `default` if the field is missing.
    pub fn vector_or(&mut self, key: &str, default: V3) -> Result<V3, SceneError> {
        let [x, y, z] = self.numbers_or(key, [default.x, default.y, default.z])?;
        Ok(v3(x, y, z))
    }

    /// Checks that nothing was left over.
    pub fn finish(self) -> Result<(), SceneError> {
        if let Some((key, _)) = self.fields.first() {
            return Err(self.error(format!("`{}` has no field `{key}`", self.keyword)));
        }
        if let Some(word) = self.words.first() {
            return Err(self.error(format!("`{word}` is one word too many for `{}`", self.keyword)));
        }
        Ok(())
    }
}

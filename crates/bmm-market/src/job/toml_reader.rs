//! A strict reader of TOML tables: unknown keys and wrong types are errors that say where and what.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{JobError, JobFault, Location, nearest};

/// The places of the keys that were read, by their dotted path.
pub(super) type Places = BTreeMap<String, Location>;

/// The document that values belong to.
pub(super) struct Document<'a> {
    pub source: &'a str,
    pub places: RefCell<Places>,
    /// The place that was found last.
    last: Cell<(usize, Location)>,
}

impl<'a> Document<'a> {
    /// Wraps the text of a job file.
    pub fn new(source: &'a str) -> Self {
        Self { source, places: RefCell::default(), last: Cell::new((0, Location { line: 1, column: 1 })) }
    }

    fn fail(&self, offset: usize, fault: JobFault) -> JobError {
        JobError::new(Some(self.locate(offset)), fault)
    }

    /// Finds the place of a byte, counting on from the last one if that lies before: keys are mostly met in their order, and
    /// there can be hundreds of thousands.
    fn locate(&self, offset: usize) -> Location {
        let (from, mut place) = self.last.get();
        let Some(between) = self.source.get(from..offset) else {
            return Location::of(self.source, offset);
        };
        match between.rfind('\n') {
            Some(at) => {
                place.line += between.matches('\n').count();
                place.column = between[at + 1..].chars().count() + 1;
            }
            None => place.column += between.chars().count(),
        }
        self.last.set((offset, place));
        place
    }
}

/// A table whose keys are all known.
pub(super) struct Table<'a> {
    document: &'a Document<'a>,
    path: String,
    entries: &'a DeTable<'a>,
    offset: usize,
}

/// A value and the dotted path of its key.
#[derive(Clone)]
pub(super) struct Value<'a> {
    document: &'a Document<'a>,
    pub path: String,
    read: &'a Spanned<DeValue<'a>>,
}

/// Returns the article and name of a value's type.
fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Quotes a key if TOML needs it.
fn quoted(key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if bare { key.to_owned() } else { format!("{key:?}") }
}

/// Joins a table's path and a key.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { quoted(key) } else { format!("{path}.{}", quoted(key)) }
}

impl<'a> Table<'a> {
    /// Wraps the document's root.
    pub fn root(document: &'a Document<'a>, entries: &'a DeTable<'a>) -> Self {
        Self { document, path: String::new(), entries, offset: 0 }
    }

    /// Refuses keys that are not in `known`.
    pub fn only(self, known: &[&str]) -> Result<Self, JobError> {
        self.check(known)?;
        Ok(self)
    }

    /// Tells whether all keys are in `known`.
    ///
    /// # Errors
    /// The first key that is not, with the nearest one that is.
    pub fn check(&self, known: &[&str]) -> Result<(), JobError> {
        // The first in the text, not in the alphabet, is what the reader finds.
        let unknown = self.entries.keys().filter(|key| !known.contains(&key.get_ref().as_ref()));
        if let Some(key) = unknown.min_by_key(|key| key.span().start) {
            let name = key.get_ref().to_string();
            let fault = JobFault::UnknownKey {
                nearest: nearest(&name, known.iter().copied()),
                known: known.iter().map(|&key| key.to_owned()).collect(),
                section: self.path.clone(),
                key: name,
            };
            return Err(self.document.fail(key.span().start, fault));
        }
        Ok(())
    }

    /// Returns a value and remembers its place.
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        let (name, value) = self.entries.get_key_value(key)?;
        Some(self.value(name, value))
    }

    /// Returns a value that must be there.
    pub fn need(&self, key: &str, example: &'static str) -> Result<Value<'a>, JobError> {
        let missing = || JobFault::Missing { key: join(&self.path, key), example };
        self.get(key).ok_or_else(|| self.document.fail(self.offset, missing()))
    }

    /// Returns all values in the order in which they are written, with their keys.
    pub fn in_order(&self) -> Vec<(String, Value<'a>)> {
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        entries.into_iter().map(|(key, value)| (key.get_ref().to_string(), self.value(key, value))).collect()
    }

    fn value(&self, key: &Spanned<toml::de::DeString<'a>>, value: &'a Spanned<DeValue<'a>>) -> Value<'a> {
        let path = join(&self.path, key.get_ref());
        let place = self.document.locate(key.span().start);
        self.document.places.borrow_mut().insert(path.clone(), place);
        Value { document: self.document, path, read: value }
    }
}

impl<'a> Value<'a> {
    /// Makes an error about this value.
    pub fn fail(&self, fault: JobFault) -> JobError {
        self.document.fail(self.read.span().start, fault)
    }

    /// Says that the value has the right type but makes no sense.
    pub fn bad(&self, reason: impl Into<String>, example: impl Into<String>) -> JobError {
        let value = match self.read.get_ref() {
            DeValue::String(text) => text.chars().take(200).collect(),
            DeValue::Integer(integer) => integer.to_string(),
            other => type_name(other).to_owned(),
        };
        self.fail(JobFault::BadValue { key: self.path.clone(), value, reason: reason.into(), example: example.into() })
    }

    fn wrong_type(&self, expected: &'static str, example: &'static str) -> JobError {
        let found = type_name(self.read.get_ref());
        self.fail(JobFault::WrongType { key: self.path.clone(), found, expected, example })
    }

    /// Tells whether it is a text.
    pub fn is_text(&self) -> bool {
        self.read.get_ref().as_str().is_some()
    }

    /// Reads a text.
    pub fn text(&self, example: &'static str) -> Result<&'a str, JobError> {
        self.read.get_ref().as_str().ok_or_else(|| self.wrong_type("a text in quotes", example))
    }

    /// Reads a list of texts.
    pub fn texts(&self, example: &'static str) -> Result<Vec<String>, JobError> {
        let wrong = || self.wrong_type("a list of texts in quotes", example);
        let array = self.read.get_ref().as_array().ok_or_else(wrong)?;
        let mut texts = Vec::with_capacity(array.len());
        for (number, value) in array.iter().enumerate() {
            let path = format!("{}[{number}]", self.path);
            texts.push(Value { document: self.document, path, read: value }.text(example)?.to_owned());
        }
        Ok(texts)
    }

    /// Reads an integer that is not negative.
    pub fn count(&self, example: &'static str) -> Result<u64, JobError> {
        let integer = self.read.get_ref().as_integer();
        let integer = integer.ok_or_else(|| self.wrong_type("an integer", example))?;
        let read = u64::from_str_radix(integer.as_str(), integer.radix());
        read.map_err(|_| self.bad("it is negative or too large", format!("write for example: {example}")))
    }

    /// Reads true or false.
    pub fn flag(&self, example: &'static str) -> Result<bool, JobError> {
        self.read.get_ref().as_bool().ok_or_else(|| self.wrong_type("true or false, without quotes", example))
    }

    /// Reads a table.
    pub fn table(&self, example: &'static str) -> Result<Table<'a>, JobError> {
        let entries = self.read.get_ref().as_table().ok_or_else(|| self.wrong_type("a table", example))?;
        let (document, path, offset) = (self.document, self.path.clone(), self.read.span().start);
        Ok(Table { document, path, entries, offset })
    }
}

//! What stands around every page.

use crate::{Texts, Visit};

/// The frame of a page: title, menu, language.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The texts.
    pub t: &'static Texts,
    /// The title.
    pub title: &'a str,
    /// Where news of the page come from; empty for a page that does not change.
    pub live: &'a str,
    visit: &'a Visit,
}

impl<'a> Frame<'a> {
    /// Makes the frame of a page that does not change by itself.
    pub const fn new(visit: &'a Visit, title: &'a str) -> Self {
        Self { t: visit.texts, title, live: "", visit }
    }

    /// Lets the page follow the news of a path.
    #[must_use]
    pub const fn live(self, path: &'a str) -> Self {
        Self { live: path, ..self }
    }

    /// Returns the language's code.
    pub const fn lang(&self) -> &'static str {
        self.t.language.code()
    }

    /// Returns the theme that was chosen; empty for the system's.
    pub const fn theme(&self) -> &'static str {
        self.visit.theme
    }

    /// Returns the path of the page.
    pub fn path(&self) -> &str {
        &self.visit.path
    }

    /// Returns whether an entry of the menu is the present one.
    pub fn is_at(&self, paths: &[&str]) -> bool {
        let path = self.path();
        paths.iter().any(|prefix| if *prefix == "/" { path == "/" } else { path.starts_with(prefix) })
    }

    /// Whether the visitor is the owner.
    pub const fn is_owner(&self) -> bool {
        self.visit.csrf.is_some()
    }

    /// Returns the token of forms; empty for who is not the owner.
    pub fn csrf(&self) -> &str {
        self.visit.csrf.as_deref().unwrap_or_default()
    }
}

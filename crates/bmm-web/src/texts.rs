//! What pages say, in one file per language.

use std::{collections::HashMap, sync::OnceLock};

/// A language of the pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Simplified Chinese.
    Chinese,
}

impl Language {
    /// Returns the language of a code such as `en` or `zh-CN`.
    pub fn of(code: &str) -> Option<Self> {
        let code = code.trim().to_ascii_lowercase();
        match code.split('-').next()? {
            "en" => Some(Self::English),
            "zh" => Some(Self::Chinese),
            _ => None,
        }
    }

    /// Returns the first language of an `Accept-Language` that there are texts in.
    pub fn accepted(header: &str) -> Option<Self> {
        header.split(',').take(16).find_map(|part| Self::of(part.split(';').next()?))
    }

    /// Returns the code for HTML.
    pub const fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh-CN",
        }
    }
}

/// The texts of one language.
#[derive(Clone, Debug)]
pub struct Texts {
    /// The language.
    pub language: Language,
    texts: HashMap<String, String>,
}

impl Texts {
    /// Returns the texts of a language.
    pub fn of(language: Language) -> &'static Self {
        static ALL: OnceLock<[Texts; 2]> = OnceLock::new();
        let [english, chinese] = ALL.get_or_init(|| {
            [
                Self::read(Language::English, include_str!("../texts/en.toml")),
                Self::read(Language::Chinese, include_str!("../texts/zh.toml")),
            ]
        });
        match language {
            Language::English => english,
            Language::Chinese => chinese,
        }
    }

    fn read(language: Language, source: &str) -> Self {
        let tables: HashMap<String, HashMap<String, String>> = toml::from_str(source).expect("a test reads the file");
        let texts = tables
            .into_iter()
            .flat_map(|(table, texts)| texts.into_iter().map(move |(key, text)| (format!("{table}.{key}"), text)))
            .collect();
        Self { language, texts }
    }

    /// Returns a text; its key where there is none, which a test excludes.
    pub fn s<'a>(&'a self, key: &'a str) -> &'a str {
        self.texts.get(key).map_or(key, String::as_str)
    }

    /// Returns a text with `{}` replaced.
    pub fn put(&self, key: &str, what: impl std::fmt::Display) -> String {
        self.s(key).replacen("{}", &what.to_string(), 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Every `t.s("…")` and `t.put("…"` of templates and sources.
    fn used() -> BTreeSet<String> {
        let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut found = BTreeSet::new();
        for folder in ["templates", "src", "../bmm/src/web"] {
            let Ok(entries) = std::fs::read_dir(here.join(folder)) else { continue };
            for entry in entries {
                let path = entry.expect("a folder of the repository").path();
                let Ok(text) = std::fs::read_to_string(&path) else { continue };
                for call in ["t.s(\"", "t.put(\""] {
                    for part in text.split(call).skip(1) {
                        let key = part.split('"').next().unwrap_or_default();
                        if key.contains('.') && !key.contains('…') {
                            found.insert(key.to_owned());
                        }
                    }
                }
            }
        }
        found
    }

    #[test]
    fn both_languages_say_everything_and_nothing_else() {
        let keys = |language| Texts::of(language).texts.keys().cloned().collect::<BTreeSet<_>>();
        let (english, chinese) = (keys(Language::English), keys(Language::Chinese));
        assert_eq!(english.difference(&chinese).collect::<Vec<_>>(), Vec::<&String>::new(), "no Chinese");
        assert_eq!(chinese.difference(&english).collect::<Vec<_>>(), Vec::<&String>::new(), "no English");
        let used = used();
        assert!(used.len() > 100, "the search for keys finds them: {}", used.len());
        assert_eq!(used.difference(&english).collect::<Vec<_>>(), Vec::<&String>::new(), "used and not there");
    }

    #[test]
    fn the_browser_chooses_the_language() {
        assert_eq!(Language::accepted("fr-FR, zh-TW;q=0.9, en;q=0.8"), Some(Language::Chinese));
        assert_eq!(Language::accepted("de, en-GB;q=0.8"), Some(Language::English));
        assert_eq!(Language::accepted("fr"), None);
    }
}

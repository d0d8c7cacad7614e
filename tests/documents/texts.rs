//! The words of the reference that no source has, in both languages: `docs/reference/texts.yaml`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use tcp_forwarder::config::{self, KeyDoc};
use tcp_forwarder::metrics::family;

use crate::documents::reference::{REASONS, labels, short, words_of_allowed};
use crate::read;

/// The language of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    English,
    Chinese,
}

/// The same in both.
#[derive(Debug, Deserialize)]
pub(crate) struct Both {
    en: String,
    zh: String,
}

impl Both {
    pub(crate) fn of(&self, language: Language) -> &str {
        match language {
            Language::English => &self.en,
            Language::Chinese => &self.zh,
        }
    }
}

/// A bound that no key changes.
#[derive(Debug, Deserialize)]
pub(crate) struct Limit {
    /// `FILE::NAME`, below `src`.
    pub(crate) constant: String,
    #[serde(flatten)]
    pub(crate) what: Both,
}

/// The file. What is not in both languages is Chinese.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Texts {
    kinds: BTreeMap<String, String>,
    allowed: BTreeMap<String, String>,
    keys: BTreeMap<String, String>,
    pub(crate) sections: BTreeMap<String, Both>,
    mobile: BTreeMap<String, String>,
    metrics: BTreeMap<String, String>,
    reasons: BTreeMap<String, BTreeMap<String, Both>>,
    pub(crate) limits: Vec<Limit>,
}

/// A text, or one that the test of the whole file complains of.
fn found<'a>(texts: &'a BTreeMap<String, String>, name: &str) -> &'a str {
    texts.get(name).map_or("?", String::as_str)
}

impl Texts {
    pub(crate) fn load() -> Self {
        let text = read("docs/reference/texts.yaml");
        serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("docs/reference/texts.yaml: {error}"))
    }

    pub(crate) fn kind<'a>(&'a self, key: &'a KeyDoc, language: Language) -> &'a str {
        match language {
            Language::English => key.kind,
            Language::Chinese => found(&self.kinds, key.kind),
        }
    }

    /// What is allowed, of which ranges and names are the same in every language.
    pub(crate) fn allowed(&self, key: &KeyDoc, language: Language) -> String {
        let (text, is_neutral) = words_of_allowed(key);
        if is_neutral || language == Language::English {
            return text;
        }
        found(&self.allowed, &text).to_owned()
    }

    pub(crate) fn meaning<'a>(&'a self, key: &'a KeyDoc, language: Language) -> &'a str {
        match language {
            Language::English => key.meaning,
            Language::Chinese => found(&self.keys, key.path),
        }
    }

    pub(crate) fn section(&self, path: &str, language: Language) -> &str {
        self.sections.get(path).map_or("?", |both| both.of(language))
    }

    /// Why a default is another one on phones.
    pub(crate) fn why<'a>(&'a self, path: &str, english: &'a str, language: Language) -> &'a str {
        match language {
            Language::English => english,
            Language::Chinese => found(&self.mobile, path),
        }
    }

    pub(crate) fn metric<'a>(&'a self, family: &'a family::Family, language: Language) -> &'a str {
        match language {
            Language::English => family.help,
            Language::Chinese => found(&self.metrics, short(family.name)),
        }
    }

    pub(crate) fn reason(&self, metric: &str, label: &str, language: Language) -> &str {
        let labels = self.reasons.get(metric);
        let both = labels.and_then(|labels| labels.get(label));
        both.map_or("?", |both| both.of(language))
    }
}

/// Every section that has keys, inner ones too.
pub(crate) fn sections() -> BTreeSet<String> {
    let mut sections = BTreeSet::new();
    for key in config::reference() {
        let mut path = key.path;
        while let Some((section, _)) = path.rsplit_once('.') {
            sections.insert(section.to_owned());
            path = section;
        }
    }
    sections
}

/// That exactly these have a text.
fn same<T>(what: &str, texts: &BTreeMap<String, T>, asked: &BTreeSet<String>) {
    let have: BTreeSet<String> = texts.keys().cloned().collect();
    let missing: Vec<_> = asked.difference(&have).collect();
    let unasked: Vec<_> = have.difference(asked).collect();
    assert!(
        missing.is_empty() && unasked.is_empty(),
        "docs/reference/texts.yaml, {what}: missing: {missing:#?}, nobody asks for: {unasked:#?}"
    );
}

#[test]
fn everything_has_its_words_in_both_languages_and_nothing_else_has() {
    let texts = Texts::load();
    let keys = config::reference();
    let set = |names: &mut dyn Iterator<Item = String>| names.collect::<BTreeSet<_>>();
    same(
        "kinds",
        &texts.kinds,
        &set(&mut keys.iter().map(|key| key.kind.to_owned())),
    );
    let allowed = keys.iter().map(words_of_allowed);
    same(
        "allowed",
        &texts.allowed,
        &set(&mut allowed
            .filter(|(_, is_neutral)| !is_neutral)
            .map(|(text, _)| text)),
    );
    same(
        "keys",
        &texts.keys,
        &set(&mut keys.iter().map(|key| key.path.to_owned())),
    );
    same("sections", &texts.sections, &sections());
    let phones = keys.iter().filter(|key| key.mobile.is_some());
    same(
        "mobile",
        &texts.mobile,
        &set(&mut phones.map(|key| key.path.to_owned())),
    );
    let families = family::ALL.iter().map(|family| short(family.name).to_owned());
    same("metrics", &texts.metrics, &set(&mut families.into_iter()));
    same(
        "reasons",
        &texts.reasons,
        &set(&mut REASONS.iter().map(|(metric, _)| (*metric).to_owned())),
    );
    for (metric, _) in REASONS {
        let asked = set(&mut labels(metric).into_iter().map(str::to_owned));
        if let Some(have) = texts.reasons.get(*metric) {
            same(metric, have, &asked);
        }
    }
}

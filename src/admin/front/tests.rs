//! The page is small, of one piece, and says everything in both languages.

use std::collections::BTreeSet;

use super::*;

/// The most bytes of all files together.
const MOST_BYTES: usize = 60_000;

fn text(path: &str) -> &'static str {
    File::at(path).expect("a file").text
}

#[test]
fn all_of_it_is_small() {
    let bytes: usize = FILES.iter().map(|file| file.text.len()).sum();
    assert!(bytes < MOST_BYTES, "{bytes} bytes");
}

#[test]
fn nothing_is_from_elsewhere_and_nothing_is_inline() {
    for file in &FILES {
        // The names of two dialects of XML are no addresses that anybody calls.
        let text = file.text.replace("http://www.w3.org/2000/svg", "");
        for word in [
            "//cdn",
            "http:",
            "https:",
            "url(",
            "@import",
            "import(",
            "eval(",
            "innerHTML",
            "new Function",
        ] {
            assert!(!text.contains(word), "{}: {word}", file.path);
        }
    }
    let html = text("/");
    for word in ["<style", "style=", "onclick", "onload", "<script>", "javascript:"] {
        assert!(!html.contains(word), "{word}");
    }
    let links = html.split(['"']).filter(|part| part.starts_with('/'));
    for link in links {
        assert!(File::at(link).is_some() || link.starts_with("/api/v1/"), "{link}");
    }
}

#[test]
fn its_policy_allows_its_own_files_only() {
    for file in &FILES {
        let page = format!("{:?}", file.page());
        assert!(page.contains("default-src 'none'"), "{page}");
        assert!(!page.contains("unsafe"), "{page}");
    }
    let sources: BTreeSet<&str> = POLICY
        .split([';', ' '])
        .filter(|word| word.starts_with('\''))
        .collect();
    assert_eq!(sources, BTreeSet::from(["'none'", "'self'"]));
}

/// Keys of one language's words: lines of the form `key: "..."` between two marks.
fn keys(language: &str) -> BTreeSet<&'static str> {
    let begin = format!("// words: {language}");
    let (_, behind) = text("/page.js").split_once(&begin).expect("words");
    let (words, _) = behind.split_once("// end").expect("an end");
    let key = |line: &'static str| {
        let (key, value) = line.trim().split_once(": ")?;
        assert!(value.len() > 3, "{language}: {line}");
        Some(key)
    };
    words.lines().filter_map(key).collect()
}

#[test]
fn every_word_is_there_in_both_languages() {
    let (en, zh) = (keys("en"), keys("zh"));
    assert!(en.len() > 80, "{en:?}");
    assert_eq!(en, zh);
    let script = text("/page.js");
    for (place, _) in script.match_indices("t(\"") {
        let (before, behind) = script.split_at(place);
        if before.ends_with(|end: char| end.is_ascii_alphanumeric()) {
            continue;
        }
        let key = behind.split('"').nth(1).unwrap_or_default();
        assert!(en.contains(key), "{key} is no word");
    }
    // What sections and tables are called, and columns.
    for (call, texts) in [("section(\"", 1), ("table(\"", 2)] {
        for (_, behind) in script
            .match_indices(call)
            .map(|(place, _)| script.split_at(place))
        {
            let line = behind.lines().next().unwrap_or_default();
            let named = line.split('"').skip(1).step_by(2).take(texts);
            let columns = named.flat_map(|text| text.split(' ').filter(|column| !column.is_empty()));
            for key in columns.filter_map(|column| column.split('.').next()) {
                assert!(en.contains(key), "{key} is no word: {line}");
            }
        }
    }
}

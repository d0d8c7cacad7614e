//! Which certificate a client gets, by the name that it asks for. Pure.
//!
//! A name is looked for as it is, then among wildcards, of which one stands for exactly one label (RFC 6125, section
//! 6.4.3); who asks for another one, or for none, gets the default. Of several certificates with the same name (one of
//! them with a key of another kind) a client gets the first whose signatures it understands.

use std::collections::HashMap;

/// Certificates by name; `T` is what a client gets.
#[derive(Debug)]
pub(super) struct Names<T> {
    /// In the order of the configuration; the first is the default.
    all: Vec<T>,
    /// Names in lower case, wildcards without their `*`: places of certificates, in order.
    by_name: HashMap<String, Vec<usize>>,
}

impl<T> Names<T> {
    /// Certificates and their names, the default first.
    pub(super) fn new(certificates: impl IntoIterator<Item = (T, Vec<String>)>) -> Self {
        let (mut all, mut by_name) = (Vec::new(), HashMap::<String, Vec<usize>>::new());
        for (certificate, names) in certificates {
            for name in names {
                let name = name.trim_end_matches('.').to_ascii_lowercase();
                let key = name.strip_prefix('*').map_or(name.clone(), str::to_owned);
                by_name.entry(key).or_default().push(all.len());
            }
            all.push(certificate);
        }
        Self { all, by_name }
    }

    /// What a client gets that asks for `name`, and to whom `suits` says what of use is.
    pub(super) fn choose(&self, name: Option<&str>, suits: impl Fn(&T) -> bool) -> Option<&T> {
        let name = name.map(|name| name.trim_end_matches('.').to_ascii_lowercase());
        let asked = name.as_deref().and_then(|name| {
            let parent = name.find('.').and_then(|dot| name.get(dot..));
            let of = |key: &str| self.by_name.get(key);
            // A key that begins with a dot is a wildcard's, which no name is.
            of(name)
                .filter(|_| !name.starts_with('.'))
                .or_else(|| parent.filter(|_| !name.starts_with('.')).and_then(of))
        });
        let among = |places: &[usize]| {
            let mut found = places.iter().filter_map(|place| self.all.get(*place));
            let first = found.clone().next();
            found.find(|one| suits(one)).or(first)
        };
        match asked {
            Some(places) => among(places),
            None => self.all.iter().find(|one| suits(one)).or(self.all.first()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names<&'static str> {
        let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Names::new([
            ("default", named(&["example.org"])),
            ("wild", named(&["*.Example.org", "*.a.example.org"])),
            ("exact", named(&["www.example.org"])),
            ("exact, rsa", named(&["www.example.org"])),
        ])
    }

    #[test]
    fn a_name_goes_before_a_wildcard_and_a_wildcard_is_one_label() {
        let names = names();
        let chosen = |name| names.choose(Some(name), |_| true).copied();
        for (name, certificate) in [
            ("example.org", "default"),
            ("EXAMPLE.org.", "default"),
            ("www.example.org", "exact"),
            ("mail.example.ORG", "wild"),
            ("x.a.example.org", "wild"),
            ("x.b.example.org", "default"),
            ("example.com", "default"),
            (".example.org", "default"),
            ("", "default"),
        ] {
            assert_eq!(chosen(name), Some(certificate), "{name:?}");
        }
        assert_eq!(names.choose(None, |_| true), Some(&"default"));
    }

    #[test]
    fn of_one_name_a_client_gets_what_it_understands() {
        let names = names();
        let rsa = |one: &&str| one.ends_with("rsa");
        assert_eq!(names.choose(Some("www.example.org"), rsa), Some(&"exact, rsa"));
        assert_eq!(names.choose(None, rsa), Some(&"exact, rsa"));
        assert_eq!(names.choose(Some("www.example.org"), |_| false), Some(&"exact"));
        assert_eq!(Names::<u8>::new([]).choose(None, |_| true), None);
    }
}

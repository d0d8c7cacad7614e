//! What to say about a key that nobody knows.

use super::shape::{self, Section};

/// Length of a key that is compared with the known ones.
pub(super) const MAX_COMPARED_BYTES: usize = 64;

/// The same name anywhere in the shape, whose own path is `prefix`, or at the top level, or the nearest name in the section.
pub(super) fn unknown(section: &Section, name: &str, (shape, prefix): (&Section, &str)) -> String {
    let known = section.names();
    let allowed = known.join(", ");
    if name == "<<" {
        return format!("merge keys are not supported; allowed: {allowed}");
    }
    let elsewhere = shape.find(name).map(|path| {
        if prefix.is_empty() {
            path
        } else {
            format!("{prefix}.{path}")
        }
    });
    let suggestion = elsewhere
        .or_else(|| shape::TOP.find(name))
        .or_else(|| nearest(name, &known).map(str::to_owned));
    match suggestion {
        Some(suggestion) => format!("unknown key, did you mean {suggestion}? allowed: {allowed}"),
        None => format!("unknown key; allowed: {allowed}"),
    }
}

/// The name with the fewest edits, if they are few for its length.
fn nearest<'n>(name: &str, known: &[&'n str]) -> Option<&'n str> {
    if name.len() > MAX_COMPARED_BYTES {
        return None;
    }
    let (edits, nearest) = known
        .iter()
        .map(|candidate| (edits(name, candidate), *candidate))
        .min_by_key(|(edits, _)| *edits)?;
    (edits <= nearest.len().div_ceil(3)).then_some(nearest)
}

/// Levenshtein distance of two names, in bytes.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, byte_a) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (byte_b, above) in b.bytes().zip(row.iter_mut().skip(1)) {
            let replaced = diagonal + usize::from(byte_a != byte_b);
            diagonal = *above;
            left = replaced.min(left + 1).min(diagonal + 1);
            *above = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::shape::{Entry, SERVICE, TOP};
    use super::*;

    #[test]
    fn edits_are_levenshtein() {
        for (a, b, distance) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("listen_adr", "listen_addr", 1),
            ("same", "same", 0),
        ] {
            assert_eq!(edits(a, b), distance, "{a} {b}");
            assert_eq!(edits(b, a), distance, "{b} {a}");
        }
    }

    #[test]
    fn an_unknown_key_finds_its_neighbour() {
        let top = &*TOP;
        let said = |section: &str, name: &str| {
            let Some(Entry::Section(section)) = top.entry(section) else {
                panic!("no section {section}");
            };
            unknown(section, name, (top, ""))
        };
        assert!(said("server", "listen_adr").contains("did you mean listen_addr?"));
        assert!(said("pools", "dial_timeout").contains("did you mean pools.common.dial_timeout?"));
        assert!(said("server", "colour").starts_with("unknown key; allowed: listen_addr, reactors"));
        let service = &*SERVICE;
        let said = |name: &str| unknown(service, name, (service, "services.web"));
        assert!(
            said("idle_timeut").contains("did you mean idle_timeout?"),
            "{}",
            said("idle_timeut")
        );
        assert!(said("dial_attempts").contains("did you mean services.web.pools.common.dial_attempts?"));
    }
}

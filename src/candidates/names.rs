//! Names of entries, one behind the other in one piece of memory.
//!
//! Lists of many thousand entries repeat few names ("HK", "US"): one that was kept lately is not kept again.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

/// Bytes of a name that are kept; what is longer is cut between two characters.
pub(super) const NAME_BYTES: usize = 120;

/// Places of the cache.
const LATELY: u16 = 1024;

/// Where a name lies. As bytes, so that a span with it has no gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NameAt([u8; 4]);

/// The names: the length of each in a byte, and its text.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    bytes: Vec<u8>,
}

impl Names {
    /// The text of a name that is here.
    pub(super) fn text(&self, at: NameAt) -> &str {
        let begin = usize::try_from(u32::from_le_bytes(at.0)).unwrap_or(usize::MAX);
        let text = || {
            let length = usize::from(*self.bytes.get(begin)?);
            let text = self.bytes.get(begin + 1..begin + 1 + length)?;
            std::str::from_utf8(text).ok()
        };
        let text = text();
        debug_assert!(text.is_some(), "a name of another set");
        text.unwrap_or_default()
    }
}

/// What is kept of a name.
pub(super) fn kept(name: &str) -> &str {
    let mut ends = (0..=name.len().min(NAME_BYTES)).rev();
    let end = ends.find(|end| name.is_char_boundary(*end));
    end.and_then(|end| name.get(..end)).unwrap_or_default()
}

/// Names while they are collected.
#[derive(Debug, Default)]
pub(super) struct NamesBuilder {
    names: Names,
    /// Where names lie that were kept lately, by their hash; empty before the first one.
    lately: Vec<Option<NameAt>>,
}

impl NamesBuilder {
    /// Keeps a name; none of one that is empty, or has no room in 4 GiB.
    pub(super) fn keep(&mut self, name: &str) -> Option<NameAt> {
        let name = kept(name);
        let length = u8::try_from(name.len()).ok().filter(|length| *length > 0)?;
        self.lately.resize(LATELY.into(), None);
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(name);
        let place = usize::try_from(hash % u64::from(LATELY)).unwrap_or_default();
        let lately = self.lately.get_mut(place)?;
        if let Some(at) = lately.filter(|at| self.names.text(*at) == name) {
            return Some(at);
        }
        let at = NameAt(u32::try_from(self.names.bytes.len()).ok()?.to_le_bytes());
        self.names.bytes.push(length);
        self.names.bytes.extend_from_slice(name.as_bytes());
        *lately = Some(at);
        Some(at)
    }

    pub(super) fn build(mut self) -> Names {
        self.names.bytes.shrink_to_fit();
        self.names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_again_and_kept_once() {
        let mut builder = NamesBuilder::default();
        let (hk, us) = (builder.keep("香港 1"), builder.keep("US"));
        assert_eq!(builder.keep(""), None);
        assert_eq!((builder.keep("US"), builder.keep("香港 1")), (us, hk));
        let names = builder.build();
        assert_eq!(names.text(hk.expect("kept")), "香港 1");
        assert_eq!(names.text(us.expect("kept")), "US");
        assert_eq!(names.bytes.len(), 1 + 8 + 1 + 2);
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        let mut builder = NamesBuilder::default();
        let at = builder.keep(&"é".repeat(100)).expect("kept");
        let odd = builder.keep(&format!("a{}", "é".repeat(100))).expect("kept");
        let names = builder.build();
        assert_eq!(names.text(at), "é".repeat(60));
        assert_eq!(names.text(odd), format!("a{}", "é".repeat(59)));
    }

    #[test]
    fn many_names_in_one_place_of_the_cache_stay_apart() {
        let mut builder = NamesBuilder::default();
        let all: Vec<_> = (0..5000)
            .map(|number| (number, builder.keep(&format!("node {number}"))))
            .collect();
        let names = builder.build();
        for (number, at) in all {
            assert_eq!(names.text(at.expect("kept")), format!("node {number}"));
        }
    }
}

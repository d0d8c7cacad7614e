//! The entries in a document of JSON: those of an array to which a pointer leads. Pure.
//!
//! The document is walked as it is read and never held as a whole, so that it costs no memory but what is in its text, however
//! it is nested. An entry is a text, as a line of a list, or an object. Of an object these members count, whatever their case,
//! with `_` and `-` or without; of several for one thing the first of the list that is there:
//!
//! - whom: `service_address`, `address`, `addr`, `ip`, `ip_address`, `host`, `hostname`, `server`, `endpoint`, `target`, `cidr`,
//!   `network`, `prefix`, `ip_prefix`, `ipv4_prefix`, `ipv6_prefix`, or several in an array: `addresses`, `ips`, `targets`;
//! - the port, where the address has none: `service_port`, `port`;
//! - `weight`, `backup` (true or false), `tier`, `max_connections`;
//! - the name: `name`, `remark`, `remarks`, `tag`, `label`.
//!
//! Other members are passed over.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Members that say whom, the best first; all may be arrays.
const WHOM: [&str; 19] = [
    "serviceaddress",
    "address",
    "addr",
    "ip",
    "ipaddress",
    "host",
    "hostname",
    "server",
    "endpoint",
    "target",
    "cidr",
    "network",
    "prefix",
    "ipprefix",
    "ipv4prefix",
    "ipv6prefix",
    "addresses",
    "ips",
    "targets",
];

/// Members that say at which port.
const PORT: [&str; 2] = ["serviceport", "port"];

/// Members that say how people call it.
const NAME: [&str; 5] = ["name", "remark", "remarks", "tag", "label"];

/// Bytes of the name of a member that is looked at.
const MOST_NAME_BYTES: usize = 64;

/// Bytes of an entry that names nobody, as it is shown.
const SHOWN_BYTES: usize = 200;

/// Who takes in the entries of a document, in their order.
pub trait Sink {
    /// An entry, as a line of a list.
    fn entry(&mut self, line: &str);
    /// What stands where an entry should, and names nobody.
    fn nobody(&mut self, shown: &str);
}

/// Why there are no entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is no JSON: why, and where.
    NoJson(String),
    /// The pointer leads nowhere.
    Nothing,
    /// It leads to something else.
    NoArray,
}

/// Hands the entries of a document over, as far as it can be read; `pointer` are the names on the way to them.
///
/// # Errors
/// Why there are none; some may have been handed over before.
pub fn entries(bytes: &[u8], pointer: &[String], sink: &mut dyn Sink) -> Result<(), Fault> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut document = serde_json::Deserializer::from_slice(bytes);
    let no_json = |error: serde_json::Error| Fault::NoJson(error.to_string());
    let found = Walk { pointer, sink }
        .deserialize(&mut document)
        .map_err(no_json)?;
    document.end().map_err(no_json)?;
    match found {
        Found::Entries => Ok(()),
        Found::Nothing => Err(Fault::Nothing),
        Found::Other => Err(Fault::NoArray),
    }
}

/// What a pointer has led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Entries,
    Nothing,
    Other,
}

/// The way to the entries.
struct Walk<'a> {
    pointer: &'a [String],
    sink: &'a mut dyn Sink,
}

impl Walk<'_> {
    /// What a value without parts is.
    fn scalar(&self) -> Found {
        if self.pointer.is_empty() {
            Found::Other
        } else {
            Found::Nothing
        }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<Found, D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Found, E> {
        Ok(self.scalar())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Found, E> {
        Ok(self.scalar())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Found, E> {
        Ok(self.scalar())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Found, E> {
        Ok(self.scalar())
    }

    fn visit_unit<E>(self) -> Result<Found, E> {
        Ok(self.scalar())
    }

    fn visit_str<E>(self, text: &str) -> Result<Found, E> {
        if !self.pointer.is_empty() {
            return Ok(Found::Nothing);
        }
        // A list within a text.
        text.lines().for_each(|line| self.sink.entry(line));
        Ok(Found::Entries)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Found, A::Error> {
        let Some((name, rest)) = self.pointer.split_first() else {
            while array
                .next_element_seed(Entry {
                    sink: &mut *self.sink,
                })?
                .is_some()
            {}
            return Ok(Found::Entries);
        };
        let mut found = Found::Nothing;
        let mut index = 0;
        let wanted = index_of(name);
        loop {
            if Some(index) == wanted {
                let walk = Walk {
                    pointer: rest,
                    sink: &mut *self.sink,
                };
                match array.next_element_seed(walk)? {
                    Some(here) => found = here,
                    None => return Ok(found),
                }
            } else if array.next_element::<IgnoredAny>()?.is_none() {
                return Ok(found);
            }
            index += 1;
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Found, A::Error> {
        let Some((name, rest)) = self.pointer.split_first() else {
            let entry = Entry { sink: self.sink };
            return entry.visit_map(object).map(|()| Found::Entries);
        };
        let mut found = None;
        while let Some(member) = object.next_key::<String>()? {
            // Of two with the same name the first counts.
            if member == *name && found.is_none() {
                let walk = Walk {
                    pointer: rest,
                    sink: &mut *self.sink,
                };
                found = Some(object.next_value_seed(walk)?);
            } else {
                object.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found.unwrap_or(Found::Nothing))
    }
}

/// The place in an array that a name of a pointer means (RFC 6901, section 4).
fn index_of(name: &str) -> Option<usize> {
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
    let is_plain = is_number && (name == "0" || !name.starts_with('0'));
    name.parse().ok().filter(|_| is_plain)
}

/// One entry of the array.
struct Entry<'a> {
    sink: &'a mut dyn Sink,
}

impl<'de> DeserializeSeed<'de> for Entry<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Entry<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an entry")
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.sink.nobody(&value.to_string());
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.sink.nobody(&value.to_string());
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.sink.nobody(&value.to_string());
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.sink.nobody(&value.to_string());
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.sink.nobody("null");
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        if text.trim().is_empty() {
            self.sink.nobody("\"\"");
        } else {
            self.sink.entry(text);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        while array.next_element::<IgnoredAny>()?.is_some() {}
        self.sink.nobody("[...]");
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        Who::read(&mut object)?.tell(self.sink);
        Ok(())
    }
}

/// What an object says.
#[derive(Debug, Default)]
struct Who {
    /// The addresses, and how good their member is.
    whom: Option<(usize, Vec<String>)>,
    port: Option<(usize, String)>,
    name: Option<(usize, String)>,
    options: String,
    /// The names of its members, as they are shown if it names nobody.
    members: String,
}

impl Who {
    fn read<'de, A: MapAccess<'de>>(object: &mut A) -> Result<Self, A::Error> {
        let mut who = Self::default();
        while let Some(member) = object.next_key::<String>()? {
            if who.members.len() < SHOWN_BYTES {
                let separator = if who.members.is_empty() { "" } else { ", " };
                who.members.push_str(separator);
                who.members.extend(member.chars().take(MOST_NAME_BYTES));
            }
            let plain = plain(&member);
            if let Some(rank) = rank(&WHOM, &plain) {
                let texts = object.next_value_seed(Scalars { within_array: false })?;
                let texts = texts.into_iter().filter(|text| !text.trim().is_empty());
                better(
                    &mut who.whom,
                    rank,
                    Some(texts.collect()).filter(|all: &Vec<_>| !all.is_empty()),
                );
            } else if let Some(rank) = rank(&PORT, &plain) {
                let port = object.next_value_seed(Scalars { within_array: false })?.pop();
                // Some write 0 where there is none.
                let port = port.filter(|port| !port.is_empty() && port != "0");
                better(&mut who.port, rank, port);
            } else if let Some(rank) = rank(&NAME, &plain) {
                let name = object.next_value_seed(Scalars { within_array: false })?.pop();
                better(&mut who.name, rank, name);
            } else if let Some(option) = option(&plain) {
                let value = object.next_value_seed(Scalars { within_array: false })?.pop();
                match (option, value.as_deref()) {
                    ("backup", Some("true")) => who.options.push_str(" backup"),
                    ("backup", _) | (_, None) => {}
                    (option, Some(value)) => {
                        let value: String = value.split_whitespace().collect();
                        who.options.extend([" ", option, "=", &value]);
                    }
                }
            } else {
                object.next_value::<IgnoredAny>()?;
            }
        }
        Ok(who)
    }

    fn tell(&self, sink: &mut dyn Sink) {
        let Some((_, addresses)) = &self.whom else {
            return sink.nobody(&format!("{{{}}}", self.members));
        };
        let port = self.port.as_ref().map(|(_, port)| port.trim());
        let name = self.name.as_ref().map(|(_, name)| name.trim());
        let name = name.filter(|name| !name.is_empty());
        let remark = name.map_or_else(String::new, |name| format!(" # {name}"));
        for address in addresses {
            let place = at_port(address.trim(), port);
            sink.entry(&format!("{place}{}{remark}", self.options));
        }
    }
}

/// Keeps the best that was said.
fn better<T>(known: &mut Option<(usize, T)>, rank: usize, said: Option<T>) {
    if let Some(said) = said
        && known.as_ref().is_none_or(|(before, _)| rank < *before)
    {
        *known = Some((rank, said));
    }
}

fn rank(names: &[&str], name: &str) -> Option<usize> {
    names.iter().position(|known| *known == name)
}

/// The option of a list that a member is.
fn option(name: &str) -> Option<&'static str> {
    Some(match name {
        "weight" => "weight",
        "tier" => "tier",
        "maxconnections" => "max_connections",
        "backup" => "backup",
        _ => return None,
    })
}

/// The name of a member in lower case, without `_` and `-`; empty where it is too long to be known.
fn plain(name: &str) -> String {
    if name.len() > MOST_NAME_BYTES {
        return String::new();
    }
    let letters = name.chars().filter(|c| !matches!(c, '_' | '-'));
    letters.map(|c| c.to_ascii_lowercase()).collect()
}

/// An address with the port that its object has, unless it has one itself.
fn at_port(address: &str, port: Option<&str>) -> String {
    let Some(port) = port else {
        return address.to_owned();
    };
    let colons = address.matches(':').count();
    // Whoever writes more than an address means a line of a list.
    if address.contains(['#', ' ']) || address.contains("]:") || address.contains("://") || colons == 1 {
        return address.to_owned();
    }
    if colons > 1 && !address.starts_with('[') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}

/// A value as texts: one, or those of an array; others are passed over.
struct Scalars {
    within_array: bool,
}

impl<'de> DeserializeSeed<'de> for Scalars {
    type Value = Vec<String>;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<Vec<String>, D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Scalars {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a number")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Vec<String>, E> {
        Ok(vec![value.to_string()])
    }

    fn visit_i64<E>(self, value: i64) -> Result<Vec<String>, E> {
        Ok(vec![value.to_string()])
    }

    fn visit_u64<E>(self, value: u64) -> Result<Vec<String>, E> {
        Ok(vec![value.to_string()])
    }

    fn visit_f64<E>(self, value: f64) -> Result<Vec<String>, E> {
        Ok(vec![value.to_string()])
    }

    fn visit_unit<E>(self) -> Result<Vec<String>, E> {
        Ok(Vec::new())
    }

    fn visit_str<E>(self, text: &str) -> Result<Vec<String>, E> {
        Ok(vec![text.to_owned()])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Vec<String>, A::Error> {
        let mut all = Vec::new();
        if self.within_array {
            while array.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(all);
        }
        while let Some(texts) = array.next_element_seed(Self { within_array: true })? {
            all.extend(texts);
        }
        Ok(all)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Vec<String>, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::pointer_tokens;

    #[derive(Default)]
    struct Lines(Vec<String>);

    impl Sink for Lines {
        fn entry(&mut self, line: &str) {
            self.0.push(line.to_owned());
        }

        fn nobody(&mut self, shown: &str) {
            self.0.push(format!("nobody: {shown}"));
        }
    }

    fn read(text: &str, pointer: &str) -> Result<Vec<String>, Fault> {
        let mut lines = Lines::default();
        let tokens = pointer_tokens(pointer).expect("a pointer");
        entries(text.as_bytes(), &tokens, &mut lines).map(|()| lines.0)
    }

    fn lines(value: &serde_json::Value, pointer: &str) -> Vec<String> {
        read(&value.to_string(), pointer).expect("entries")
    }

    #[test]
    fn texts_are_lines_of_a_list() {
        let texts = json!(["192.0.2.1:80", "a.example weight=3 # one"]);
        assert_eq!(lines(&texts, ""), ["192.0.2.1:80", "a.example weight=3 # one"]);
        let inside = json!({ "n": 1, "data": { "x": [[]], "ips": ["192.0.2.1"] }, "z": {} });
        assert_eq!(lines(&inside, "/data/ips"), ["192.0.2.1"]);
        let third = json!({ "a": [1, { "ips": ["no"] }, { "ips": ["192.0.2.1"] }, 4] });
        assert_eq!(lines(&third, "/a/2/ips"), ["192.0.2.1"]);
        let text = json!({ "list": "192.0.2.1\n192.0.2.2 # two\n" });
        assert_eq!(lines(&text, "/list"), ["192.0.2.1", "192.0.2.2 # two"]);
        assert_eq!(
            read("\u{feff}[\"192.0.2.1\"]", "").expect("a mark"),
            ["192.0.2.1"]
        );
        assert!(lines(&json!([]), "").is_empty());
    }

    #[test]
    fn objects_say_whom_where_and_how() {
        let all = json!([
            { "ip": "192.0.2.1", "port": 8443, "id": 7, "name": "hk1" },
            { "address": "2001:db8::1", "port": "443", "weight": 3, "backup": true },
            { "Host": "a.example:8080", "port": 1, "tier": 2, "max-connections": 20, "backup": false },
            { "server": "[2001:db8::2]:1", "port": 2 },
            { "ip_prefix": "198.51.100.0/24", "port": 443 },
            { "ipv6Prefix": "2001:db8::/64", "service": "x" },
            { "url": "x", "target": "https://192.0.2.9/x", "port": 1 },
        ]);
        let expected = [
            "192.0.2.1:8443 # hk1",
            "[2001:db8::1]:443 backup weight=3",
            "a.example:8080 max_connections=20 tier=2",
            "[2001:db8::2]:1",
            "198.51.100.0/24:443",
            "2001:db8::/64",
            "https://192.0.2.9/x",
        ];
        assert_eq!(lines(&all, ""), expected);
        assert_eq!(
            lines(&json!({ "one": { "ip": "192.0.2.1" } }), "/one"),
            ["192.0.2.1"]
        );
    }

    /// As catalogues of services have them: the address of the service goes before that of its machine, if there is one.
    #[test]
    fn objects_of_catalogues_are_understood() {
        let all = json!([
            { "Node": "a", "Address": "192.0.2.1", "ServiceAddress": "", "ServicePort": 80, "ServiceTags": ["x"] },
            { "Node": "b", "Address": "192.0.2.1", "ServiceAddress": "192.0.2.2", "ServicePort": 81 },
            { "targets": ["192.0.2.3:9100", "192.0.2.4:9100", 7, ["no"], {}], "labels": { "name": "no" } },
            { "ip": "192.0.2.5", "port": 0 },
        ]);
        let expected = [
            "192.0.2.1:80",
            "192.0.2.2:81",
            "192.0.2.3:9100",
            "192.0.2.4:9100",
            "7",
            "192.0.2.5",
        ];
        assert_eq!(lines(&all, ""), expected);
    }

    #[test]
    fn what_names_nobody_is_shown() {
        let all = json!([1, -1, 1.5, true, null, "", ["192.0.2.1"], { "id": 7, "ip": null }, {}]);
        let shown = [
            "1", "-1", "1.5", "true", "null", "\"\"", "[...]", "{id, ip}", "{}",
        ];
        assert_eq!(lines(&all, ""), shown.map(|text| format!("nobody: {text}")));
    }

    #[test]
    fn pointers_lead_to_entries_or_it_is_said() {
        for (text, pointer, fault) in [
            ("{}", "/a", Fault::Nothing),
            ("[[1]]", "/1", Fault::Nothing),
            ("[[\"192.0.2.1\"]]", "/00", Fault::Nothing),
            ("{\"a\": 1}", "/a/b", Fault::Nothing),
            ("{\"a\": 1}", "/a", Fault::NoArray),
            ("null", "", Fault::NoArray),
        ] {
            assert_eq!(read(text, pointer), Err(fault), "{text} {pointer}");
        }
        for wrong in ["", "<html>", "[\"192.0.2.1\"", "[] []", "{\"a\": [}", "['a']"] {
            assert!(matches!(read(wrong, ""), Err(Fault::NoJson(_))), "{wrong}");
        }
        let twice = "{\"a\": [\"192.0.2.1\"], \"a\": [\"192.0.2.2\"]}";
        assert_eq!(read(twice, "/a").expect("entries"), ["192.0.2.1"]);
    }

    /// A document that is nested without end is refused and costs no stack.
    #[test]
    fn what_is_nested_without_end_is_refused() {
        for (open, pointer) in [("[", ""), ("{\"a\":", ""), ("[", "/0/0"), ("{\"a\":", "/a/a")] {
            let text = open.repeat(100_000);
            assert!(matches!(read(&text, pointer), Err(Fault::NoJson(_))), "{open}");
        }
    }
}

//! What an answer says: a list, or why it is none. Pure.

use super::json::{self, Sink};
use crate::candidates::list_file::{self, Entries};
use crate::candidates::{BadLine, List, ListErrors};
use crate::config::{ListFormat, pointer_tokens};
use crate::service::provided::RemoteList;

/// Bad entries that are told one by one; of more, the number is given.
const TOLD: usize = 3;

/// What stands in one document.
#[derive(Debug)]
pub struct Document {
    /// What it says.
    pub list: List,
    /// What people should know of it, a line each.
    pub remarks: Vec<String>,
}

/// Reads what a server has sent.
///
/// # Errors
/// Why it is no list, in words.
pub fn read(bytes: &[u8], asked: &RemoteList) -> Result<Document, String> {
    let unit = match asked.http.format {
        ListFormat::List => "line",
        ListFormat::Json => "entry",
    };
    let list = match asked.http.format {
        ListFormat::List => read_list(bytes, asked),
        ListFormat::Json => read_json(bytes, asked),
    }?;
    let list = list.map_err(|errors| in_words(&errors, unit))?;
    let remarks = list.account.remarks_on(unit).collect();
    Ok(Document { list, remarks })
}

fn read_list(bytes: &[u8], asked: &RemoteList) -> Result<Result<List, ListErrors>, String> {
    // What servers say instead of a list is often a page, with status 200 too; lines of it may look like entries.
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if text.trim_ascii_start().starts_with(b"<") {
        return Err("what it sends is a page of HTML or XML, and no list".to_owned());
    }
    list_file::read(bytes, asked.rules).map_err(|error| error.to_string())
}

fn read_json(bytes: &[u8], asked: &RemoteList) -> Result<Result<List, ListErrors>, String> {
    let pointer = asked.http.pointer.as_str();
    let place = if pointer.is_empty() {
        "the whole of it".to_owned()
    } else {
        format!("what is at {pointer}")
    };
    let mut entries = Entries::new(asked.rules);
    // Checked with the configuration.
    let tokens = pointer_tokens(pointer).unwrap_or_default();
    match json::entries(bytes, &tokens, &mut entries) {
        Ok(()) => Ok(entries.finish()),
        Err(json::Fault::NoJson(why)) => Err(format!("what it sends is no JSON: {why}")),
        Err(json::Fault::Nothing) => Err(format!("there is nothing at {pointer} in what it sends")),
        Err(json::Fault::NoArray) => Err(format!("{place} is neither an array, nor an object, nor a text")),
    }
}

impl Sink for Entries {
    fn entry(&mut self, line: &str) {
        Self::entry(self, line);
    }

    fn nobody(&mut self, shown: &str) {
        Self::nobody(self, shown);
    }
}

/// On one line.
fn in_words(errors: &ListErrors, unit: &str) -> String {
    match errors {
        ListErrors::Empty => "what it sends holds no candidate".to_owned(),
        ListErrors::Lines { bad, unreported } => {
            let told: Vec<String> = bad
                .iter()
                .take(TOLD)
                .map(|bad: &BadLine| bad.told(unit))
                .collect();
            let beyond = u64::try_from(bad.len().saturating_sub(TOLD)).unwrap_or(u64::MAX);
            let more = match beyond.saturating_add(*unreported) {
                0 => String::new(),
                more => format!("; and {more} more"),
            };
            format!("what it sends is no list: {}{more}", told.join("; "))
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::candidates::{HostNames, Rules};
    use crate::config::{HttpProvider, HttpUrl, OnBadLine};

    /// A list at a URL.
    pub(in crate::providers::http) fn list_at(url: &str, format: ListFormat, pointer: &str) -> RemoteList {
        RemoteList {
            url: HttpUrl::parse(url).expect(url),
            http: HttpProvider {
                format,
                pointer: pointer.to_owned(),
                ..HttpProvider::default()
            },
            rules: Rules {
                default_port: 443,
                on_bad_line: OnBadLine::Error,
                host_names: HostNames::Collected,
            },
            origination: None,
        }
    }

    fn read_as(text: &str, format: ListFormat, pointer: &str) -> Result<Document, String> {
        read(text.as_bytes(), &list_at("http://a.example/", format, pointer))
    }

    #[test]
    fn lists_have_every_form_and_names_beside_addresses() {
        let text = "\u{feff}192.0.2.1:80 weight=2 # one\nedge.example.org\n198.51.100.0/24\n";
        let document = read_as(text, ListFormat::List, "").expect("a list");
        assert_eq!(document.list.set.len(), 1 + 254);
        let hosts: Vec<(&str, u16)> = document
            .list
            .hosts
            .iter()
            .map(|host| (host.name.as_str(), host.port))
            .collect();
        assert_eq!(hosts, [("edge.example.org", 443)]);
        assert!(document.remarks.is_empty());
    }

    #[test]
    fn json_is_read_by_its_pointer() {
        let text = "{\"data\": {\"ips\": [\"192.0.2.1\", {\"ip\": \"192.0.2.2\", \"port\": 80, \"name\": \"two\"}]}}";
        let document = read_as(text, ListFormat::Json, "/data/ips").expect("a list");
        let mut addrs: Vec<String> = (0..2)
            .filter_map(|index| document.list.set.at(index))
            .map(|addr| addr.to_string())
            .collect();
        addrs.sort();
        assert_eq!(addrs, ["192.0.2.1:443", "192.0.2.2:80"]);
    }

    #[test]
    fn what_is_no_list_says_why_on_one_line() {
        let bad = "192.0.2.1\noops oops\n1.2.3\nx=y\n192.0.2.*\n";
        let json = "[\"192.0.2.1\", {\"id\": 1}, \"1.2.3\"]";
        for (text, format, pointer, why) in [
            ("", ListFormat::List, "", "holds no candidate"),
            (
                "\n <!DOCTYPE html>\n192.0.2.1\n",
                ListFormat::List,
                "",
                "a page of HTML or XML",
            ),
            ("{\"error\": \"no\"}", ListFormat::List, "", "no list: line 1"),
            (bad, ListFormat::List, "", "; and 1 more"),
            (json, ListFormat::Json, "", "no list: entry 2: `{id}`: neither"),
            ("[]", ListFormat::Json, "", "holds no candidate"),
            ("<html>", ListFormat::Json, "", "no JSON: expected value"),
            ("{}", ListFormat::Json, "/a/b", "nothing at /a/b"),
            ("{\"a\": 1}", ListFormat::Json, "/a", "what is at /a is neither"),
            ("7", ListFormat::Json, "", "the whole of it is neither"),
        ] {
            let said = read_as(text, format, pointer).expect_err(text);
            assert!(said.contains(why) && !said.contains('\n'), "{text:?}: {said}");
        }
    }

    #[test]
    fn bad_entries_are_skipped_where_that_is_wanted() {
        let mut list = list_at("http://a.example/", ListFormat::Json, "");
        list.rules.on_bad_line = OnBadLine::Skip;
        let document = read(b"[\"192.0.2.1\", {\"id\": 1}, \"192.0.2.2#80\"]", &list).expect("a list");
        assert_eq!(document.list.set.len(), 2);
        let [warning, skipped] = &document.remarks[..] else {
            panic!("{:?}", document.remarks);
        };
        assert!(warning.starts_with("entry 3: `192.0.2.2#80`"), "{warning}");
        assert!(skipped.starts_with("skipped, entry 2: `{id}`"), "{skipped}");
    }
}

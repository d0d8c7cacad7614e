use std::fmt::Write as _;
use std::io::Write as _;

use super::super::account::Assumed;
use super::super::problem::Problem;
use super::super::reading::REPORTED_BOUND;
use super::*;
use crate::config::OnBadLine;

fn read_with(bytes: &[u8], rules: Rules) -> Result<List, ListErrors> {
    read(bytes, rules).expect("memory can be read")
}

fn list(text: &str) -> List {
    read_with(text.as_bytes(), Rules::strict(80)).unwrap_or_else(|errors| panic!("{text}: {errors}"))
}

fn from_bytes(bytes: &[u8]) -> Result<CandidateSet, ListErrors> {
    read_with(bytes, Rules::strict(80)).map(|list| list.set)
}

fn bad_lines(bytes: &[u8]) -> Vec<(u64, Problem)> {
    match from_bytes(bytes).expect_err("bad") {
        ListErrors::Lines { bad, .. } => bad.iter().map(|bad| (bad.line, bad.problem)).collect(),
        ListErrors::Empty => panic!("not empty"),
    }
}

#[test]
fn comments_blank_lines_byte_order_mark_and_crlf_are_fine() {
    let text = b"\xef\xbb\xbf10.0.0.1\r\n\r\n# all of this\r\n  10.0.0.2:81   # trailing\r\n\t\n10.0.0.3#x\n\xa3#no\n";
    assert_eq!(bad_lines(text), [(7, Problem::NotUtf8)]);
    let text =
        b"\xef\xbb\xbf10.0.0.1\r\n\r\n# all of this\r\n  10.0.0.2:81   # trailing \xa3\r\n\t\n10.0.0.3#x";
    let set = from_bytes(text).expect("good");
    assert_eq!(set.len(), 3);
    assert!(set.contains(&"10.0.0.2:81".parse().expect("address")));
}

#[test]
fn all_bad_lines_are_reported_with_their_numbers() {
    let text = b"10.0.0.1\nnonsense\n10.0.0.2:0\n\n# fine\n10.0.0.0/40\n\xff\xfe\n10.0.0.3";
    assert_eq!(
        bad_lines(text),
        [
            (2, Problem::NoAddress),
            (3, Problem::Port),
            (6, Problem::Prefix(32)),
            (7, Problem::NotUtf8)
        ]
    );
    let message = from_bytes(text).expect_err("bad").to_string();
    assert_eq!(message.lines().count(), 4);
    assert!(
        message.contains("line 3: `10.0.0.2:0`: the port must be a number from 1 to 65535"),
        "{message}"
    );
}

#[test]
fn a_list_without_candidates_says_so() {
    for text in ["", "\n\n", "# only\n#comments", "\u{feff}"] {
        let errors = parse(text, 80).expect_err("empty");
        assert_eq!(errors, ListErrors::Empty);
        assert!(errors.to_string().contains("no candidate"));
    }
}

#[test]
fn long_lines_and_binary_files_stay_bounded() {
    let mut text = vec![b'1'; 1 << 20];
    text.extend_from_slice(b"\n10.0.0.1\n#");
    text.extend(vec![b'x'; 1 << 20]);
    assert_eq!(bad_lines(&text), [(1, Problem::TooLong)]);

    let text = vec![b'\n'; 3];
    let text = [
        b"\x00\x01".as_slice(),
        &text,
        "\u{1b}[31mé".repeat(100).as_bytes(),
    ]
    .concat();
    let Err(ListErrors::Lines { bad, .. }) = from_bytes(&text) else {
        panic!("bad")
    };
    assert_eq!(bad.len(), 2);
    assert!(
        bad[1].text.chars().count() < 400 && !bad[1].text.contains('\u{1b}'),
        "{}",
        bad[1].text
    );

    let many = "x\n".repeat(REPORTED_BOUND + 7);
    let Err(ListErrors::Lines { bad, unreported }) = parse(&many, 80) else {
        panic!("bad")
    };
    assert_eq!((bad.len(), unreported), (REPORTED_BOUND, 7));
}

#[test]
fn many_lines_are_read_and_merged() {
    let mut text = String::new();
    for number in 0..60_000_u32 {
        let ip = std::net::Ipv4Addr::from_bits(0x0a00_0000 + number * 2);
        writeln!(text, "{ip}").expect("a string grows");
    }
    let set = parse(&text, 80).expect("good");
    assert_eq!((set.len(), set.range_count()), (60_000, 60_000));
    let set = parse(&text.replace('\n', "/31\n"), 80).expect("good");
    assert_eq!((set.len(), set.range_count()), (120_000, 1));
}

#[test]
fn a_file_is_unreadable_or_bad_or_good() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    let load_now = |path: &Path| load(path, Rules::strict(80)).map(|list| list.set);
    let error = load_now(file.path()).expect_err("empty");
    assert!(
        matches!(
            error,
            LoadError::Bad {
                errors: ListErrors::Empty,
                ..
            }
        ),
        "{error}"
    );
    writeln!(file, "10.0.0.1\noops\n10.0.0.2:x").expect("written");
    let message = load_now(file.path()).expect_err("bad").to_string();
    let name = file.path().display().to_string();
    assert_eq!(
        message.lines().filter(|line| line.starts_with(&name)).count(),
        2,
        "{message}"
    );
    std::fs::write(file.path(), "10.0.0.1").expect("written");
    assert_eq!(load_now(file.path()).expect("good").len(), 1);

    let folder = tempfile::tempdir().expect("a folder");
    for path in [folder.path().to_owned(), folder.path().join("missing")] {
        let error = load_now(&path).expect_err("unreadable");
        assert!(matches!(error, LoadError::Unreadable { .. }), "{error}");
    }
}

/// All candidates with their names, options where they have some.
fn told(list: &List) -> Vec<String> {
    let one = |index| {
        let addr = list.set.at(index).expect("in range");
        let mut told = addr.to_string();
        if let Some(name) = list.set.name_of(&addr) {
            write!(told, " {name}").expect("a string grows");
        }
        let options = list.set.options_of(&addr);
        if options != crate::candidates::EntryOptions::default() {
            let limit = options.max_connections.map_or(0, std::num::NonZeroU32::get);
            write!(told, " ({} {} {limit})", options.weight, options.tier).expect("a string grows");
        }
        told
    };
    (0..list.set.len()).map(one).collect()
}

/// Forms that lists in the wild have, and what each says.
const WILD: &[(&str, &[&str])] = &[
    ("192.0.2.1:443#HK", &["192.0.2.1:443 HK"]),
    ("192.0.2.1#香港 01", &["192.0.2.1:80 香港 01"]),
    ("192.0.2.1 443", &["192.0.2.1:443"]),
    ("192.0.2.1\t443\tHK", &["192.0.2.1:443"]),
    ("192.0.2.1|443|HK", &["192.0.2.1:443"]),
    ("192.0.2.1,443", &["192.0.2.1:443"]),
    (
        "192.0.2.1, 192.0.2.2:443; [::1]:1 ",
        &["192.0.2.1:80", "192.0.2.2:443", "[::1]:1"],
    ),
    ("192.0.2.1 192.0.2.2:443", &["192.0.2.1:80", "192.0.2.2:443"]),
    ("192.0.2.1-3", &["192.0.2.1:80", "192.0.2.2:80", "192.0.2.3:80"]),
    ("192.0.2.1 - 192.0.2.2", &["192.0.2.1:80", "192.0.2.2:80"]),
    (
        "192.0.2.1 - 2:443 name=a",
        &["192.0.2.1:443 a", "192.0.2.2:443 a"],
    ),
    ("192.0.2.0/30 443", &["192.0.2.1:443", "192.0.2.2:443"]),
    ("- 192.0.2.1", &["192.0.2.1:80"]),
    ("- \"192.0.2.1:443\" # HK", &["192.0.2.1:443 HK"]),
    (
        "[\n  \"192.0.2.1\",\n  \"192.0.2.2:443\"\n]",
        &["192.0.2.1:80", "192.0.2.2:443"],
    ),
    (
        "[\"192.0.2.1\", \"192.0.2.2:443\"]",
        &["192.0.2.1:80", "192.0.2.2:443"],
    ),
    (
        "IP 地址,已发送,已接收,丢包率,平均延迟,下载速度 (MB/s)\n192.0.2.1,4,4,0.00,58.63,12.51\n192.0.2.2,4,3,0.25,80.1,0",
        &["192.0.2.1:80", "192.0.2.2:80"],
    ),
    (
        "IP地址,端口,TLS,数据中心\n192.0.2.1,2053,true,HKG",
        &["192.0.2.1:2053"],
    ),
    (
        "\"city\",\"ip\",\"port\"\n\"Hong Kong, 1\",\"192.0.2.1\",\"8443\"",
        &["192.0.2.1:8443"],
    ),
    ("ip\n192.0.2.1", &["192.0.2.1:80"]),
    ("https://192.0.2.1/", &["192.0.2.1:443"]),
    (
        "vless://5fc@192.0.2.1:2053?security=tls&sni=a.example#%F0%9F%87%BA%F0%9F%87%B8%20US",
        &["192.0.2.1:2053 🇺🇸 US"],
    ),
    (
        "trojan://pw@[2001:db8::1]:443?x=y#100%",
        &["[2001:db8::1]:443 100%"],
    ),
    (
        "192.0.2.1 weight=3 backup name=hk1 max_connections=9",
        &["192.0.2.1:80 hk1 (3 1 9)"],
    ),
    (
        "192.0.2.1:443 name=\"Hong Kong, 1\"#other",
        &["192.0.2.1:443 Hong Kong, 1"],
    ),
    (
        "192.0.2.1 tier=2, 192.0.2.2 weight=9",
        &["192.0.2.1:80 (1 2 0)", "192.0.2.2:80 (9 0 0)"],
    ),
    ("// note\n; note\n# note\n192.0.2.1", &["192.0.2.1:80"]),
];

#[test]
fn forms_of_the_wild_say_what_their_writers_meant() {
    for (text, expected) in WILD {
        let list = list(text);
        assert_eq!(told(&list), *expected, "{text}");
        assert_eq!(list.account.warnings, [], "{text}");
    }
}

#[test]
fn what_is_wrong_says_what_to_write() {
    for (text, part, problem) in [
        ("192.0.2.*", "192.0.2.*", Problem::Wildcard),
        ("vmess://eyJ2IjoiMiJ9", "vmess://eyJ2IjoiMiJ9", Problem::Url),
        (
            "{\"ip\": \"192.0.2.1\", \"port\": 443}",
            "{\\\"ip\\\":",
            Problem::Json,
        ),
        ("example.com:443", "example.com:443", Problem::HostName),
        (
            "192.0.2.1, https://example.com",
            "https://example.com",
            Problem::HostName,
        ),
        ("192.0.2.1:443 443", "192.0.2.1:443 443", Problem::SecondPort),
        ("192.0.2.1 HK", "HK", Problem::Word),
        ("192.0.2.1 weight=0", "weight=0", Problem::Weight),
        ("192.0.2.1 weight=65536", "weight=65536", Problem::Weight),
        ("192.0.2.1 tier=-1", "tier=-1", Problem::Tier),
        (
            "192.0.2.1 max_connections=0",
            "max_connections=0",
            Problem::MaxConnections,
        ),
        ("192.0.2.1 wieght=2", "wieght=2", Problem::Option),
        ("weight=2 192.0.2.1", "weight=2", Problem::NoEntryBefore),
        ("192.0.2.1, backup", "backup", Problem::NoEntryBefore),
        ("192.0.2.1 name=\"a", "192.0.2.1 name=\\\"a", Problem::Quote),
        ("192.0.2.1, 192.0.2.300", "192.0.2.300", Problem::NoAddress),
        (
            "192.0.2.9 - 192.0.2.1",
            "192.0.2.9 - 192.0.2.1",
            Problem::Backwards,
        ),
        ("192.0.2.1 0", "192.0.2.1 0", Problem::Port),
        ("ip,port\n192.0.2.1,x", "x", Problem::Port),
        ("oops, what\n192.0.2.1", "oops", Problem::NoAddress),
        ("192.0.2.1\noops|what", "oops", Problem::NoAddress),
    ] {
        let Err(ListErrors::Lines { bad, .. }) = read_with(text.as_bytes(), Rules::strict(80)) else {
            panic!("{text}: not refused")
        };
        let found: Vec<_> = bad.iter().map(|bad| (bad.text.as_str(), bad.problem)).collect();
        assert_eq!(found, [(part, problem)], "{text}");
    }
}

#[test]
fn what_is_ambiguous_is_taken_with_a_warning() {
    for (text, expected, line, assumed) in [
        ("192.0.2.1#7865", "192.0.2.1:80 7865", 1, Assumed::Remark(7865)),
        (
            "192.0.2.2:1\n192.0.2.1 # 443",
            "192.0.2.1:80 443",
            2,
            Assumed::Remark(443),
        ),
        ("::1:8585", "[::1:8585]:80", 1, Assumed::Group(8585)),
        ("192.0.2.1,443,HK", "192.0.2.1:443", 1, Assumed::RowWithPort(1, 2)),
        ("192.0.2.1,4,4,0.00,58.63,1.2", "192.0.2.1:80", 1, Assumed::NoPort),
        ("HK;192.0.2.1\nUS;192.0.2.2", "192.0.2.1:80", 1, Assumed::Row(2)),
        (
            "192.0.2.1|192.0.2.2|HK",
            "192.0.2.1:80",
            1,
            Assumed::FirstAddress(1),
        ),
    ] {
        let list = list(text);
        assert!(
            told(&list).iter().any(|told| told == expected),
            "{text}: {:?}",
            told(&list)
        );
        let warnings = &list.account.warnings;
        let found: Vec<_> = warnings
            .iter()
            .map(|warning| (warning.line, warning.assumed))
            .collect();
        assert_eq!(found, [(line, assumed)], "{text}");
        assert!(!warnings[0].to_string().contains('\n'));
    }
    for text in [
        "192.0.2.1:1#443",
        "192.0.2.1#443a",
        "192.0.2.1#0",
        "[::1:8585]",
        "https://192.0.2.1#443",
    ] {
        assert_eq!(list(text).account.warnings, [], "{text}");
    }
    let many = list(&"192.0.2.1#443\n".repeat(100));
    assert_eq!(
        (many.account.warnings.len(), many.account.more_warnings),
        (20, 80)
    );
    assert_eq!(many.account.remarks().count(), 21);
}

#[test]
fn all_forms_may_stand_in_one_file() {
    let text: Vec<&str> = WILD
        .iter()
        .map(|(text, _)| *text)
        .filter(|text| !text.starts_with("ip"))
        .collect();
    let mixed = list(&text.join("\n"));
    let mut expected: Vec<String> = Vec::new();
    for text in text {
        let alone = list(text);
        expected.extend((0..alone.set.len()).map(|at| alone.set.at(at).expect("in range").to_string()));
    }
    for addr in expected {
        assert!(mixed.set.contains(&addr.parse().expect("an address")), "{addr}");
    }
    assert_eq!(mixed.account.warnings, []);
}

#[test]
fn remarks_of_any_encoding_are_told_from_addresses() {
    // GBK: not kept as a name, and no reason to refuse the address.
    let list = read_with(
        b"192.0.2.1:443#\xcf\xe3\xb8\xdb\n192.0.2.2#HK\x1b[31m\n",
        Rules::strict(80),
    )
    .expect("good");
    assert_eq!(told(&list), ["192.0.2.2:80 HK[31m", "192.0.2.1:443"]);
    let table = b"IP \xb5\xd8\xd6\xb7,\xb6\xcb\xbf\xda,port\n192.0.2.1,\xcf\xe3,443";
    assert_eq!(
        told(&read_with(table, Rules::strict(80)).expect("good")),
        ["192.0.2.1:443"]
    );
    let utf16: Vec<u8> = "\u{feff}192.0.2.1#香港\r\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    assert_eq!(
        told(&read_with(&utf16, Rules::strict(80)).expect("good")),
        ["192.0.2.1:80 香港"]
    );
    assert_eq!(bad_lines(b"192.0.2.1 \xcf\xe3"), [(1, Problem::NotUtf8)]);
    // UTF-16 without its mark.
    assert_eq!(bad_lines(b"1\x00.\x00"), [(1, Problem::NotUtf8)]);
}

#[test]
fn bad_lines_are_skipped_if_that_is_wanted_and_others_are_good() {
    let rules = Rules {
        on_bad_line: OnBadLine::Skip,
        ..Rules::strict(80)
    };
    let text = format!("192.0.2.1\n{}192.0.2.2", "oops\n".repeat(30));
    let list = read_with(text.as_bytes(), rules).expect("two good lines");
    assert_eq!(list.set.len(), 2);
    assert_eq!((list.account.skipped.len(), list.account.more_skipped), (20, 10));
    assert!(
        list.account
            .remarks()
            .next()
            .expect("one")
            .starts_with("skipped, line 2: `oops`: not an address")
    );
    let errors = read_with(b"oops\n\n", rules).expect_err("no good line");
    assert!(
        matches!(errors, ListErrors::Lines { ref bad, .. } if bad.len() == 1),
        "{errors}"
    );
    assert_eq!(read_with(b"\n# x", rules), Err(ListErrors::Empty));
}

#[test]
fn host_names_are_collected_if_that_is_wanted() {
    let rules = Rules::with_names(80);
    let text = "a.example:443 weight=2#one\n\nhttps://b.example/x\nlocalhost\n";
    let list = read_with(text.as_bytes(), rules).expect("good");
    assert!(list.set.is_empty());
    let found: Vec<_> = list
        .hosts
        .iter()
        .map(|host| (host.name.as_str(), host.port))
        .collect();
    assert_eq!(found, [("a.example", 443), ("b.example", 443), ("localhost", 80)]);
    assert_eq!(
        list.hosts[0].stated.weight.map(std::num::NonZeroU16::get),
        Some(2)
    );
    assert_eq!(list.hosts[0].remark.as_deref(), Some("one"));
    let mixed = read_with(b"192.0.2.1 a.example", rules).expect("good");
    assert_eq!((mixed.set.len(), mixed.hosts.len()), (1, 1));
}

#[test]
fn entries_are_counted_by_their_kinds() {
    let list =
        list("192.0.2.1#a\n192.0.2.2 weight=2\n192.0.2.0/24\n192.0.2.1-3\nhttps://192.0.2.1#b\n::/64 name=c");
    assert_eq!(
        list.account.counts.to_string(),
        "2 addresses, 2 networks, 1 range, 1 URL; 3 with a name, 1 with options"
    );
}

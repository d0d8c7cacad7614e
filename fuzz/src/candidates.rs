//! A candidate list against one that is read and counted the slow way, where its lines are plain; and any list against
//! itself: in another encoding, through a narrow buffer, with its bad lines skipped, united with itself.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tcp_forwarder::candidates::{CandidateSet, HostNames, List, ListErrors, Rules, Sampler, list_file};
use tcp_forwarder::config::OnBadLine;

use super::choices::Choices;

/// First of the addresses that stand for IPv4 ones, and how many they are.
const MAPPED: u128 = 0xffff_0000_0000;
const MAPPED_COUNT: u128 = 1 << 32;

/// Lines that are longer are refused unread.
const LONGEST_LINE: usize = 64 * 1024;

/// Bytes of a name at most.
const LONGEST_NAME: usize = 120;

/// Sets up to this size are walked over completely.
const SMALL: u128 = 512;

/// Reads a list; the first bytes are a port and where random numbers begin.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let (Some(port), Some(seed)) = (choices.byte(), choices.byte()) else {
        return;
    };
    let Some(text) = choices.text() else {
        return;
    };
    let port = u16::from(port) + 1;
    relate(text, port);
    let Some(model) = Model::read(text, port) else {
        return;
    };
    match CandidateSet::parse(text, port) {
        Ok(set) => {
            assert!(model.bad.is_empty(), "lines {:?} were accepted", model.bad);
            model.compare(&set, seed);
            sample(set, &mut fastrand::Rng::with_seed(seed.into()));
        }
        Err(errors) => {
            assert!(!errors.to_string().chars().any(|c| c != '\n' && c.is_control()));
            match errors {
                ListErrors::Empty => assert!(model.bad.is_empty() && model.ranges.is_empty()),
                ListErrors::Lines { bad, unreported } => {
                    assert_eq!(unreported, 0);
                    let lines: Vec<u64> = bad.iter().map(|bad| bad.line).collect();
                    assert_eq!(lines, model.bad);
                }
            }
        }
    }
}

fn read(source: impl BufRead, rules: Rules) -> Result<List, ListErrors> {
    // Reading from memory cannot fail.
    list_file::read(source, rules).unwrap_or(Err(ListErrors::Empty))
}

/// What holds of any text: how it comes changes nothing, and what is more lenient takes no less.
fn relate(text: &str, port: u16) {
    let strict = Rules::strict(port);
    let lenient = Rules {
        on_bad_line: OnBadLine::Skip,
        host_names: HostNames::Collected,
        ..strict
    };
    for rules in [strict, lenient] {
        let whole = read(text.as_bytes(), rules);
        let narrow = read(BufReader::with_capacity(1, text.as_bytes()), rules);
        assert_eq!(whole, narrow, "through a narrow buffer");
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        // A mark in front of a mark would be a part of the text.
        if !text.starts_with('\u{feff}') && text.lines().all(|line| line.len() < LONGEST_LINE) {
            let units = "\u{feff}".encode_utf16().chain(text.encode_utf16());
            let utf16: Vec<u8> = units.flat_map(u16::to_be_bytes).collect();
            assert_eq!(whole, read(utf16.as_slice(), rules), "in UTF-16");
        }
        let Ok(list) = whole else {
            continue;
        };
        for index in (0..SMALL).map_while(|index| list.set.at(index)) {
            let name = list.set.name_of(&index).unwrap_or_default();
            assert!(
                name.len() <= LONGEST_NAME && !name.contains(char::is_control),
                "{name:?}"
            );
        }
        assert_eq!(CandidateSet::union([&list.set, &list.set]), list.set);
        let counts = list.account.counts;
        assert_eq!(usize::try_from(counts.hosts), Ok(list.hosts.len()));
        assert!(
            list.account
                .remarks()
                .all(|remark| !remark.contains(char::is_control))
        );
    }
    if let Ok(list) = read(text.as_bytes(), strict) {
        assert_eq!(
            read(text.as_bytes(), lenient),
            Ok(list),
            "nothing to be lenient about"
        );
    }
}

/// Addresses of one family and port, first and last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Range {
    is_v6: bool,
    port: u16,
    first: u128,
    last: u128,
}

impl Range {
    fn member(self, offset: u128) -> SocketAddr {
        let bits = self.first + offset;
        let ip = if self.is_v6 {
            IpAddr::from(Ipv6Addr::from_bits(bits))
        } else {
            IpAddr::from(Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX)))
        };
        SocketAddr::new(ip, self.port)
    }

    fn holds(self, address: &SocketAddr) -> bool {
        let bits = match address.ip() {
            IpAddr::V4(ip) => u128::from(ip.to_bits()),
            IpAddr::V6(ip) => ip.to_bits(),
        };
        self.is_v6 == address.is_ipv6()
            && self.port == address.port()
            && (self.first..=self.last).contains(&bits)
    }
}

struct Model {
    /// Sorted; none overlaps or touches another.
    ranges: Vec<Range>,
    /// Numbers of bad lines.
    bad: Vec<u64>,
}

impl Model {
    /// What a text says all of whose lines are plain: addresses and networks, one a line, with remarks.
    fn read(text: &str, default_port: u16) -> Option<Self> {
        let mut ranges = Vec::new();
        let mut bad = Vec::new();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (number, line) in (1..).zip(text.split('\n')) {
            let entry = line.split('#').next().unwrap_or(line);
            let is_plain = |c: char| c.is_ascii_hexdigit() || ".:/[]".contains(c);
            if !entry.trim().chars().all(is_plain) || entry.trim().starts_with("//") {
                return None;
            }
            match entry.trim() {
                _ if entry.len() > LONGEST_LINE => bad.push(number),
                "" | "[" | "]" => {}
                entry => match read_entry(entry, default_port) {
                    Some(found) => ranges.extend(found),
                    None => bad.push(number),
                },
            }
        }
        ranges.sort_unstable();
        let mut merged: Vec<Range> = Vec::new();
        for range in ranges {
            match merged.last_mut() {
                Some(last)
                    if (last.is_v6, last.port) == (range.is_v6, range.port)
                        && range.first <= last.last.saturating_add(1) =>
                {
                    last.last = last.last.max(range.last);
                }
                _ => merged.push(range),
            }
        }
        Some(Self { ranges: merged, bad })
    }

    fn len(&self) -> u128 {
        let lengths = self
            .ranges
            .iter()
            .map(|range| (range.last - range.first).saturating_add(1));
        lengths.fold(0, u128::saturating_add)
    }

    fn at(&self, mut index: u128) -> Option<SocketAddr> {
        for range in &self.ranges {
            if index <= range.last - range.first {
                return Some(range.member(index));
            }
            index -= range.last - range.first + 1;
        }
        None
    }

    fn compare(&self, set: &CandidateSet, seed: u8) {
        let len = self.len();
        assert_eq!(set.len(), len);
        assert_eq!(set.is_empty(), len == 0);
        assert_eq!(set.range_count(), self.ranges.len());
        let mut indices = vec![0, 1, len / 2, len - 1, len / 256 * u128::from(seed)];
        let mut before = 0_u128;
        for range in &self.ranges {
            indices.extend([before.saturating_sub(1), before]);
            before = before.saturating_add((range.last - range.first).saturating_add(1));
            for edge in [range.first, range.last] {
                for near in [edge.saturating_sub(1), edge, edge.saturating_add(1)] {
                    if range.is_v6 || near < MAPPED_COUNT {
                        let near = Range {
                            first: near,
                            ..*range
                        }
                        .member(0);
                        let near = SocketAddr::new(near.ip().to_canonical(), near.port());
                        let is_member = self.ranges.iter().any(|range| range.holds(&near));
                        assert_eq!(set.contains(&near), is_member, "{near}");
                    }
                }
            }
        }
        for index in indices.into_iter().filter(|index| *index < len) {
            let expected = self.at(index);
            assert_eq!(set.at(index), expected, "candidate {index}");
            let found = expected.and_then(|member| set.index_of(&member));
            assert_eq!(found, Some(index));
        }
        assert_eq!(set.at(len), None);
    }
}

/// What an entry stands for, `None` when it is bad.
fn read_entry(text: &str, default_port: u16) -> Option<Vec<Range>> {
    let (host, port, is_bracketed) = if let Some(inside) = text.strip_prefix('[') {
        let (host, behind) = inside.split_once(']')?;
        let port = match behind {
            "" => None,
            behind => Some(behind.strip_prefix(':')?),
        };
        (host, port, true)
    } else if text.matches(':').count() == 1 {
        let (host, port) = text.split_once(':')?;
        (host, Some(port), false)
    } else {
        (text, None, false)
    };
    let port = match port {
        Some(port) => digits(port, 65535).filter(|port| *port > 0)?,
        None => default_port,
    };
    let (ip, prefix) = match host.split_once('/') {
        Some((ip, prefix)) => (ip, Some(prefix)),
        None => (host, None),
    };
    let ip: IpAddr = ip.parse().ok()?;
    let (is_v6, bits, width) = match ip {
        IpAddr::V4(_) if is_bracketed => return None,
        IpAddr::V4(ip) => (false, u128::from(ip.to_bits()), 32),
        IpAddr::V6(ip) => (true, ip.to_bits(), 128),
    };
    let prefix = prefix.map_or(Some(width), |prefix| digits(prefix, width))?;
    let below = u32::from(width - prefix);
    let size_less_one = 1_u128.checked_shl(below).map_or(u128::MAX, |size| size - 1);
    let mut first = bits & !size_less_one;
    let mut last = first + size_less_one;
    if !is_v6 && prefix <= 30 {
        first += 1;
        last -= 1;
    }
    let range = Range {
        is_v6,
        port,
        first,
        last,
    };
    Some(if is_v6 { unmapped(range) } else { vec![range] })
}

/// A range of IPv6 without the addresses that stand for IPv4 ones, and those as IPv4.
fn unmapped(range: Range) -> Vec<Range> {
    let last_mapped = MAPPED + (MAPPED_COUNT - 1);
    let parts = [
        (range.first, range.last.min(MAPPED - 1), true),
        (range.first.max(MAPPED), range.last.min(last_mapped), false),
        (range.first.max(last_mapped + 1), range.last, true),
    ];
    let parts = parts.into_iter().filter(|(first, last, _)| first <= last);
    parts
        .map(|(first, last, is_v6)| {
            let offset = if is_v6 { 0 } else { MAPPED };
            Range {
                is_v6,
                first: first - offset,
                last: last - offset,
                ..range
            }
        })
        .collect()
}

fn digits(text: &str, most: u16) -> Option<u16> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let significant = text.trim_start_matches('0');
    let number = match significant {
        "" => 0,
        significant => significant.parse().ok()?,
    };
    (is_number && number <= most).then_some(number)
}

/// A walk visits members only, each once; of a small set all of them.
fn sample(set: CandidateSet, rng: &mut fastrand::Rng) {
    let set = Arc::new(set);
    let mut sampler = Sampler::new(Arc::clone(&set), rng);
    let mut seen = HashSet::new();
    let most = if set.len() <= SMALL { SMALL } else { 100 };
    while let Some(member) = sampler.next(rng) {
        assert!(set.contains(&member), "{member} is no candidate");
        assert!(seen.insert(member), "{member} came twice");
        if seen.len() as u128 >= most {
            break;
        }
    }
    if set.len() <= SMALL {
        assert_eq!(seen.len() as u128, set.len(), "a small set is visited completely");
    }
}

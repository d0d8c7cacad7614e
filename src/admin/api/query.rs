//! What a query says, parameter by parameter. Pure.
//!
//! As strict as the configuration: a parameter that is unknown, twice there or out of its range is refused in words.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::base::percent;

/// The most rows that anybody gets at once.
pub(super) const MOST_ROWS: usize = 10_000;

/// The most rows that can be passed by.
const FARTHEST: usize = 1_000_000;

/// The longest name of a service, in bytes.
const LONGEST_NAME: usize = 32;

/// The parameters of one request that were not taken yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads what follows the question mark.
    ///
    /// # Errors
    /// In words, when it cannot be read, or a parameter is there twice.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parameters: Vec<(String, String)> = Vec::new();
        for part in text.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let decoded =
                |text: &str| decode(text).ok_or_else(|| format!("{text}: not percent-encoded UTF-8"));
            let (name, value) = (decoded(name)?, decoded(value)?);
            if parameters.iter().any(|(known, _)| *known == name) {
                return Err(format!("{name}: given twice"));
            }
            parameters.push((name, value));
        }
        Ok(Self(parameters))
    }

    /// Takes a parameter.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let place = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.remove(place).1)
    }

    /// Takes `limit`: 1 to `most`.
    ///
    /// # Errors
    /// In words, when it is something else.
    pub(super) fn take_limit(&mut self, default: usize, most: usize) -> Result<usize, String> {
        let Some(text) = self.take("limit") else {
            return Ok(default);
        };
        let limit = text.parse().ok().filter(|limit| (1..=most).contains(limit));
        limit.ok_or_else(|| format!("limit: {text:?} is no whole number from 1 to {most}"))
    }

    /// Takes `offset`: how many rows are passed by, 0 if it is missing.
    ///
    /// # Errors
    /// In words, when it is something else.
    pub(super) fn take_offset(&mut self) -> Result<usize, String> {
        let Some(text) = self.take("offset") else {
            return Ok(0);
        };
        let offset = text.parse().ok().filter(|offset| *offset <= FARTHEST);
        offset.ok_or_else(|| format!("offset: {text:?} is no whole number from 0 to {FARTHEST}"))
    }

    /// Takes `contains`: a part of a name, empty if it is missing.
    ///
    /// # Errors
    /// In words, when no name could have it in it.
    pub(super) fn take_part_of_name(&mut self) -> Result<String, String> {
        let part = self.take("contains").unwrap_or_default();
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
        if part.len() <= LONGEST_NAME && part.bytes().all(fits) {
            Ok(part)
        } else {
            Err(format!(
                "contains: {part:?} is in no name: those are of a-z, 0-9, _ and -"
            ))
        }
    }

    /// Takes `backend`: an address with its port, if it is there.
    ///
    /// # Errors
    /// In words, when it is something else.
    pub(super) fn take_backend(&mut self) -> Result<Option<SocketAddr>, String> {
        let addr = |text: String| {
            let parsed = text.parse();
            parsed.map_err(|_| format!("backend: {text:?} is no IPv4:port or [IPv6]:port"))
        };
        self.take("backend").map(addr).transpose()
    }

    /// Takes `prefix`: a network, or one address.
    ///
    /// # Errors
    /// In words, when it is something else.
    pub(super) fn take_prefix(&mut self) -> Result<Option<IpNet>, String> {
        let network = |text: String| {
            let network = text.parse::<IpNet>().ok();
            let network = network.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
            network
                .ok_or_else(|| format!("prefix: {text:?} is no network such as 192.0.2.0/24, nor an address"))
        };
        self.take("prefix").map(network).transpose()
    }

    /// Takes a parameter that is one of a few names; the first one where it is missing.
    ///
    /// # Errors
    /// In words, when it is something else.
    pub(super) fn take_name<T: Copy>(
        &mut self,
        name: &str,
        names: &[(&str, T)],
    ) -> Result<Option<T>, String> {
        let Some(text) = self.take(name) else {
            return Ok(None);
        };
        let found = names.iter().find(|(known, _)| *known == text);
        let all = || {
            names
                .iter()
                .map(|(known, _)| *known)
                .collect::<Vec<_>>()
                .join(", ")
        };
        found
            .map(|(_, value)| Some(*value))
            .ok_or_else(|| format!("{name}: {text:?} is none of {}", all()))
    }

    /// Takes a number of events, if it is there.
    ///
    /// # Errors
    /// In words, when it is none.
    pub(super) fn take_since(&mut self) -> Result<Option<u64>, String> {
        let number = |text: String| {
            text.parse()
                .map_err(|_| format!("since: {text:?} is no whole number"))
        };
        self.take("since").map(number).transpose()
    }

    /// Says that nothing else is known.
    ///
    /// # Errors
    /// In words, when something was not taken.
    pub(super) fn end(self) -> Result<(), String> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(format!("{name}: no such parameter here")),
        }
    }
}

/// Percent-encoding undone, `+` as a blank; `None` where that is no text.
pub(super) fn decode(text: &str) -> Option<String> {
    percent::decode(&text.replace('+', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query::parse(text).expect("a query")
    }

    #[test]
    fn parameters_are_taken_one_by_one() {
        let mut asked = query("backend=%5B%3A%3A1%5D%3A80&limit=3&prefix=192.0.2.7&&follow=1");
        assert_eq!(
            asked.take_backend(),
            Ok(Some("[::1]:80".parse().expect("an address")))
        );
        assert_eq!(asked.take_limit(9, MOST_ROWS), Ok(3));
        assert_eq!(asked.take_limit(9, MOST_ROWS), Ok(9));
        assert_eq!(
            asked.take_prefix(),
            Ok(Some("192.0.2.7/32".parse().expect("a network")))
        );
        assert_eq!(
            asked.clone().end(),
            Err("follow: no such parameter here".to_owned())
        );
        assert_eq!(asked.take_name("follow", &[("1", true)]), Ok(Some(true)));
        assert_eq!(asked.end(), Ok(()));
    }

    #[test]
    fn what_is_out_of_range_is_refused_in_words() {
        for text in ["limit=0", "limit=10001", "limit=-1", "limit=", "limit=1e3"] {
            let refused = query(text).take_limit(1, MOST_ROWS).expect_err(text);
            assert!(refused.contains("1 to 10000"), "{refused}");
        }
        assert!(query("backend=127.0.0.1").take_backend().is_err());
        assert!(query("prefix=x").take_prefix().is_err());
        assert!(query("sort=x").take_name("sort", &[("score", 1)]).is_err());
        for text in ["a=1&a=2", "a=%f", "a=%zz", "%ff=1"] {
            assert!(Query::parse(text).is_err(), "{text}");
        }
    }
}

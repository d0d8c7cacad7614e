//! What the selector says in the log and in the events: who, why, and both scores.
//!
//! Knows the decision only; decides nothing.

use std::fmt;

use log::{info, warn};

use super::decide::{Footing, Member, Switch, mean};
use crate::candidates::CandidateSet;
use crate::config::ServiceName;
use crate::scorer::sample::Rated;
use crate::service::events::{Events, Switched, What};

/// Tells of a changed set; names of members are those of the list.
pub(super) fn switch(
    events: &Events,
    (service, list): (&ServiceName, &CandidateSet),
    switch: &Switch,
    before: &[Member],
) {
    let before: Vec<Rated> = before.iter().map(|member| member.rated).collect();
    let reason = switch.reason.label();
    let (mean_before, mean_after) = (mean(&before), mean(&switch.members));
    let joined = without(&switch.members, &before);
    let left = without(&before, &switch.members);
    let switched = Switched::new(
        switch.reason,
        joined.iter().map(|rated| rated.addr),
        left.iter().map(|rated| rated.addr),
        (mean_before, mean_after),
    );
    events.tell(Some(service), What::Switch(switched));
    let (joined, left) = (Names(&joined, list), Names(&left, list));
    let members = Names(&switch.members, list);
    info!(
        target: "tcp_forwarder::selector",
        service = service.as_str(), reason, mean_before, mean_after;
        "active set changed ({reason}): in {joined}; out {left}; mean score {mean_before:.1} -> {mean_after:.1}; \
         now {members}"
    );
}

/// Tells that the set became a fallback, or is none any more; once each.
pub(super) fn footing(events: &Events, service: &ServiceName, footing: Footing, threshold: f64) {
    events.tell(Some(service), What::Footing(footing));
    match footing {
        Footing::Good => info!(
            target: "tcp_forwarder::selector",
            service = service.as_str();
            "candidates pass the threshold of {threshold} again; the fallback ends"
        ),
        Footing::LastGood => warn!(
            target: "tcp_forwarder::selector",
            service = service.as_str();
            "no candidate passes the threshold of {threshold}; keeping the last good set"
        ),
        Footing::BestScored => warn!(
            target: "tcp_forwarder::selector",
            service = service.as_str();
            "no candidate passes the threshold of {threshold}; using the best there are"
        ),
    }
}

fn without(members: &[Rated], others: &[Rated]) -> Vec<Rated> {
    let stays = |member: &&Rated| others.iter().all(|other| other.addr != member.addr);
    members.iter().filter(stays).copied().collect()
}

/// Addresses with name, score and latency, or `nobody`.
struct Names<'a>(&'a [Rated], &'a CandidateSet);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nobody");
        }
        for (i, rated) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            write!(f, "{separator}{} (", rated.addr)?;
            if let Some(name) = self.1.name_of(&rated.addr) {
                write!(f, "{name}, ")?;
            }
            write!(f, "score {:.1}", rated.score)?;
            if let Some(latency) = rated.latency {
                write!(f, ", {:.1} ms", latency.as_secs_f64() * 1e3)?;
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use std::time::Duration;

    #[test]
    fn addresses_carry_name_score_and_latency() {
        let addr = SocketAddr::from(([127, 0, 0, 1], 80));
        let known = Rated {
            addr,
            score: 98.25,
            latency: Some(Duration::from_micros(12_340)),
            distrust: None,
            successes: 1,
        };
        let rated = [known, Rated::unknown(addr)];
        let nameless = CandidateSet::parse("127.0.0.1", 80).expect("a list");
        assert_eq!(
            Names(&rated, &nameless).to_string(),
            "127.0.0.1:80 (score 98.2, 12.3 ms), 127.0.0.1:80 (score 0.0)"
        );
        let named = CandidateSet::parse("127.0.0.1 # hk 1", 80).expect("a list");
        assert_eq!(
            Names(&rated[..1], &named).to_string(),
            "127.0.0.1:80 (hk 1, score 98.2, 12.3 ms)"
        );
        assert_eq!(Names(&[], &named).to_string(), "nobody");
    }
}

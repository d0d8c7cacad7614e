//! From a checked configuration to the directory that follows the present one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::certificates::Certificates;
use super::journals::Journals;
use super::lists::Lists;
use super::ports::Port;
use crate::config::Config;
use crate::reactor::limits::Limits;
use crate::service::{Directory, Doorbells, Listening, Live, Phase, Service};
use crate::state::State;

/// What a process before this one knew of services that are new to this one, and how long ago.
#[derive(Debug, Default)]
pub(super) struct Past {
    pub(super) state: State,
    pub(super) elapsed: Duration,
}

/// The next directory: services that stay keep their living state, those that did not change stay what they are.
///
/// Candidates of services that stay are the caller's to publish ([`publish_lists`]).
pub(super) fn assemble(
    present: &Directory,
    (config, lists, past): (&Config, &Lists, &Past),
    (certificates, journals): (&Certificates, &Journals),
    (ports, limits): (&[Port], Limits),
    (bells, now): (&Doorbells, Instant),
) -> Directory {
    let mut services = Vec::with_capacity(config.services.len());
    for (name, spec) in &config.services {
        let tls = certificates.get(name).cloned().unwrap_or_default();
        let journal = journals.get(name);
        let service = match present.service(name.as_str()) {
            Some(before) if before.spec == *spec && before.tls.is_same(&tls) => Arc::clone(before),
            Some(before) => {
                let next = before.under(Arc::clone(spec), now).speaking(tls);
                Arc::new(next.writing(journal.cloned()))
            }
            None => {
                let Some(list) = lists.get(name) else {
                    debug_assert!(false, "a list for each service");
                    continue;
                };
                let live = Live::new(Arc::clone(&list.union), &spec.remotes.scoring, bells);
                live.named.publish(Arc::clone(&list.named));
                let live = match past.state.services.get(name.as_str()) {
                    Some(saved) => live.recalling(saved, past.elapsed, now),
                    None => live,
                };
                let service = Service::new(name.clone(), Arc::clone(spec), Arc::new(live), now);
                Arc::new(service.speaking(tls).writing(journal.cloned()))
            }
        };
        services.push(service);
    }
    let listening = ports
        .iter()
        .filter_map(|port| {
            let service = services.iter().find(|service| service.name == port.service)?;
            Some(Listening {
                id: port.id,
                wanted: port.wanted,
                bound: port.bound,
                service: Arc::clone(service),
            })
        })
        .collect();
    Directory {
        left: present.left_by(&services),
        services,
        listening,
        limits,
        phase: Phase::Serving,
    }
}

/// Publishes the candidates of services that stay, where they are others now.
pub(super) fn publish_lists(directory: &Directory, lists: &Lists) {
    for service in &directory.services {
        let Some(list) = lists.get(&service.name) else {
            continue;
        };
        let live = &service.live;
        if live.candidates.load() != list.union {
            live.candidates.publish(Arc::clone(&list.union));
        }
        if live.named.load() != list.named {
            live.named.publish(Arc::clone(&list.named));
        }
    }
}

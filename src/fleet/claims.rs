//! What this process claims of the limits of clients, and what of that it may use: between [`Admission`], which knows what clients
//! have here, and exchanges, which tell what others claim. How claims add up to no more than a limit stands with [`Portion`].
//!
//! Order matters. [`Claims::say`] lowers what is used to what is about to be said, before it is; [`Claims::use_what_is_left`] raises
//! it after what others claim was read, in the exchange that has said so. An exchange that fails between the two raises nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::message::most_claims;
use crate::admission::{Admission, Portion};
use crate::base::doorbell::Doorbell;
use crate::base::hash::{self, mix};

/// A service whose clients have limits: by its name, which is what others count by, whatever they probe.
#[derive(Debug)]
pub struct Limited<'s> {
    name: u64,
    admission: &'s Admission,
}

impl<'s> Limited<'s> {
    /// The service of this name, if its clients have limits.
    #[must_use]
    pub fn of(name: &str, admission: Option<&'s Admission>) -> Option<Self> {
        let admission = admission.filter(|admission| admission.limits_clients())?;
        Some(Self {
            name: hash::fnv1a(name.bytes()),
            admission,
        })
    }

    fn key(&self, client: u64) -> u64 {
        mix(self.name ^ client)
    }
}

/// The claims of this process, as they were said last.
#[derive(Debug, Default)]
pub struct Claims {
    said: HashMap<u64, Portion>,
    /// Among how many processes limits are divided; 0 while they are not.
    divided: usize,
}

impl Claims {
    /// Limits are divided among so many processes from now on, and nobody has said anything yet.
    pub fn divide(&mut self, services: &[Limited<'_>], processes: usize, bell: &Arc<Doorbell>) {
        self.divided = processes;
        let most = most_claims(processes) / services.len().max(1);
        for service in services {
            service.admission.divide(processes, most, bell);
        }
    }

    /// What is to be said of clients, by a hash of service and client: of those that have much here. `others` is what others have been
    /// read to claim, of so many processes in all; `bell` rings when there is one client more to be told of.
    pub fn say(
        &mut self,
        services: &[Limited<'_>],
        (others, processes): (&HashMap<u64, u32>, usize),
        bell: &Arc<Doorbell>,
        now: Instant,
    ) -> Vec<(u64, Portion)> {
        self.divide(services, processes, bell);
        self.said.clear();
        let most_all = most_claims(processes);
        for service in services {
            service.admission.revise(now, &mut |client, need, present| {
                let key = service.key(client);
                if self.said.len() >= most_all {
                    // Nobody is refused for want of a place.
                    return Portion::WHOLE;
                }
                let claim = Portion::claim(need, others.get(&key).copied().unwrap_or_default());
                self.said.insert(key, claim);
                if present <= Portion::LEAST {
                    present
                } else {
                    present.min(claim)
                }
            });
        }
        self.said.iter().map(|(key, portion)| (*key, *portion)).collect()
    }

    /// What others claim was read: of what was said this much may be used.
    pub fn use_what_is_left(&self, services: &[Limited<'_>], others: &HashMap<u64, u32>, now: Instant) {
        for service in services {
            service.admission.revise(now, &mut |client, need, present| {
                let key = service.key(client);
                let claimed = self.said.get(&key);
                let others = others.get(&key).copied().unwrap_or_default();
                claimed.map_or(present, |claim| Portion::granted(*claim, need, others))
            });
        }
    }

    /// Others have not been heard for too long, or there are none any more: clients are counted here alone.
    pub fn alone(&mut self, services: &[Limited<'_>], bell: &Arc<Doorbell>) {
        if std::mem::take(&mut self.divided) > 0 {
            for service in services {
                service.admission.divide(1, 0, bell);
            }
        }
        self.said.clear();
    }

    /// Whether limits are to be divided that are not yet, or among fewer, where there are so many processes.
    #[must_use]
    pub fn are_due(&self, services: &[Limited<'_>], processes: usize) -> bool {
        processes > self.divided.max(1) && !services.is_empty()
    }

    /// Clients of whose limits a part is claimed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.said.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.said.is_empty()
    }
}

#[cfg(test)]
mod tests;

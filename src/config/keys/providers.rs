//! The rows of `remotes.provider`: of one provider, or of each in a list.

use super::super::providers::{Family, OnBadLine, ProviderKind};
use super::super::slot::{Choice, Slot};
use super::key::{Key, of_provider};
use Slot::{Count, Entries, File, Flag, Port};

const FAMILIES: &[&str] = &["any", "ipv4", "ipv6"];

pub(super) const PROVIDERS: &[Key] = &[
    of_provider(
        "remotes.provider.type",
        Slot::Choice(Choice {
            names: &["file", "inline", "dns", "srv"],
            name: |d| d.kind.name(),
            choose: |d, name| {
                let named = ProviderKind::ALL.into_iter().find(|kind| kind.name() == name);
                if let Some(kind) = named {
                    d.kind = kind;
                }
            },
        }),
        "where candidates come from",
    ),
    of_provider(
        "remotes.provider.file.path",
        File(|d| &mut d.file.path),
        "the candidate list",
    ),
    of_provider(
        "remotes.provider.file.watch",
        Flag(|d| &mut d.file.watch),
        "whether a changed list is read again",
    ),
    of_provider(
        "remotes.provider.inline.entries",
        Entries(|d| &mut d.entries),
        "the candidates themselves, as lines of a list",
    ),
    of_provider(
        "remotes.provider.dns.name",
        Slot::Text(|d| &mut d.dns.name),
        "the name whose addresses are candidates",
    ),
    of_provider(
        "remotes.provider.dns.port",
        Port((0, u16::MAX), |d| &mut d.dns.port),
        "their port; 0 = default_remote_port",
    ),
    of_provider(
        "remotes.provider.dns.family",
        Slot::Choice(Choice {
            names: FAMILIES,
            name: |d| d.dns.family.name(),
            choose: |d, name| d.dns.family = Family::of(name),
        }),
        "which of them count",
    ),
    of_provider(
        "remotes.provider.srv.name",
        Slot::Text(|d| &mut d.srv.name),
        "the name whose SRV records name candidates: their priority is the tier, their weight the weight",
    ),
    of_provider(
        "remotes.provider.srv.family",
        Slot::Choice(Choice {
            names: FAMILIES,
            name: |d| d.srv.family.name(),
            choose: |d, name| d.srv.family = Family::of(name),
        }),
        "which of the addresses that they lead to count",
    ),
    of_provider(
        "remotes.provider.max_connections",
        Count((0, 10_000_000), |d| &mut d.max_connections),
        "connections that each of its backends gets at once, unless its entry says another number; 0 = as many as come",
    ),
    of_provider(
        "remotes.provider.on_bad_line",
        Slot::Choice(Choice {
            names: &["error", "skip"],
            name: |d| d.file.on_bad_line.name(),
            choose: |d, name| {
                let named = OnBadLine::ALL.into_iter().find(|choice| choice.name() == name);
                if let Some(choice) = named {
                    d.file.on_bad_line = choice;
                }
            },
        }),
        "whether a list with bad lines is refused, or those lines are skipped; a list without any good line is refused",
    ),
];

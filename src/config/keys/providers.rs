//! The rows of `remotes.provider`: of one provider, or of each in a list.

use super::super::providers::ProviderKind;
use super::super::slot::{Choice, Slot};
use super::key::{Key, of_provider};
use Slot::{Entries, File, Flag};

pub(super) const PROVIDERS: &[Key] = &[
    of_provider(
        "remotes.provider.type",
        Slot::Choice(Choice {
            names: &["file", "inline"],
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
];

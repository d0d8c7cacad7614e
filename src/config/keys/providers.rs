//! The rows of `remotes.provider`: of one provider, or of each in a list.

use super::super::providers::{OnBadLine, ProviderKind};
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

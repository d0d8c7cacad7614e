//! One row of the table, and what its ranges are written with.

use std::time::Duration;

use super::super::draft::Draft;
use super::super::process::Process;
use super::super::providers::ProviderDraft;
use super::super::slot::Slot;

/// One row.
pub(in crate::config) struct Key {
    /// Path at the top level.
    pub(in crate::config) path: &'static str,
    pub(in crate::config) field: Field,
    pub(in crate::config) meaning: &'static str,
}

/// Whose a key is, with its type and its field there.
pub(in crate::config) enum Field {
    Process(Slot<Process>),
    Service(Slot<Draft>),
    /// Of each provider of a service.
    Provider(Slot<ProviderDraft>),
}

impl Key {
    /// The name of the type.
    pub(in crate::config) fn kind(&self) -> &'static str {
        match &self.field {
            Field::Process(slot) => slot.kind(),
            Field::Service(slot) => slot.kind(),
            Field::Provider(slot) => slot.kind(),
        }
    }

    /// Whether its value is shown nowhere.
    pub(in crate::config) fn is_secret(&self) -> bool {
        matches!(
            &self.field,
            Field::Process(Slot::Secret(_))
                | Field::Service(Slot::Secret(_))
                | Field::Provider(Slot::Secret(_) | Slot::Headers(_))
        )
    }

    /// What is allowed, in words.
    pub(in crate::config) fn allowed(&self) -> String {
        match &self.field {
            Field::Process(slot) => slot.allowed(),
            Field::Service(slot) => slot.allowed(),
            Field::Provider(slot) => slot.allowed(),
        }
    }

    /// The value, as it would be written in the file (without quotes).
    pub(in crate::config) fn shown(&self, process: &mut Process, draft: &mut Draft) -> String {
        match &self.field {
            Field::Process(slot) => slot.shown(process),
            Field::Service(slot) => slot.shown(draft),
            Field::Provider(slot) => slot.shown(&mut draft.provider),
        }
    }
}

pub(super) const fn of_process(path: &'static str, slot: Slot<Process>, meaning: &'static str) -> Key {
    Key {
        path,
        field: Field::Process(slot),
        meaning,
    }
}

pub(super) const fn of_service(path: &'static str, slot: Slot<Draft>, meaning: &'static str) -> Key {
    Key {
        path,
        field: Field::Service(slot),
        meaning,
    }
}

pub(super) const fn of_provider(path: &'static str, slot: Slot<ProviderDraft>, meaning: &'static str) -> Key {
    Key {
        path,
        field: Field::Provider(slot),
        meaning,
    }
}

pub(super) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(super) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(super) const fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours * 3600)
}

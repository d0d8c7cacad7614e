//! `remotes.provider`: where candidates come from, checked. One, or a list of them.

use std::path::PathBuf;

/// Where candidates come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provider {
    /// A file.
    File(FileProvider),
    /// The configuration itself: these entries.
    Inline(Vec<String>),
}

/// `remotes.provider` of type `file`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProvider {
    /// The list, resolved against the configuration file's folder.
    pub path: PathBuf,
    /// Whether a changed file is read again.
    pub watch: bool,
    /// What becomes of a list with bad lines.
    pub on_bad_line: OnBadLine,
}

/// `remotes.provider.on_bad_line`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OnBadLine {
    /// The whole list is refused.
    Error,
    /// Its other lines count, if there are any.
    Skip,
}

impl OnBadLine {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Error, Self::Skip];

    /// The name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Skip => "skip",
        }
    }
}

impl Provider {
    /// A file that is not followed.
    #[must_use]
    pub fn of_file(path: PathBuf) -> Self {
        Self::File(FileProvider {
            path,
            watch: false,
            on_bad_line: OnBadLine::Error,
        })
    }

    /// The file, if it is one.
    #[must_use]
    pub fn file(&self) -> Option<&FileProvider> {
        match self {
            Self::File(file) => Some(file),
            Self::Inline(_) => None,
        }
    }

    /// Which type it is.
    #[must_use]
    pub fn kind(&self) -> ProviderKind {
        match self {
            Self::File(_) => ProviderKind::File,
            Self::Inline(_) => ProviderKind::Inline,
        }
    }
}

/// `remotes.provider.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderKind {
    /// A file.
    File,
    /// Entries in the configuration.
    Inline,
}

impl ProviderKind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::File, Self::Inline];

    /// The name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Inline => "inline",
        }
    }
}

/// Every key's value of one provider, those of other types than its own included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProviderDraft {
    pub(super) kind: ProviderKind,
    pub(super) file: FileProvider,
    pub(super) entries: Vec<String>,
}

impl ProviderDraft {
    /// What a provider was made of; what it has no use for has its default.
    pub(super) fn of(provider: &Provider) -> Self {
        let mut draft = Self {
            kind: provider.kind(),
            ..Self::default()
        };
        match provider {
            Provider::File(file) => draft.file = file.clone(),
            Provider::Inline(entries) => draft.entries.clone_from(entries),
        }
        draft
    }

    /// The provider, with paths as they were given.
    pub(super) fn compose(self) -> Provider {
        match self.kind {
            ProviderKind::File => Provider::File(self.file),
            ProviderKind::Inline => Provider::Inline(self.entries),
        }
    }
}

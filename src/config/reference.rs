//! What the documentation says about each key.

use super::keys::{self, Field, Key};
use super::mobile::{Baseline, MOBILE};

/// What the documentation says about one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDoc {
    /// Path, such as `remotes.probing.interval`.
    pub path: &'static str,
    /// Whose it is.
    pub scope: Scope,
    /// Name of its type: flag, integer, number, duration, choice, address, address or list,
    /// own address or list, network or list, byte rate, list of certificates, list of entries, list of names, list of fields,
    /// section of texts, URL, interface, text.
    pub kind: &'static str,
    /// The default, as it would be written in the file, without quotes.
    pub default: String,
    /// The default of the feature `mobile`, where it is another one.
    pub mobile: Option<MobileDoc>,
    /// Which values are allowed, in words.
    pub allowed: String,
    /// What it does, in one line.
    pub meaning: &'static str,
}

/// What the documentation says about a default that phones have otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MobileDoc {
    /// The default, as it would be written in the file, without quotes.
    pub default: String,
    /// Why it is another one, in one line.
    pub why: &'static str,
}

impl KeyDoc {
    /// The default in this build.
    #[must_use]
    pub fn in_force(&self) -> &str {
        match &self.mobile {
            Some(mobile) if cfg!(feature = "mobile") => &mobile.default,
            Some(_) | None => &self.default,
        }
    }
}

/// Whose a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The process's: it stands at the top level only.
    Process,
    /// A service's: at the top level it is the default of every service.
    Service,
}

/// Every key, in the order of the shipped file.
#[must_use]
pub fn reference() -> Vec<KeyDoc> {
    let mut desktop = Baseline::desktop();
    let mut mobile = Baseline::mobile();
    let mut mobile_doc = |key: &Key| {
        let row = MOBILE.iter().find(|row| row.path == key.path)?;
        Some(MobileDoc {
            default: key.shown(&mut mobile.process, &mut mobile.draft),
            why: row.why,
        })
    };
    keys::all()
        .map(|key| KeyDoc {
            path: key.path,
            scope: match key.field {
                Field::Process(_) => Scope::Process,
                Field::Service(_) | Field::Provider(_) => Scope::Service,
            },
            kind: key.kind(),
            default: key.shown(&mut desktop.process, &mut desktop.draft),
            mobile: mobile_doc(key),
            allowed: key.allowed(),
            meaning: key.meaning,
        })
        .collect()
}

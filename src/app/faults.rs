//! What is wrong with a reload, located.

use super::certificates::CertificateError;
use super::lists::ListError;
use crate::candidates::{BadLine, ListErrors, LoadError};
use crate::config;
use crate::service::reloads::Fault;

/// Everything that is wrong with a configuration.
pub(super) fn of_config(error: &config::LoadError) -> Vec<Fault> {
    let errors = match error {
        config::LoadError::Unreadable { .. } => return vec![Fault::of(error)],
        config::LoadError::Invalid(errors) => errors,
    };
    let file = errors.file.display().to_string();
    let fault = |error: &config::ConfigError| Fault {
        file: Some(file.clone()),
        line: Some(error.line),
        key: error.key.clone(),
        message: error.message.clone(),
    };
    let mut faults: Vec<_> = errors.errors.iter().map(fault).collect();
    if errors.omitted > 0 {
        faults.push(Fault::of(format!("{file}: and {} more errors", errors.omitted)));
    }
    faults
}

/// Everything that is wrong with certificates and keys.
pub(super) fn of_certificates(error: &CertificateError) -> Vec<Fault> {
    error.faults.iter().map(|(_, fault)| Fault::of(fault)).collect()
}

/// Everything that is wrong with the lists.
pub(super) fn of_lists(error: &ListError) -> Vec<Fault> {
    let of_one = |error: &LoadError| {
        let (path, lines) = match error {
            LoadError::Bad {
                path,
                errors: ListErrors::Lines { bad, .. },
            } => (path.display().to_string(), bad),
            LoadError::Unreadable { .. } | LoadError::Bad { .. } => return vec![Fault::of(error)],
        };
        let fault = |bad: &BadLine| Fault {
            file: Some(path.clone()),
            line: usize::try_from(bad.line).ok(),
            key: String::new(),
            message: format!("`{}`: {}", bad.text, bad.problem),
        };
        lines.iter().map(fault).collect()
    };
    error.errors.iter().flat_map(of_one).collect()
}

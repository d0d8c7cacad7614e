//! What is wrong with a reload, located.

use super::lists::ListError;
use crate::candidates::LoadError;
use crate::config;
use crate::service::reloads::Complaint;

/// Everything that is wrong with a configuration.
pub(super) fn of_config(error: &config::LoadError) -> Vec<Complaint> {
    match error {
        config::LoadError::Unreadable { .. } => vec![Complaint::of(error)],
        config::LoadError::Invalid(errors) => {
            let file = Some(errors.file.display().to_string());
            let complaint = |error: &config::ConfigError| Complaint {
                file: file.clone(),
                error: error.clone(),
            };
            let mut complaints: Vec<_> = errors.errors.iter().map(complaint).collect();
            if errors.omitted > 0 {
                complaints.push(Complaint::of(format!("and {} more errors", errors.omitted)));
            }
            complaints
        }
    }
}

/// Everything that is wrong with the lists.
pub(super) fn of_lists(error: &ListError) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for error in &error.errors {
        match error {
            LoadError::Unreadable { .. } => complaints.push(Complaint::of(error)),
            LoadError::Bad { .. } => complaints.extend(error.to_string().lines().map(Complaint::of)),
        }
    }
    complaints
}

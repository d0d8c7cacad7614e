//! The state file on disk: read within bounds, put aside when it is broken, replaced as a whole.
//!
//! Invariants: whoever reads sees what one writer wrote, whatever others write at the same time and wherever a process is
//! killed; nothing that is no regular file is read, waited for or replaced.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::format::{self, Broken, MAX_BYTES};
use super::snapshot::{State, wall_ms};
use crate::base::file_watch::must_be_regular;

/// Broken files that are kept beside the next one; of more the last is replaced.
const KEPT: usize = 3;

/// What a temporary file's name ends with.
const TEMPORARY: &str = ".new";

/// A temporary file of this age was left by a process that was killed.
const LEFT: Duration = Duration::from_secs(60);

/// Files of the folder that are looked at for those.
const LOOKED_AT: usize = 10_000;

/// What reading came to.
#[derive(Debug)]
pub enum Loaded {
    /// There is no file yet.
    Nothing,
    /// It is whole.
    State(State),
    /// It is not, and was renamed to this name if that was possible.
    Broken(Broken, io::Result<PathBuf>),
}

/// Reads a state file, and puts it aside if it is broken.
///
/// # Errors
/// When it cannot be read, or is no regular file.
pub fn load(path: &Path) -> io::Result<Loaded> {
    match must_be_regular(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Loaded::Nothing),
        looked_at => looked_at?,
    }
    let mut bytes = Vec::new();
    let most = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
    let file = File::open(path)?;
    // A length that is known is not read for nothing; what grows meanwhile is cut.
    let broken = if file.metadata()?.len() > most {
        Broken::TooLong
    } else {
        file.take(most + 1).read_to_end(&mut bytes)?;
        match format::decode(&bytes) {
            Ok(state) => return Ok(Loaded::State(state)),
            Err(broken) => broken,
        }
    };
    Ok(Loaded::Broken(broken, put_aside(path)))
}

/// Replaces a state file as a whole, and returns once it would survive a loss of power.
///
/// # Errors
/// When the system refuses any of that, or there is something that is no regular file: what was there is there.
pub fn store(path: &Path, bytes: &[u8], wall: SystemTime) -> io::Result<()> {
    match must_be_regular(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Err(_) | Ok(()) => {}
    }
    let temporary = temporary_name(path, wall);
    let written = write_new(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // It may never have been made.
        drop(fs::remove_file(&temporary));
    }
    written?;
    sync_folder(folder(path))
}

/// Whether a file could be written, found out by making one beside it; removes what killed processes have left.
///
/// # Errors
/// When it could not.
pub fn prepare(path: &Path, wall: SystemTime) -> io::Result<()> {
    remove_left(path, wall);
    let temporary = temporary_name(path, wall);
    write_new(&temporary, b"").and_then(|()| fs::remove_file(&temporary))
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The rename itself is to survive, too, where a folder can be opened and there is such a thing.
fn sync_folder(folder: &Path) -> io::Result<()> {
    let Ok(folder) = File::open(folder) else {
        return Ok(());
    };
    match folder.sync_all() {
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        synced => synced,
    }
}

fn folder(path: &Path) -> &Path {
    let folder = path.parent().unwrap_or(Path::new("."));
    if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    }
}

/// A name that no other process and no other time has: two that write at once do not meet.
fn temporary_name(path: &Path, wall: SystemTime) -> PathBuf {
    let nanos = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let suffix = format!(".{}.{:x}{TEMPORARY}", std::process::id(), nanos.as_nanos());
    with_suffix(path, &suffix)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// Renames a broken file, so that it can be looked at and is read no more.
fn put_aside(path: &Path) -> io::Result<PathBuf> {
    let name = |i: usize| match i {
        1 => with_suffix(path, ".broken"),
        i => with_suffix(path, &format!(".broken.{i}")),
    };
    let free = (1..=KEPT).find(|i| fs::symlink_metadata(name(*i)).is_err());
    let aside = name(free.unwrap_or(KEPT));
    fs::rename(path, &aside)?;
    Ok(aside)
}

/// Removes temporary files of processes that were killed while they wrote.
fn remove_left(path: &Path, wall: SystemTime) {
    let (Ok(files), Some(name)) = (fs::read_dir(folder(path)), path.file_name()) else {
        return;
    };
    let prefix = format!("{}.", name.to_string_lossy());
    for file in files.take(LOOKED_AT).flatten() {
        let name = file.file_name();
        let name = name.to_string_lossy();
        let is_ours = name.starts_with(&prefix) && name.ends_with(TEMPORARY);
        if is_ours
            && file
                .metadata()
                .is_ok_and(|about| about.is_file() && is_left(&about, wall))
        {
            // Somebody else may have been faster.
            drop(fs::remove_file(file.path()));
        }
    }
}

fn is_left(about: &fs::Metadata, wall: SystemTime) -> bool {
    let written_ms = about.modified().map_or(u64::MAX, wall_ms);
    Duration::from_millis(wall_ms(wall).saturating_sub(written_ms)) > LEFT
}

#[cfg(test)]
mod tests;

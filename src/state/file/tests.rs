use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;

use super::super::snapshot::ServiceState;
use super::*;
use crate::base::clock;

fn state(services: usize) -> State {
    State {
        saved_at_ms: 1,
        services: (0..services)
            .map(|i| (format!("s{i}"), ServiceState::default()))
            .collect(),
    }
}

fn write(path: &Path, state: &State) -> io::Result<()> {
    store(path, &format::encode(state), clock::wall())
}

fn read(path: &Path) -> Option<State> {
    match load(path) {
        Ok(Loaded::State(state)) => Some(state),
        Ok(Loaded::Nothing | Loaded::Broken(..)) | Err(_) => None,
    }
}

fn names(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> = files
        .map(|file| file.expect("a file").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn what_was_stored_is_loaded_and_nothing_else_is_left() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("state");
    assert!(matches!(load(&path), Ok(Loaded::Nothing)));
    prepare(&path, clock::wall()).expect("it can be written");
    for services in 0..3 {
        write(&path, &state(services)).expect("it is written");
        assert_eq!(read(&path), Some(state(services)));
    }
    assert_eq!(names(folder.path()), ["state"]);
}

#[test]
fn broken_files_are_put_aside_and_only_some_are_kept() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("state");
    for _ in 0..5 {
        fs::write(&path, "what is this?").expect("written");
        assert!(matches!(load(&path), Ok(Loaded::Broken(Broken::Foreign, Ok(_)))));
        assert!(matches!(load(&path), Ok(Loaded::Nothing)));
    }
    assert_eq!(
        names(folder.path()),
        ["state.broken", "state.broken.2", "state.broken.3"]
    );
}

#[test]
fn a_huge_file_is_not_read() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("state");
    // Sparse: it would take its length in memory only.
    File::create(&path)
        .expect("made")
        .set_len(1 << 40)
        .expect("sparse");
    assert!(matches!(load(&path), Ok(Loaded::Broken(Broken::TooLong, Ok(_)))));
}

#[test]
fn a_folder_is_an_error_and_stays() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("state");
    fs::create_dir(&path).expect("made");
    assert!(load(&path).is_err() && write(&path, &state(1)).is_err());
    assert_eq!(names(folder.path()), ["state"]);
    assert!(write(&folder.path().join("no/such"), &state(1)).is_err());
}

#[cfg(unix)]
#[test]
fn a_pipe_is_neither_waited_for_nor_replaced() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("state");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.is_ok_and(|status| status.success()));
    assert!(load(&path).is_err() && write(&path, &state(1)).is_err());
    assert!(must_be_regular(&path).is_err(), "it is still a pipe");
}

#[test]
fn what_a_killed_process_left_is_removed() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("state");
    for name in ["state.1.ab.new", "state.old", "other.1.ab.new"] {
        fs::write(folder.path().join(name), "").expect("written");
    }
    prepare(&path, clock::wall()).expect("it can be written");
    assert_eq!(names(folder.path()).len(), 3, "it may still be written");
    prepare(&path, clock::wall() + LEFT * 2).expect("it can be written");
    assert_eq!(names(folder.path()), ["other.1.ab.new", "state.old"]);
}

#[test]
fn of_two_writers_one_wins_as_a_whole() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("state");
    write(&path, &state(0)).expect("written");
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers = [1, 400].map(|services| {
            let path = &path;
            scope.spawn(move || (0..60).for_each(|_| write(path, &state(services)).expect("written")))
        });
        let reader = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let services = read(&path).expect("always whole").services.len();
                assert!([0, 1, 400].contains(&services), "{services}");
            }
        });
        for writer in writers {
            writer.join().expect("it wrote");
        }
        is_over.store(true, Ordering::Relaxed);
        reader.join().expect("it read");
    });
}

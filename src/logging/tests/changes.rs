//! A logger that is changed while it is in use: rotated files, other outputs, other formats.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

const THREADS: usize = 3;

fn to_file(file: &Path, format: LogFormat) -> Logging {
    Logging {
        level: LevelFilter::Info,
        format,
        output: LogOutput::File(file.to_owned()),
    }
}

fn begun(logging: &Logging) -> Logger {
    let out = output::open(&logging.output).expect("a file");
    Logger::new(logging, None, out).expect("a thread")
}

fn reconfigure(logger: &Logger, logging: &Logging, rust_log: Option<&OsStr>) -> Result<(), LogError> {
    let opened = logger.prepare(logging)?;
    logger.adopt(logging, rust_log, opened);
    Ok(())
}

fn number(logger: &Logger, speaker: usize, number: usize) {
    let record = |args| {
        logger.log(
            &Record::builder()
                .level(Level::Info)
                .target("t")
                .args(args)
                .build(),
        );
    };
    record(format_args!("said {speaker} {number}"));
}

/// Has threads log numbered lines, unless that many wait that one may be lost, while `change` is called; how many lines each has logged.
fn under_load(logger: &Logger, mut change: impl FnMut(usize), changes: usize) -> Vec<usize> {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let speak = |speaker| {
            let is_over = &is_over;
            move || {
                let mut said = 0;
                while !is_over.load(Ordering::Relaxed) {
                    number(logger, speaker, said);
                    said += 1;
                    if said % 500 == 0 {
                        logger.flush();
                    }
                }
                said
            }
        };
        let speakers: Vec<_> = (0..THREADS).map(|speaker| scope.spawn(speak(speaker))).collect();
        for turn in 0..changes {
            number(logger, THREADS, turn);
            change(turn);
            // Everybody has said something between two changes.
            logger.flush();
        }
        is_over.store(true, Ordering::Relaxed);
        let mut said: Vec<usize> = speakers
            .into_iter()
            .map(|speaker| speaker.join().expect("a speaker"))
            .collect();
        said.push(changes);
        logger.flush();
        said
    })
}

/// That the files, one behind the other, have each line once and in order.
fn assert_complete(texts: &[String], said: &[usize]) {
    let mut next = vec![0; said.len()];
    for line in texts.iter().flat_map(|text| text.lines()) {
        let (_, words) = line.split_once("said ").expect("a whole line");
        let mut words = words.split(|c: char| !c.is_ascii_digit());
        let mut word = || -> usize { words.next().expect("a number").parse().expect("a number") };
        let (speaker, number) = (word(), word());
        assert_eq!(number, next[speaker], "speaker {speaker}: {line}");
        next[speaker] += 1;
    }
    assert_eq!(next, said);
}

#[test]
fn a_renamed_file_is_left_without_losing_a_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("log");
    let logger = begun(&to_file(&file, LogFormat::Text));
    let name = |turn: usize| folder.path().join(format!("log.{turn}"));
    let turns = 50;
    let said = under_load(
        &logger,
        |turn| {
            fs::rename(&file, name(turn)).expect("renamed");
            logger.reopen().expect("opened again");
        },
        turns,
    );
    let mut texts: Vec<String> = (0..turns)
        .map(|turn| fs::read_to_string(name(turn)).expect("a rotated file"))
        .collect();
    texts.push(fs::read_to_string(&file).expect("a new file"));
    assert!(texts.iter().filter(|text| !text.is_empty()).count() > turns / 2);
    assert_complete(&texts, &said);
}

#[test]
fn every_line_has_the_format_of_its_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let name = |turn: usize| folder.path().join(format!("log.{turn}"));
    let format = |turn: usize| [LogFormat::Text, LogFormat::Json][turn % 2];
    let logger = begun(&to_file(&name(0), format(0)));
    let turns = 50;
    let said = under_load(
        &logger,
        |turn| {
            let next = to_file(&name(turn + 1), format(turn + 1));
            reconfigure(&logger, &next, None).expect("changed");
        },
        turns,
    );
    let texts: Vec<String> = (0..=turns)
        .map(|turn| fs::read_to_string(name(turn)).expect("a file"))
        .collect();
    for (turn, text) in texts.iter().enumerate() {
        let is_json = |line: &str| serde_json::from_str::<serde_json::Value>(line).is_ok();
        let wanted = format(turn) == LogFormat::Json;
        assert!(text.lines().all(|line| is_json(line) == wanted), "{turn}: {text}");
    }
    assert_complete(&texts, &said);
}

#[test]
fn what_cannot_be_opened_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("log");
    let logger = begun(&to_file(&file, LogFormat::Text));
    let mut bad = to_file(folder.path(), LogFormat::Json);
    bad.level = LevelFilter::Trace;
    let refused = reconfigure(&logger, &bad, None).expect_err("a folder is no file");
    assert!(matches!(refused, LogError::Unwritable { .. }), "{refused}");
    assert_eq!(logger.most_verbose(), LevelFilter::Info);
    number(&logger, 0, 0);
    logger.flush();

    // A file that has become a folder meanwhile.
    let moved = folder.path().join("moved");
    fs::rename(&file, &moved).expect("renamed");
    fs::create_dir(&file).expect("a folder in its place");
    assert!(logger.reopen().is_err());
    number(&logger, 0, 1);
    logger.flush();
    assert_complete(&[fs::read_to_string(&moved).expect("the old file")], &[2]);

    // Once it can be opened, it is.
    fs::remove_dir(&file).expect("gone");
    logger.reopen().expect("opened again");
    number(&logger, 0, 2);
    logger.flush();
    let texts = [&moved, &file].map(|file| fs::read_to_string(file).expect("a file"));
    assert_complete(&texts, &[3]);
    assert_eq!(texts[1].lines().count(), 1);
}

#[cfg(target_os = "linux")]
#[test]
fn a_pipe_that_nobody_reads_is_refused_and_not_waited_for() {
    use std::io::Read as _;

    use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};

    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("log");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a pipe");
    let (done, outcome) = mpsc::channel();
    let to_pipe = to_file(&pipe, LogFormat::Text);
    let output = to_pipe.output.clone();
    std::thread::spawn(move || done.send(output::open(&output).map(drop)));
    let refused = outcome.recv_timeout(std::time::Duration::from_secs(20));
    let refused = refused.expect("an answer at once").expect_err("nobody reads it");
    assert!(
        refused.to_string().ends_with("it is a pipe that nobody reads"),
        "{refused}"
    );
    // With a reader it is an output as others are.
    let reader = open(&pipe, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).expect("a reader");
    let logger = begun(&to_pipe);
    number(&logger, 0, 0);
    logger.flush();
    let mut said = [0; 256];
    let bytes = fs::File::from(reader).read(&mut said).expect("a line");
    assert!(said[..bytes].ends_with(b"\n"));
}

#[test]
fn level_and_rust_log_follow_a_change() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut logging = to_file(&folder.path().join("log"), LogFormat::Text);
    let logger = begun(&logging);
    assert_eq!(logger.most_verbose(), LevelFilter::Info);
    logging.level = LevelFilter::Debug;
    reconfigure(&logger, &logging, None).expect("changed");
    assert_eq!(logger.most_verbose(), LevelFilter::Debug);
    reconfigure(&logger, &logging, Some(OsStr::new("warn"))).expect("changed");
    assert_eq!(logger.most_verbose(), LevelFilter::Warn);
    number(&logger, 0, 0);
    logging.level = LevelFilter::Info;
    reconfigure(&logger, &logging, None).expect("changed");
    number(&logger, 0, 0);
    logger.flush();
    assert_complete(
        &[fs::read_to_string(folder.path().join("log")).expect("a file")],
        &[1],
    );
}

#[test]
fn an_output_that_takes_nothing_holds_up_no_change() {
    let folder = tempfile::tempdir().expect("a folder");
    let (opener, gate) = mpsc::channel();
    let page = Page::default();
    let logging = Logging {
        level: LevelFilter::Info,
        format: LogFormat::Text,
        output: LogOutput::Stdout,
    };
    let gated = Gated {
        gate,
        page: page.clone(),
    };
    let logger = Logger::new(&logging, None, Box::new(gated)).expect("a thread");
    number(&logger, 0, 0);
    let name = |turn: usize| folder.path().join(format!("log.{turn}"));
    // Each returns at once; the last ones find no room and take the place of those before them.
    let turns = 20;
    for turn in 0..turns {
        reconfigure(&logger, &to_file(&name(turn), LogFormat::Text), None).expect("changed");
        number(&logger, 0, turn + 1);
    }
    drop(opener);
    logger.flush();
    let mut texts = vec![page.text()];
    texts.extend((0..turns).map(|turn| fs::read_to_string(name(turn)).expect("a file")));
    assert_complete(&texts, &[turns + 1]);
    assert!(!texts[turns].is_empty(), "the last one is in use");
}

//! Arguments: what the command line asks for.
//!
//! It parses and words; it prints nothing and ends nothing, which is `main`'s to do.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use argh::{ArgsInfo, CommandInfoWithArgs, FromArgs};

use crate::scan::{self, Form, Output, Target};

mod ask;

pub use ask::{Address, Asked, DEFAULT_CONFIG};

/// Exit status of bad usage and of a bad configuration.
pub const EXIT_USAGE: u8 = 2;

const PROGRAM: &str = env!("CARGO_PKG_NAME");

/// What the process is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invocation {
    /// Forward, by the configuration in this file.
    Run {
        /// The configuration file.
        config: PathBuf,
        /// Where its sockets come from.
        origin: Origin,
    },
    /// Check this configuration and its candidate list; bind nothing.
    Check {
        /// The configuration file.
        config: PathBuf,
    },
    /// Show the forwarder at work, with backends of its own and no files.
    Demo,
    /// Find the best of a list, and tell.
    Scan {
        /// Where the list comes from.
        source: Source,
        /// How it is scanned.
        options: scan::Options,
    },
    /// Ask a process that runs.
    Ask(Asked),
    /// Show a process that runs, as it changes.
    Top {
        /// Which one.
        at: Address,
        /// The service that is shown first; none: the first one.
        service: Option<String>,
    },
}

/// Where the list of a scan comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// These entries; those without a port have this one.
    Entries(Vec<String>, u16),
    /// This file; entries without a port have this one.
    List(PathBuf, u16),
    /// A service of a configuration.
    Service {
        /// The configuration file.
        config: PathBuf,
        /// Its name; none: the only one.
        name: Option<String>,
    },
}

/// Where the listening sockets of a process come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It opens them, or the service manager has.
    Own,
    /// It takes them from the process behind `server.control_socket`.
    Takeover,
}

/// The process is to print something and end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EarlyExit {
    /// Asked for: to standard output, exit status 0.
    Answer(String),
    /// Bad usage: to standard error, exit status [`EXIT_USAGE`].
    Misuse(String),
}

/// Forwards each TCP connection to the best of many candidate addresses. Without a command it runs until it is
/// stopped.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    error_code(0, "stopped as asked, or the command did what it is for"),
    error_code(
        1,
        "failed; or no process is reached, or it refuses; or nobody answered a scan"
    ),
    error_code(2, "bad usage, or errors in the configuration or the candidate list"),
    error_code(130, "stopped at once, by a second Ctrl+C or SIGTERM")
)]
struct Arguments {
    /// configuration file (default ./config.yaml)
    #[argh(option, short = 'c')]
    config: Option<PathBuf>,

    /// take the place of the process behind `server.control_socket`
    #[argh(switch)]
    takeover: bool,

    /// print the version
    #[argh(switch)]
    version: bool,

    #[argh(subcommand)]
    command: Option<Command>,
}

#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
enum Command {
    Check(Check),
    Demo(Demo),
    Drain(ask::Drain),
    Explain(ask::Explain),
    Maintenance(ask::Maintenance),
    Ready(ask::Ready),
    Scan(Scan),
    Status(ask::Status),
    Top(ask::Top),
}

/// Check the configuration and the candidate list, say what was understood, and bind nothing.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "check")]
struct Check {
    /// configuration file (default ./config.yaml)
    #[argh(option, short = 'c')]
    config: Option<PathBuf>,
}

/// Run with a few backends in this process, to try the forwarder without any file.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "demo")]
struct Demo {}

/// Find the best of many addresses by TCP connects, and print them. Interrupted, it prints what is known so far.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "scan")]
struct Scan {
    /// addresses and ranges, as in a candidate list
    #[argh(positional)]
    entries: Vec<String>,

    /// candidate list
    #[argh(option)]
    list: Option<PathBuf>,

    /// port of entries that name none (default 443)
    #[argh(option)]
    port: Option<u16>,

    /// configuration file whose candidate list is scanned (default ./config.yaml)
    #[argh(option, short = 'c')]
    config: Option<PathBuf>,

    /// service of that configuration
    #[argh(option)]
    service: Option<String>,

    /// probes at most (default 20000); a list that is no longer is scanned completely
    #[argh(option, default = "20_000")]
    probes: u64,

    /// look no longer than this, such as 30s (default: until nothing better comes)
    #[argh(option, from_str_fn(duration))]
    time: Option<Duration>,

    /// probes a second at most (default 1000)
    #[argh(option, default = "1_000")]
    rate: u32,

    /// probes at once at most (default 1000)
    #[argh(option, default = "1_000")]
    concurrency: usize,

    /// a connect that takes longer has failed (default 1s)
    #[argh(option, default = "Duration::from_secs(1)", from_str_fn(duration))]
    timeout: Duration,

    /// how many of the best are printed (default 10)
    #[argh(option, default = "10")]
    top: usize,

    /// table, csv, json, list, or state: a file that a service starts with (default table)
    #[argh(option, default = "Output::Rows(Form::Table)", from_str_fn(output))]
    output: Output,

    /// test how fast the best are by this URL (http only), asked of each of them
    #[argh(option, from_str_fn(target))]
    download: Option<Target>,

    /// number by which a run can be repeated
    #[argh(option)]
    seed: Option<u64>,
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed = humantime::parse_duration(text).map_err(|error| format!("{text}: {error}"))?;
    if (Duration::from_millis(1)..=Duration::from_secs(365 * 24 * 3600)).contains(&parsed) {
        Ok(parsed)
    } else {
        Err(format!("{text}: 1ms to a year"))
    }
}

fn output(text: &str) -> Result<Output, String> {
    let known = Output::ALL.iter().find(|(name, _)| *name == text);
    let names = Output::ALL.map(|(name, _)| name).join(", ");
    known
        .map(|(_, output)| *output)
        .ok_or_else(|| format!("{text} is none of {names}"))
}

fn target(text: &str) -> Result<Target, String> {
    Target::parse(text)
}

impl Scan {
    /// The port of lists without one, unless it is given.
    const DEFAULT_PORT: u16 = 443;

    fn invocation(self, config: Option<PathBuf>) -> Result<Invocation, EarlyExit> {
        let is_in = |value: u64, name: &str, most: u64| {
            if (1..=most).contains(&value) {
                Ok(())
            } else {
                Err(misuse(&format!("--{name} is a number from 1 to {most}")))
            }
        };
        is_in(self.probes, "probes", 1 << 40)?;
        is_in(self.rate.into(), "rate", 100_000)?;
        is_in(self.concurrency as u64, "concurrency", 100_000)?;
        is_in(self.top as u64, "top", 1_000)?;
        let options = scan::Options {
            probes: self.probes,
            time: self.time,
            rate: self.rate,
            concurrency: self.concurrency,
            timeout: self.timeout,
            top: self.top,
            output: self.output,
            download: self.download,
            seed: self.seed,
        };
        if config.is_some() && self.config.is_some() {
            return Err(misuse("--config is given twice"));
        }
        let config = self.config.or(config);
        let has_config = config.is_some() || self.service.is_some();
        let port = self.port.unwrap_or(Self::DEFAULT_PORT);
        let source = match (self.entries.is_empty(), self.list, has_config) {
            (false, None, false) => Source::Entries(self.entries, port),
            (true, Some(list), false) => Source::List(list, port),
            (true, None, _) if self.port.is_none() => Source::Service {
                config: config.unwrap_or_else(|| PathBuf::from(DEFAULT_CONFIG)),
                name: self.service,
            },
            (true, None, _) => {
                return Err(misuse(
                    "--port is for --list and entries; a configuration has its own",
                ));
            }
            (false, Some(_), _) | (false, _, true) | (true, Some(_), true) => {
                return Err(misuse(
                    "what is scanned is either a configuration, a --list, or entries",
                ));
            }
        };
        Ok(Invocation::Scan { source, options })
    }
}

/// Parses the arguments, the program's name not among them.
///
/// # Errors
/// [`EarlyExit`] when the process is to end at once: help, version, or bad usage.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, EarlyExit> {
    let mut words = Vec::new();
    for argument in arguments {
        let word = argument
            .into_string()
            .map_err(|argument| misuse(&format!("Not UTF-8: {}", argument.display())))?;
        // argh knows `--config PATH` only; everybody else's programs take `--config=PATH` as well.
        match word.split_once('=') {
            Some(("--config", path)) => words.extend(["--config".to_owned(), path.to_owned()]),
            Some(_) | None => words.push(word),
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let parsed = Arguments::from_args(&[PROGRAM], &words).map_err(|exit| match exit.status {
        Ok(()) => EarlyExit::Answer(exit.output.trim_end().to_owned()),
        Err(()) => misuse(exit.output.trim_end()),
    })?;
    if parsed.version {
        return Err(EarlyExit::Answer(format!(
            "{PROGRAM} {}",
            env!("CARGO_PKG_VERSION")
        )));
    }
    let or_default = |config: Option<PathBuf>| config.unwrap_or_else(|| PathBuf::from(DEFAULT_CONFIG));
    if parsed.takeover && parsed.command.is_some() {
        return Err(misuse("--takeover is for running, not for a command"));
    }
    match parsed.command {
        None => Ok(Invocation::Run {
            config: or_default(parsed.config),
            origin: if parsed.takeover {
                Origin::Takeover
            } else {
                Origin::Own
            },
        }),
        Some(Command::Check(check)) => {
            if parsed.config.is_some() && check.config.is_some() {
                return Err(misuse("--config is given twice"));
            }
            Ok(Invocation::Check {
                config: or_default(check.config.or(parsed.config)),
            })
        }
        Some(Command::Scan(scan)) => scan.invocation(parsed.config),
        Some(Command::Status(one)) => asking(one.asked(parsed.config)),
        Some(Command::Explain(one)) => asking(one.asked(parsed.config)),
        Some(Command::Drain(one)) => asking(one.asked(parsed.config)),
        Some(Command::Maintenance(one)) => asking(one.asked(parsed.config)),
        Some(Command::Ready(one)) => asking(one.asked(parsed.config)),
        Some(Command::Top(top)) => match top.shown(parsed.config) {
            Ok((at, service)) => Ok(Invocation::Top { at, service }),
            Err(what) => Err(misuse(&what)),
        },
        Some(Command::Demo(Demo {})) => match parsed.config {
            None => Ok(Invocation::Demo),
            Some(_) => Err(misuse(
                "demo has a configuration of its own and takes no --config",
            )),
        },
    }
}

/// Every command with its options, for what is made from them: completions, the manual page.
#[must_use]
pub fn definition() -> CommandInfoWithArgs {
    CommandInfoWithArgs {
        name: PROGRAM,
        ..Arguments::get_args_info()
    }
}

fn asking(asked: Result<Asked, String>) -> Result<Invocation, EarlyExit> {
    asked.map(Invocation::Ask).map_err(|what| misuse(&what))
}

fn misuse(what: &str) -> EarlyExit {
    EarlyExit::Misuse(format!("{what}\nRun {PROGRAM} --help for more information."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::Form::{Json, Words};
    use crate::ask::{Question, Url};
    use crate::service::AdminState;

    fn given(words: &[&str]) -> Result<Invocation, EarlyExit> {
        parse(words.iter().map(OsString::from))
    }

    fn answer(words: &[&str]) -> String {
        match given(words) {
            Err(EarlyExit::Answer(text)) => text,
            other => panic!("{words:?} gives {other:?}"),
        }
    }

    #[test]
    fn no_arguments_run_the_default_configuration() {
        let config = PathBuf::from("./config.yaml");
        assert_eq!(
            given(&[]),
            Ok(Invocation::Run {
                config: config.clone(),
                origin: Origin::Own,
            })
        );
        assert_eq!(
            given(&["--takeover"]),
            Ok(Invocation::Run {
                config: config.clone(),
                origin: Origin::Takeover,
            })
        );
        assert!(given(&["--takeover", "check"]).is_err());
        assert_eq!(given(&["check"]), Ok(Invocation::Check { config }));
        assert_eq!(given(&["demo"]), Ok(Invocation::Demo));
    }

    #[test]
    fn the_configuration_is_named_in_any_usual_way() {
        let config = PathBuf::from("a=b.yaml");
        for words in [
            &["-c", "a=b.yaml"][..],
            &["--config", "a=b.yaml"],
            &["--config=a=b.yaml"],
        ] {
            let run = Invocation::Run {
                config: config.clone(),
                origin: Origin::Own,
            };
            let check = Invocation::Check {
                config: config.clone(),
            };
            assert_eq!(given(words), Ok(run), "{words:?}");
            assert_eq!(
                given(&[words, &["check"]].concat()),
                Ok(check.clone()),
                "{words:?}"
            );
            assert_eq!(given(&[&["check"], words].concat()), Ok(check), "{words:?}");
        }
    }

    #[test]
    fn a_scan_has_one_source_and_its_limits() {
        let source = |words: &[&str]| match given(words) {
            Ok(Invocation::Scan { source, options }) => (source, options),
            other => panic!("{words:?} gives {other:?}"),
        };
        let (entries, options) = source(&["scan", "10.0.0.0/8", "[::1]:81", "--seed", "7", "--time", "30s"]);
        assert_eq!(
            entries,
            Source::Entries(vec!["10.0.0.0/8".to_owned(), "[::1]:81".to_owned()], 443)
        );
        assert_eq!(
            (options.probes, options.rate, options.top, options.seed),
            (20_000, 1_000, 10, Some(7))
        );
        assert_eq!(options.time, Some(Duration::from_secs(30)));
        let (list, _) = source(&["scan", "--list", "a.txt", "--port", "80"]);
        assert_eq!(list, Source::List(PathBuf::from("a.txt"), 80));
        for words in [
            &["scan", "-c", "b.yaml", "--service", "web"][..],
            &["-c", "b.yaml", "scan", "--service", "web"],
        ] {
            let (service, _) = source(words);
            let name = Some("web".to_owned());
            let config = PathBuf::from("b.yaml");
            assert_eq!(service, Source::Service { config, name });
        }
        let (only, _) = source(&["scan"]);
        let config = PathBuf::from(DEFAULT_CONFIG);
        assert_eq!(only, Source::Service { config, name: None });
    }

    #[test]
    fn a_process_is_asked_where_the_command_line_says() {
        let asked = |words: &[&str]| match given(words) {
            Ok(Invocation::Ask(asked)) => asked,
            other => panic!("{words:?} gives {other:?}"),
        };
        let url = || Url::parse("http://[::1]:9099").expect("a URL");
        assert_eq!(
            asked(&["status"]),
            Asked {
                at: Address::Config(PathBuf::from(DEFAULT_CONFIG)),
                question: Question::Status,
                form: Words,
            }
        );
        assert_eq!(
            asked(&["explain", "--json", "--url", "http://[::1]:9099", "web"]),
            Asked {
                at: Address::Url(url()),
                question: Question::Explain(Some("web".to_owned())),
                form: Json,
            }
        );
        assert_eq!(
            given(&["top", "web", "--url", "http://[::1]:9099"]),
            Ok(Invocation::Top {
                at: Address::Url(url()),
                service: Some("web".to_owned()),
            })
        );
        let config = Address::Config(PathBuf::from("b.yaml"));
        assert_eq!(asked(&["-c", "b.yaml", "status"]).at, config);
        assert_eq!(asked(&["explain", "-c", "b.yaml"]).at, config);
        let backend = "192.0.2.7:443".parse().expect("an address");
        for state in AdminState::ALL {
            assert_eq!(
                asked(&[
                    state.label(),
                    "192.0.2.7:443",
                    "--service",
                    "web",
                    "--socket",
                    "/a"
                ]),
                Asked {
                    at: Address::Socket(PathBuf::from("/a")),
                    question: Question::Steer(state, backend, Some("web".to_owned())),
                    form: Words,
                }
            );
        }
    }

    #[test]
    fn help_and_version_are_answers() {
        assert_eq!(
            answer(&["--version"]),
            concat!("tcp-forwarder ", env!("CARGO_PKG_VERSION"))
        );
        let help = answer(&["--help"]);
        for word in ["--config", "--version", "--help", "check", "demo", "scan"] {
            assert!(help.contains(word), "{word} is missing:\n{help}");
        }
        assert!(answer(&["check", "--help"]).contains("--config"));
    }

    #[test]
    fn anything_else_is_misuse() {
        for words in [
            &["--colour"][..],
            &["serve"],
            &["-c"],
            &["--config"],
            &["-c", "a", "-c", "b"],
            &["-c", "a", "check", "-c", "b"],
            &["-c", "a", "demo"],
            &["check", "more"],
            &["demo", "--fast"],
            &["scan", "--top", "0", "10.0.0.1"],
            &["scan", "--rate", "0", "10.0.0.1"],
            &["scan", "--time", "0s", "10.0.0.1"],
            &["scan", "--timeout", "400000000000y", "10.0.0.1"],
            &["scan", "--output", "xml", "10.0.0.1"],
            &["scan", "--download", "https://example.com/", "10.0.0.1"],
            &["scan", "--list", "a.txt", "10.0.0.1"],
            &["scan", "--service", "web", "10.0.0.1"],
            &["scan", "--port", "80"],
            &["-c", "a", "scan", "-c", "b"],
            &["-c", "a", "status", "-c", "b"],
            &["status", "--socket", "a", "--url", "http://127.0.0.1:1"],
            &["-c", "a", "explain", "--socket", "b"],
            &["explain", "web", "more"],
            &["status", "--url", "127.0.0.1:1"],
            &["drain"],
            &["drain", "192.0.2.7"],
            &["ready", "name:80"],
            &[""],
        ] {
            match given(words) {
                Err(EarlyExit::Misuse(text)) => assert!(text.contains("--help"), "{text}"),
                other => panic!("{words:?} gives {other:?}"),
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn an_argument_that_is_no_text_is_misuse() {
        use std::os::unix::ffi::OsStringExt;
        let odd = OsString::from_vec(vec![b'-', 0xff]);
        assert!(matches!(parse([odd]), Err(EarlyExit::Misuse(_))));
    }
}

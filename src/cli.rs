//! Arguments: what the command line asks for.
//!
//! It parses and words; it prints nothing and ends nothing, which is `main`'s to do.

use std::ffi::OsString;
use std::path::PathBuf;

use argh::FromArgs;

/// Exit status of bad usage and of a bad configuration.
pub const EXIT_USAGE: u8 = 2;

/// The configuration file, unless `--config` names another one.
pub const DEFAULT_CONFIG: &str = "./config.yaml";

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
#[derive(FromArgs, Debug)]
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

#[derive(FromArgs, Debug)]
#[argh(subcommand)]
enum Command {
    Check(Check),
    Demo(Demo),
}

/// Check the configuration and the candidate list, say what was understood, and bind nothing.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "check")]
struct Check {
    /// configuration file (default ./config.yaml)
    #[argh(option, short = 'c')]
    config: Option<PathBuf>,
}

/// Run with a few backends in this process, to try the forwarder without any file.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "demo")]
struct Demo {}

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
        Some(Command::Demo(Demo {})) => match parsed.config {
            None => Ok(Invocation::Demo),
            Some(_) => Err(misuse(
                "demo has a configuration of its own and takes no --config",
            )),
        },
    }
}

fn misuse(what: &str) -> EarlyExit {
    EarlyExit::Misuse(format!("{what}\nRun {PROGRAM} --help for more information."))
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn help_and_version_are_answers() {
        assert_eq!(
            answer(&["--version"]),
            concat!("tcp-forwarder ", env!("CARGO_PKG_VERSION"))
        );
        let help = answer(&["--help"]);
        for word in ["--config", "--version", "--help", "check", "demo"] {
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

//! Arguments -> configuration -> app -> exit status; nothing else.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use tcp_forwarder::app::Launch;
use tcp_forwarder::candidates::{CandidateSet, list_file};
use tcp_forwarder::check::Report;
use tcp_forwarder::cli::{self, EarlyExit, Invocation};
use tcp_forwarder::config::{self, Config};
use tcp_forwarder::demo::{self, Setup, View};
use tcp_forwarder::last_words::{self, EXIT_FAILURE};
use tcp_forwarder::logging;
use tcp_forwarder::signals::{self, Signal};

fn main() -> ExitCode {
    last_words::end_on_panic();
    let result = match cli::parse(std::env::args_os().skip(1)) {
        Ok(Invocation::Run { config }) => run(&config),
        Ok(Invocation::Check { config }) => check(&config),
        Ok(Invocation::Demo) => demo(),
        Err(EarlyExit::Answer(text)) => {
            print(&text);
            Ok(())
        }
        Err(EarlyExit::Misuse(text)) => Err(Failure {
            text,
            status: cli::EXIT_USAGE,
        }),
    };
    match result {
        Ok(()) => {
            log::logger().flush();
            ExitCode::SUCCESS
        }
        Err(failure) => {
            last_words::say(&failure.text, failure.status);
            ExitCode::from(failure.status)
        }
    }
}

/// What the process ends with when it does not end well.
struct Failure {
    text: String,
    status: u8,
}

impl Failure {
    fn start(error: impl Display) -> Self {
        Self {
            text: format!("tcp-forwarder: {error}"),
            status: EXIT_FAILURE,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::start(error)
    }
}

fn run(path: &Path) -> Result<(), Failure> {
    let launch = launch()?;
    let (config, candidates) = load(path)?;
    logging::init(&config.logging).map_err(Failure::start)?;
    let app = launch.start(&config, candidates).map_err(Failure::start)?;
    app.run().map(drop).map_err(Failure::start)
}

fn check(path: &Path) -> Result<(), Failure> {
    let (config, candidates) = load(path)?;
    print(&Report {
        config: &config,
        candidates: &candidates,
    });
    Ok(())
}

fn demo() -> Result<(), Failure> {
    let launch = launch()?;
    demo::run(Box::new(io::stdout()), |setup: Setup| {
        logging::init(&setup.config.logging).map_err(Failure::start)?;
        let app = launch
            .start(&setup.config, setup.candidates)
            .map_err(Failure::start)?;
        let Some(listen) = app.listen_addrs.first().copied() else {
            return Err(Failure::start("the demonstration listens nowhere"));
        };
        let view = View {
            listen,
            metrics: app.metrics_addr,
            active: Arc::clone(&app.active),
            board: Arc::clone(&app.board),
        };
        let narration = setup.narrator.begin(view).map_err(Failure::start)?;
        let end = app.run().map(drop).map_err(Failure::start);
        drop(narration);
        end
    })
}

/// The configuration and the candidates it names.
fn load(path: &Path) -> Result<(Config, CandidateSet), Failure> {
    let config = config::load(path).map_err(|error| bad_config(&error))?;
    let list = &config.remotes.provider.path;
    let candidates = list_file::load(list, config.remotes.default_remote_port).map_err(|error| {
        let status = match error {
            list_file::LoadError::Unreadable { .. } => EXIT_FAILURE,
            list_file::LoadError::Bad { .. } => cli::EXIT_USAGE,
        };
        Failure {
            text: error.to_string(),
            status,
        }
    })?;
    Ok((config, candidates))
}

/// What is wrong with a configuration, and with the list that it names: everything at once.
fn bad_config(error: &config::LoadError) -> Failure {
    let mut text = error.to_string();
    if let config::LoadError::Invalid(errors) = error
        && let Some(list) = &errors.list
        // The port of entries without one is never wrong.
        && let Err(error) = list_file::load(list, Config::default().remotes.default_remote_port)
    {
        text.push('\n');
        text.push_str(&error.to_string());
    }
    Failure {
        text,
        status: error.exit_status(),
    }
}

/// A process to be started, which a signal can stop already. Comes before any other thread is made.
fn launch() -> Result<Launch, Failure> {
    let signals = signals::block().map_err(Failure::start)?;
    let launch = Launch::default();
    let handle = launch.stop_handle();
    let tell = move |signal| match signal {
        Signal::Stop => handle.stop(),
        Signal::Reload | Signal::ReopenLogs => logging::reopen(),
    };
    signals.listen(tell).map_err(Failure::start)?;
    Ok(launch)
}

/// Prints to standard output; whoever closed it does not want to know.
fn print(text: &impl Display) {
    drop(writeln!(io::stdout(), "{}", text.to_string().trim_end()));
}

//! Arguments -> configuration -> app -> exit status; nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tcp_forwarder::app::{
    App, Boot, Certificates, Errand, Inherited, Launch, Listed, Lists, Part, certificate_remarks,
    load_certificates, look_up, read_lists, tell_list,
};
use tcp_forwarder::ask::{self, Client, Door, Paper, Token};
use tcp_forwarder::base::doorbell::Doorbell;
use tcp_forwarder::candidates::{Account, List, LoadError, Rules, list_file};
use tcp_forwarder::check::Report;
use tcp_forwarder::cli::{self, Address, Asked, EarlyExit, Invocation, Origin, Source};
use tcp_forwarder::config::{self, Config, ServiceName, Supply};
use tcp_forwarder::demo::{self, Setup};
use tcp_forwarder::handover;
use tcp_forwarder::last_words::{self, EXIT_FAILURE};
use tcp_forwarder::logging;
use tcp_forwarder::scan::{self, Subject};
use tcp_forwarder::signals::{self, Blocked, Signal};
use tcp_forwarder::terminal;
use tcp_forwarder::tls::Credentials;
use tcp_forwarder::top;

/// The variable of the environment with the token for `--url`, which others would see among the arguments.
const TOKEN_VARIABLE: &str = "TCP_FORWARDER_ADMIN_TOKEN";

/// Time for a question; and for one of many, while somebody looks on.
const PATIENCE: Duration = Duration::from_secs(20);
const PATIENCE_OF_TOP: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    last_words::end_on_panic();
    let result = match cli::parse(std::env::args_os().skip(1)) {
        Ok(Invocation::Run { config, origin }) => run(&config, origin),
        Ok(Invocation::Check { config }) => check(&config),
        Ok(Invocation::Demo) => demo(),
        Ok(Invocation::Scan { source, options }) => scan(source, &options),
        Ok(Invocation::Ask(asked)) => ask(&asked),
        Ok(Invocation::Top { at, service }) => top(&at, service),
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
            logging::flush_lines();
            log::logger().flush();
            ExitCode::SUCCESS
        }
        Err(failure) => {
            last_words::say(&failure.text, failure.status, logging::flush_lines);
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

fn run(path: &Path, origin: Origin) -> Result<(), Failure> {
    let signals = signals::block()?;
    let (config, lists, accounts) = load(path)?;
    // What is wrong with them is said before anybody hands over.
    drop(certificates_of(&config)?);
    let inherited = match origin {
        Origin::Own => Inherited::passed(&config).map_err(Failure::start)?,
        Origin::Takeover => take_over(&config)?,
    };
    logging::init(&config.process.logging).map_err(Failure::start)?;
    for (list, account) in &accounts {
        tell_list(list, account);
    }
    let app = start(
        signals,
        Boot {
            config,
            file: Some(path.to_owned()),
            lists,
            inherited,
        },
    )?;
    app.run().map(drop).map_err(Failure::start)
}

/// What the process behind the control socket hands over.
fn take_over(config: &Config) -> Result<Inherited, Failure> {
    let Some(path) = &config.process.control_socket else {
        return Err(Failure {
            text: "tcp-forwarder: --takeover needs server.control_socket, behind which the other process is"
                .to_owned(),
            status: cli::EXIT_USAGE,
        });
    };
    handover::take(path).map(Inherited::taken).map_err(Failure::start)
}

/// Starts a process that hears signals from now on.
fn start(signals: Blocked, boot: Boot) -> Result<App, Failure> {
    let launch = Launch::new(boot.config.process.reactors);
    let handle = launch.handle();
    signals.listen(move |signal| match signal {
        Signal::Stop => handle.stop(),
        Signal::Reload => {
            handle.ask(Errand::ReopenLogs);
            handle.ask(Errand::Reload);
        }
        Signal::ReopenLogs => handle.ask(Errand::ReopenLogs),
        // Lines of relays that have ended are gathered for a moment before they are written.
        Signal::End => logging::flush_lines(),
    })?;
    launch.start(boot).map_err(Failure::start)
}

fn check(path: &Path) -> Result<(), Failure> {
    let (config, candidates, accounts) = load(path)?;
    let certificates = certificates_of(&config)?;
    print(&Report {
        config: &config,
        candidates: &candidates,
        accounts: &accounts,
        certificates: &certificates,
    });
    for (list, account) in &accounts {
        eprint_remarks(list, account);
    }
    for (name, spec) in &config.services {
        let credentials = certificates.get(name).cloned().unwrap_or_default();
        for remark in certificate_remarks(spec, &Credentials::default(), &credentials) {
            eprint(&format!("service {name}: {remark}"));
        }
    }
    Ok(())
}

fn scan(source: Source, options: &scan::Options) -> Result<(), Failure> {
    let signals = signals::block()?;
    let (bell, is_over) = (Arc::new(Doorbell::default()), Arc::new(AtomicBool::new(false)));
    let (stop, rings) = (Arc::clone(&is_over), Arc::clone(&bell));
    signals.listen(move |signal| match signal {
        Signal::Stop => {
            stop.store(true, Ordering::Relaxed);
            rings.ring();
        }
        Signal::Reload | Signal::ReopenLogs | Signal::End => {}
    })?;
    let subject = scanned(source, &is_over)?;
    let found = scan::run(&subject, options, &bell, &is_over)?;
    write_all(&found)
}

/// Writes a result to standard output.
fn write_all(result: &[u8]) -> Result<(), Failure> {
    match io::stdout().write_all(result) {
        // Whoever closed it does not want to know; a full disk is another matter.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Shows a process that runs, until a key or a signal ends it.
fn top(at: &Address, service: Option<String>) -> Result<(), Failure> {
    let client = Client::new(doors(at)?, PATIENCE_OF_TOP);
    let signals = signals::block()?;
    let is_over = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&is_over);
    signals.listen(move |signal| match signal {
        // A hang-up: whoever looked is gone.
        Signal::Stop | Signal::Reload => {
            stop.store(true, Ordering::Relaxed);
            // A second signal ends the process at once.
            terminal::give_back();
        }
        Signal::ReopenLogs | Signal::End => {}
    })?;
    top::run(&client, service, &is_over).map_err(|error| unanswered(&error))
}

/// Asks a process that runs, and prints its answer.
fn ask(asked: &Asked) -> Result<(), Failure> {
    let client = Client::new(doors(&asked.at)?, PATIENCE);
    let paper = Paper {
        width: terminal::size().map(|size| size.columns),
        letters: terminal::letters(),
    };
    let answer = asked.question.ask(&client, asked.form, paper);
    write_all(answer.map_err(|error| unanswered(&error))?.as_bytes())
}

/// Where the process is asked.
fn doors(at: &Address) -> Result<Vec<Door>, Failure> {
    Ok(match at {
        Address::Config(path) => Door::of(&config::load(path).map_err(|error| bad_config(&error))?.process),
        Address::Socket(path) => vec![Door::Socket(path.clone())],
        Address::Url(url) => {
            let token = std::env::var(TOKEN_VARIABLE)
                .ok()
                .filter(|token| !token.is_empty());
            vec![Door::Port(url.clone(), token.map(Token))]
        }
    })
}

/// Why there is no answer to print.
fn unanswered(error: &ask::Failure) -> Failure {
    match error {
        ask::Failure::Misuse(why) => misuse(why),
        ask::Failure::Nobody(_)
        | ask::Failure::NoAnswer(..)
        | ask::Failure::Refused(..)
        | ask::Failure::Misunderstood(_)
        | ask::Failure::Terminal(_) => Failure::start(error),
    }
}

/// The candidates of a scan, and whose they are; says what people should know of the lists that they are from.
fn scanned(source: Source, is_over: &AtomicBool) -> Result<Subject, Failure> {
    match source {
        Source::Entries(entries, port) => {
            let list = list_file::read_entries(&entries, port).map_err(|error| misuse(&error.to_string()))?;
            list.account.remarks().for_each(|remark| eprint(&remark));
            of_list(list, is_over)
        }
        Source::List(path, port) => {
            let list = list_file::load(&path, Rules::with_names(port)).map_err(|error| Failure {
                status: match &error {
                    LoadError::Unreadable { .. } => EXIT_FAILURE,
                    LoadError::Bad { .. } => cli::EXIT_USAGE,
                },
                text: error.to_string(),
            })?;
            eprint_remarks(&path, &list.account);
            of_list(list, is_over)
        }
        Source::Service { config, name } => of_service(&config, name.as_deref(), is_over),
    }
}

/// A list without a configuration: a state file of its candidates is for the only service of one that says nothing else.
fn of_list(list: List, is_over: &AtomicBool) -> Result<Subject, Failure> {
    let service = ServiceName::default_service();
    let mut lists = Lists::from([(service.clone(), Listed::of(vec![Part::from(list)]))]);
    subject(&Config::default(), &mut lists, &service, is_over)
}

/// The candidates of a service, which may be left unnamed where there is one only.
fn of_service(config: &Path, name: Option<&str>, is_over: &AtomicBool) -> Result<Subject, Failure> {
    let (config, mut lists, accounts) = load(config)?;
    let chosen = match name {
        Some(name) => lists.keys().find(|known| known.as_str() == name),
        None if lists.len() == 1 => lists.keys().next(),
        None => None,
    };
    let Some(chosen) = chosen.cloned() else {
        let names = lists
            .keys()
            .map(ServiceName::as_str)
            .collect::<Vec<_>>()
            .join(", ");
        return Err(misuse(&match name {
            Some(name) => format!("there is no service {name}; there are: {names}"),
            None => format!("which service? --service is one of: {names}"),
        }));
    };
    let providers = config.services.get(&chosen).map(|spec| &spec.remotes.providers);
    let files = providers.into_iter().flatten().filter_map(Supply::file);
    let files: BTreeSet<&PathBuf> = files.map(|file| &file.path).collect();
    for (path, account) in accounts.iter().filter(|(path, _)| files.contains(path)) {
        eprint_remarks(path, account);
    }
    subject(&config, &mut lists, &chosen, is_over)
}

/// The candidates of a service, with those that its providers name when they are asked now.
fn subject(
    config: &Config,
    lists: &mut Lists,
    service: &ServiceName,
    is_over: &AtomicBool,
) -> Result<Subject, Failure> {
    let looked = look_up(config, lists, service, is_over)?;
    let is_only = looked.failures.len() == 1;
    let failure = |(provider, why): &(String, String)| {
        if is_only {
            why.clone()
        } else {
            format!("provider {provider}: {why}")
        }
    };
    let failures = looked.failures.iter().map(failure);
    let set = lists.get(service).map(|listed| Arc::clone(&listed.union));
    let Some(set) = set.filter(|set| !set.is_empty()) else {
        let why = failures.collect::<Vec<_>>().join("; ");
        return Err(Failure::start(format!("there is nobody to scan: {why}")));
    };
    for failure in failures {
        eprint(&format!(
            "not all names are known, and the others are scanned: {failure}"
        ));
    }
    let spec = config.services.get(service);
    let remotes = spec.map(|spec| spec.remotes.clone()).unwrap_or_default();
    Ok(Subject {
        set,
        service: service.as_str().to_owned(),
        scoring: remotes.scoring,
        members: remotes.selector.active_set_size,
        bind: remotes.bind,
        answers: looked.answers,
    })
}

fn misuse(text: &str) -> Failure {
    Failure {
        text: format!("tcp-forwarder: {text}"),
        status: cli::EXIT_USAGE,
    }
}

fn demo() -> Result<(), Failure> {
    let signals = signals::block()?;
    demo::run(Box::new(io::stdout()), |setup: Setup| {
        logging::init(&setup.config.process.logging).map_err(Failure::start)?;
        let boot = Boot {
            config: setup.config,
            file: None,
            lists: setup.lists,
            inherited: Inherited::default(),
        };
        let app = start(signals, boot)?;
        let narration = setup.narrator.begin(app.handle(), app.metrics_addr)?;
        let end = app.run().map(drop).map_err(Failure::start);
        drop(narration);
        end
    })
}

/// What was understood of each list.
type Accounts = BTreeMap<PathBuf, Account>;

/// The configuration, the candidates it names, and what was understood of the lists.
fn load(path: &Path) -> Result<(Config, Lists, Accounts), Failure> {
    let config = config::load(path).map_err(|error| bad_config(&error))?;
    let mut accounts = Accounts::new();
    let lists = read_lists(&config, |list, account| {
        accounts.insert(list.to_owned(), account.clone());
    });
    let lists = lists.map_err(|error| wrong_files(&error, error.is_unreadable()))?;
    Ok((config, lists, accounts))
}

/// What is wrong with files that a configuration names.
fn wrong_files(error: &dyn Display, is_unreadable: bool) -> Failure {
    Failure {
        status: if is_unreadable {
            EXIT_FAILURE
        } else {
            cli::EXIT_USAGE
        },
        text: error.to_string(),
    }
}

/// The certificates that a configuration names.
fn certificates_of(config: &Config) -> Result<Certificates, Failure> {
    load_certificates(config).map_err(|error| wrong_files(&error, error.is_unreadable()))
}

/// What is wrong with a configuration, and with the lists that it names: everything at once.
fn bad_config(error: &config::LoadError) -> Failure {
    let mut text = error.to_string();
    if let config::LoadError::Invalid(errors) = error {
        for list in &errors.lists {
            // The port of entries without one is never wrong.
            let rules = Rules::with_names(config::Remotes::default().default_remote_port);
            if let Err(error) = list_file::load(list, rules) {
                text.push('\n');
                text.push_str(&error.to_string());
            }
        }
    }
    if let config::LoadError::Unreadable { file, .. } = error
        && file == Path::new(cli::DEFAULT_CONFIG)
    {
        text.push_str("; another one is named by --config FILE");
    }
    Failure {
        text,
        status: error.exit_status(),
    }
}

/// Prints to standard error what people should know of a list.
fn eprint_remarks(list: &Path, account: &Account) {
    for remark in account.remarks() {
        eprint(&format!("{}: {remark}", list.display()));
    }
}

/// Prints a warning to standard error.
fn eprint(text: &str) {
    drop(writeln!(io::stderr(), "tcp-forwarder: {text}"));
}

/// Prints to standard output; whoever closed it does not want to know.
fn print(text: &impl Display) {
    drop(writeln!(io::stdout(), "{}", text.to_string().trim_end()));
}

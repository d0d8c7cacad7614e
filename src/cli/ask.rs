//! Arguments of the commands that ask a process which runs.

use std::net::SocketAddr;
use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};

use crate::ask::{Form, Question, Url};
use crate::service::AdminState;

/// The configuration file, unless `--config` names another one.
pub const DEFAULT_CONFIG: &str = "./config.yaml";

/// How the command line says where the process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// As this configuration file says.
    Config(PathBuf),
    /// Behind this control socket.
    Socket(PathBuf),
    /// Behind this metrics port.
    Url(Url),
}

/// A question that the command line asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Whom.
    pub at: Address,
    /// What.
    pub question: Question,
    /// How the answer is printed.
    pub form: Form,
}

/// A command with what all of them have: where the process is, and how its answer is printed.
macro_rules! command {
    ($(#[$meta:meta])* $name:ident { $($fields:tt)* }) => {
        #[derive(FromArgs, ArgsInfo, Debug)]
        $(#[$meta])*
        pub(super) struct $name {
            $($fields)*

            /// configuration file of the process, which says where it is (default ./config.yaml)
            #[argh(option, short = 'c')]
            config: Option<PathBuf>,

            /// control socket of the process
            #[argh(option)]
            socket: Option<PathBuf>,

            /// metrics port of the process, as http://HOST:PORT
            #[argh(option, from_str_fn(url))]
            url: Option<Url>,

            /// print the answer as it came, in JSON
            #[argh(switch)]
            json: bool,
        }

        impl $name {
            /// The question, with what the command line says of the configuration before the command.
            ///
            /// # Errors
            /// In words, when that does not go together.
            pub(super) fn asked(self, config: Option<PathBuf>) -> Result<Asked, String> {
                let form = if self.json { Form::Json } else { Form::Words };
                let at = address([config, self.config.clone()], self.socket.clone(), self.url.clone())?;
                Ok(Asked { at, question: self.question(), form })
            }
        }
    };
}

command! {
    /// Say how a running process and its services stand.
    #[argh(subcommand, name = "status")]
    Status {}
}

command! {
    /// Say why the members of a running process's active sets are in, why the best others are out, and what would change it.
    #[argh(subcommand, name = "explain")]
    Explain {
        /// service (default: all)
        #[argh(positional)]
        service: Option<String>,
    }
}

command! {
    /// Keep new clients from a candidate, which is still probed; those that it has go on.
    #[argh(subcommand, name = "drain")]
    Drain {
        /// the candidate with its port, such as 192.0.2.7:443
        #[argh(positional, from_str_fn(candidate))]
        candidate: SocketAddr,

        /// service (default: the only one)
        #[argh(option)]
        service: Option<String>,
    }
}

command! {
    /// Keep new clients and probes from a candidate.
    #[argh(subcommand, name = "maintenance")]
    Maintenance {
        /// the candidate with its port, such as 192.0.2.7:443
        #[argh(positional, from_str_fn(candidate))]
        candidate: SocketAddr,

        /// service (default: the only one)
        #[argh(option)]
        service: Option<String>,
    }
}

command! {
    /// Let a candidate get new clients again, by the usual rules.
    #[argh(subcommand, name = "ready")]
    Ready {
        /// the candidate with its port, such as 192.0.2.7:443
        #[argh(positional, from_str_fn(candidate))]
        candidate: SocketAddr,

        /// service (default: the only one)
        #[argh(option)]
        service: Option<String>,
    }
}

/// Show services and members of a running process as they change. Keys: q quits, s sorts by something else, r turns the order, j
/// and k or the arrows choose a service. Where standard output is no terminal it says once how they stand.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "top")]
pub(super) struct Top {
    /// service that is shown first
    #[argh(positional)]
    service: Option<String>,

    /// configuration file of the process, which says where it is (default ./config.yaml)
    #[argh(option, short = 'c')]
    config: Option<PathBuf>,

    /// control socket of the process
    #[argh(option)]
    socket: Option<PathBuf>,

    /// metrics port of the process, as http://HOST:PORT
    #[argh(option, from_str_fn(url))]
    url: Option<Url>,
}

impl Top {
    /// Which process is shown, and which service of it first, with what the command line says before the command.
    ///
    /// # Errors
    /// In words, when that does not go together.
    pub(super) fn shown(self, config: Option<PathBuf>) -> Result<(Address, Option<String>), String> {
        Ok((
            address([config, self.config], self.socket, self.url)?,
            self.service,
        ))
    }
}

impl Status {
    fn question(self) -> Question {
        let Self { .. } = self;
        Question::Status
    }
}

impl Explain {
    fn question(self) -> Question {
        Question::Explain(self.service)
    }
}

impl Drain {
    fn question(self) -> Question {
        Question::Steer(AdminState::Drain, self.candidate, self.service)
    }
}

impl Maintenance {
    fn question(self) -> Question {
        Question::Steer(AdminState::Maintenance, self.candidate, self.service)
    }
}

impl Ready {
    fn question(self) -> Question {
        Question::Steer(AdminState::Ready, self.candidate, self.service)
    }
}

fn url(text: &str) -> Result<Url, String> {
    Url::parse(text)
}

fn candidate(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "not an address with its port, such as 192.0.2.7:443 or [2001:db8::7]:443".to_owned())
}

fn address(
    [before, behind]: [Option<PathBuf>; 2],
    socket: Option<PathBuf>,
    url: Option<Url>,
) -> Result<Address, String> {
    if before.is_some() && behind.is_some() {
        return Err("--config is given twice".to_owned());
    }
    match (before.or(behind), socket, url) {
        (config, None, None) => Ok(Address::Config(
            config.unwrap_or_else(|| PathBuf::from(DEFAULT_CONFIG)),
        )),
        (None, Some(socket), None) => Ok(Address::Socket(socket)),
        (None, None, Some(url)) => Ok(Address::Url(url)),
        _ => Err("where the process is say --config, --socket or --url: one of them".to_owned()),
    }
}

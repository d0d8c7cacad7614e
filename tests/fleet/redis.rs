//! A Redis of the test, and whoever talks to it beside the forwarders.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;
use tcp_forwarder::fleet::resp::{self, Value};
use tempfile::TempDir;

use crate::server::{Server, free_addr, programs};
use crate::support::patient;

/// A real one, with a folder of its own.
pub struct Redis {
    program: PathBuf,
    folder: TempDir,
    server: Option<Server>,
    pub addr: SocketAddr,
}

impl Redis {
    /// Starts one with these words besides; none where it is not installed, which is said.
    pub fn start(words: &[&str]) -> Option<Self> {
        let [program] = programs("fleet", ["redis-server"])?;
        let mut redis = Self {
            program,
            folder: TempDir::new().unwrap(),
            server: None,
            addr: free_addr(1),
        };
        redis.begin(words);
        Some(redis)
    }

    /// Another one at the same port, once the first was [stopped](Self::stop): empty, as it keeps nothing.
    pub fn begin(&mut self, words: &[&str]) {
        let mut command = Command::new(&self.program);
        command.current_dir(self.folder.path()).args([
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        if !words.contains(&"--tls-port") {
            command.args(["--port", &self.addr.port().to_string()]);
        }
        command.args(words);
        self.server = Some(Server::start(command, self.addr, self.folder.path()));
    }

    /// Kills it.
    pub fn stop(&mut self) {
        self.server = None;
    }

    pub fn signal(&self, signal: Signal) {
        self.server.as_ref().unwrap().signal(signal);
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.addr)
    }

    pub fn talk(&self) -> Talk {
        Talk::to(self.addr)
    }
}

/// A connection to a Redis.
pub struct Talk {
    stream: TcpStream,
    come: Vec<u8>,
}

impl Talk {
    pub fn to(addr: SocketAddr) -> Self {
        Self {
            stream: patient(TcpStream::connect(addr).unwrap()),
            come: Vec::new(),
        }
    }

    /// What a command is answered, whatever it is.
    pub fn tell(&mut self, words: &[&[u8]]) -> Value {
        let mut out = Vec::new();
        resp::command(&mut out, words);
        self.stream.write_all(&out).unwrap();
        let mut room = [0; 4096];
        loop {
            if let Some((value, length)) = resp::parse(&self.come).unwrap() {
                self.come.drain(..length);
                return value;
            }
            let count = self.stream.read(&mut room).unwrap();
            assert!(count > 0, "the Redis hangs up");
            self.come.extend(&room[..count]);
        }
    }

    /// What a command of words is answered, which is no refusal.
    pub fn ask(&mut self, words: &[&str]) -> Value {
        let bytes: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        let answer = self.tell(&bytes);
        assert!(!matches!(answer, Value::Error(_)), "{words:?}: {answer:?}");
        answer
    }

    /// What a command of words says, as texts.
    pub fn texts(&mut self, words: &[&str]) -> Vec<String> {
        let answer = self.ask(words);
        let texts = answer.parts().iter().filter_map(Value::bytes);
        texts
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .collect()
    }

    /// A number that it answers.
    pub fn count(&mut self, words: &[&str]) -> i64 {
        let answer = self.ask(words);
        let Value::Number(number) = answer else {
            unreachable!("{words:?}: {answer:?}");
        };
        number
    }

    /// A number of what it tells about itself.
    pub fn info(&mut self, section: &str, name: &str) -> u64 {
        let answer = self.ask(&["INFO", section]);
        let text = String::from_utf8_lossy(answer.bytes().unwrap()).into_owned();
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.unwrap().trim().parse().unwrap()
    }
}

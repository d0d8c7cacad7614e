//! `tcp-forwarder top` and the layout of the others in a real terminal, which `tmux` plays: its size changes, it has no colours,
//! it ends; and it is given back as it was.
#![cfg(all(target_os = "linux", feature = "tui"))]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::tests_outside_test_module,
    unreachable_pub,
    reason = "a test crate: a failure is a panic, and every wait has a deadline"
)]

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;

mod support;

use support::{Forwarder, program, tools, wait_for};

/// A terminal of a server of its own, in which a shell runs the program.
struct Terminal {
    folder: TempDir,
}

impl Terminal {
    /// Runs the program with these words in a terminal of this size. Then the shell says its status, and stays.
    fn run(environment: &str, words: &str, (columns, rows): (usize, usize)) -> Option<Self> {
        tools::wanted("tmux", "top in a terminal")?;
        let this = Self {
            folder: TempDir::new().unwrap(),
        };
        fs::write(
            this.path("conf"),
            "set -g status off\nset -g default-terminal screen\n",
        )
        .unwrap();
        let command = program();
        let program: Vec<_> = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|word| word.to_str().unwrap())
            .collect();
        let folder = this.folder.path().display();
        let program = program.join(" ");
        // What is started is the terminal's foreground; its id is known before it is.
        let script = format!(
            "stty -g >{folder}/before; sh -c 'echo $$ >{folder}/pid; exec env {environment} {program} {words}'; \
             echo \"status $?\"; stty -g >{folder}/after; exec cat"
        );
        let (columns, rows) = (columns.to_string(), rows.to_string());
        this.tmux(&["new-session", "-d", "-x", &columns, "-y", &rows, &script]);
        Some(this)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn tmux(&self, words: &[&str]) -> String {
        let output = Command::new("tmux")
            .env_remove("TMUX")
            .env("LC_ALL", "C")
            .arg("-S")
            .arg(self.path("socket"))
            .arg("-f")
            .arg(self.path("conf"))
            .args(words)
            .output()
            .unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What is on the screen.
    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    fn await_text(&self, text: &str) -> String {
        let mut last = String::new();
        let came = support::comes_true(support::PATIENCE, || {
            last = self.screen();
            last.contains(text)
        });
        assert!(came, "{text:?} does not come:\n{last}");
        last
    }

    /// What tmux knows of the terminal.
    fn state(&self, name: &str) -> String {
        self.tmux(&["display-message", "-p", &format!("#{{{name}}}")])
            .trim()
            .to_owned()
    }

    fn process(&self) -> Pid {
        let id = fs::read_to_string(self.path("pid")).unwrap();
        Pid::from_raw(id.trim().parse().unwrap()).unwrap()
    }

    /// The program has ended with this status, and everything is as before.
    fn is_given_back(&self, status: &str) {
        self.await_text(&format!("status {status}"));
        wait_for("the shell looks at the terminal", || {
            fs::read_to_string(self.path("after")).is_ok_and(|text| text.ends_with('\n'))
        });
        let [before, after] = ["before", "after"].map(|name| fs::read_to_string(self.path(name)).unwrap());
        assert_eq!(before, after);
        assert_eq!(
            (self.state("alternate_on"), self.state("cursor_flag")),
            ("0".into(), "1".into())
        );
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Ends the server and what runs in it. It may have ended by itself.
        let mut command = Command::new("tmux");
        drop(
            command
                .arg("-S")
                .arg(self.path("socket"))
                .arg("kill-server")
                .output(),
        );
    }
}

/// A forwarder with two members, and what the command line says of it.
fn forwarder() -> (Forwarder, [TcpListener; 2], String) {
    let backends = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let addrs: Vec<SocketAddr> = backends.iter().map(|one| one.local_addr().unwrap()).collect();
    let list = format!("{}\n{}", addrs[0], addrs[1]);
    let forwarder = Forwarder::start(&json!({ "server": { "control_socket": "control" } }), &list);
    let socket = format!("--socket {}", forwarder.files().path("control").display());
    (forwarder, backends, socket)
}

#[test]
fn it_follows_the_size_takes_keys_and_gives_the_terminal_back() {
    let (forwarder, backends, socket) = forwarder();
    let Some(terminal) = Terminal::run("", &format!("top {socket}"), (100, 24)) else {
        return;
    };
    for backend in &backends {
        terminal.await_text(&backend.local_addr().unwrap().to_string());
    }
    let wide = terminal.await_text("REQ/S  STATE");
    assert!(wide.contains("> default"), "{wide}");
    assert_eq!(
        (terminal.state("alternate_on"), terminal.state("cursor_flag")),
        ("1".into(), "0".into())
    );
    terminal.await_text(" 0.0  ready");
    terminal.tmux(&["resize-window", "-x", "40", "-y", "8"]);
    wait_for("the columns that have no room go", || {
        let narrow = terminal.screen();
        narrow.contains("LATENCY") && !narrow.contains("REQ/S") && narrow.lines().count() <= 8
    });
    terminal.tmux(&["send-keys", "s"]);
    terminal.await_text("default by latency");
    terminal.tmux(&["resize-window", "-x", "100", "-y", "24"]);
    terminal.await_text("REQ/S");
    terminal.tmux(&["send-keys", "Down", "r", "x"]);
    terminal.tmux(&["send-keys", "q"]);
    terminal.is_given_back("0");
    forwarder.stop();
}

#[test]
fn whatever_ends_it_the_terminal_is_given_back() {
    let (forwarder, _backends, socket) = forwarder();
    for end in ["C-c", "TERM", "HUP", "INT"] {
        let Some(terminal) = Terminal::run("", &format!("top {socket}"), (80, 24)) else {
            return;
        };
        terminal.await_text("MEMBER");
        match end {
            "TERM" => kill_process(terminal.process(), Signal::TERM).unwrap(),
            "HUP" => kill_process(terminal.process(), Signal::HUP).unwrap(),
            "INT" => kill_process(terminal.process(), Signal::INT).unwrap(),
            key => drop(terminal.tmux(&["send-keys", key])),
        }
        terminal.is_given_back("0");
    }
    // The terminal itself goes: nothing is left behind that runs on.
    let terminal = Terminal::run("", &format!("top {socket}"), (80, 24)).unwrap();
    terminal.await_text("MEMBER");
    let process = terminal.process();
    drop(terminal);
    let stat = format!("/proc/{}/stat", process.as_raw_nonzero());
    // Whoever inherits it may leave it unburied.
    wait_for("its end", || {
        fs::read_to_string(&stat).map_or(true, |text| text.contains(") Z "))
    });
    forwarder.stop();
}

#[test]
fn a_process_that_goes_away_is_told_of_and_awaited() {
    let (forwarder, _backends, socket) = forwarder();
    let Some(terminal) = Terminal::run("", &format!("top {socket}"), (80, 24)) else {
        return;
    };
    terminal.await_text("MEMBER");
    forwarder.stop();
    let screen = terminal.await_text("no process is reached");
    assert!(screen.contains("MEMBER"), "what was known stays: {screen}");
    terminal.tmux(&["send-keys", "q"]);
    terminal.is_given_back("0");
}

#[test]
fn colours_are_left_out_where_they_are_not_wanted() {
    let (forwarder, _backends, socket) = forwarder();
    for (environment, is_plain) in [("NO_COLOR=1", true), ("NO_COLOR=", false)] {
        let Some(terminal) = Terminal::run(environment, &format!("top {socket}"), (80, 24)) else {
            return;
        };
        terminal.await_text("MEMBER");
        let escapes = terminal.tmux(&["capture-pane", "-p", "-e"]);
        assert_eq!(!escapes.contains("\x1b["), is_plain, "{escapes:?}");
        terminal.tmux(&["send-keys", "q"]);
        terminal.is_given_back("0");
    }
    let Some(terminal) = Terminal::run("TERM=dumb", &format!("top {socket}"), (80, 24)) else {
        return;
    };
    let screen = terminal.await_text("status 0");
    assert!(screen.contains("MEMBER"), "{screen}");
    assert_eq!(terminal.state("alternate_on"), "0");
    forwarder.stop();
}

#[test]
fn sentences_are_broken_between_words_at_forty_columns() {
    let (forwarder, backends, socket) = forwarder();
    let Some(terminal) = Terminal::run("LANG=C", &format!("explain {socket}"), (40, 60)) else {
        return;
    };
    let screen = terminal.await_text("status 0");
    // Whole words only, for tmux breaks lines wherever they end.
    let words: Vec<&str> = screen.split_whitespace().collect();
    for word in ["members:", "threshold", "points.", "first"] {
        assert!(words.contains(&word), "{word}: {screen}");
    }
    let addr = backends[0].local_addr().unwrap().to_string();
    assert!(screen.contains(&addr), "{screen}");
    forwarder.stop();
}

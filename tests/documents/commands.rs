//! Every command that a page shows is run, in a folder with the files that the page shows.
//!
//! `cargo run --release --` is the program under test here. Ports 1234 and 9099 are replaced by free ones. A
//! block marked `starts` runs until the next one of its kind, and must end with status 0 when it is stopped. Where a page
//! asks before it starts anything, the shipped configuration runs.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use super::configurations::{BROKEN, Content, content};
use super::markdown::{self, Block};
use crate::waiting::{PATIENCE, comes_true};
use crate::{read, root, tools};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tcp-forwarder");

/// Blocks that are not run here, by their first line, and why.
const BY_HAND: [(&str, &str); 7] = [
    (
        "scripts/cross doctor",
        "takes minutes a target, and other toolchains",
    ),
    (
        "rustup target add aarch64-unknown-linux-musl",
        "downloads a standard library",
    ),
    ("cargo test", "is what runs this"),
    (
        "cargo build --release",
        "takes minutes, and installing takes root",
    ),
    ("sudo install -d /etc/tcp-forwarder", "takes root and systemd"),
    ("scripts/bench/run --quick", "takes minutes and a quiet machine"),
    (
        "cargo bench --bench access_log",
        "builds the program anew, and measures for minutes",
    ),
];

/// Programs that blocks need and a machine may lack.
const OPTIONAL: [&str; 2] = ["curl", "ss"];

/// The process of this configuration is asked by a page, and its candidates are nobody's: the one that runs is asked.
const NOT_RUN: &str = "-c first.yaml";

/// The two ports of the documents, and what they are here.
#[derive(Debug, Clone)]
struct Ports {
    listen: String,
    metrics: String,
}

impl Ports {
    fn free() -> Self {
        let held = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let [listen, metrics] = held.map(|held| held.local_addr().expect("an address").port().to_string());
        Self { listen, metrics }
    }

    /// Those that the demo says it uses.
    fn said(said: &str) -> Option<Self> {
        let port_behind = |words: &str| {
            let rest = said.split_once(words)?.1;
            let line = rest.split_once('\n')?.0;
            let digits = line.split_once(':')?.1;
            Some(digits.chars().take_while(char::is_ascii_digit).collect())
        };
        Some(Self {
            listen: port_behind("\nweb ")?,
            metrics: port_behind("metrics     http://127.0.0.1")?,
        })
    }

    fn put_into(&self, text: &str) -> String {
        text.replace("1234", &self.listen).replace("9099", &self.metrics)
    }
}

/// A program that runs until it is stopped, and what it has said.
struct Running {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Running {
    /// Runs one command line.
    fn start(block: &str, folder: &Path) -> Self {
        let [last] = block.lines().collect::<Vec<_>>()[..] else {
            panic!("one command starts it: {block}");
        };
        // The shell gives way to the command, so that the signal reaches that.
        let script = format!("exec env {last}");
        let mut child = shell(&script, folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("sh");
        let said = Arc::new(Mutex::new(String::new()));
        let mut stdout = child.stdout.take().expect("piped");
        let heard = Arc::clone(&said);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = stdout.read(&mut bytes) {
                heard
                    .lock()
                    .expect("held by nobody who panics")
                    .push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        Self { child, said }
    }

    /// Waits until it accepts connections; the ports it uses.
    fn ports(&mut self, asked: &Ports) -> Ports {
        let mut ports = None;
        let mut ended = None;
        comes_true(PATIENCE, || {
            let said = self.said.lock().expect("held by nobody who panics");
            ports = Ports::said(&said).or_else(|| said.contains("listening on ").then(|| asked.clone()));
            ended = self.child.try_wait().expect("waited");
            ports.is_some() || ended.is_some()
        });
        ports.unwrap_or_else(|| panic!("it does not serve ({ended:?}): {:?}", self.said))
    }

    fn stop(mut self) {
        let id = self.child.id().to_string();
        let sent = Command::new("sh").args(["-c", "kill -TERM \"$0\"", &id]).status();
        assert!(sent.expect("sh").success());
        let status = self.child.wait().expect("waited");
        assert_eq!(status.code(), Some(0), "after {:?}", self.said);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Only where a test fails: after `stop` there is nothing left to kill.
        drop(self.child.kill());
    }
}

fn shell(script: &str, folder: &Path) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("sh");
    command
        .args(["-euc", script])
        .current_dir(folder)
        .env(
            "PATH",
            format!("{}:{path}:/usr/sbin:/sbin", folder.join("bin").display()),
        )
        .env_remove("RUST_LOG");
    command
}

/// The shipped files, the files of the readme, and the program under the names that the readme uses.
fn scene(blocks: &[Block], ports: &Ports) -> tempfile::TempDir {
    let scene = tempfile::tempdir().expect("folder");
    let folder = scene.path();
    for name in ["config.yaml", "ip_list.txt"] {
        fs::write(folder.join(name), ports.put_into(&read(name))).expect("written");
    }
    for block in blocks {
        if let Content::Configuration(name) | Content::List(name) = content(block) {
            fs::write(folder.join(name), &block.text).expect("written");
        }
    }
    fs::create_dir(folder.join("bin")).expect("made");
    std::os::unix::fs::symlink(PROGRAM, folder.join("bin/tcp-forwarder")).expect("linked");
    let cargo = folder.join("bin/cargo");
    let script =
        "#!/bin/sh\n[ \"$1 $2 $3\" = 'run --release --' ] || exit 99\nshift 3\nexec tcp-forwarder \"$@\"\n";
    fs::write(&cargo, script).expect("written");
    let executable = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    fs::set_permissions(&cargo, executable).expect("permitted");
    scene
}

fn missing(script: &str) -> Option<&'static str> {
    OPTIONAL
        .into_iter()
        .filter(|name| script.split_whitespace().any(|word| word == *name))
        .find(|name| tools::wanted(name, "a command of the documents").is_none())
}

fn text_of(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .concat()
}

/// A page whose commands are run one after another.
struct Page {
    name: &'static str,
    asked: Ports,
    ports: Ports,
    scene: tempfile::TempDir,
    running: Option<Running>,
    said: Option<String>,
    ran: usize,
}

impl Page {
    fn start(&mut self, command: &str) {
        if let Some(before) = self.running.take() {
            before.stop();
        }
        let mut started = Running::start(&self.asked.put_into(command), self.scene.path());
        self.ports = started.ports(&self.asked);
        self.running = Some(started);
    }

    fn run(&mut self, command: &str, mark: &str) {
        if self.running.is_none() {
            self.start("tcp-forwarder --config config.yaml\n");
        }
        let script = self.ports.put_into(command);
        let whom = format!("--url http://127.0.0.1:{}", self.ports.metrics);
        let script = script.replace(NOT_RUN, &whom);
        self.said = None;
        if missing(&script).is_some() {
            return;
        }
        let output = shell(&script, self.scene.path()).output().expect("sh");
        let status = mark.strip_prefix("status=").unwrap_or("0");
        let code = output.status.code().map(|code| code.to_string());
        assert_eq!(
            code.as_deref(),
            Some(status),
            "{}: {script}{}",
            self.name,
            text_of(&output)
        );
        self.said = Some(text_of(&output));
    }

    fn block(&mut self, block: &Block) {
        match content(block) {
            Content::Shell("by-hand") => {
                let first = block.lines().next().unwrap_or_default();
                let reason = BY_HAND.iter().any(|(line, _)| *line == first);
                assert!(reason, "no reason not to run: {first}");
            }
            Content::Shell("starts") => {
                self.start(&block.text);
                self.ran += 1;
            }
            Content::Shell(mark) => {
                self.run(&block.text, mark);
                self.ran += 1;
            }
            Content::Output => {
                if let Some(said) = &self.said {
                    assert_eq!(said.trim_end(), block.text.trim_end(), "{}", self.name);
                }
            }
            Content::Configuration(_)
            | Content::List(_)
            | Content::Prometheus(_)
            | Content::HaProxy
            | Content::Nginx
            | Content::Envoy
            | Content::Theirs(_)
            | Content::Sysctl
            | Content::LogLine
            | Content::Diagram => {}
        }
    }
}

#[test]
fn every_command_does_what_its_page_says() {
    let mut ran = 0;
    for (name, _) in crate::PAGES {
        let blocks = markdown::blocks(&read(name));
        let asked = Ports::free();
        let mut page = Page {
            name,
            ports: asked.clone(),
            scene: scene(&blocks, &asked),
            asked,
            running: None,
            said: None,
            ran: 0,
        };
        for block in &blocks {
            page.block(block);
        }
        ran += page.ran;
        if let Some(running) = page.running {
            running.stop();
        }
    }
    assert!(ran >= 12, "only {ran} commands ran");
}

#[test]
fn every_pair_of_configuration_and_list_passes_the_check() {
    let mut checked = 0;
    // A list may stand on another page than the configuration that names it.
    let everything: Vec<Block> = crate::PAGES
        .iter()
        .flat_map(|(page, _)| markdown::blocks(&read(page)))
        .collect();
    for (page, _) in crate::PAGES {
        let blocks = markdown::blocks(&read(page));
        let scene = scene(&everything, &Ports::free());
        for name in ["example.org", "example.net"] {
            for ending in ["pem", "key"] {
                let file = root().join("tests/certificates/wild").with_extension(ending);
                fs::copy(file, scene.path().join(format!("{name}.{ending}"))).expect("copied");
            }
        }
        for block in &blocks {
            if let Content::Configuration(name) = content(block)
                && name != BROKEN
            {
                let output = shell(&format!("tcp-forwarder check --config {name}"), scene.path()).output();
                let output = output.expect("sh");
                assert!(output.status.success(), "{page}: {name}: {}", text_of(&output));
                checked += 1;
            }
        }
    }
    assert!(checked >= 12, "only {checked} configurations");
}

#[test]
fn every_exit_status_is_in_the_table() {
    let rows = markdown::rows(&read("docs/command-line.md"), "Exit status");
    let shown: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(shown, ["0", "1", "2", "130"]);
    let status = |arguments: &[&str]| {
        Command::new(PROGRAM)
            .args(arguments)
            .output()
            .expect("ran")
            .status
            .code()
    };
    assert_eq!(status(&["--version"]), Some(0));
    assert_eq!(status(&["--config", "/nonexistent/config.yaml"]), Some(1));
    assert_eq!(status(&["--colour"]), Some(2));
    assert!(root().join("config.yaml").exists());
}

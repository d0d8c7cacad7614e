//! A user's pages of pipes used up, by another process of that user: bulk is relayed all the same.
//!
//! The limit (`fs.pipe-user-pages-soft`) is the machine's own; it binds users without privileges, so the forwarder runs
//! as one.

use std::fs::{OpenOptions, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::process::{Child, Command, Stdio};

use rustix::fs::OFlags;
use rustix::pipe::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with};
use serde_json::json;

use crate::peers::backend::Backend;
use crate::peers::client::{Conduct, Outcome, Plan};
use crate::peers::rig::{ROOM_KB, Rig, fault_settings, list_of};
use crate::peers::stream::Order;
use crate::support::{Files, Forwarder};

/// Set for the copy of this program that holds the pipes.
const HOLDS: &str = "TCP_FORWARDER_TEST_HOLDS_PIPES";

const HELD: &str = "every page is held";

/// What a pipe has where there is enough.
const USUAL_BYTES: usize = 64 * 1024;

/// Not a test by itself: the copy of this program that holds as many pages as its user may have.
#[test]
fn copy_that_holds_pipes() {
    if std::env::var_os(HOLDS).is_none() {
        return;
    }
    let mut held = Vec::new();
    loop {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let size = fcntl_getpipe_size(&write).unwrap();
        // As large as unprivileged pipes may be, and then as small as there is room for.
        let _ = fcntl_setpipe_size(&write, 1 << 20);
        held.push((read, write));
        if size < USUAL_BYTES || held.len() > 4000 {
            break;
        }
    }
    let _ = writeln!(std::io::stderr(), "{HELD}");
    // Until whoever runs this has gone.
    let _ = std::io::stdin().read(&mut [0]);
}

/// A program that runs as a user who is nobody else.
fn as_user(uid: u32, program: &Command) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args([
            "--clear-groups",
            &format!("--regid={uid}"),
            &format!("--reuid={uid}"),
        ])
        .arg(program.get_program())
        .args(program.get_args())
        .env_remove("RUST_LOG");
    command
}

/// The process that holds the pages; it ends when it is dropped.
struct Holder(Child);

impl Holder {
    fn start(uid: u32) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("it needs root".to_owned());
        }
        let mut program = Command::new(std::env::current_exe().unwrap());
        program.args(["--exact", "kernel_pipes::copy_that_holds_pipes", "--nocapture"]);
        let mut child = as_user(uid, &program)
            .env(HOLDS, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("setpriv: {error}"))?;
        let mut said = String::new();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        while lines.read_line(&mut said).is_ok_and(|count| count > 0) && !said.contains(HELD) {}
        if said.contains(HELD) {
            Ok(Self(child))
        } else {
            let _ = child.wait();
            Err(said)
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sizes of the pipes that a process has.
fn pipes_of(forwarder: &Forwarder) -> Vec<usize> {
    let folder = format!("/proc/{}/fd", forwarder.pid());
    let open = |path| {
        let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap();
        OpenOptions::new().read(true).custom_flags(nonblocking).open(path)
    };
    std::fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| {
            let path = entry.unwrap().path();
            let target = std::fs::read_link(&path).ok()?;
            target.to_string_lossy().starts_with("pipe:").then_some(path)
        })
        // One that has been closed meanwhile does not count.
        .filter_map(|path| fcntl_getpipe_size(open(path).ok()?).ok())
        .collect()
}

/// Injected: every page of pipes that the user may have is in use, for as long as bulk is relayed.
#[test]
fn out_of_pages_for_pipes() {
    let uid = 200_000 + std::process::id() % 100_000;
    let holder = match Holder::start(uid) {
        Ok(holder) => holder,
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "skipped: out of pages for pipes: {why}");
            return;
        }
    };
    let seed = fastrand::u64(..);
    let backends: Vec<_> = (0..2).map(|place| Backend::start(seed ^ place)).collect();
    let settings = fault_settings(&json!({ "server": { "reactors": 1, "splice": "auto" } }));
    let files = Files::new(&settings, &list_of(&backends));
    std::fs::set_permissions(files.path(""), Permissions::from_mode(0o755)).unwrap();
    let command = as_user(uid, &files.command());
    let mut rig = Rig::around(Forwarder::spawn(files, command).listening(), backends, seed);
    let bytes = 3_000_000;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let plans: Vec<_> = (0..8)
            .map(|_| {
                let order = Order {
                    seed: rig.rng.u64(..),
                    up: bytes,
                    down: bytes,
                };
                Plan::new(Conduct::FinishLast, order)
            })
            .collect();
        let mut crowd = rig.crowd(plans);
        crowd.drive_until("the end of all", |crowd| {
            seen.extend(pipes_of(&rig.forwarder));
            crowd.open() == 0
        });
        assert_eq!(crowd.count(Outcome::Whole), 8, "{}", crowd.outcomes());
    }
    seen.sort_unstable();
    seen.dedup();
    assert!(
        seen.iter().all(|size| *size >= USUAL_BYTES),
        "no pipe that is slower than copying: {seen:?}"
    );
    drop(holder);
    rig.aftermath(ROOM_KB);
}

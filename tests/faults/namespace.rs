//! Tests that have a network namespace of their own: what they set there is theirs alone.

use std::io::Write;
use std::process::Command;

/// Set for the copy.
const INSIDE: &str = "TCP_FORWARDER_TEST_NAMESPACE";

/// Whether this is the copy of this program inside a namespace. If not, runs that copy for the test of this name, which
/// must pass there, or says why it cannot.
pub(crate) fn is_inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let unshare = |script| {
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", script]);
        command
    };
    let tried = unshare("ip link set lo up").output();
    if !tried.is_ok_and(|tried| tried.status.success()) {
        let _ = writeln!(
            std::io::stderr(),
            "skipped: {test}: no network namespace can be made here"
        );
        return false;
    }
    let copy = unshare("ip link set lo up && exec \"$0\" \"$@\"")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&copy.stdout),
        String::from_utf8_lossy(&copy.stderr),
    );
    assert!(
        copy.status.success() && out.contains("1 passed"),
        "inside its namespace:\n{out}{err}"
    );
    false
}

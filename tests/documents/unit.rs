//! The files of `contrib/`.

use std::process::Command;

use crate::{program, read, root, skipped};

#[test]
fn the_unit_starts_what_the_readme_installs() {
    let unit = read("contrib/tcp-forwarder.service");
    let line = |key: &str| {
        let value = unit.lines().find_map(|line| line.strip_prefix(key));
        value.unwrap_or_else(|| panic!("no {key}")).to_owned()
    };
    assert_eq!(
        line("ExecStart="),
        "/usr/local/bin/tcp-forwarder --config /etc/tcp-forwarder/config.yaml"
    );
    for key in [
        "DynamicUser=",
        "NoNewPrivileges=",
        "PrivateDevices=",
        "MemoryDenyWriteExecute=",
    ] {
        assert_eq!(line(key), "yes", "{key}");
    }
    assert_eq!(line("ProtectSystem="), "strict");
    assert_eq!(line("LimitNOFILE="), "65536");
}

#[cfg(target_os = "linux")]
#[test]
fn systemd_understands_the_unit() {
    let Some(analyze) = program("systemd-analyze") else {
        return skipped("contrib/tcp-forwarder.service: no systemd-analyze");
    };
    // Verified with a program that is there: the unit's own is not installed here.
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("tcp-forwarder.service");
    let installed = "/usr/local/bin/tcp-forwarder";
    let unit = read("contrib/tcp-forwarder.service").replace(installed, env!("CARGO_BIN_EXE_tcp-forwarder"));
    std::fs::write(&file, unit).expect("written");
    let output = Command::new(analyze)
        .args(["verify", "--man=no", "--generators=no"])
        .arg(&file)
        .current_dir(root())
        .output()
        .expect("systemd-analyze");
    let said = String::from_utf8_lossy(&output.stderr);
    // It also complains of other units of the machine.
    let complaints: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("tcp-forwarder"))
        .collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

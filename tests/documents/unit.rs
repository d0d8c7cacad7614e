//! The files of `contrib/`.

use std::process::Command;

use crate::{read, root, tools};

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
    assert_eq!(line("Type="), "notify", "for systemd before 253");
    assert!(
        unit.contains("\nType=notify-reload\n"),
        "for the others, behind it"
    );
    assert_eq!(line("ProtectSystem="), "strict");
    assert_eq!(line("LimitNOFILE="), "65536");
}

#[test]
fn the_socket_unit_listens_where_the_shipped_configuration_does() {
    let unit = read("contrib/tcp-forwarder.socket");
    let config = tcp_forwarder::config::load(&root().join("config.yaml")).expect("the shipped configuration");
    let addr = config
        .only()
        .expect("one service")
        .server
        .listen_addrs
        .first()
        .expect("an address");
    assert!(unit.contains(&format!("ListenStream={addr}\n")), "{addr}");
}

#[cfg(target_os = "linux")]
#[test]
fn systemd_understands_the_units() {
    let Some(analyze) = tools::wanted("systemd-analyze", "contrib/tcp-forwarder.service") else {
        return;
    };
    // Verified with a program that is there: the unit's own is not installed here.
    let folder = tempfile::tempdir().expect("folder");
    let installed = "/usr/local/bin/tcp-forwarder";
    let files = ["tcp-forwarder.service", "tcp-forwarder.socket"].map(|name| {
        let unit = read(&format!("contrib/{name}")).replace(installed, env!("CARGO_BIN_EXE_tcp-forwarder"));
        let file = folder.path().join(name);
        std::fs::write(&file, unit).expect("written");
        file
    });
    let output = Command::new(analyze)
        .args(["verify", "--man=no", "--generators=no"])
        .args(&files)
        .current_dir(root())
        .output()
        .expect("systemd-analyze");
    let said = String::from_utf8_lossy(&output.stderr);
    // It also complains of other units of the machine.
    let complaints: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("tcp-forwarder"))
        // systemd before 253 does not know it, and goes by the line before.
        .filter(|line| !line.ends_with("Failed to parse service type, ignoring: notify-reload"))
        .collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

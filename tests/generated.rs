//! What is made from the command definitions: completions for shells, and the manual page. The committed files are what is
//! made; `UPDATE_DOCS=1 cargo test --test generated` writes them.

#![expect(
    clippy::unwrap_used,
    clippy::tests_outside_test_module,
    reason = "a test crate: a failure is a panic"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use argh_complete::Generator;
use argh_complete::{bash::Bash, fish::Fish, zsh::Zsh};
use argh_shared::{CommandInfoWithArgs, FlagInfo, FlagInfoKind, Optionality, PositionalInfo};
use tcp_forwarder::cli;

#[path = "support/tools.rs"]
mod tools;

const PROGRAM: &str = "tcp-forwarder";
/// Options whose value is a file.
const FILES: [&str; 3] = ["--config", "--socket", "--list"];

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("contrib")
        .join(name)
}

/// Compares a committed file with what is made, or writes it.
fn hold(name: &str, made: &str) {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path(name), made).unwrap();
        return;
    }
    let committed = fs::read_to_string(path(name)).unwrap_or_default();
    assert!(
        committed == made,
        "contrib/{name} is not what the commands say: UPDATE_DOCS=1 cargo test --test generated"
    );
}

/// Runs a program that has nothing to complain of; whether it is there.
fn is_content(program: &str, arguments: &[&str]) -> bool {
    if tools::wanted(program, "what it says of a file that is made").is_none() {
        return false;
    }
    let output = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && complaint.is_empty(),
        "{program} {arguments:?}: {complaint}"
    );
    true
}

/// Whether a line of a completion is about an option whose value is a file.
fn is_of_a_file(line: &str) -> bool {
    FILES.iter().any(|name| {
        let word = name.trim_start_matches('-');
        [format!("{name}["), format!("{name}}}"), format!(" -l {word} ")]
            .iter()
            .any(|form| line.contains(form))
    })
}

/// The generator has no files for values.
fn made_zsh() -> String {
    let mut made = String::new();
    for line in Zsh::generate(PROGRAM, &cli::definition()).lines() {
        let line = if is_of_a_file(line) {
            line.replace("': :'", "':file:_files'")
        } else {
            line.to_owned()
        };
        writeln!(made, "{line}").unwrap();
    }
    made
}

/// The same, and it asks for tokens as only fish 4 knows them.
fn made_fish() -> String {
    let mut made = String::new();
    for line in Fish::generate(PROGRAM, &cli::definition()).lines() {
        let line = line.replace("commandline -xpc", "commandline -opc");
        let line = if is_of_a_file(&line) {
            line.replace(" -f -l ", " -F -l ")
        } else {
            line
        };
        writeln!(made, "{}", line.trim_end()).unwrap();
    }
    made
}

#[test]
fn completions_are_what_the_commands_say() {
    let commands = cli::definition();
    hold(
        "completions/tcp-forwarder.bash",
        &Bash::generate(PROGRAM, &commands),
    );
    hold("completions/_tcp-forwarder", &made_zsh());
    hold("completions/tcp-forwarder.fish", &made_fish());
}

#[test]
fn bash_completes_commands_options_and_files() {
    let file = path("completions/tcp-forwarder.bash");
    let file = file.to_str().unwrap();
    if !is_content("bash", &["-n", file]) {
        return;
    }
    let completed = |line: &str| {
        let script = format!(
            "source {file}; COMP_WORDS=({line}); [[ '{line}' == *' ' ]] && COMP_WORDS+=(''); \
             COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _{PROGRAM}; echo \"${{COMPREPLY[@]}}\""
        );
        let output = Command::new("bash").args(["-c", &script]).output().unwrap();
        assert!(output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(completed("tcp-forwarder exp"), "explain");
    assert_eq!(completed("tcp-forwarder status --js"), "--json");
    assert_eq!(completed("tcp-forwarder --ver"), "--version");
    // Nothing of its own: bash goes on with files.
    assert_eq!(completed("tcp-forwarder status -c x"), "");
    let all = completed("tcp-forwarder ");
    for command in &cli::definition().commands {
        assert!(
            all.split(' ').any(|word| word == command.name),
            "{}: {all}",
            command.name
        );
    }
}

#[test]
fn zsh_and_fish_can_read_theirs() {
    let zsh = path("completions/_tcp-forwarder");
    let zsh = zsh.to_str().unwrap();
    is_content("zsh", &["-n", zsh]);
    let load = format!(
        "autoload -Uz compinit && compinit -D -u && source {zsh} && [[ $_comps[{PROGRAM}] = _{PROGRAM} ]]"
    );
    is_content("zsh", &["-f", "-c", &load]);
    let fish = path("completions/tcp-forwarder.fish");
    if !is_content("fish", &["--no-execute", fish.to_str().unwrap()]) {
        return;
    }
    let script = format!(
        "source {}; complete -C 'tcp-forwarder exp'; complete -C 'tcp-forwarder status --js'",
        fish.display()
    );
    let output = Command::new("fish")
        .args(["--no-config", "-c", &script])
        .output()
        .unwrap();
    let completed = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.stderr.is_empty() && completed.contains("explain\t") && completed.contains("--json\t"),
        "{output:?}"
    );
}

#[test]
fn the_manual_page_is_what_the_commands_say() {
    hold("man/tcp-forwarder.1", &manual(&cli::definition()));
    let file = path("man/tcp-forwarder.1");
    if !is_content("man", &["--warnings", "-l", file.to_str().unwrap()]) {
        return;
    }
    let output = Command::new("man")
        .arg("-l")
        .arg(&file)
        .env("LC_ALL", "C")
        .env("MANWIDTH", "80")
        .output()
        .unwrap();
    let page = String::from_utf8(output.stdout).unwrap();
    for words in [
        "NAME",
        "EXIT STATUS",
        "tcp-forwarder explain [",
        "--socket SOCKET",
        "130",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
}

/// The manual page, for troff's macros `man`.
fn manual(command: &CommandInfoWithArgs<'_>) -> String {
    let mut page = String::new();
    let version = env!("CARGO_PKG_VERSION");
    let say = |page: &mut String, line: &str| writeln!(page, "{line}").unwrap();
    say(
        &mut page,
        ".\\\" Made from the command definitions by tests/generated.rs.",
    );
    say(
        &mut page,
        &format!(".TH TCP\\-FORWARDER 1 \"\" \"tcp\\-forwarder {version}\" \"User Commands\""),
    );
    say(
        &mut page,
        ".SH NAME\ntcp\\-forwarder \\- TCP forwarder that sends each connection to the best of many candidate addresses",
    );
    say(&mut page, ".SH SYNOPSIS");
    let names: Vec<_> = std::iter::once(PROGRAM.to_owned())
        .chain(
            command
                .commands
                .iter()
                .map(|one| format!("{PROGRAM} {}", one.name)),
        )
        .collect();
    let commands = std::iter::once(command).chain(command.commands.iter().map(|one| &one.command));
    for (place, (name, command)) in names.iter().zip(commands).enumerate() {
        if place > 0 {
            say(&mut page, ".br");
        }
        say(&mut page, &synopsis(name, command));
    }
    say(&mut page, ".SH DESCRIPTION");
    say(&mut page, &plain(command.description));
    say(&mut page, ".SH OPTIONS");
    options(&mut page, command);
    say(&mut page, ".SH COMMANDS");
    for (name, one) in names.iter().skip(1).zip(&command.commands) {
        say(&mut page, &format!(".SS {}", plain(name)));
        say(&mut page, &plain(one.command.description));
        options(&mut page, &one.command);
    }
    say(&mut page, ".SH EXIT STATUS");
    for code in command.error_codes {
        say(
            &mut page,
            &format!(".TP\n.B {}\n{}", code.code, plain(code.description)),
        );
    }
    say(&mut page, ".SH ENVIRONMENT");
    for (name, meaning) in [
        (
            "RUST_LOG",
            "which records of the log are written, in place of the configuration",
        ),
        (
            "TCP_FORWARDER_ADMIN_TOKEN",
            "the token for --url, where something is to be changed",
        ),
        ("NO_COLOR", "not empty: top is shown without bold and reverse"),
    ] {
        say(&mut page, &format!(".TP\n.B {}\n{}", plain(name), plain(meaning)));
    }
    say(
        &mut page,
        ".SH FILES\n.TP\n.I ./config.yaml\nthe configuration, unless \\-\\-config names another one",
    );
    page
}

fn synopsis(name: &str, command: &CommandInfoWithArgs<'_>) -> String {
    let mut line = format!(".B {}\n", plain(name));
    let has_options = command.flags.iter().any(|flag| flag.long != "--help");
    let mut words: Vec<String> = has_options.then(|| "[options]".to_owned()).into_iter().collect();
    words.extend(command.positionals.iter().map(positional));
    if !command.commands.is_empty() {
        words.push("[command]".to_owned());
    }
    line.push_str(&plain(&words.join(" ")));
    line.trim_end().to_owned()
}

fn positional(one: &PositionalInfo<'_>) -> String {
    let name = one.name.to_uppercase();
    match one.optionality {
        Optionality::Required => name,
        Optionality::Optional => format!("[{name}]"),
        Optionality::Repeating | Optionality::Greedy => format!("[{name}...]"),
    }
}

fn options(page: &mut String, command: &CommandInfoWithArgs<'_>) {
    for one in command.positionals {
        writeln!(
            page,
            ".TP\n.I {}\n{}",
            plain(&positional(one)),
            plain(one.description)
        )
        .unwrap();
    }
    for flag in command.flags.iter().filter(|flag| !flag.hidden) {
        writeln!(
            page,
            ".TP\n.B {}\n{}",
            plain(&option(flag)),
            plain(flag.description)
        )
        .unwrap();
    }
}

fn option(flag: &FlagInfo<'_>) -> String {
    let short = flag.short.map_or_else(String::new, |short| format!("-{short}, "));
    let value = match flag.kind {
        FlagInfoKind::Switch => String::new(),
        FlagInfoKind::Option { arg_name } => format!(" {}", arg_name.to_uppercase()),
    };
    format!("{short}{}{value}", flag.long)
}

/// Text that means nothing to troff.
fn plain(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    match text.chars().next() {
        Some('.' | '\'') => format!("\\&{text}"),
        _ => text,
    }
}

//! Files of certificates and keys: what is good, what is not, and in which words.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::tls::session::tests::file;

/// Seconds since 1970 in 2026.
const NOW: i64 = 1_796_000_000;

fn pair(cert: &str, key: &str) -> ServerTls {
    ServerTls {
        cert: Some(file(cert)),
        key: Some(file(key)),
        ..ServerTls::default()
    }
}

fn load(tls: &ServerTls) -> Arc<Termination> {
    Termination::load(tls, None)
        .expect("good files")
        .expect("a certificate")
}

/// What is wrong with the files, without their folder.
fn faults(tls: &ServerTls) -> Vec<String> {
    let folder = file("").display().to_string();
    let faults = Termination::load(tls, None).expect_err("something is wrong");
    faults
        .iter()
        .map(|fault| fault.to_string().replace(&folder, ""))
        .collect()
}

#[test]
fn without_a_certificate_there_is_nothing_to_show() {
    assert!(
        Termination::load(&ServerTls::default(), None)
            .expect("nothing")
            .is_none()
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_is_wrong_with_files_is_said_in_words_and_all_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = |name: &str, text: &[u8]| -> PathBuf {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("a file");
        path
    };
    let of = |cert: PathBuf, key: PathBuf| ServerTls {
        cert: Some(cert),
        key: Some(key),
        ..ServerTls::default()
    };
    let good = fs::read(file("server.pem")).expect("a certificate");
    for (tls, words) in [
        (
            pair("server.pem", "wild.key"),
            "wild.key: the key does not match the certificate in server.pem",
        ),
        (
            pair("server.pem", "rsa.key"),
            "rsa.key: the key does not match the certificate in server.pem",
        ),
        (
            pair("server.key", "server.key"),
            "server.key: no certificate in it; allowed: PEM",
        ),
        (
            pair("server.pem", "server.pem"),
            "server.pem: no private key in it; allowed: PEM",
        ),
        (
            pair("server.pem", "encrypted.key"),
            "encrypted.key: its key is encrypted",
        ),
        (pair("nothing.pem", "server.key"), "nothing.pem: cannot be read: "),
        (pair("", "server.key"), ": cannot be read: not a regular file"),
        (
            of(made("empty", b""), file("server.key")),
            "empty: no certificate in it",
        ),
        (
            of(made("noise", &[0xff; 5000]), file("server.key")),
            "noise: no certificate in it",
        ),
        (
            of(made("cut", &good[..good.len() - 40]), file("server.key")),
            "cut: not PEM: ",
        ),
        (
            of(
                made(
                    "other",
                    b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                ),
                file("server.key"),
            ),
            "other: certificate 1 in it is not one: ",
        ),
        (
            of(made("long", &vec![b'\n'; 2 << 20]), file("server.key")),
            "long: too long",
        ),
        (
            of(
                file("server.pem"),
                made(
                    "bad.key",
                    b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
                ),
            ),
            "bad.key: its key cannot be used: ",
        ),
    ] {
        let said = faults(&tls);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains(words), "{said:?} has {words:?}");
    }
    let both = faults(&ServerTls {
        client_ca: Some(file("server.key")),
        client_auth: ClientAuth::Required,
        ..pair("nothing.pem", "nothing.key")
    });
    assert_eq!(both.len(), 3, "{both:?}");
}

#[test]
fn a_certificate_is_shown_with_its_names_and_its_end() {
    let shown = |tls: &ServerTls| load(tls).shown()[0].clone();
    let server = shown(&pair("server.pem", "server.key"));
    assert_eq!(server.names, ["localhost", "www.example.org"]);
    assert_eq!(
        (server.not_before, server.not_after),
        (1_577_836_800, 4_733_510_400)
    );
    assert_eq!(
        shown(&pair("wild.pem", "wild.key")).names,
        ["*.example.org", "example.net"]
    );
}

#[test]
fn what_clients_will_not_like_is_remarked() {
    let remarks = |cert: &str, key: &str| {
        let shown = load(&pair(cert, key)).shown()[0].clone();
        shown.remarks(NOW).join("; ")
    };
    assert_eq!(remarks("chained.pem", "chained.key"), "");
    assert_eq!(
        remarks("lone.pem", "lone.key"),
        "",
        "who signs for itself has no chain"
    );
    assert!(remarks("unchained.pem", "chained.key").contains("no chain"));
    assert!(remarks("shuffled.pem", "chained.key").contains("certificate 1 is not issued by the next one"));
    assert!(remarks("expired.pem", "expired.key").contains("has expired"));
    assert!(remarks("early.pem", "early.key").contains("is not valid yet"));
}

#[test]
fn files_that_say_the_same_are_the_same() {
    let tls = pair("server.pem", "server.key");
    let before = load(&tls);
    let again = |tls: &ServerTls| {
        Termination::load(tls, Some(&before))
            .expect("good")
            .expect("a certificate")
    };
    assert!(Arc::ptr_eq(&before, &again(&tls)));
    let renewed = again(&pair("wild.pem", "wild.key"));
    assert!(!Arc::ptr_eq(&before, &renewed));
    assert!(
        Arc::ptr_eq(&before.config.ticketer, &renewed.config.ticketer),
        "clients come back with their old keys"
    );
    let asked = again(&ServerTls {
        client_ca: Some(file("ca.pem")),
        client_auth: ClientAuth::Required,
        ..tls
    });
    assert!(
        !Arc::ptr_eq(&before.config.ticketer, &asked.config.ticketer),
        "but not those that nobody has vouched for"
    );
}

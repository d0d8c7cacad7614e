//! What settings make of files.

use super::*;
use crate::tls::session::tests::file;

fn settings(ca: &str) -> ClientTls {
    ClientTls {
        ca: Some(file(ca)),
        ..ClientTls::default()
    }
}

fn load(tls: &ClientTls, before: Option<&Arc<Origination>>) -> Result<Arc<Origination>, String> {
    let loaded = Origination::load_from(tls, Resume::Yes, &[], before);
    loaded.map_err(|fault| fault.to_string())
}

#[test]
fn what_says_the_same_is_the_same() {
    let first = load(&settings("ca.pem"), None).expect("good files");
    let again = load(&settings("ca.pem"), Some(&first)).expect("good files");
    assert!(Arc::ptr_eq(&first, &again));
    let other = load(&settings("issuer.pem"), Some(&first)).expect("good files");
    assert_ne!(other.id(), first.id());
}

#[test]
fn keys_are_kept_for_each_address_by_itself() {
    let origination = load(&settings("ca.pem"), None).expect("good files");
    let towards = |port| {
        let (config, name) = origination.towards(([127, 0, 0, 1], port).into());
        assert_eq!(name.to_str(), "127.0.0.1");
        config
    };
    assert!(Arc::ptr_eq(&towards(1), &towards(1)));
    assert!(!Arc::ptr_eq(&towards(1), &towards(2)));
}

#[test]
fn authorities_are_those_of_the_file_or_of_the_system_or_nobody_is_one() {
    let missing = load(&settings("nothing.pem"), None).expect_err("no such file");
    assert!(missing.contains("nothing.pem: cannot be read"), "{missing}");
    let key = load(&settings("server.key"), None).expect_err("no certificate");
    assert!(key.contains("no certificate in it"), "{key}");

    let of_system = |places: &[&Path]| {
        let loaded = Origination::load_from(&ClientTls::default(), Resume::No, places, None);
        loaded.map_err(|fault| fault.to_string())
    };
    let nowhere = [Path::new("/nowhere/a.pem"), Path::new("/nowhere/b")];
    let none = of_system(&nowhere).expect_err("no list");
    assert!(
        none.starts_with("/nowhere/a.pem: not there, nor any other list"),
        "{none}"
    );
    let (one, folder) = (file("ca.pem"), file("."));
    let found = of_system(&[nowhere[0], one.as_path()]).expect("a file");
    assert_eq!(found.made_of.authorities.len(), 1);
    let found = of_system(&[folder.as_path()]).expect("a folder of files");
    assert!(
        found.made_of.authorities.len() > 10,
        "those that are certificates"
    );

    let unverified = ClientTls {
        verify: false,
        ..ClientTls::default()
    };
    assert!(Origination::load_from(&unverified, Resume::No, &nowhere, None).is_ok());
}

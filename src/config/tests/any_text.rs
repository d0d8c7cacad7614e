//! Whatever the file says, it is read or refused with the line, and nothing panics.

use proptest::prelude::{Just, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::strategy::Strategy as _;

use super::super::mobile::Baseline;
use super::super::{keys, reference, tree};
use super::{ends, fill, read, yaml};

/// Text that gets past the YAML parser more often than arbitrary text does.
fn yaml_like() -> impl proptest::strategy::Strategy<Value = String> {
    let piece = prop_oneof![
        Just("server:".to_owned()),
        Just("services:".to_owned()),
        Just("web:".to_owned()),
        Just("listen_addr: 127.0.0.1:1".to_owned()),
        Just("remotes: ".to_owned()),
        Just("\n".to_owned()),
        Just("\n  ".to_owned()),
        Just("&a ".to_owned()),
        Just("*a".to_owned()),
        Just("<<: ".to_owned()),
        Just("!t ".to_owned()),
        Just("- ".to_owned()),
        Just("? ".to_owned()),
        Just(": ".to_owned()),
        Just("{".to_owned()),
        Just("}".to_owned()),
        Just("[".to_owned()),
        Just("]".to_owned()),
        Just(",".to_owned()),
        Just("\"".to_owned()),
        Just("|\n".to_owned()),
        Just("--- ".to_owned()),
        "[a-z0-9.]{1,4}",
    ];
    proptest::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        drop(read(&text));
    }

    #[test]
    fn no_yaml_panics(text in yaml_like()) {
        if let Err(errors) = read(&text) {
            prop_assert!(!errors.errors.is_empty());
            let lines = text.lines().count().max(1);
            for error in &errors.errors {
                prop_assert!((1..=lines + 1).contains(&error.line), "{error:?}");
            }
            prop_assert!(errors.errors.is_sorted());
        }
    }

    /// A value put in the place of a default is taken as it is, or reported under its key and line.
    #[test]
    fn a_mutated_value_is_taken_or_reported(
        index in any::<proptest::sample::Index>(),
        value in prop_oneof![
            (-10_i64..100_000).prop_map(|n| n.to_string()),
            (-10.0_f64..2000.0).prop_map(|n| format!("{n:?}")),
            (0_u64..100_000_000).prop_map(|n| format!("\"{n}ms\"")),
            "[a-z./:0-9]{0,12}".prop_map(|text| format!("{text:?}")),
        ],
    ) {
        let known = reference();
        let key = index.get(&known);
        let text = yaml(key.path, &value);
        let node = tree::parse(&value).expect("a value");
        match read(&text) {
            Ok(_) => {
                let row = keys::all().find(|row| row.path == key.path).expect("the row");
                let mut all = Baseline::here();
                prop_assert!(fill(row, &mut all, &node).is_ok());
                if let Some((least, most)) = ends(&key.allowed)
                    && key.kind == "number"
                {
                    let shown: f64 = row.shown(&mut all.process, &mut all.draft).parse().expect("a number");
                    let (least, most) = (least.parse().expect("least"), most.parse().expect("most"));
                    prop_assert!((least..=most).contains(&shown));
                }
            }
            Err(errors) => {
                prop_assert_eq!(errors.errors.len(), 1);
                prop_assert_eq!(&errors.errors[0].key, key.path);
                prop_assert_eq!(errors.errors[0].line, text.lines().count());
            }
        }
    }
}

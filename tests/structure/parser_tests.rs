//! The parser and the graph on small texts.

use super::graph::{Graph, against_order, circles, told};
use super::source::{self, Source};

fn path(text: &str) -> Vec<String> {
    text.split("::").map(str::to_owned).collect()
}

fn read(text: &str) -> Source {
    source::read(&path("a::b"), text)
}

fn brought(text: &str) -> Vec<String> {
    let source = read(text);
    source.brought.iter().map(|(path, _)| path.join("::")).collect()
}

fn used(text: &str) -> Vec<String> {
    read(text).uses.iter().map(|(path, _)| path.join("::")).collect()
}

fn imports(files: &[(&str, &str)]) -> Vec<String> {
    let graph = Graph::of(files.iter().copied());
    let imports = graph.imports().into_iter();
    imports
        .map(|import| format!("{} -> {}", import.from, import.to))
        .collect()
}

#[test]
fn trees_of_use_become_paths() {
    assert_eq!(
        brought(
            "use crate::x::{self, y::{Z, W as V}, *}; use super::c::D; use std::io::Read; use self::e::F;"
        ),
        ["x", "x::y::Z", "x::y::W", "x", "a::c::D", "a::b::e::F"]
    );
    assert_eq!(brought("use super::super::x::Y;"), ["x::Y"]);
    assert_eq!(
        brought("use tcp_forwarder::{app::App, cli};"),
        ["app::App", "cli"]
    );
}

#[test]
fn qualified_paths_count() {
    assert_eq!(
        used(
            "fn f(x: &crate::x::Y) -> super::Z { self.crate_(); child::g(1)?; std::io::stdin() } mod child;"
        ),
        ["x::Y", "a::Z", "a::b::child::g"]
    );
    assert_eq!(
        used("use crate::net; fn f() { net::listen::bind::<net::Addr>() }"),
        ["net::listen::bind", "net::Addr"]
    );
}

#[test]
fn modules_in_place_have_their_own_parent() {
    assert_eq!(
        brought("mod system { use super::X; mod inner { use super::super::Y; } } use super::Z;"),
        ["a::b::X", "a::b::Y", "a::Z"]
    );
}

#[test]
fn comments_and_texts_are_no_code() {
    let text = r##"
        //! crate::a::B
        /* use crate::c::D; /* crate::e::F */ crate::g::H */
        const T: &str = "use crate::i::J; \" crate::k::L";
        const R: &str = r#"crate::m::" crate::N"#;
        const Q: [char; 2] = ['"', '\''];
        fn f<'a>(x: &'a crate::o::P) {}
    "##;
    assert_eq!(used(text), ["o::P"]);
    assert_eq!(read(text).uses[0].1, 7, "its line");
}

#[test]
fn what_is_for_tests_is_left_out() {
    let text = "
        #[cfg(test)] mod tests { use crate::x::Y; }
        #[cfg(test)] #[cfg(unix)] mod more;
        #[cfg(all(test, unix))] use crate::x::{A, B};
        impl T { #[cfg(test)] pub fn of(&self) -> [u8; 2] { crate::x::f() } fn g() { crate::kept::h() } }
        struct S { #[cfg(test)] field: crate::x::Z, other: crate::kept::I }
        #[cfg(not(test))] use crate::kept::J;
    ";
    assert_eq!(used(text), ["kept::h", "kept::I"]);
    assert_eq!(brought(text), ["kept::J"]);
    assert_eq!(read(text).tests, [path("a::b::more")]);
}

#[test]
fn a_facade_only_declares_and_re_exports() {
    assert!(
        read("//! x\n#![deny(y)]\nmod a;\n#[cfg(unix)]\npub(crate) mod b;\npub use a::{B, c::D};").facade
    );
    assert!(!read("mod a; pub use a::B; const C: u8 = 0;").facade);
    assert!(!read("mod a { }").facade);
    assert!(!read("mod a; use a::B;").facade);
}

#[test]
fn what_a_facade_re_exports_is_of_the_file_behind_it() {
    let files = [
        ("src/lib.rs", "pub mod x; pub mod y;"),
        (
            "src/x/mod.rs",
            "mod one; mod two; #[cfg(unix)] pub use one::A; #[cfg(not(unix))] pub use two::A;",
        ),
        ("src/x/one.rs", "pub struct A;"),
        ("src/x/two.rs", "pub struct A;"),
        ("src/y.rs", "use crate::x; fn f(a: x::A) {}"),
    ];
    assert_eq!(
        imports(&files),
        [
            "src/x/mod.rs -> src/x/one.rs",
            "src/x/mod.rs -> src/x/two.rs",
            "src/y.rs -> src/x/one.rs",
            "src/y.rs -> src/x/two.rs",
        ]
    );
}

#[test]
fn files_for_tests_are_left_out_with_all_below_them() {
    let files = [
        ("src/x.rs", "#[cfg(test)] mod tests; pub struct X;"),
        ("src/x/tests.rs", "mod more; use super::X;"),
        ("src/x/tests/more.rs", "use crate::x::X;"),
    ];
    assert_eq!(imports(&files), [""; 0]);
}

#[test]
fn a_circle_is_found_and_told() {
    let files = [
        ("src/x/mod.rs", "mod one; use one::A; pub struct X;"),
        ("src/x/one.rs", "use super::two::B; pub struct A;"),
        ("src/x/two.rs", "\npub struct B(super::X);"),
        ("src/z.rs", "use crate::x::X;"),
    ];
    let found = circles(&Graph::of(files).imports());
    let words: Vec<Vec<String>> = found
        .iter()
        .map(|circle| circle.iter().map(told).collect())
        .collect();
    assert_eq!(
        words,
        [[
            "src/x/mod.rs:1 imports src/x/one.rs (`x::one::A`)",
            "src/x/one.rs:1 imports src/x/two.rs (`x::two::B`)",
            "src/x/two.rs:2 imports src/x/mod.rs (`x::X`)",
        ]]
    );
}

#[test]
fn an_import_down_the_map_is_told() {
    let graph = Graph::of([
        ("src/lib.rs", "mod one; mod two; mod three; pub use one::A;"),
        ("src/one.rs", "pub struct A;"),
        ("src/two.rs", "use crate::one::A; struct B(A);"),
        ("src/three.rs", ""),
    ]);
    let right = ["src/lib.rs", "src/one.rs", "src/two.rs", "src/three.rs"];
    assert_eq!(against_order(&graph, &right), [""; 0]);
    let wrong = ["src/lib.rs", "src/two.rs", "src/one.rs"];
    assert_eq!(
        against_order(&graph, &wrong),
        [
            "src/three.rs is not in the map",
            "src/two.rs:1 imports src/one.rs (`one::A`), which stands below it",
        ]
    );
}

//! The page of bounds that no key changes: each is read from the constant in the sources that holds it.

use super::reference::{head, row};
use super::texts::{Language, Texts};
use crate::{hold, read};

/// What `FILE::NAME` says: `usize = 16 * 1024`, as type and value.
fn source(constant: &str) -> (String, String) {
    let (file, name) = constant.split_once("::").expect("FILE::NAME");
    let text = read(&format!("src/{file}"));
    let start = format!("const {name}: ");
    let rest = text.split_once(&start).map(|(_, rest)| rest);
    let line = rest.and_then(|rest| rest.split_once(';')).map(|(line, _)| line);
    let (kind, value) = line
        .and_then(|line| line.split_once(" = "))
        .unwrap_or_else(|| panic!("src/{file} has no constant {name}"));
    (kind.to_owned(), value.to_owned())
}

/// A product, a shift or a number.
fn number(text: &str) -> u64 {
    if let Some((value, places)) = text.split_once(" << ") {
        return number(value) << number(places);
    }
    let factor = |text: &str| -> u64 {
        let text = text.trim().replace('_', "");
        text.parse().unwrap_or_else(|_| panic!("no number: {text}"))
    };
    text.split('*').map(factor).product()
}

/// With commas between thousands.
fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut made = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            made.push(',');
        }
        made.push(digit);
    }
    made
}

fn shown(constant: &str) -> String {
    let (kind, value) = source(constant);
    let inner = |start: &str| value.strip_prefix(start).and_then(|rest| rest.strip_suffix(')'));
    if kind == "Duration" {
        if let Some(millis) = inner("Duration::from_millis(") {
            return format!("{} ms", number(millis));
        }
        let seconds = number(inner("Duration::from_secs(").expect("seconds"));
        return match (seconds / 3600, seconds % 3600) {
            (hours @ 1.., 0) => format!("{hours} h"),
            _ => format!("{seconds} s"),
        };
    }
    let value = number(&value);
    match (value >> 10, value >> 20) {
        _ if !constant.contains("BYTES") && !constant.contains("LINE_BOUND") => grouped(value),
        (_, mib @ 1..) if mib << 20 == value => format!("{mib} MiB"),
        (kib @ 1.., _) if kib << 10 == value => format!("{kib} KiB"),
        _ => grouped(value),
    }
}

fn page(texts: &Texts, language: Language) -> String {
    let mut page = String::from(match language {
        Language::English => {
            "# Bounds that no key changes\n\n\
             Read from the sources by `UPDATE_DOCS=1 cargo test --test documents`. All of them, with those that follow from keys, and all \
             timers: [LIMITS.md](../LIMITS.md).\n\n"
        }
        Language::Chinese => {
            "# 不由配置决定的上限\n\n\
             取自源代码（`UPDATE_DOCS=1 cargo test --test documents`）。全部上限（包括由配置决定的）和所有定时器见 \
             [LIMITS.md](../../LIMITS.md)（英文）。\n\n"
        }
    });
    match language {
        Language::English => head(&mut page, &["What", "Bound", "Constant"]),
        Language::Chinese => head(&mut page, &["什么", "上限", "常量"]),
    }
    for limit in &texts.limits {
        let constant = format!("`{}`", limit.constant);
        row(
            &mut page,
            &[limit.what.of(language), &shown(&limit.constant), &constant],
        );
    }
    page
}

#[test]
fn the_page_of_limits_is_what_the_sources_say() {
    let texts = Texts::load();
    assert!(texts.limits.len() > 30);
    hold("docs/reference/limits.md", &page(&texts, Language::English));
    hold("docs/zh-CN/reference/limits.md", &page(&texts, Language::Chinese));
}

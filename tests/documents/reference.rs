//! The reference in both languages, made from the table of keys, the metric families and the labels; the committed pages are
//! what is made. `UPDATE_DOCS=1 cargo test --test documents` writes them.

use std::fmt::Write as _;

use tcp_forwarder::admission::RejectReason;
use tcp_forwarder::config::{self, KeyDoc, Scope};
use tcp_forwarder::metrics::family::{self, Kind};
use tcp_forwarder::preface::Failure;
use tcp_forwarder::relay::close::CloseReason;
use tcp_forwarder::selector::decide::SwitchReason;
use tcp_forwarder::service::traffic::ErrorKind;

use super::texts::{Language, Texts};
use crate::hold;

/// Metrics whose label says why or what, and that label.
pub(crate) const REASONS: &[(&str, &str)] = &[
    ("connections_closed_total", "reason"),
    ("connections_rejected_total", "reason"),
    ("handshake_failures_total", "reason"),
    ("errors_total", "kind"),
    ("selector_switches_total", "reason"),
];

/// Every value of the label of one of [`REASONS`].
pub(crate) fn labels(metric: &str) -> Vec<&'static str> {
    match metric {
        "connections_closed_total" => CloseReason::ALL.map(CloseReason::label).to_vec(),
        "connections_rejected_total" => RejectReason::ALL.map(RejectReason::label).to_vec(),
        "handshake_failures_total" => Failure::ALL.map(Failure::label).to_vec(),
        "errors_total" => [&ErrorKind::ALL.map(ErrorKind::label)[..], &family::OTHER_ERRORS].concat(),
        "selector_switches_total" => SwitchReason::ALL.map(SwitchReason::label).to_vec(),
        other => panic!("{other} has no list of labels"),
    }
}

/// The name of a metric without what all of ours begin with.
pub(crate) fn short(name: &str) -> &str {
    name.strip_prefix("tcp_forwarder_").unwrap_or(name)
}

/// What is allowed, and whether it is a range or names, which are the same in every language.
pub(crate) fn words_of_allowed(key: &KeyDoc) -> (String, bool) {
    let text = key.allowed.as_str();
    let text = text.strip_suffix(", such as 500ms, 15s, 1m30s").unwrap_or(text);
    let range = ["a whole number from ", "a number from ", "a port number from "]
        .iter()
        .find_map(|words| text.strip_prefix(words))
        .or_else(|| (key.kind == "duration").then_some(text))
        .and_then(|range| range.split_once(" to "));
    match range {
        Some((least, most)) => (format!("{least} – {most}"), true),
        None => (
            text.replace("this file", "the configuration file"),
            key.kind == "choice",
        ),
    }
}

/// A value in a table.
fn code(value: &str) -> String {
    if value.is_empty() {
        "`\"\"`".to_owned()
    } else {
        format!("`{value}`")
    }
}

/// A row of a table.
pub(crate) fn row(page: &mut String, cells: &[&str]) {
    for cell in cells {
        write!(page, "| {} ", cell.replace('|', "\\|")).unwrap();
    }
    page.push_str("|\n");
}

/// The head of a table.
pub(crate) fn head(page: &mut String, cells: &[&str]) {
    row(page, cells);
    writeln!(page, "{}|", "|---".repeat(cells.len())).unwrap();
}

/// The section of the page that a key is in: a section of the top level, or one of `remotes`.
fn chapter(path: &str) -> &str {
    let parts: Vec<&str> = path.splitn(3, '.').collect();
    match parts[..] {
        ["remotes", second, _] => &path[..="remotes".len() + second.len()],
        _ => parts[0],
    }
}

fn table_of_keys(page: &mut String, keys: &[&KeyDoc], texts: &Texts, language: Language) {
    match language {
        Language::English => head(page, &["Key", "Type", "Default", "Allowed", "Meaning"]),
        Language::Chinese => head(page, &["键", "类型", "默认值", "允许", "含义"]),
    }
    for key in keys {
        row(
            page,
            &[
                &code(key.path),
                texts.kind(key, language),
                &code(&key.default),
                &texts.allowed(key, language),
                texts.meaning(key, language),
            ],
        );
    }
}

/// Which keys of a section belong to the process, where that are not all or none.
fn scopes(page: &mut String, keys: &[&KeyDoc], language: Language) {
    let of_process: Vec<String> = keys
        .iter()
        .filter(|key| key.scope == Scope::Process)
        .map(|key| code(key.path))
        .collect();
    let (all, some, end) = match language {
        Language::English => (
            "\nThe process's: it stands at the top level only.\n",
            "\nThe process's, which stand at the top level only: ",
            ".\n",
        ),
        Language::Chinese => (
            "\n属于进程，只能写在顶层。\n",
            "\n属于进程、只能写在顶层的键：",
            "。\n",
        ),
    };
    if of_process.len() == keys.len() {
        page.push_str(all);
    } else if !of_process.is_empty() {
        write!(page, "{some}{}{end}", of_process.join(", ")).unwrap();
    }
}

fn table_of_phones(page: &mut String, keys: &[KeyDoc], texts: &Texts, language: Language) {
    match language {
        Language::English => {
            page.push_str(
                "\n## Defaults for phones\n\n`cargo build --features mobile` changes these and nothing else.\n\n",
            );
            head(page, &["Changed key", "Default", "With `mobile`", "Why"]);
        }
        Language::Chinese => {
            page.push_str("\n## 手机的默认值\n\n`cargo build --features mobile` 只改变下面这些。\n\n");
            head(page, &["改动的键", "默认值", "使用 `mobile` 时", "原因"]);
        }
    }
    for key in keys {
        if let Some(mobile) = &key.mobile {
            let why = texts.why(key.path, mobile.why, language);
            row(
                page,
                &[&code(key.path), &code(&key.default), &code(&mobile.default), why],
            );
        }
    }
}

fn configuration(texts: &Texts, language: Language) -> String {
    let keys = config::reference();
    let mut page = String::from(match language {
        Language::English => {
            "# Every key\n\n\
             Made from the sources by `UPDATE_DOCS=1 cargo test --test documents`. [config.yaml](../../config.yaml) is the same as a file, \
             [config.schema.json](../config.schema.json) for editors: begin a file with\n\
             `# yaml-language-server: $schema=PATH/config.schema.json`.\n"
        }
        Language::Chinese => {
            "# 所有的键\n\n\
             由源代码生成（`UPDATE_DOCS=1 cargo test --test documents`）。[config.yaml](../../../config.yaml) 是同样内容的配置文件，\
             [config.schema.json](../../config.schema.json) 供编辑器使用：在文件开头写\n\
             `# yaml-language-server: $schema=PATH/config.schema.json`。\n"
        }
    });
    let mut chapters: Vec<&str> = keys.iter().map(|key| chapter(key.path)).collect();
    chapters.dedup();
    for name in chapters {
        let within: Vec<&KeyDoc> = keys.iter().filter(|key| chapter(key.path) == name).collect();
        write!(page, "\n## `{name}`\n\n{}\n", texts.section(name, language)).unwrap();
        scopes(&mut page, &within, language);
        page.push('\n');
        table_of_keys(&mut page, &within, texts, language);
    }
    table_of_phones(&mut page, &keys, texts, language);
    page
}

fn metrics(texts: &Texts, language: Language) -> String {
    let mut page = String::from(match language {
        Language::English => {
            "# Every metric\n\n\
             Made from the sources by `UPDATE_DOCS=1 cargo test --test documents`. Names are without their prefix `tcp_forwarder_` \
             unless they begin\nwith `process_`. Series with a `server` label exist for members of the active set, and in the \
             probe families for the 16 other candidates\nprobed last; never one per candidate. The `process_` families exist on Linux. \
             Values of `reason` and `kind`: [reasons](reasons.md).\n\n"
        }
        Language::Chinese => {
            "# 所有的指标\n\n\
             由源代码生成（`UPDATE_DOCS=1 cargo test --test documents`）。除以 `process_` 开头的以外，名字都省略了前缀 `tcp_forwarder_`。\
             带 `server` 标签的\n序列只为活动集的成员存在，探测类指标另有最近探测的 16 个其他候选；绝不会每个候选一个序列。`process_` 各项只在 Linux 上有。\
             `reason` 和 `kind` 的取值见[原因](reasons.md)。\n\n"
        }
    });
    match language {
        Language::English => head(&mut page, &["Metric", "Kind", "Labels", "Meaning"]),
        Language::Chinese => head(&mut page, &["指标", "类型", "标签", "含义"]),
    }
    for family in family::ALL {
        let kind = match (family.kind, language) {
            (Kind::Counter, Language::English) => "counter",
            (Kind::Gauge, Language::English) => "gauge",
            (Kind::Histogram, Language::English) => "histogram",
            (Kind::Counter, Language::Chinese) => "计数器",
            (Kind::Gauge, Language::Chinese) => "测量值",
            (Kind::Histogram, Language::Chinese) => "直方图",
        };
        let labels = if family.labels.is_empty() {
            "–".to_owned()
        } else {
            family.labels.join(", ")
        };
        let help = texts.metric(family, language);
        row(&mut page, &[&code(short(family.name)), kind, &labels, help]);
    }
    page
}

fn reasons(texts: &Texts, language: Language) -> String {
    let mut page = String::from(match language {
        Language::English => {
            "# Every reason\n\n\
             Made from the sources by `UPDATE_DOCS=1 cargo test --test documents`. The log, the API and the access log use the same \
             words; the letters of\nthe access log are in [ACCESS-LOG.md](../ACCESS-LOG.md).\n"
        }
        Language::Chinese => {
            "# 所有的原因\n\n\
             由源代码生成（`UPDATE_DOCS=1 cargo test --test documents`）。日志、API 和访问日志使用同样的词；访问日志的字母见 \
             [ACCESS-LOG.md](../../ACCESS-LOG.md)。\n"
        }
    });
    for (metric, label) in REASONS {
        write!(page, "\n## `{metric}`\n\n").unwrap();
        match language {
            Language::English => head(&mut page, &[&format!("Label `{label}`"), "Meaning"]),
            Language::Chinese => head(&mut page, &[&format!("标签 `{label}`"), "含义"]),
        }
        for value in labels(metric) {
            row(&mut page, &[&code(value), texts.reason(metric, value, language)]);
        }
    }
    page
}

#[test]
fn the_reference_is_what_the_sources_say() {
    let texts = Texts::load();
    for (folder, language) in [
        ("docs/reference", Language::English),
        ("docs/zh-CN/reference", Language::Chinese),
    ] {
        hold(
            &format!("{folder}/configuration.md"),
            &configuration(&texts, language),
        );
        hold(&format!("{folder}/metrics.md"), &metrics(&texts, language));
        hold(&format!("{folder}/reasons.md"), &reasons(&texts, language));
    }
}

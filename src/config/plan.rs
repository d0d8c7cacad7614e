//! What a reload changes, as data and in words (pure).
//!
//! Two configurations are compared key by key, along the same table that they were read by.

use super::draft::{Draft, Sections};
use super::keys::{self, Scope};
use super::name::ServiceName;
use super::{Config, Process, Spec};

/// Changes that are told one by one.
const TOLD: usize = 50;

/// What a reload changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// One change each: a service that comes or goes, a key with both values. Secrets are not shown.
    pub changes: Vec<String>,
    /// Whether something takes effect in a new process only.
    pub needs_restart: bool,
}

/// What changes from one configuration to the next.
#[must_use]
pub fn plan(present: &Config, next: &Config) -> Plan {
    let mut changes = of_process(&present.process, &next.process);
    for name in present
        .services
        .keys()
        .filter(|name| !next.services.contains_key(name))
    {
        changes.push(format!("service {name} leaves"));
    }
    for (name, spec) in &next.services {
        match present.services.get(name) {
            None => changes.push(format!("service {name} is new")),
            Some(before) if before == spec => {}
            Some(before) => changes.extend(of_service(next, name, before, spec)),
        }
    }
    let more = changes.len().saturating_sub(TOLD);
    changes.truncate(TOLD);
    if more > 0 {
        changes.push(format!("and {more} more"));
    }
    Plan {
        changes,
        needs_restart: present.process.reactors != next.process.reactors,
    }
}

fn of_process(present: &Process, next: &Process) -> Vec<String> {
    let mut changes = compare(
        Scope::Process,
        draft(present.clone(), Spec::default()),
        draft(next.clone(), Spec::default()),
        str::to_owned,
    );
    let (before, after) = (&present.metrics.admin_token, &next.metrics.admin_token);
    if before != after && before.is_some() == after.is_some() {
        changes.push("metrics.admin_token: another one".to_owned());
    }
    changes
}

fn of_service(config: &Config, name: &ServiceName, before: &Spec, after: &Spec) -> Vec<String> {
    let is_top = config.services.len() == 1 && *name == ServiceName::default_service();
    let shown = |path: &str| {
        if is_top {
            path.to_owned()
        } else {
            format!("services.{name}.{}", path.strip_prefix("server.").unwrap_or(path))
        }
    };
    let draft = |spec: &Spec| draft(Process::default(), spec.clone());
    compare(Scope::Service, draft(before), draft(after), shown)
}

fn draft(process: Process, spec: Spec) -> Draft {
    Draft::of(Sections {
        process,
        server: spec.server,
        remotes: spec.remotes,
        pools: spec.pools,
    })
}

/// Each key of a scope that has another value, with both.
fn compare(scope: Scope, mut before: Draft, mut after: Draft, shown: impl Fn(&str) -> String) -> Vec<String> {
    keys::all()
        // Weights are folded into the maximum scores, which are compared.
        .filter(|key| key.scope() == scope && !key.path.starts_with("remotes.scoring.weights."))
        .filter_map(|key| {
            let (before, after) = (key.slot.shown(&mut before), key.slot.shown(&mut after));
            let quoted = |text: String| if text.is_empty() { "\"\"".to_owned() } else { text };
            (before != after).then(|| format!("{}: {} -> {}", shown(key.path), quoted(before), quoted(after)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use std::path::Path;

    fn config(text: &str) -> Config {
        parse(text, Path::new("config.yaml")).expect("a good configuration")
    }

    fn changes(present: &str, next: &str) -> Vec<String> {
        plan(&config(present), &config(next)).changes
    }

    #[test]
    fn the_same_is_no_change() {
        let text = "services: { a: { listen_addr: '127.0.0.1:1' }, b: { listen_addr: '127.0.0.1:2' } }";
        for text in ["", text] {
            let plan = plan(&config(text), &config(text));
            assert_eq!((plan.changes.len(), plan.needs_restart), (0, false));
        }
    }

    #[test]
    fn keys_are_told_with_both_values_and_their_place() {
        assert_eq!(
            changes(
                "",
                "pools: { common: { dial_timeout: 2s }, strategy: { type: static } }"
            ),
            [
                "pools.common.dial_timeout: 1s -> 2s",
                "pools.strategy.type: dynamic -> static"
            ]
        );
        let of = |more: &str| format!("services: {{ web: {{ listen_addr: '127.0.0.1:1', {more} }} }}");
        assert_eq!(
            changes(&of(""), &of("idle_timeout: 5m, deny: 192.0.2.0/24")),
            [
                "services.web.idle_timeout: 1h -> 5m",
                "services.web.deny: \"\" -> 192.0.2.0/24"
            ]
        );
    }

    #[test]
    fn services_come_and_go() {
        let of = |name: &str| format!("services: {{ {name}: {{ listen_addr: '127.0.0.1:1' }} }}");
        assert_eq!(
            changes(&of("old"), &of("new")),
            ["service old leaves", "service new is new"]
        );
    }

    #[test]
    fn only_reactors_need_a_new_process_and_secrets_are_not_shown() {
        let next = "server: { reactors: 2 }\nmetrics: { admin_token: hush }\nlogging: { level: debug }";
        let plan = plan(&config(""), &config(next));
        assert!(plan.needs_restart);
        assert!(
            plan.changes
                .contains(&"metrics.admin_token: \"\" -> ***".to_owned()),
            "{plan:?}"
        );
        let other = changes("metrics: { admin_token: one }", "metrics: { admin_token: two }");
        assert_eq!(other, ["metrics.admin_token: another one"]);
    }

    #[test]
    fn many_changes_are_not_told_one_by_one() {
        use std::fmt::Write as _;
        let mut text = "services:\n".to_owned();
        for n in 0..200 {
            writeln!(text, "  s{n}: {{ listen_addr: '127.0.0.1:{}' }}", 1000 + n).expect("a string");
        }
        let changes = changes("", &text);
        assert_eq!(changes.len(), TOLD + 1);
        assert_eq!(changes.last().expect("some"), "and 151 more");
    }
}
